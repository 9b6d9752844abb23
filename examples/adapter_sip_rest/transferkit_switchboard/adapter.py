"""The settings and the adapter, which sends one HTTP request for each submission."""

import asyncio
import re
from typing import ClassVar, cast, final

import httpx
from attrs import field, frozen

from transferkit import Call, ConfigError, Fact, Secret, Transfer, WireRequest
from transferkit.provider.adapter import Adapter, Callback, CallbackRoute, CheckResult, Inspection, Submission
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.deadline import CHECKED
from transferkit.provider.http import misconfigured, unanswered, unconnected
from transferkit.provider.json import thaw
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult
from transferkit_switchboard import callbacks
from transferkit_switchboard.requests import CAPABILITIES, inspection_result, refer_body, submit_result

Reply = httpx.Response | Rejected | NotSent | MaybeSent


def _is_safe(_: object, __: object, value: str) -> None:
    if not re.match(r"https://[^/]|http://127\.0\.0\.1:", value):  # each request carries the API key
        raise ValueError("base_url: expected an address that begins with https://")


@final
@frozen(kw_only=True)
class SwitchboardSettings:
    """The keys of `[providers.switchboard]`. Each has a default: a preview or a plan needs no account.

    The PBX posts callbacks to `https://…/switchboard?secret=…`, with `callback_secret` as the secret.
    """

    api_key: Secret = field(factory=lambda: Secret(key="providers.switchboard.api_key"))
    callback_secret: Secret | None = None
    base_url: str = field(default="https://api.switchboard.example/v1", validator=_is_safe)


@final
class SwitchboardAdapter(Adapter):
    """Transfers calls of Switchboard, blind or consultative."""

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
            body=refer_body(cast("Transfer", submission.request)),  # the plan accepts nothing else
        )

    async def submit(self, submission: Submission) -> SubmitResult:
        with submission.deadline.in_force():
            reply = await self._send(await self.wire(submission))
        return submit_result(reply, now=self._clock.now()) if isinstance(reply, httpx.Response) else reply

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - tenants exist only at Microsoft
        reply = await self._get(f"calls/{call.id}")
        if isinstance(reply, httpx.Response):
            return inspection_result(reply)
        return Inspection(presence=Presence.UNKNOWN, result=reply.result)

    async def check(self) -> tuple[CheckResult, ...]:
        reply = await self._get("account")
        if isinstance(reply, httpx.Response):
            ok, message = reply.is_success, f"HTTP status {reply.status_code}"
        else:
            ok, message = False, str(reply.result.message)
        advice = None if ok else "Check api_key and base_url of [providers.switchboard]."
        return (CheckResult(name="switchboard key", ok=ok, message=message, advice=advice),)

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
        """Send a request once, with the real API key. Return the response, or what is known without one."""
        try:
            headers = {**wire.headers, "Authorization": f"Bearer {self._settings.api_key.resolve()}"}
        except ConfigError as error:
            return misconfigured(error)
        try:
            http = self._http = self._http or httpx.AsyncClient(timeout=10)
            url, body = wire.url, thaw(wire.body) or None
            async with asyncio.timeout(20):  # httpx limits each wait, this limits their sum
                return await http.request(wire.method, url, headers=headers, json=body, extensions=CHECKED)
        except Exception as error:  # noqa: BLE001 - after any error the request may have been sent
            if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
                return unconnected(error, to="Switchboard", check="base_url of [providers.switchboard]")
            return unanswered(error, to="Switchboard")
