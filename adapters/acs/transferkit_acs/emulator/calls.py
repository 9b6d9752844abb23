"""The calls of one resource, as the service keeps them and as it shows them."""

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
from transferkit_acs.emulator.refusals import Refusal, call_not_found
from transferkit_acs.identities import phone_model_of, response_model_of
from transferkit_acs.settings import ApiVersion

__all__ = ["CHAIN_ID", "Call", "CallState", "IncomingCall", "Switchboard", "opaque"]

CHAIN_ID: Final = "X-Microsoft-Skype-Chain-ID"
"""The response header with the correlation id of the call that a request was about."""

_CONTEXT_BYTES = 3072


class CallState(StrEnum):
    """`callConnectionState`; the values are the wire's."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    TRANSFERRING = "transferring"
    TRANSFER_ACCEPTED = "transferAccepted"
    DISCONNECTED = "disconnected"


def opaque(size: int = 24) -> str:
    """An id or context that says nothing to its reader."""
    return base64.b64encode(secrets.token_bytes(size)).decode()


@final
@define(kw_only=True)
class Call:
    """A call that was created, answered or placed; `people` are its participants besides the application.

    `own` is the application's own identity. `version` shapes the events. Of a placed call it is that of the
    first operation on it.
    """

    own: Identifier
    callback_url: str
    source: Identifier
    targets: tuple[Identifier, ...]
    version: ApiVersion | None = None
    state: CallState = CallState.CONNECTING
    people: list[Identifier] = field(factory=list)
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
        """Whether the application is still on it."""
        return self.state is not CallState.DISCONNECTED

    @property
    def first(self) -> Identifier:
        """The other party: who is on the call longest, else who called or was called."""
        there = [*self.people, self.source] if self.incoming else [*self.people, *self.targets]
        return there[0]

    @property
    def shape(self) -> ApiVersion:
        """The api-version of its events."""
        return self.version or max(ApiVersion)

    @property
    def roster(self) -> list[Identifier]:
        """All participants, the application included. As recorded, the one who called comes first."""
        callers = 1 if self.incoming else 0
        return [*self.people[:callers], self.own, *self.people[callers:]]

    def properties(self, version: ApiVersion) -> dict[str, Any]:
        """`CallConnectionProperties`.

        As recorded, a created call has no `serverCallId` before it connects; its `sourceDisplayName` may be
        empty, and is always there.
        """
        is_new = self.state is CallState.CONNECTING and not self.incoming
        shown: dict[str, Any] = {
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
            shown["answeredFor"] = phone_model_of(numbers[0]) if numbers else None
        return {name: value for name, value in shown.items() if value is not None}

    def participant(self, someone: Identifier, version: ApiVersion) -> dict[str, Any]:
        """`CallParticipant`."""
        shown = {"identifier": response_model_of(someone), "isMuted": False}
        return shown | ({"isOnHold": False} if version >= ApiVersion.V2024_09_15 else {})

    def has(self, someone: Identifier) -> bool:
        """Whether this person is on the call."""
        return someone.raw_id in {one.raw_id for one in self.people}

    def join(self, someone: Identifier) -> None:
        """Let somebody in; with a third party it is a group call, and stays one."""
        if not self.has(someone):
            self.people.append(someone)
        self.group = self.group or len(self.people) > 1

    def leave(self, someone: Identifier) -> None:
        """Let somebody go."""
        self.people = [one for one in self.people if one.raw_id != someone.raw_id]


@final
@define(kw_only=True)
class IncomingCall:
    """A call that rings at the application. It has a context to answer or redirect it with, but no id yet."""

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
        """The id that its event has in transferkit."""
        return f"{RINGING}{self.correlation_id}"


@final
@define
class Switchboard:
    """All calls, in the order in which they began."""

    calls: dict[str, Call] = field(factory=dict)
    incoming: dict[str, IncomingCall] = field(factory=dict)
    """By their context."""

    def add(self, call: Call) -> Call:
        """Keep a new call."""
        self.calls[call.id] = call
        return call

    def open_call(self, call_id: str) -> Call:
        """The call of that id. Raises `Refusal` where there is none any more."""
        call = self.calls.get(canonical_call_id(call_id))
        if call is None or not call.is_open:
            raise call_not_found()
        return call

    def connected_call(self, call_id: str) -> Call:
        """The call of that id, if something can be done with it. Raises `Refusal`."""
        call = self.open_call(call_id)
        if call.state is CallState.CONNECTING:
            raise Refusal(400, "8501", "Action is invalid when call is not in Established state")
        if call.state is not CallState.CONNECTED:
            raise Refusal(409, "8607", "A transfer of this call is under way.")
        return call

    def ringing_call(self, context: str) -> IncomingCall:
        """The call of that context, if it still rings. Raises `Refusal`."""
        call = self.incoming.get(context)
        if call is None or not call.rings:
            raise call_not_found()
        return call

    def incoming_call(self, call_id: str) -> IncomingCall | None:
        """The call that rings or rang under that id."""
        return next((call for call in self.incoming.values() if call.id == call_id), None)
