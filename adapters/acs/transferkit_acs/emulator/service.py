"""The resource that clients talk to: who may ask, what is published, and what tests may let happen."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, final
from uuid import uuid4

from attrs import evolve

from transferkit.emulators import CallView, EmulatedRequest, Emulator, Fault, Reply, RingingCall
from transferkit.identifiers import CommunicationUser, Identifier, PhoneNumber
from transferkit.provider.json import EMPTY
from transferkit.testing.signing import CallbackSigner
from transferkit_acs.callbacks import canonical_call_id
from transferkit_acs.emulator.access import AUDIENCE, check_signature, check_token
from transferkit_acs.emulator.calls import CHAIN_ID, Call, CallState, IncomingCall, Switchboard
from transferkit_acs.emulator.eventgrid import Delivery, EventGrid, EventSchema
from transferkit_acs.emulator.events import Announcer
from transferkit_acs.emulator.operations import Operations
from transferkit_acs.emulator.refusals import Refusal
from transferkit_acs.emulator.repeatability import RepeatableRequests
from transferkit_acs.emulator.routes import execution, route_for
from transferkit_acs.emulator.stories import Stories
from transferkit_acs.settings import ApiVersion

if TYPE_CHECKING:
    from transferkit.provider.clock import Clock

__all__ = ["AcsEmulator"]

CALLER: Final = PhoneNumber("+14255550150")
CALLEE: Final = PhoneNumber("+14255550151")
COLLEAGUE: Final = CommunicationUser(
    "8:acs:00000000-0000-4000-8000-000000000001_00000000-0000-4000-8000-000000000002"
)

_OPENID_PATH: Final = "/calling/.well-known/acsopenidconfiguration"
_KEYS_PATH: Final = "/calling/keys"
_RESOURCE_TYPE: Final = "Microsoft.Communication/CommunicationServices"
_TOKEN_LIFETIME: Final = timedelta(hours=1)
_BEARER: Final = "bearer "
_THROTTLED, _SERVER_ERROR = "8516", "9999"


@final
class AcsEmulator(Emulator):
    """One ACS resource, its Event Grid topic, and the keys that sign its callbacks.

    Requests are signed with `access_key`, or carry a token of `token()` or of an issuer that it was told to
    `trust`. Event Grid's deliveries carry `eventgrid_secret` in their address. `identity` is the
    application's own on its calls, unless a request names another. `clock` decides how old a repeatable
    request may be and which tokens are valid. Not emulated: media, recording, rooms and `connect`, muting,
    cancelling an invitation, moving participants.
    """

    name: ClassVar[str] = "acs"
    issuer: ClassVar[str] = "https://acscallautomation.communication.azure.com"
    incoming_path: ClassVar[str] = "/eventgrid"

    def __init__(
        self, *, pace: float = 0.02, clock: Clock | None = None, signer: CallbackSigner | None = None
    ) -> None:
        super().__init__(pace=pace, clock=clock, signer=signer)
        self.access_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.resource_id = str(uuid4())
        self.eventgrid_secret = secrets.token_urlsafe(24)
        self._entra = CallbackSigner(issuer=f"https://sts.windows.net/{uuid4()}/", clock=self.clock)
        self._issuers = [self._entra]
        self._repeatable = RepeatableRequests()
        self._switchboard = Switchboard()
        self._announcer = Announcer(self, resource_id=self.resource_id)
        self._stories = Stories(self, self._announcer)
        self.identity = CommunicationUser(f"8:acs:{self.resource_id}_{uuid4()}")
        self._operations = Operations(self, self._switchboard, self._stories, identity=self.identity)
        topic = f"/subscriptions/{uuid4()}/resourceGroups/emulator/providers/{_RESOURCE_TYPE}/emulator"
        self._event_grid = EventGrid(self, topic=topic, secret=self.eventgrid_secret)
        self._deliveries: dict[str, Delivery] = {}

    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The `[providers.acs]` table that points an adapter at this emulator."""
        table = {
            "connection_string": f"endpoint={base_url};accesskey={self.access_key}",
            "resource_id": self.resource_id,
            "eventgrid_secret": self.eventgrid_secret,
            "openid_url": f"{base_url}{_OPENID_PATH}",
            "issuers": [self.signer.issuer],
        }
        return table | ({"ca_file": str(ca_file)} if ca_file else {})

    # --- who may ask ----------------------------------------------------------------------------------

    def token(self, *, lifetime: timedelta | float = _TOKEN_LIFETIME) -> str:
        """A token as Entra issues it for ACS, valid for `lifetime` (seconds or a timedelta)."""
        return self._entra.token(audience=AUDIENCE, lifetime=lifetime)

    def trust(self, issuer: CallbackSigner) -> None:
        """Accept tokens of this issuer, too, if they are for `https://communication.azure.com`."""
        self._issuers.append(issuer)

    def _authenticate(self, request: EmulatedRequest) -> None:
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith(_BEARER):
            check_token(authorization[len(_BEARER) :], self._issuers, now=self.clock.now())
        else:
            check_signature(
                self.access_key,
                method=request.method,
                target=request.raw_target,
                headers=request.headers,
                body=request.body,
            )

    # --- requests -------------------------------------------------------------------------------------

    async def handle(self, request: EmulatedRequest) -> Reply:
        if request.path in {_OPENID_PATH, _KEYS_PATH}:
            return self._published_keys(request)
        try:
            reply = self._execute(request)
        except Refusal as refusal:
            reply = refusal.reply
        return evolve(reply, headers={**_common_headers(request), **reply.headers})

    def _published_keys(self, request: EmulatedRequest) -> Reply:
        """The OpenID document of the callbacks' signer, or its keys; anybody may read them."""
        if request.method != "GET":
            return Reply(status=HTTPStatus.METHOD_NOT_ALLOWED)
        if request.path == _KEYS_PATH:
            return Reply(status=HTTPStatus.OK, body=self.signer.jwks())
        document = self.signer.openid_configuration(f"{request.base_url}/calling")
        return Reply(status=HTTPStatus.OK, body=document)

    def _execute(self, request: EmulatedRequest) -> Reply:
        """Raises `Refusal`."""
        self._authenticate(request)
        version = _version(request)
        route, ids = route_for(request)
        execute = execution(route, self._operations, request, ids, version)
        try:
            if route.repeatable:
                return self._repeatable.once(
                    request, execute, confirmed=route.confirmed, now=self.clock.now()
                )
            return execute()()
        except Refusal as refusal:
            return self._about_call(refusal.reply, ids)

    def _about_call(self, refusal: Reply, ids: Mapping[str, str]) -> Reply:
        """The refusal, with the chain id of the call that it is about, unless that call is over."""
        call = self._switchboard.calls.get(canonical_call_id(ids.get("call", "")))
        if call is None or not call.is_open:
            return refusal
        return evolve(refusal, headers={CHAIN_ID: call.correlation_id, **refusal.headers})

    def reply_to_fault(self, fault: Fault) -> Reply:
        reply = super().reply_to_fault(fault)
        code = _THROTTLED if fault.status == HTTPStatus.TOO_MANY_REQUESTS else _SERVER_ERROR
        return evolve(reply, body={"error": {**reply.body["error"], "code": code}})

    # --- calls ----------------------------------------------------------------------------------------

    def place_call(self, *, callback_url: str, group: bool = False) -> str:
        """An established call, as after the application answered; returns its id.

        The caller is a phone number; on a group call there is an ACS user, too.
        """
        call = Call(
            own=self.identity,
            callback_url=callback_url,
            source=CALLER,
            targets=(CALLEE,),
            state=CallState.CONNECTED,
            incoming=True,
        )
        for someone in [CALLER, COLLEAGUE] if group else [CALLER]:
            call.join(someone)
        self._switchboard.add(call)
        self.journal.notify()
        return call.id

    def ring(
        self,
        *,
        callback_url: str,
        caller: Identifier = CALLER,
        callee: Identifier = CALLEE,
        custom_context: Mapping[str, Any] = EMPTY,
        age: timedelta | float = 0,
    ) -> RingingCall:
        """Let a call ring: Event Grid delivers its IncomingCall to `callback_url` (`…/acs/eventgrid`).

        An endpoint that is not subscribed yet is greeted first, and gets nothing where it does not answer as
        published. `age` (seconds or a timedelta) is how long the call has rung when the event arrives, as
        when earlier deliveries failed. Needs a running event loop.
        """
        call = IncomingCall(caller=caller, callee=callee, custom_context=custom_context)
        self._switchboard.incoming[call.context] = call
        span = age if isinstance(age, timedelta) else timedelta(seconds=age)
        self.start(self._announce(callback_url, call, span))
        self.journal.notify()
        return RingingCall(call_id=call.id, incoming_context=call.context)

    async def _announce(self, url: str, call: IncomingCall, age: timedelta) -> None:
        delivery = await self._event_grid.announce(url, call, age=age)
        if delivery is not None:
            self._deliveries[call.id] = delivery

    async def subscribe(self, url: str, *, schema: EventSchema = EventSchema.EVENT_GRID) -> bool:
        """Subscribe an endpoint to the calls that ring; returns whether it answered the handshake."""
        return await self._event_grid.subscribe(url, schema)

    def redeliver(self, call_id: str) -> None:
        """Deliver the IncomingCall of a ringing call once more, unchanged, as Event Grid may.

        Needs a running event loop. Raises `KeyError` for a call that was not delivered.
        """
        self.start(self._event_grid.deliver(self._deliveries[call_id]))

    def hang_up(self, call_id: str) -> None:
        """Let the caller hang up, on a created call whoever was called. Needs a running event loop.

        Raises `KeyError` for an unknown call.
        """
        incoming = self._switchboard.incoming_call(call_id)
        if incoming is not None:
            incoming.rings = False
            self.journal.notify()
            return
        call = self._switchboard.calls[canonical_call_id(call_id)]
        if call.state is CallState.TRANSFERRING and self.end_ringing(call.id, "caller_leaves"):
            return
        if call.is_open:
            self.start(self._stories.gone(call, call.first))
            self.end_ringing(call.id, "caller_leaves")  # nobody rings for a call that is over

    def executions(self, call_id: str) -> int:
        """How many transfers of this call, or redirects of this ringing call, were executed."""
        found = self._switchboard.calls.get(canonical_call_id(call_id))
        found_ringing = self._switchboard.incoming_call(call_id)
        return sum(one.executions for one in (found, found_ringing) if one is not None)

    def calls(self) -> tuple[CallView, ...]:
        """All calls: those that ring or rang, then the others."""
        rang = (
            CallView(
                id=call.id,
                provider=self.name,
                state="ringing" if call.rings else "taken",
                parties=(call.caller.raw_id, call.callee.raw_id),
                ringing=call.rings,
                executions=call.executions,
                marks=(call.context, call.correlation_id),
            )
            for call in self._switchboard.incoming.values()
        )
        others = (
            CallView(
                id=call.id,
                provider=self.name,
                state=call.state.value,
                parties=tuple(someone.raw_id for someone in call.people),
                group=call.group,
                executions=call.executions,
                marks=(call.correlation_id, call.server_call_id),
            )
            for call in self._switchboard.calls.values()
        )
        return (*rang, *others)


def _version(request: EmulatedRequest) -> ApiVersion:
    try:
        return ApiVersion(request.query.get("api-version", ""))
    except ValueError:
        message = "api-version is missing or not supported."
        raise Refusal(HTTPStatus.BAD_REQUEST, "8523", message, target="api-version") from None


def _common_headers(request: EmulatedRequest) -> dict[str, str]:
    """The recorded headers of every response; a client's own id is returned.

    A response that is not about an open call has a chain id of its own.
    """
    headers = {CHAIN_ID: str(uuid4()), "X-Cache": "CONFIG_NOCACHE"}
    client_id = request.headers.get("x-ms-client-request-id")
    return headers if client_id is None else headers | {"x-ms-client-request-id": client_id}
