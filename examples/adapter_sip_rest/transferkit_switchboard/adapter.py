"""The settings, and the adapter: one HTTP request a submission, and what came of it."""

import asyncio
import re
from typing import ClassVar, final

import httpx
from attrs import field, frozen

from transferkit import Call, ConfigError, Fact, Secret, WireRequest
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, CheckResult, Inspection, Submission
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.deadline import CHECKED
from transferkit.provider.http import misconfigured, unanswered, unconnected
from transferkit.provider.json import thaw
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult
from transferkit_switchboard import callbacks
from transferkit_switchboard.requests import CAPABILITIES, answer_of, inspection_of, refer_body

Reply = httpx.Response | Rejected | NotSent | MaybeSent


def _is_safe(_: object, __: object, value: str) -> None:
    if not re.match(r"https://[^/]|http://127\.0\.0\.1:", value):  # each request carries the API key
        raise ValueError("base_url: expected an address that begins with https://")


@final
@frozen(kw_only=True)
class SwitchboardSettings:
    """The keys of `[providers.switchboard]`. Each has a default: a preview or a plan needs no account.

    `callback_secret` stands in the address that the PBX posts to: `https://…/switchboard?secret=…`.
    """

    api_key: Secret = field(factory=lambda: Secret(key="providers.switchboard.api_key"))
    callback_secret: Secret | None = None
    base_url: str = field(default="https://api.switchboard.example/v1", validator=_is_safe)


@final
class SwitchboardAdapter(Adapter):
    """Transfers calls of Switchboard, blind or after a consultation."""

    name: ClassVar[str] = callbacks.PROVIDER
    settings_class: ClassVar[type[SwitchboardSettings]] = SwitchboardSettings

    def __init__(self, settings: SwitchboardSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._http: httpx.AsyncClient | None = None

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def wire(self, submission: Submission) -> WireRequest:
        return WireRequest(
            method="POST",
            url=f"{self._settings.base_url}/calls/{submission.request.call.id}/refer",
            headers={"Authorization": "Bearer ***", "Idempotency-Key": submission.id},
            body=refer_body(submission.request),
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        with submission.deadline.in_force():
            reply = await self._send(await self.wire(submission))
        return answer_of(reply, now=self._clock.now()) if isinstance(reply, httpx.Response) else reply

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - Microsoft's
        reply = await self._get(f"calls/{call.id}")
        if isinstance(reply, httpx.Response):
            return inspection_of(reply)
        return Inspection(presence=Presence.UNKNOWN, result=reply.result)

    async def check(self) -> tuple[CheckResult, ...]:
        got = await self._get("account")
        ok = isinstance(got, httpx.Response) and got.is_success
        said = f"answered {got.status_code}" if isinstance(got, httpx.Response) else str(got.result.message)
        advice = None if ok else "Check api_key and base_url of [providers.switchboard]."
        return (CheckResult(name="switchboard key", ok=ok, message=said, advice=advice),)

    def route(self, path: str) -> CallbackRoute | None:
        secret = self._settings.callback_secret
        secrets, needs = (() if secret is None else (secret,)), f"providers.{self.name}.callback_secret"
        return None if path else CallbackRoute(name=self.name, secrets=secrets, needs=needs)

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        return (callbacks.decode(callback),)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _get(self, path: str) -> Reply:
        wire = WireRequest(method="GET", url=f"{self._settings.base_url}/{path}", headers={})
        return await self._send(wire)

    async def _send(self, wire: WireRequest) -> Reply:
        """Send it once, with the real key in place of the mask: the answer, or what is known without one."""
        try:
            sent = {**wire.headers, "Authorization": f"Bearer {self._settings.api_key.resolve()}"}
        except ConfigError as error:
            return misconfigured(error)
        try:
            http = self._http = self._http or httpx.AsyncClient(timeout=10)
            async with asyncio.timeout(20):  # httpx limits each wait, this limits them all
                body = thaw(wire.body) or None
                return await http.request(wire.method, wire.url, headers=sent, json=body, extensions=CHECKED)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request may have left before
            if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
                return unconnected(error, to="Switchboard", check="base_url of [providers.switchboard]")
            return unanswered(error, to="Switchboard")
