"""The calls as the service keeps them, and how it shows them: `call`, `participant`, `commsOperation`."""

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
    "operation",
    "participant",
    "participant_info",
    "parties",
    "shown_call",
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
    """Somebody in a call; `id` is of the participant, not of the person."""

    someone: Identifier
    id: str = Factory(lambda: str(uuid4()))


@final
@define(kw_only=True, eq=False)
class EmulatedCall:
    """One leg of the application's; `state` in Graph's words."""

    callback_url: str
    tenant_id: str
    state: str
    id: str = Factory(lambda: str(uuid4()))
    chain_id: str = Factory(lambda: str(uuid4()))
    direction: str = "incoming"
    group: bool = False
    source: Identifier = CALLER
    targets: tuple[Identifier, ...] = (BOT,)
    asked: Mapping[str, Any] = field(factory=dict, repr=False)
    """What the application asked for when it made the call."""
    members: list[Member] = field(init=False, factory=list)
    """Who is in it, the application first."""
    hears_tones: bool = False
    tones: int = 0
    executions: int = 0
    responded: asyncio.Event = Factory(asyncio.Event)
    """Set when the application has answered, rejected or redirected it."""

    def __attrs_post_init__(self) -> None:
        """Put everybody in it who is from the start."""
        others = [someone for someone in (self.source, *self.targets) if someone != BOT]
        more = [_COLLEAGUE] if self.group and len(others) == 1 else []
        self.members = [Member(someone=someone) for someone in (BOT, *others, *more)]

    @property
    def own_participant_id(self) -> str:
        """The application's own."""
        return self.members[0].id

    @property
    def ended(self) -> bool:
        """Whether the service has forgotten it."""
        return self.state in {"terminating", "terminated"}


@final
class Calls:
    """All calls, in the order in which they began."""

    def __init__(self) -> None:
        self._by_id: dict[str, EmulatedCall] = {}

    def add(self, call: EmulatedCall) -> EmulatedCall:
        """Keep it."""
        self._by_id[call.id] = call
        return call

    def find(self, call_id: str) -> EmulatedCall | None:
        """The call of that id, in whichever letter case."""
        return self._by_id.get(call_id.lower())

    def __getitem__(self, call_id: str) -> EmulatedCall:
        """The same. Raises `KeyError`."""
        return self._by_id[call_id.lower()]

    def __iter__(self) -> Iterator[EmulatedCall]:
        return iter(self._by_id.values())


def participant_info(someone: Identifier, *, kind: str = "participantInfo") -> dict[str, Any]:
    """`someone` as a `participantInfo`, or another type that has an identity."""
    return {"@odata.type": f"#microsoft.graph.{kind}", "identity": identity_set(someone)}


def participant(member: Member) -> dict[str, Any]:
    """As an entry of a roster."""
    return {
        "@odata.type": "#microsoft.graph.participant",
        "info": {**participant_info(member.someone), "endpointType": "default"},
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


def shown_call(call: EmulatedCall, context: str) -> dict[str, Any]:
    """The whole call, with the nulls that Graph shows, too (call-get, application-post-calls).

    `context` is the context URL of the collection (OData 4.01, part 1, section 10).
    """
    absent = (
        *("answeredBy", "chatInfo", "mediaConfig", "mediaState", "meetingInfo", "resultInfo"),
        *("ringingTimeoutInSeconds", "subject", "toneInfo", "transcription"),
    )
    return {
        **dict.fromkeys(absent),
        "@odata.context": f"{context}/$entity",
        "@odata.type": "#microsoft.graph.call",
        "requestedModalities": ["audio"],
        **call.asked,
        **parties(call),
        "id": call.id,
        "state": call.state,
        "direction": call.direction,
        "callbackUri": call.callback_url,
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "myParticipantId": call.own_participant_id,
    }


def parties(call: EmulatedCall) -> dict[str, Any]:
    """Who called whom."""
    return {
        "source": participant_info(call.source),
        "targets": [participant_info(each, kind="invitationParticipantInfo") for each in call.targets],
    }


def operation(*, status: str, client_context: str | None, now: datetime) -> dict[str, Any]:
    """A `commsOperation`, which is how the service says that it has taken something."""
    moment = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    context = {} if client_context is None else {"clientContext": client_context}
    return {
        **context,
        "createdDateTime": moment,
        "id": str(uuid4()),
        "lastActionDateTime": moment,
        "status": status,
    }
