"""What an HTTP answer says about a submission, or about a call.

Error bodies and `Retry-After` (which may be decimal): learn.microsoft.com graph/errors and graph/throttling.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from transferkit_microsoft.codes import not_the_provider, refusal
from transferkit_microsoft.errors import is_page, read_error
from transferkit_microsoft.lenient import folded

from transferkit.provider.facts import Result
from transferkit.provider.http import retry_after
from transferkit.provider.json import read_json
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit_graph.reasons import HTTP_CODES, HTTP_STATUSES
from transferkit_graph.wording import chain_id, normal, result_info

if TYPE_CHECKING:
    import httpx

__all__ = ["answer_of", "presence_of"]

_CALL_NOT_FOUND = 8522

_PRESENCE = {
    "established": Presence.CONNECTED,
    "hold": Presence.CONNECTED,
    "transferring": Presence.TRANSFERRING,
    "transferaccepted": Presence.TRANSFERRING,
    "terminating": Presence.GONE,
    "terminated": Presence.GONE,
    "disconnecting": Presence.GONE,
    "disconnected": Presence.GONE,
}


def answer_of(response: httpx.Response, *, now: datetime) -> SubmitResult:
    """What `response` says about the submission that it answers."""
    status = response.status_code
    if 300 <= status < 400 or (status < 300 and is_page(_content(response))):  # noqa: PLR2004 - redirects
        return MaybeSent(result=not_the_provider("Graph", status))
    if 200 <= status < 300:  # noqa: PLR2004 - success, whichever: 200, 202 and 204 are all published
        return Submitted(
            correlation_id=chain_id(response.headers),
            status=status,
            request_id=response.headers.get("request-id"),
        )
    result = error_result(response)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return NotSent(result=result, retry_after=retry_after(response.headers, now=now))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        wait = retry_after(response.headers, now=now)
        return MaybeSent(result=result) if wait is None else NotSent(result=result, retry_after=wait)
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 - refusals
        return Rejected(result=result)
    return MaybeSent(result=result)


def presence_of(response: httpx.Response) -> tuple[Presence, Result | None]:
    """What the answer to a GET of the call says."""
    if response.status_code != HTTPStatus.OK:
        result = error_result(response)
        gone = response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
        return (Presence.GONE if gone or result.subcode == _CALL_NOT_FOUND else Presence.UNKNOWN), result
    call = folded(_json(response))
    return _PRESENCE.get(normal(call.get("state")), Presence.UNKNOWN), result_info(call)


def error_result(response: httpx.Response) -> Result:
    """An error response: what Graph says, and what that means."""
    return refusal(
        response.status_code,
        read_error(_content(response)),
        own=HTTP_CODES,
        statuses=HTTP_STATUSES,
        request_id=response.headers.get("request-id"),
    )


def _content(response: httpx.Response) -> bytes:
    try:
        return response.content
    except RuntimeError:  # httpx's error for a body that broke off
        return b""


def _json(response: httpx.Response) -> object:
    try:
        return read_json(_content(response))
    except (ValueError, RecursionError):
        return None
