"""What a token, and a harmless question to Graph, say about the credentials.

A token of an application lists what the application was granted in `roles` (learn.microsoft.com
entra/identity-platform/access-token-claims-reference). It is our own: nobody has to verify it here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from transferkit.provider.adapter import CheckResult
from transferkit.provider.http import clock_skew
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit_graph.answers import error_result
from transferkit_graph.settings import BodyForm, CallsPath, GraphSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["UNTRIED", "answered", "permitted", "without_token"]

INITIATE: Final = "Calls.Initiate.All"
# The 2018 documentation of call: transfer, by who is called.
_OF_2018: Final = {
    "Calls.AudioVideo": "transfers to people and bots",
    "Calls.PSTN": "transfers to phone numbers",
}
_CREDENTIALS: Final = "graph credentials"
_PERMISSIONS: Final = "graph permissions"

_UNREACHED: Final = "Check cloud, authority, base_url and ca_file of [providers.graph], and the way there."
_GRANT: Final = f"Grant the application {INITIATE} in Entra, with an administrator's consent for the tenant."

UNTRIED: Final = CheckResult(
    name=_CREDENTIALS,
    ok=None,
    message="not tried: without providers.graph.tenant_id, tokens are asked for in each call's own tenant",
    advice="Set providers.graph.tenant_id to have them tried there.",
)


def without_token(answer: Rejected | NotSent | MaybeSent) -> CheckResult:
    """Why there is no token."""
    result = answer.result
    advice = result.advice or _UNREACHED
    said = result.message or "no usable credentials are configured"
    return CheckResult(name=_CREDENTIALS, ok=False, message=f"no token: {said}", advice=advice)


def permitted(token: str, settings: GraphSettings) -> CheckResult:
    """Whether the token allows to transfer and redirect calls."""
    roles = _roles(token)
    if roles is None:
        return CheckResult(name=_PERMISSIONS, ok=None, message="the token does not say what it allows")
    if INITIATE in roles:
        return CheckResult(name=_PERMISSIONS, ok=True, message=INITIATE)
    lacking = {name: what for name, what in _OF_2018.items() if name not in roles}
    if settings.body is BodyForm.Y2018 or settings.path is not CallsPath.COMMUNICATIONS:
        if not lacking:
            return CheckResult(name=_PERMISSIONS, ok=True, message=", ".join(_OF_2018))
        if len(lacking) < len(_OF_2018):
            ((name, what),) = lacking.items()
            message = f"the token lacks {name}, so {what} are refused"
            return CheckResult(name=_PERMISSIONS, ok=None, message=message, advice=_GRANT)
    has = ", ".join(sorted(roles)) or "none at all"
    message = f"the token lacks {INITIATE}; it has {has}"
    return CheckResult(name=_PERMISSIONS, ok=False, message=message, advice=_GRANT)


def _roles(token: str) -> frozenset[str] | None:
    """What was granted, by the token; None of one that cannot be read."""
    segment = f"{token}..".split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(claims, Mapping):
        return None
    roles = claims.get("roles", [])
    return frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else None


def answered(reply: httpx.Response | Rejected | NotSent | MaybeSent, *, now: datetime) -> CheckResult:
    """What Graph says to the token when it is asked for a call that there is not; `now` is when it did."""
    if isinstance(reply, (Rejected, NotSent, MaybeSent)):
        said = reply.result.message or reply.result.advice or str(reply.result.reason)
        return CheckResult(
            name=_CREDENTIALS,
            ok=False,
            message=f"Graph cannot be queried: {said}",
            advice=reply.result.advice or _UNREACHED,
        )
    words = error_result(reply).message
    said = f"{reply.status_code}: {words}" if words else f"{reply.status_code}"
    ok: bool | None = True
    message, advice = "accepted", None
    if reply.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        ok, message = False, f"Graph refuses the token ({said})"
        advice = "Check providers.graph.cloud, and what the application was granted in the tenant."
    elif reply.is_server_error or reply.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        ok, message, advice = None, f"Graph cannot say now ({said})", "Ask again."
    skew = clock_skew(reply.headers, now=now)
    return CheckResult(name=_CREDENTIALS, ok=ok, message=message, advice=advice, clock_skew=skew)
