"""The Asterisk adapter: transfers through ARI, over HTTP out and a websocket in."""

from __future__ import annotations

from typing import ClassVar, final

from attrs import evolve

from transferkit.provider.adapter import (
    Adapter,
    Callback,
    CallbackRoute,
    CheckResult,
    Connection,
    Deliver,
    Inspection,
    Submission,
)
from transferkit.provider.capabilities import Capabilities, Plan
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.facts import Fact
from transferkit.provider.results import Presence, SubmitResult
from transferkit.provider.secret import MASK
from transferkit.requests import Call, Request, WireRequest
from transferkit_asterisk import callbacks
from transferkit_asterisk.ari import Ari
from transferkit_asterisk.capabilities import capabilities_of, further_problems
from transferkit_asterisk.check import check
from transferkit_asterisk.inspection import inspect_channel, stated_verdict
from transferkit_asterisk.listening import AriEvents
from transferkit_asterisk.names import is_request, placed_channel
from transferkit_asterisk.requests import execution
from transferkit_asterisk.settings import AsteriskSettings
from transferkit_asterisk.submitting import submit

__all__ = ["AsteriskAdapter"]


@final
class AsteriskAdapter(Adapter):
    """Transfers and redirects the calls of an Asterisk PBX.

    A call is a channel in the Stasis application `app`. Its dialplan context comes from `transferkit asterisk
    dialplan`.
    """

    name: ClassVar[str] = callbacks.PROVIDER
    settings_class: ClassVar[type[AsteriskSettings]] = AsteriskSettings
    callback_paths: ClassVar[tuple[str, ...]] = ()
    noisy_loggers: ClassVar[tuple[str, ...]] = ("websockets",)

    def __init__(self, settings: AsteriskSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._ari = Ari(settings)

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self._settings)

    def plan(self, request: Request) -> Plan:
        planned = super().plan(request)
        better = list(further_problems(planned.request, self._settings))
        if not better:
            return planned
        others = [problem for problem in planned.problems if not problem.field.startswith("to")]
        return evolve(planned, problems=(*others, *better))

    async def wire(self, submission: Submission) -> WireRequest:
        request = execution(submission.request, submission.id, self._settings)
        return WireRequest(
            method=request.method,
            url=f"{self._settings.api_url}/{request.path}",
            headers={"Authorization": f"Basic {MASK}", "Content-Type": "application/json"},
            body=request.body,
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        return await submit(self._ari, submission, self._settings)

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - there are none
        found = await inspect_channel(self._ari, call.id)
        placed = placed_channel(call.id) if found.presence is Presence.GONE and is_request(call.id) else None
        return found if placed is None else await inspect_channel(self._ari, placed)

    async def stated_verdict(self, call: Call, transfer_id: str) -> Fact | None:
        return await stated_verdict(self._ari, call.id, transfer_id, now=self._clock.now())

    def check_secrets(self) -> None:
        self._settings.password.resolve()
        self._settings.ssl_context()

    async def check(self) -> tuple[CheckResult, ...]:
        return await check(self._ari, self._settings)

    def route(self, path: str) -> CallbackRoute | None:  # noqa: ARG002 - events arrive over the websocket
        return None

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        return callbacks.decode(callback)

    def listen(self, deliver: Deliver) -> Connection:
        events = AriEvents(self, self._settings, ari=self._ari, clock=self._clock, deliver=deliver)
        return Connection(name=f"{self._settings.api_url} {self._settings.app}", receive=events.receive)

    async def aclose(self) -> None:
        await self._ari.aclose()
