"""Requests: what the PBX supports, what is sent, and what its responses mean."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx

from transferkit import FailureReason, Inspection, PhoneNumber, Result, Transfer
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.http import retry_after
from transferkit.provider.json import merge_patch
from transferkit.provider.limits import Headers, Identifiers, Text
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted

_ID: Final = Text(pattern=r"[A-Za-z0-9-]{1,64}", form="1 to 64 letters, digits and hyphens")
_HEADERS: Final = Headers(max_count=10, max_name=64, max_value=256, name_pattern=r"X-[A-Za-z0-9-]+")

CAPABILITIES: Final = Capabilities(
    transfer={"call": _ID, "to": Identifiers(kinds=(PhoneNumber,)), "replaces": _ID, "context.sip": _HEADERS},
    repeatable_for=timedelta(hours=1),  # the PBX remembers an Idempotency-Key for an hour
)

_REASONS: Final = {
    400: FailureReason.UNSUPPORTED,
    401: FailureReason.UNAUTHORIZED,
    403: FailureReason.FORBIDDEN,
    404: FailureReason.CALL_NOT_FOUND,
    409: FailureReason.CONFLICT,
    429: FailureReason.THROTTLED,
}
_PRESENCES: Final = {
    "talking": Presence.CONNECTED,
    "referring": Presence.TRANSFERRING,
    "ended": Presence.GONE,
}


def refer_body(request: Transfer) -> Any:
    """The JSON body of a refer. The request has passed the plan, so every field is supported."""
    body: dict[str, Any] = {"refer_to": request.targets[0].raw_id.removeprefix("4:")}
    if request.replaces:
        body["replaces"] = request.replaces
    if request.context.sip:
        body["headers"] = dict(request.context.sip)
    return merge_patch(body, request.extra)


def submit_result(response: httpx.Response, *, now: datetime) -> SubmitResult:
    """What the response to a refer proves. A response that the PBX does not document proves nothing."""
    status, wait = response.status_code, retry_after(response.headers, now=now)
    result = _result(response)
    if status == HTTPStatus.ACCEPTED:
        return Submitted()
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None
    ):
        return NotSent(result=result, retry_after=wait)
    return Rejected(result=result) if status in _REASONS else MaybeSent(result=result)


def inspection_result(response: httpx.Response) -> Inspection:
    """What the response to a query of a call says."""
    if response.status_code == HTTPStatus.OK:
        return Inspection(presence=_PRESENCES.get(str(_json(response).get("state")), Presence.UNKNOWN))
    gone = response.status_code == HTTPStatus.NOT_FOUND
    return Inspection(presence=Presence.GONE if gone else Presence.UNKNOWN, result=_result(response))


def _result(response: httpx.Response) -> Result:
    message = _json(response).get("message")
    return Result(
        code=response.status_code,
        message=message if isinstance(message, str) else None,
        reason=_REASONS.get(response.status_code, FailureReason.PROVIDER_ERROR),
    )


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
