"""The emulator of one ACS resource: requests, credentials, and what tests control."""

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
from transferkit_acs.emulator.call_flows import CallFlows
from transferkit_acs.emulator.calls import CHAIN_ID, Call, Calls, CallState, IncomingCall
from transferkit_acs.emulator.errors import AcsError
from transferkit_acs.emulator.eventgrid import Delivery, EventGrid, EventSchema
from transferkit_acs.emulator.events import EventSender
from transferkit_acs.emulator.operations import Operations
from transferkit_acs.emulator.repeatability import RepeatableRequests
from transferkit_acs.emulator.routes import execution, route_for
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

    * `access_key`: the key that signs requests. Requests may instead have a token from `token()`, or from an
      issuer that was passed to `trust`.
    * `eventgrid_secret`: the secret in the addresses of Event Grid's deliveries.
    * `identity`: the application's identity on its calls, unless a request names another.
    * `clock`: decides which repeatable requests and tokens are still valid.

    Not emulated: media, recording, rooms and `connect`, and muting.
    """

    name: ClassVar[str] = "acs"
    needs_tls: ClassVar[bool] = True  # the SDKs use https whatever scheme a connection string has
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
        self._calls = Calls()
        self._flows = CallFlows(self, self._calls, EventSender(self, resource_id=self.resource_id))
        self.identity = CommunicationUser(f"8:acs:{self.resource_id}_{uuid4()}")
        self._operations = Operations(self, self._calls, self._flows, identity=self.identity)
        topic = f"/subscriptions/{uuid4()}/resourceGroups/emulator/providers/{_RESOURCE_TYPE}/emulator"
        self._event_grid = EventGrid(self, topic=topic, secret=self.eventgrid_secret)
        self._deliveries: dict[str, Delivery] = {}

    def config(self, base_url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
        table = {
            "connection_string": f"endpoint={base_url};accesskey={self.access_key}",
            "resource_id": self.resource_id,
            "eventgrid_secret": self.eventgrid_secret,
            "openid_url": f"{base_url}{_OPENID_PATH}",
            "issuers": [self.signer.issuer],
        }
        return table | ({"ca_file": str(ca_file)} if ca_file else {})

    # --- credentials ----------------------------------------------------------------------------------

    def token(self, *, lifetime: timedelta | float = _TOKEN_LIFETIME) -> str:
        """A token such as Entra issues for ACS, valid for `lifetime` (seconds or a timedelta)."""
        return self._entra.token(audience=AUDIENCE, lifetime=lifetime)

    def trust(self, issuer: CallbackSigner) -> None:
        """Also accept tokens of this issuer for the audience `https://communication.azure.com`."""
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
        if document := self.signer_document(request, openid_path=_OPENID_PATH, keys_path=_KEYS_PATH):
            return document
        try:
            reply = self._execute(request)
        except AcsError as error:
            reply = error.reply
        return evolve(reply, headers={**_common_headers(request), **reply.headers})

    def _execute(self, request: EmulatedRequest) -> Reply:
        """Execute a request to ACS. Raises `AcsError`."""
        self._authenticate(request)
        version = _version(request)
        route, ids = route_for(request, version)
        execute = execution(route, self._operations, request, ids, version)
        try:
            if route.repeatable:
                return self._repeatable.once(
                    request, execute, confirmed=route.confirmed, now=self.clock.now()
                )
            return execute()()
        except AcsError as error:
            return self._with_chain_id(error.reply, ids)

    def _with_chain_id(self, reply: Reply, ids: Mapping[str, str]) -> Reply:
        """An error response with the chain id of the request's call, unless that call has ended."""
        call = self._calls.by_id.get(canonical_call_id(ids.get("call", "")))
        if call is None or not call.is_open:
            return reply
        return evolve(reply, headers={CHAIN_ID: call.correlation_id, **reply.headers})

    def reply_to_fault(self, fault: Fault) -> Reply:
        reply = super().reply_to_fault(fault)
        code = _THROTTLED if fault.status == HTTPStatus.TOO_MANY_REQUESTS else _SERVER_ERROR
        return evolve(reply, body={"error": {**reply.body["error"], "code": code}})

    # --- calls ----------------------------------------------------------------------------------------

    def place_call(self, *, callback_url: str, group: bool = False, caller: Identifier = CALLER) -> str:
        """Add an established call, as after the application answered; returns its id.

        A group call also has an ACS user.
        """
        call = Call(
            own=self.identity,
            callback_url=callback_url,
            source=caller,
            targets=(CALLEE,),
            state=CallState.CONNECTED,
            incoming=True,
            answered_by=self.identity.raw_id,
        )
        for person in [caller, COLLEAGUE] if group else [caller]:
            call.join(person)
        self._calls.add(call)
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
        """Add an incoming call, whose event Event Grid delivers to `callback_url` (`…/acs/eventgrid`).

        A new endpoint is subscribed first; nothing is delivered if it does not answer the handshake. `age`
        (seconds or a timedelta) is how long the call has been ringing, as if earlier deliveries had failed.
        Needs a running event loop.
        """
        call = IncomingCall(caller=caller, callee=callee, custom_context=custom_context)
        self._calls.incoming[call.context] = call
        span = age if isinstance(age, timedelta) else timedelta(seconds=age)
        self.start(self._announce(callback_url, call, span))
        self.journal.notify()
        return RingingCall(call_id=call.id, incoming_context=call.context)

    async def _announce(self, url: str, call: IncomingCall, age: timedelta) -> None:
        delivery = await self._event_grid.announce(url, call, age=age)
        if delivery is not None:
            self._deliveries[call.id] = delivery

    async def subscribe(self, url: str, *, schema: EventSchema = EventSchema.EVENT_GRID) -> bool:
        """Subscribe an endpoint to incoming calls; returns whether it answered the handshake."""
        return await self._event_grid.subscribe(url, schema)

    def redeliver(self, call_id: str) -> None:
        """Deliver the event of an incoming call again, unchanged, as Event Grid may.

        Needs a running event loop. Raises `KeyError` for a call whose event was not delivered.
        """
        self.start(self._event_grid.deliver(self._deliveries[call_id]))

    def hang_up(self, call_id: str) -> None:
        """Have the other party hang up. Needs a running event loop. Raises `KeyError` for an unknown call."""
        incoming = self._calls.incoming_call(call_id)
        if incoming is not None:
            incoming.rings = False
            self.journal.notify()
            return
        call = self._calls.by_id[canonical_call_id(call_id)]
        if call.state is CallState.TRANSFERRING and self.end_ringing(call.id, "caller_leaves"):
            return
        if call.is_open:
            self.start(self._flows.left(call, call.other_party))
            self.end_ringing(call.id, "caller_leaves")  # a target does not ring for an ended call

    def executions(self, call_id: str) -> int:
        call = self._calls.by_id.get(canonical_call_id(call_id)) or self._calls.incoming_call(call_id)
        return 0 if call is None else call.executions

    def calls(self) -> tuple[CallView, ...]:
        """All calls, the incoming ones first."""
        incoming = (
            CallView(
                id=call.id,
                provider=self.name,
                state="ringing" if call.rings else "taken",
                parties=(call.caller.raw_id, call.callee.raw_id),
                ringing=call.rings,
                executions=call.executions,
                marks=(call.context, call.correlation_id),
            )
            for call in self._calls.incoming.values()
        )
        others = (
            CallView(
                id=call.id,
                provider=self.name,
                state=call.state.value,
                parties=tuple(person.raw_id for person in call.people),
                group=call.group,
                executions=call.executions,
                marks=(call.correlation_id, call.server_call_id),
            )
            for call in self._calls.by_id.values()
        )
        return (*incoming, *others)


def _version(request: EmulatedRequest) -> ApiVersion:
    try:
        return ApiVersion(request.query.get("api-version", ""))
    except ValueError:
        message = "api-version is missing or not supported."
        raise AcsError(HTTPStatus.BAD_REQUEST, "8523", message, target="api-version") from None


def _common_headers(request: EmulatedRequest) -> dict[str, str]:
    """The recorded headers of every response, including the client's request id.

    A response that does not belong to an open call has a random chain id.
    """
    headers = {CHAIN_ID: str(uuid4()), "X-Cache": "CONFIG_NOCACHE"}
    client_id = request.headers.get("x-ms-client-request-id")
    return headers if client_id is None else headers | {"x-ms-client-request-id": client_id}
