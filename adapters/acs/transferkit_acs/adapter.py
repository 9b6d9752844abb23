"""The adapter: Azure Communication Services Call Automation behind transferkit's contract.

The SDK loads when the first request leaves, so that planning and decoding stay cheap.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final
from uuid import uuid4

from attrs import evolve

from transferkit.provider.adapter import (
    Adapter,
    Callback,
    CallbackRoute,
    CheckResult,
    HandshakeResponse,
    Inspection,
    Submission,
)
from transferkit.provider.capabilities import Capabilities, Plan, plan
from transferkit.provider.clock import SystemClock
from transferkit.provider.facts import Fact
from transferkit.provider.results import Presence, SubmitResult
from transferkit.requests import Call, Request, WireRequest
from transferkit_acs import callbacks, handshakes
from transferkit_acs.answers import NoReply, Reply, answer_of, answer_without_reply, inspection_of
from transferkit_acs.capabilities import RINGING, capabilities_of, further_problems
from transferkit_acs.settings import AcsSettings
from transferkit_acs.sip_headers import with_uui

if TYPE_CHECKING:
    from azure.communication.callautomation.aio import CallAutomationClient

    from transferkit.provider.clock import Clock
    from transferkit_acs.auth import EntraCredential

__all__ = ["AcsAdapter"]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Operation = Callable[["CallAutomationClient", dict[str, Any]], Awaitable[object]]


@final
class AcsAdapter(Adapter):
    """Transfers and redirects calls of Azure Communication Services."""

    name: ClassVar[str] = callbacks.PROVIDER
    settings_class: ClassVar[type[Any]] = AcsSettings
    noisy_loggers: ClassVar[tuple[str, ...]] = ("azure", "msal")
    callback_paths: ClassVar[tuple[str, ...]] = ("", f"/{callbacks.EVENT_GRID}")

    def __init__(self, settings: AcsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._capabilities = capabilities_of(settings.api_version)
        self._clock = clock or SystemClock()
        self._client: CallAutomationClient | None = None
        self._tokens: EntraCredential | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the api-version can carry."""
        return self._capabilities

    def plan(self, request: Request) -> Plan:
        """Hold the request against the capabilities, and against what they cannot say."""
        if request.context.sip:
            request = evolve(request, context=evolve(request.context, sip=with_uui(request.context.sip)))
        planned = plan(request, self.capabilities)
        more = tuple(further_problems(planned.request, self._settings.api_version))
        return evolve(planned, problems=(*planned.problems, *more)) if more else planned

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        """A GUID in lower case, as events have it; any other id as it is."""
        return callbacks.canonical_call_id(call_id)

    # --- the way out --------------------------------------------------------------------------------

    async def wire(self, submission: Submission) -> WireRequest:
        """The exact request that `submit` would send, as the SDK makes it, with placeholder credentials."""
        from transferkit_acs.sdk import show

        return await show(self._settings, submission)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Send once and say how it went."""
        from transferkit_acs.sdk import send

        async def operation(client: CallAutomationClient, options: dict[str, Any]) -> None:
            await send(client, submission, self._settings, **options)

        with submission.deadline.in_force():
            came = await self._ask(operation)
        return answer_of(came, now=self._clock.now()) if isinstance(came, Reply) else came

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - ACS has none
        """Ask ACS about the call. Of a call that still rings it says nothing."""
        if call.id.startswith(RINGING):
            return Inspection(presence=Presence.UNKNOWN)

        async def operation(client: CallAutomationClient, options: dict[str, Any]) -> None:
            await client.get_call_connection(call.id).get_call_properties(**options)

        came = await self._ask(operation)
        if isinstance(came, Reply):
            return inspection_of(came)
        return Inspection(presence=Presence.UNKNOWN, result=came.result)

    async def check(self) -> tuple[CheckResult, ...]:
        """Ask ACS for a call that there is not: who may ask is told that there is none."""
        from transferkit_acs.check import judged

        async def operation(client: CallAutomationClient, options: dict[str, Any]) -> None:
            await client.get_call_connection(str(uuid4())).get_call_properties(**options)

        came = await self._ask(operation)
        return judged(came, self._settings, now=self._clock.now())

    async def _ask(self, operation: Operation) -> Reply | NoReply:
        """One call of the SDK: the answer that came, whatever the SDK makes of it, or why none came."""
        from transferkit_acs.sdk import Exchange

        exchange = Exchange()
        try:
            # Bounds an answer that trickles in: each of its parts is within the SDK's own limit.
            async with asyncio.timeout(2 * self._settings.timeout):
                await operation(self._open(), {"exchange": exchange})
        except Exception as error:  # noqa: BLE001 - nothing that comes from outside may be raised
            if exchange.answer is None:
                return answer_without_reply(error, left=exchange.left)
        return exchange.reply

    def _open(self) -> CallAutomationClient:
        """The SDK's client, made when first needed. Raises `ConfigError`."""
        from transferkit_acs.auth import EntraCredential, connect
        from transferkit_acs.sdk import open_client

        if self._client is None:
            endpoint, credential = connect(self._settings)
            self._tokens = credential if isinstance(credential, EntraCredential) else None
            self._client = open_client(self._settings, endpoint, credential)
        return self._client

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        tokens, self._tokens = self._tokens, None
        if client is not None:
            await client.close()
        if tokens is not None:  # the SDK leaves it to whoever made it
            await tokens.close()

    # --- the way in ---------------------------------------------------------------------------------

    def route(self, path: str) -> CallbackRoute | None:
        """`""` and `/<transfer id>` are mid-call callbacks, `/eventgrid` is Event Grid's."""
        if path == f"/{callbacks.EVENT_GRID}":
            return CallbackRoute(
                name=callbacks.EVENT_GRID,
                policy=self._settings.eventgrid_policy,
                secrets=self._settings.eventgrid_secrets,
                needs="providers.acs.eventgrid_secret (and add ?secret=… to the subscription's address) "
                "or providers.acs.eventgrid_audience",
                methods=("POST", "OPTIONS"),
            )
        transfer_id = path.removeprefix("/")
        if transfer_id and not _UUID.fullmatch(transfer_id):
            return None
        return CallbackRoute(
            name="",
            policy=self._settings.call_policy,
            needs="providers.acs.resource_id",
            transfer_id=transfer_id.lower() or None,
        )

    def refusal_hint(self, route: CallbackRoute, headers: Mapping[str, str]) -> str | None:
        """Where Event Grid's requests belong, if they came to a call's path."""
        if route.name == callbacks.EVENT_GRID or not handshakes.looks_like_event_grid(headers):
            return None
        return (
            f"it looks like Event Grid's, which belongs at /{self.name}/{callbacks.EVENT_GRID}: "
            "correct the endpoint of the event subscription"
        )

    def handshake(self, callback: Callback) -> HandshakeResponse | None:
        """Event Grid's two handshakes."""
        return handshakes.handshake(callback)

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """What a callback says."""
        return callbacks.decode(callback)
