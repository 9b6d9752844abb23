"""What `transferkit check` reports about the application's permissions on Graph.

The token of an application lists what it was granted in `roles` (learn.microsoft.com
entra/identity-platform/access-token-claims-reference). The token is the application's own, so it need not be
verified here.
"""

from __future__ import annotations

import base64
import json
from typing import Final

from transferkit_microsoft.lenient_json import JsonObject

from transferkit.provider.adapter import CheckResult
from transferkit_graph.settings import BodyForm, CallsPath, GraphSettings

__all__ = ["REFUSALS", "UNTRIED", "permitted"]

_INITIATE: Final = "Calls.Initiate.All"
# The 2018 documentation of call: transfer, by the kind of target.
_OF_2018: Final = {
    "Calls.AudioVideo": "transfers to people and bots",
    "Calls.PSTN": "transfers to phone numbers",
}
_PERMISSIONS: Final = "graph permissions"
_GRANT: Final = f"Grant the application {_INITIATE} in Entra, with an administrator's consent for the tenant."
_REFUSED: Final = "Check providers.graph.cloud, and what the application was granted in the tenant."

REFUSALS: Final = {401: _REFUSED, 403: _REFUSED}
"""The statuses that mean that the token is not good enough, each with advice."""

UNTRIED: Final = CheckResult(
    name="graph credentials",
    ok=None,
    message="not checked: without providers.graph.tenant_id, tokens are of each call's own tenant",
    advice="Set providers.graph.tenant_id to check the credentials in that tenant.",
)


def permitted(token: str, settings: GraphSettings) -> CheckResult:
    """Whether the token permits transfers and redirects."""
    roles = _roles(token)
    if roles is None:
        return CheckResult(name=_PERMISSIONS, ok=None, message="the token does not list permissions")
    if _INITIATE in roles:
        return CheckResult(name=_PERMISSIONS, ok=True, message=_INITIATE)
    lacking = {name: what for name, what in _OF_2018.items() if name not in roles}
    if settings.body is BodyForm.Y2018 or settings.path is not CallsPath.COMMUNICATIONS:
        if not lacking:
            return CheckResult(name=_PERMISSIONS, ok=True, message=", ".join(_OF_2018))
        if len(lacking) < len(_OF_2018):
            ((name, what),) = lacking.items()
            message = f"the token lacks {name}, so {what} are refused"
            return CheckResult(name=_PERMISSIONS, ok=None, message=message, advice=_GRANT)
    message = f"the token lacks {_INITIATE}; it has {', '.join(sorted(roles)) or 'no permission'}"
    return CheckResult(name=_PERMISSIONS, ok=False, message=message, advice=_GRANT)


def _roles(token: str) -> frozenset[str] | None:
    """The permissions in a token; None if it cannot be read."""
    segment = f"{token}..".split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        return None
    roles = JsonObject(claims).get("roles", []) if isinstance(claims, dict) else None
    return frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else None
