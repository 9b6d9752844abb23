"""The calls of the emulator, and their JSON: `call`, `participant`, `commsOperation`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, final
from uuid import uuid4

from attrs import Factory, define, field, frozen

from transferkit.identifiers import Identifier, TeamsApp, TeamsUser
from transferkit_graph.identities import identity_set

__all__ = [
    "BOT",
    "CALLER",
    "CLIENT_ID",
    "TENANT_ID",
    "Calls",
    "EmulatedCall",
    "Member",
    "call_json",
    "operation_json",
    "participant_info_json",
    "participant_json",
    "parties_json",
]

TENANT_ID = "5a1e0c5e-0000-4000-8000-000000000001"
CLIENT_ID = "b07b07b0-0000-4000-8000-000000000002"
CALLER = TeamsUser(
    "ca11e500-0000-4000-8000-000000000003", tenant_id=TENANT_ID, display_name="Emulated Caller"
)
_COLLEAGUE = TeamsUser(
    "c0113a60-0000-4000-8000-000000000004", tenant_id=TENANT_ID, display_name="Emulated Colleague"
)
BOT = TeamsApp(CLIENT_ID, display_name="Emulated Bot")


@final
@frozen(kw_only=True)
class Member:
    """A member of a call; `id` is the participant's id, not the person's."""

    identifier: Identifier
    id: str = Factory(lambda: str(uuid4()))


@final
@define(kw_only=True, eq=False)
class EmulatedCall:
    """A call leg of the application; `state` has Graph's values."""

    callback_url: str
    tenant_id: str
    state: str
    id: str = Factory(lambda: str(uuid4()))
    chain_id: str = Factory(lambda: str(uuid4()))
    direction: str = "incoming"
    group: bool = False
    source: Identifier = CALLER
    targets: tuple[Identifier, ...] = (BOT,)
    requested: Mapping[str, Any] = field(factory=dict, repr=False)
    """Fields of the request that created the call, which responses repeat."""
    members: list[Member] = field(init=False, factory=list)
    """The participants, the application first."""
    on_hold: str | None = None
    """The participant id of the one who is on hold; only one can be."""
    subscribed_to_tones: bool = False
    tones: int = 0
    executions: int = 0
    responded: asyncio.Event = Factory(asyncio.Event)
    """Set when the incoming call was answered, rejected, redirected or ended."""

    def __attrs_post_init__(self) -> None:
        """Add the first participants; a group call has at least two besides the application."""
        others = [party for party in (self.source, *self.targets) if party != BOT]
        more = [_COLLEAGUE] if self.group and len(others) == 1 else []
        self.members = [Member(identifier=party) for party in (BOT, *others, *more)]

    @property
    def own_participant_id(self) -> str:
        """The participant id of the application."""
        return self.members[0].id

    def member(self, participant_id: str) -> Member | None:
        """The participant with this id, in upper or lower case."""
        return next((each for each in self.members if each.id == participant_id.lower()), None)

    @property
    def ended(self) -> bool:
        """Whether the call has ended, or is ending."""
        return self.state in {"terminating", "terminated"}


@final
class Calls:
    """All calls, the oldest first."""

    def __init__(self) -> None:
        self._by_id: dict[str, EmulatedCall] = {}

    def add(self, call: EmulatedCall) -> EmulatedCall:
        """Add a call."""
        self._by_id[call.id] = call
        return call

    def find(self, call_id: str) -> EmulatedCall | None:
        """The call with this id, in upper or lower case."""
        return self._by_id.get(call_id.lower())

    def __getitem__(self, call_id: str) -> EmulatedCall:
        """The call with this id. Raises `KeyError`."""
        return self._by_id[call_id.lower()]

    def waiting_call(self) -> EmulatedCall | None:
        """The latest established call of a caller, the one on hold if there is one."""
        latest_first = reversed(self._by_id.values())
        callers = [c for c in latest_first if c.direction == "incoming" and c.state == "established"]
        return max(callers, key=lambda call: call.on_hold is not None, default=None)

    def __iter__(self) -> Iterator[EmulatedCall]:
        return iter(self._by_id.values())


def participant_info_json(identifier: Identifier, *, kind: str = "participantInfo") -> dict[str, Any]:
    """A `participantInfo`, or another type that has an identity."""
    return {"@odata.type": f"#microsoft.graph.{kind}", "identity": identity_set(identifier)}


def participant_json(member: Member) -> dict[str, Any]:
    """A `participant`, an entry of a roster."""
    return {
        "@odata.type": "#microsoft.graph.participant",
        "info": {**participant_info_json(member.identifier), "endpointType": "default"},
        "mediaStreams": [
            {
                "@odata.type": "#microsoft.graph.mediaStream",
                "mediaType": "audio",
                "sourceId": "1",
                "direction": "sendReceive",
                "serverMuted": False,
            }
        ],
        "isMuted": False,
        "isInLobby": False,
        "id": member.id,
    }


def call_json(call: EmulatedCall, context: str) -> dict[str, Any]:
    """The whole `call`, including the fields that Graph shows as null (call-get, application-post-calls).

    `context` is the context URL of the collection (OData 4.01, part 1, section 10).
    """
    null_fields = (
        *("answeredBy", "chatInfo", "mediaConfig", "mediaState", "meetingInfo", "resultInfo"),
        *("ringingTimeoutInSeconds", "subject", "toneInfo", "transcription"),
    )
    return {
        **dict.fromkeys(null_fields),
        "@odata.context": f"{context}/$entity",
        "@odata.type": "#microsoft.graph.call",
        "requestedModalities": ["audio"],
        **call.requested,
        **parties_json(call),
        "id": call.id,
        "state": call.state,
        "direction": call.direction,
        "callbackUri": call.callback_url,
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "myParticipantId": call.own_participant_id,
    }


def parties_json(call: EmulatedCall) -> dict[str, Any]:
    """The caller and the called."""
    kind = "invitationParticipantInfo"
    return {
        "source": participant_info_json(call.source),
        "targets": [participant_info_json(target, kind=kind) for target in call.targets],
    }


def operation_json(*, status: str, client_context: str | None, now: datetime) -> dict[str, Any]:
    """A `commsOperation`: the service has accepted a request."""
    moment = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    context = {} if client_context is None else {"clientContext": client_context}
    return {
        **context,
        "createdDateTime": moment,
        "id": str(uuid4()),
        "lastActionDateTime": moment,
        "status": status,
    }
