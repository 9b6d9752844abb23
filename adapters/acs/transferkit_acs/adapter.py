"""The ACS adapter: one operation of the official SDK for each submission, and what its response proves.

A hold, resume or join whose participant is not given is preceded by two queries, and a hold or resume is
followed by queries. The SDK is imported with the first request, so that planning and decoding stay cheap.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, final
from urllib.parse import quote, unquote
from uuid import uuid4

from attrs import evolve
from transferkit_microsoft.ids import GUID
from transferkit_microsoft.responses import HttpResponse, NoResponse
from transferkit_microsoft.settings import run_all

from transferkit.errors import ConfigError
from transferkit.identifiers import Identifier
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
from transferkit.provider.http import misconfigured
from transferkit.provider.results import NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit.requests import (
    AnswerCall,
    Call,
    HandoverFields,
    Hold,
    Join,
    PlaceCall,
    Request,
    Resume,
    WireRequest,
)
from transferkit_acs import callbacks, handshakes
from transferkit_acs.capabilities import RINGING, capabilities_of, further_problems
from transferkit_acs.inspection import inspection_of
from transferkit_acs.participants import UNRESOLVED, is_on_hold, only_other_party
from transferkit_acs.reasons import ACS
from transferkit_acs.settings import AcsSettings
from transferkit_acs.sip_headers import with_uui

if TYPE_CHECKING:
    from transferkit.provider.clock import Clock
    from transferkit_acs.auth import EntraCredential
    from transferkit_acs.sdk import Exchange, SdkClient

__all__ = ["AcsAdapter"]

_CALLS = "/calls/"
_CONFIRMATION_PAUSES = (0.0, 0.2, 0.4, 0.8, 1.6)
"""How long to wait before each query whether a hold or resume has taken effect, in seconds."""
_UUID = re.compile(GUID)
_CHECK_KEY = (
    "Copy the connection string from the resource's keys again, and check this machine's clock, which the "
    "signature depends on."
)
_CHECK_TOKEN = "Check endpoint and the keys of the credential in [providers.acs]."  # noqa: S105 - advice
_CHECK_ROLE = "Give the application or identity a role on the Communication Services resource."

Operation = Callable[["SdkClient", "Exchange"], Awaitable[None]]


@final
class AcsAdapter(Adapter):
    """Azure Communication Services: transfers, redirects and call steps."""

    name: ClassVar[str] = callbacks.PROVIDER
    settings_class: ClassVar[type[Any]] = AcsSettings
    noisy_loggers: ClassVar[tuple[str, ...]] = ("azure", "msal")
    callback_paths: ClassVar[tuple[str, ...]] = ("", f"/{callbacks.EVENT_GRID}")

    def __init__(self, settings: AcsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._capabilities = capabilities_of(settings.api_version)
        self._clock = clock or SystemClock()
        self._client: SdkClient | None = None
        self._tokens: EntraCredential | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the api-version supports."""
        return self._capabilities

    def plan(self, request: Request) -> Plan:
        """Check the request against the capabilities and the rules for several fields. Pure."""
        if isinstance(request, HandoverFields) and request.context.sip:
            request = evolve(request, context=evolve(request.context, sip=with_uui(request.context.sip)))
        planned = plan(request, self.capabilities)
        more = tuple(further_problems(planned.request, self._settings.api_version))
        return evolve(planned, problems=(*planned.problems, *more)) if more else planned

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        """A GUID in lower case, as events have it; any other id unchanged."""
        return callbacks.canonical_call_id(call_id)

    # --- requests -----------------------------------------------------------------------------------

    async def wire(self, submission: Submission) -> WireRequest:
        """The exact request that `submit` would send, as the SDK makes it, with placeholder credentials."""
        from transferkit_acs.sdk import show

        request = submission.request
        if isinstance(request, Hold | Resume | Join) and request.participant is None:
            submission = evolve(submission, request=evolve(request, participant=UNRESOLVED))
        return await show(self._settings, submission)

    async def submit(self, submission: Submission) -> SubmitResult:
        with submission.deadline.in_force():
            request = submission.request
            if isinstance(request, Hold | Resume | Join) and request.participant is None:
                call_id = request.other if isinstance(request, Join) else request.call.id
                found = await self._other_party(call_id)
                if not isinstance(found, Identifier):
                    return found
                submission = evolve(submission, request=evolve(request, participant=found))
            response = await self._send(submission)
            if not isinstance(response, HttpResponse):
                return response
            result = ACS.submit_result(response, now=self._clock.now())
            if not isinstance(result, Submitted):
                return result
            match submission.request:
                case AnswerCall() | PlaceCall():
                    created = response.json.text("callconnectionid")
                    result = evolve(result, call_id=created and self.canonical_call_id(created))
                case Hold() | Resume() as held if await self._is_confirmed(held):
                    result = evolve(result, done=True)
            return result

    async def _send(self, submission: Submission) -> HttpResponse | NoResponse:
        return await self._exchange(lambda client, exchange: client.send(submission, exchange))

    async def _other_party(self, call_id: str) -> Identifier | NotSent | Rejected:
        """The only party of a call besides the application, or why the request that needs it is not sent."""
        call = await self._query(quote(call_id, safe=""))
        if isinstance(call, HttpResponse) and call.status == HTTPStatus.OK:
            listed = await self._participants(call_id)
            if isinstance(listed, HttpResponse) and listed.status == HTTPStatus.OK:
                return only_other_party(call, listed)
            call = listed
        if not isinstance(call, HttpResponse):
            return call if isinstance(call, Rejected) else NotSent(result=call.result)
        answer = ACS.submit_result(call, now=self._clock.now())
        return answer if isinstance(answer, NotSent | Rejected) else NotSent(result=ACS.result(call))

    async def _is_confirmed(self, request: Hold | Resume) -> bool:
        """Whether ACS soon lists the participant as on hold, or as not on hold after a resume.

        A success has no event of its own, and `HoldFailed` may follow the acceptance.
        """
        if request.participant is None:
            return False
        for pause in _CONFIRMATION_PAUSES:
            await asyncio.sleep(pause)
            listed = await self._participants(request.call.id)
            if not isinstance(listed, HttpResponse) or listed.status != HTTPStatus.OK:
                return False
            if is_on_hold(listed, request.participant) is isinstance(request, Hold):
                return True
        return False

    async def _participants(self, call_id: str) -> HttpResponse | NoResponse:
        return await self._query(f"{quote(call_id, safe='')}/participants")

    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:  # noqa: ARG002 - ACS has none
        if call.id.startswith(RINGING):
            return Inspection(presence=Presence.UNKNOWN)
        response = await self._query(quote(call.id, safe=""))
        if isinstance(response, HttpResponse):
            return inspection_of(response)
        return Inspection(presence=Presence.UNKNOWN, result=response.result)

    def check_secrets(self) -> None:
        from transferkit_microsoft.entra import read_secrets

        settings = self._settings
        steps: list[Callable[[], object]] = [settings.ssl_context, partial(read_secrets, settings)]
        if settings.connection_string is not None:
            steps.append(settings.read_connection_string)
        run_all(settings.table, *steps)

    async def check(self) -> tuple[CheckResult, ...]:
        """Query a call that does not exist: ACS responds 404 to credentials that may query calls."""
        response = await self._query(str(uuid4()))
        credentials = _CHECK_TOKEN if self._settings.uses_entra else _CHECK_KEY
        refusals = {401: credentials, 403: _CHECK_ROLE}
        return (ACS.check_result(response, refusals=refusals, now=self._clock.now()),)

    async def _query(self, path: str) -> HttpResponse | NoResponse:
        return await self._exchange(lambda client, exchange: client.query(path, exchange))

    async def _exchange(self, operation: Operation) -> HttpResponse | NoResponse:
        """One operation of the SDK: the response, whatever the SDK makes of it, or why there is none."""
        from transferkit_acs.auth import NoToken
        from transferkit_acs.sdk import Exchange

        exchange = Exchange()
        try:
            # Limits a response that arrives byte by byte: the SDK's limit is for each part.
            async with asyncio.timeout(2 * self._settings.timeout):
                await operation(self._open(), exchange)
        except ConfigError as error:
            return misconfigured(error)
        except NoToken as error:
            if exchange.response is None:  # else ACS refused the first token, and there is no other
                return error.result
        except Exception as error:  # noqa: BLE001 - no exception of the SDK or the network may be raised
            if exchange.response is None:
                # The SDK has one error for all failures, also after the request was sent: the cause decides.
                cause = getattr(error, "inner_exception", None) or error
                return ACS.failure(cause, sent=exchange.sent)
        result = exchange.result
        if result.status == HTTPStatus.UNAUTHORIZED and self._tokens is not None:
            self._tokens.forget()
        return result

    def _open(self) -> SdkClient:
        """The SDK's client, created for the first request. Raises `ConfigError`."""
        from transferkit_acs.auth import EntraCredential, connect
        from transferkit_acs.sdk import SdkClient

        if self._client is None:
            endpoint, credential = connect(self._settings)
            self._tokens = credential if isinstance(credential, EntraCredential) else None
            self._client = SdkClient(self._settings, endpoint, credential)
        return self._client

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        tokens, self._tokens = self._tokens, None
        if client is not None:
            await client.close()
        if tokens is not None:  # the SDK does not close it
            await tokens.close()

    # --- callbacks ----------------------------------------------------------------------------------

    def route(self, path: str) -> CallbackRoute | None:
        """The paths of callbacks.

        `""` and `/<request id>` are those of mid-call callbacks, `/calls/<id>` that of a call which the step
        with this id placed, or which was answered under this id; `/eventgrid` is Event Grid's.
        """
        if path == f"/{callbacks.EVENT_GRID}":
            return CallbackRoute(
                name=callbacks.EVENT_GRID,
                policy=self._settings.eventgrid_policy,
                secrets=self._settings.eventgrid_secrets,
                needs="providers.acs.eventgrid_secret (and add ?secret=… to the subscription's address) "
                "or providers.acs.eventgrid_audience",
                methods=("POST", "OPTIONS"),
            )
        placed_by = unquote(path.removeprefix(_CALLS)) if path.startswith(_CALLS) else None
        transfer_id = path.removeprefix("/") if placed_by is None else ""
        if placed_by is not None and not (_UUID.fullmatch(placed_by) or placed_by.startswith(RINGING)):
            return None
        if transfer_id and not _UUID.fullmatch(transfer_id):
            return None
        return CallbackRoute(
            name="",
            policy=self._settings.call_policy,
            needs="providers.acs.resource_id",
            transfer_id=transfer_id.lower() or None,
            placed_by=placed_by and self.canonical_call_id(placed_by),
        )

    def refusal_hint(self, route: CallbackRoute, headers: Mapping[str, str]) -> str | None:
        """The path for requests of Event Grid, if they arrive at a call's path."""
        if route.name == callbacks.EVENT_GRID or not handshakes.looks_like_event_grid(headers):
            return None
        return (
            f"it looks like a request of Event Grid, whose path is /{self.name}/{callbacks.EVENT_GRID}: "
            "correct the endpoint of the event subscription"
        )

    def handshake(self, callback: Callback) -> HandshakeResponse | None:
        """The response to Event Grid's two handshakes."""
        return handshakes.handshake(callback)

    @classmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """The facts in a callback."""
        return callbacks.decode(callback)
