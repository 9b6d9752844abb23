"""What a harmless question to ACS says about the credentials: asking for a call that there is not."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final

from transferkit.provider.adapter import CheckResult
from transferkit.provider.http import clock_skew
from transferkit.provider.results import Rejected
from transferkit_acs.answers import NoReply, Reply
from transferkit_acs.settings import AcsSettings

__all__ = ["judged"]

_NAME: Final = "acs credentials"
_KEY: Final = "Copy the connection string from the resource's keys again. A clock that is off does the same."
_TOKEN: Final = "Check endpoint, tenant_id and client_id of [providers.acs], or managed_identity."  # noqa: S105 - advice
_ROLE: Final = "Give the application or identity a role on the Communication Services resource."
_UNREACHED: Final = "Check the endpoint and ca_file of [providers.acs], and that this machine may reach it."


def judged(came: Reply | NoReply, settings: AcsSettings, *, now: datetime) -> tuple[CheckResult, ...]:
    """The result of asking ACS for a call with an id that no call has; `now` is when the answer came."""
    if isinstance(came, Reply):
        return (_answered(came, settings, now=now),)
    message = came.result.message or str(came.result.reason)
    if isinstance(came, Rejected):
        advice = came.result.advice or _TOKEN
        return (CheckResult(name=_NAME, ok=False, message=message, advice=advice),)
    advice = came.result.advice or _UNREACHED
    return (CheckResult(name=_NAME, ok=False, message=f"ACS cannot be queried: {message}", advice=advice),)


def _answered(reply: Reply, settings: AcsSettings, *, now: datetime) -> CheckResult:
    said = f"{reply.status}" + (f": {reply.result.message}" if reply.result.message else "")
    ok: bool | None = True
    message, advice = "accepted", None
    if reply.status == HTTPStatus.UNAUTHORIZED:
        ok, message, advice = False, f"refused ({said})", _TOKEN if settings.uses_entra else _KEY
    elif reply.status == HTTPStatus.FORBIDDEN:
        ok, message, advice = False, f"accepted, but they allow nothing ({said})", _ROLE
    elif reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        ok, message, advice = None, f"ACS cannot say now ({said})", "Ask again."
    skew = clock_skew(reply.headers, now=now)
    return CheckResult(name=_NAME, ok=ok, message=message, advice=advice, clock_skew=skew)
