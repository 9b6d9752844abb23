"""What an HTTP answer says about a submission, or about a call.

Error bodies and `Retry-After` (which may be decimal): learn.microsoft.com graph/errors and graph/throttling.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from transferkit.lifecycle import Answer, MaybeSent, NotSent, Presence, Refused, Taken
from transferkit.signals import Result
from transferkit.wire import read_json, retry_after
from transferkit_graph.reasons import of_http
from transferkit_graph.wording import chain_id, folded, normal, number, result_info, text_of

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


def answer_of(response: httpx.Response, *, now: datetime) -> Answer:
    """What `response` says about the submission that it answers."""
    status = response.status_code
    if 200 <= status < 300:  # noqa: PLR2004 - success, whichever: 200, 202 and 204 are all published
        return Taken(
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
        return Refused(result=result)
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
    """An error answer in its own words: `{"error": {"code", "message", "innerError": {"request-id"}}}`."""
    error = folded(folded(_json(response)).get("error"))
    inner = folded(error.get("innererror"))
    return of_http(
        response.status_code,
        number(error.get("code")),
        text_of(error.get("message")),
        response.headers.get("request-id") or text_of(inner.get("request-id") or inner.get("requestid")),
    )


def _json(response: httpx.Response) -> object:
    try:
        return read_json(response.content)[0]
    except (ValueError, RuntimeError):  # not JSON; too deep, or httpx's word for a body that broke off
        return None
