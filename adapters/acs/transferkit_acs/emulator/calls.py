"""The calls of one resource, and their JSON."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, final
from uuid import uuid4

from attrs import Factory, define, field

from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.provider.json import EMPTY
from transferkit_acs.callbacks import canonical_call_id
from transferkit_acs.capabilities import RINGING
from transferkit_acs.emulator.errors import AcsError, call_not_found
from transferkit_acs.identities import phone_model_of, response_model_of
from transferkit_acs.settings import ApiVersion

__all__ = ["CHAIN_ID", "Call", "CallState", "Calls", "IncomingCall", "opaque"]

CHAIN_ID: Final = "X-Microsoft-Skype-Chain-ID"
"""The response header with the correlation id of the request's call."""

_CONTEXT_BYTES = 3072


class CallState(StrEnum):
    """The values of `callConnectionState`."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    TRANSFERRING = "transferring"
    TRANSFER_ACCEPTED = "transferAccepted"
    DISCONNECTED = "disconnected"


def opaque(size: int = 24) -> str:
    """A random id or context."""
    return base64.b64encode(secrets.token_bytes(size)).decode()


@final
@define(kw_only=True)
class Call:
    """An outgoing or answered call.

    * `own`: the application's identity.
    * `people`: the other participants, in the order in which they joined.
    * `held`: the raw ids of the participants who are on hold.
    * `invitations`: the participants who are being added, by invitation id.
    * `version`: the API version of the call's events. For a placed call it is that of the first operation.
    """

    own: Identifier
    callback_url: str
    source: Identifier
    targets: tuple[Identifier, ...]
    version: ApiVersion | None = None
    state: CallState = CallState.CONNECTING
    people: list[Identifier] = field(factory=list)
    held: set[str] = field(factory=set)
    invitations: dict[str, Identifier] = field(factory=dict)
    group: bool = False
    incoming: bool = False
    context: str | None = None
    caller_id: PhoneNumber | None = None
    display_name: str | None = None
    answered_by: str | None = None
    id: str = Factory(lambda: str(uuid4()))
    server_call_id: str = field(factory=opaque)
    correlation_id: str = Factory(lambda: str(uuid4()))
    executions: int = 0
    rosters: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the application is still on the call."""
        return self.state is not CallState.DISCONNECTED

    @property
    def other_party(self) -> Identifier:
        """The participant who joined first; if no one joined, the caller or the first target."""
        candidates = [*self.people, self.source] if self.incoming else [*self.people, *self.targets]
        return candidates[0]

    @property
    def event_version(self) -> ApiVersion:
        """The API version of the call's events."""
        return self.version or max(ApiVersion)

    @property
    def roster(self) -> list[Identifier]:
        """All participants including the application. As recorded, the caller is first."""
        callers = 1 if self.incoming else 0
        return [*self.people[:callers], self.own, *self.people[callers:]]

    def properties(self, version: ApiVersion) -> dict[str, Any]:
        """`CallConnectionProperties`.

        As recorded, a created call has no `serverCallId` before it is connected, and always has a
        `sourceDisplayName`, which may be empty.
        """
        is_new = self.state is CallState.CONNECTING and not self.incoming
        properties: dict[str, Any] = {
            "callConnectionId": self.id,
            "serverCallId": None if is_new else self.server_call_id,
            "source": response_model_of(self.source),
            "targets": [response_model_of(target) for target in self.targets],
            "callConnectionState": self.state.value,
            "callbackUri": self.callback_url,
            "sourceCallerIdNumber": None if self.caller_id is None else phone_model_of(self.caller_id),
            "sourceDisplayName": self.display_name if self.incoming else self.display_name or "",
            "correlationId": self.correlation_id,
            "answeredBy": None if self.answered_by is None else {"id": self.answered_by},
        }
        if self.incoming and version >= ApiVersion.V2024_09_15:
            numbers = [target for target in self.targets if isinstance(target, PhoneNumber)]
            properties["answeredFor"] = phone_model_of(numbers[0]) if numbers else None
        return {name: value for name, value in properties.items() if value is not None}

    def participant(self, identifier: Identifier, version: ApiVersion) -> dict[str, Any]:
        """`CallParticipant`."""
        participant = {"identifier": response_model_of(identifier), "isMuted": False}
        on_hold = {"isOnHold": identifier.raw_id in self.held}
        return participant | (on_hold if version >= ApiVersion.V2024_09_15 else {})

    def has(self, person: Identifier) -> bool:
        """Whether this person is on the call."""
        return person.raw_id in {each.raw_id for each in self.people}

    def join(self, person: Identifier) -> None:
        """Add a person. A call with two people besides the application becomes, and stays, a group call."""
        if not self.has(person):
            self.people.append(person)
        self.group = self.group or len(self.people) > 1

    def leave(self, person: Identifier) -> None:
        """Remove a person."""
        self.people = [each for each in self.people if each.raw_id != person.raw_id]
        self.held.discard(person.raw_id)


@final
@define(kw_only=True)
class IncomingCall:
    """An incoming call: `context` is what answers or redirects it; it has no connection id yet."""

    caller: Identifier
    callee: Identifier
    custom_context: Mapping[str, Any] = EMPTY
    correlation_id: str = Factory(lambda: str(uuid4()))
    server_call_id: str = field(factory=opaque)
    context: str = field(factory=lambda: opaque(_CONTEXT_BYTES), repr=False)
    rings: bool = True
    executions: int = 0

    @property
    def id(self) -> str:
        """The call id of its `call.incoming` event in transferkit."""
        return f"{RINGING}{self.correlation_id}"


@final
@define
class Calls:
    """All calls, the oldest first; `incoming` by their context."""

    by_id: dict[str, Call] = field(factory=dict)
    incoming: dict[str, IncomingCall] = field(factory=dict)

    def add(self, call: Call) -> Call:
        """Add a new call."""
        self.by_id[call.id] = call
        return call

    def open_call(self, call_id: str) -> Call:
        """The call with this id. Raises `AcsError` if it does not exist or has ended."""
        call = self.by_id.get(canonical_call_id(call_id))
        if call is None or not call.is_open:
            raise call_not_found()
        return call

    def connected_call(self, call_id: str) -> Call:
        """The call with this id. Raises `AcsError` unless it is connected."""
        call = self.open_call(call_id)
        if call.state is CallState.CONNECTING:
            raise AcsError(400, "8501", "Action is invalid when call is not in Established state")
        if call.state is not CallState.CONNECTED:
            raise AcsError(409, "8607", "A transfer of this call is in progress.")
        return call

    def waiting_call(self) -> Call | None:
        """The latest connected call of a caller, the one on hold if there is one."""
        latest_first = reversed(self.by_id.values())
        callers = [call for call in latest_first if call.incoming and call.state is CallState.CONNECTED]
        return max(callers, key=lambda call: bool(call.held), default=None)

    def ringing_call(self, context: str) -> IncomingCall:
        """The incoming call with this context. Raises `AcsError` if it no longer rings."""
        call = self.incoming.get(context)
        if call is None or not call.rings:
            raise call_not_found()
        return call

    def incoming_call(self, call_id: str) -> IncomingCall | None:
        """The incoming call with this id, which may no longer ring."""
        return next((call for call in self.incoming.values() if call.id == call_id), None)
