"""What `transferkit check` reports about an Asterisk. Nothing is changed there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from transferkit.provider.adapter import CheckResult
from transferkit.provider.results import Rejected
from transferkit_asterisk.ari import Ari, Reply
from transferkit_asterisk.requests import AriRequest
from transferkit_asterisk.settings import AsteriskSettings, Mode

__all__ = ["check"]

_ARI: Final = "asterisk ari"
_EVENTS: Final = "asterisk events"
_ENDPOINT: Final = "asterisk endpoint"
_ADVICE: Final = {
    401: "Check username and password of [providers.asterisk], and ari.conf.",
    403: "Check the ARI user in ari.conf.",
    404: "Check base_url of [providers.asterisk], and that res_ari is loaded.",
}


async def check(ari: Ari, settings: AsteriskSettings) -> tuple[CheckResult, ...]:
    """Whether ARI answers, whether a process receives events, and whether the endpoint exists."""
    reply = await ari.send(AriRequest("GET", "asterisk/info?only=system"))
    if not isinstance(reply, Reply):
        result = reply.result
        ok = False if isinstance(reply, Rejected) or result.advice else None
        return (CheckResult(name=_ARI, ok=ok, message=str(result.message), advice=result.advice),)
    if not reply.is_success:
        message = f"HTTP status {reply.status}"
        advice = _ADVICE.get(reply.status, "Check base_url of [providers.asterisk].")
        return (CheckResult(name=_ARI, ok=False, message=message, advice=advice),)
    version = reply.text("system", "version") or "unknown"
    results = [CheckResult(name=_ARI, ok=True, message=f"Asterisk {version}"), await _events(ari, settings)]
    if settings.mode is Mode.BRIDGE:
        results.append(await _endpoint(ari, settings))
    return tuple(results)


async def _events(ari: Ari, settings: AsteriskSettings) -> CheckResult:
    """Whether a process is connected. The application exists at Asterisk only as long as one is."""
    reply = await ari.send(AriRequest("GET", f"applications/{settings.app}"))
    if isinstance(reply, Reply) and reply.is_success:
        return CheckResult(name=_EVENTS, ok=True, message=f"a process receives those of {settings.app}")
    if isinstance(reply, Reply) and reply.status == HTTPStatus.NOT_FOUND:
        return CheckResult(
            name=_EVENTS,
            ok=None,
            message=f"no process receives those of the Stasis application {settings.app}",
            advice="Start your application, or transferkit serve: an open client receives events.",
        )
    return CheckResult(name=_EVENTS, ok=None, message="not known: Asterisk did not say")


async def _endpoint(ari: Ari, settings: AsteriskSettings) -> CheckResult:
    """Whether the endpoint over which targets are called exists."""
    reply = await ari.send(AriRequest("GET", f"endpoints/PJSIP/{settings.endpoint}"))
    if isinstance(reply, Reply) and reply.is_success:
        state = reply.text("state") or "unknown"
        return CheckResult(name=_ENDPOINT, ok=True, message=f"{settings.endpoint} is {state}")
    if isinstance(reply, Reply) and reply.status == HTTPStatus.NOT_FOUND:
        return CheckResult(
            name=_ENDPOINT,
            ok=False,
            message=f"pjsip.conf has no endpoint {settings.endpoint}",
            advice="Set endpoint of [providers.asterisk] to the name of a PJSIP endpoint.",
        )
    return CheckResult(name=_ENDPOINT, ok=None, message="not known: Asterisk did not say")
