"""The bodies of requests about calls, held to the published fields: none missing, none unknown.

Fields: learn.microsoft.com application-post-calls, call-answer, call-reject, call-transfer, call-redirect,
call-subscribetotone, invitationParticipantInfo, participantInfo; the 2018 documentation of call: transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from attrs import field, frozen

from transferkit.identifiers import Identifier
from transferkit.requests import CallDisposition, EndpointType
from transferkit_graph.emulator.schema import (
    Check,
    Unacceptable,
    address,
    any_of,
    boolean,
    list_of,
    one_of,
    record,
    text,
    typed,
    whole,
)
from transferkit_graph.identities import CLASSLESS, read_identity_set

__all__ = [
    "Answering",
    "NewCall",
    "Wanted",
    "read_answer",
    "read_new_call",
    "read_redirect",
    "read_reject",
    "read_subscribe",
    "read_transfer",
]

_MEMBERS = ("user", "phone", "application", "azureCommunicationServicesUser", *CLASSLESS)
_CONTEXT_LENGTH = 256
_MOST_INVITED = 5
_APP_HOSTED = "apphostedmediaconfig"


@final
@frozen(kw_only=True)
class Wanted:
    """What a good body of a transfer or a redirect asks for."""

    targets: tuple[Identifier, ...]
    replaces: str | None = None
    transferee: Identifier | None = None
    client_context: str | None = None
    is_2018: bool = False
    callback_uri: str | None = None


@final
@frozen(kw_only=True)
class NewCall:
    """What a good body of a new call asks for; `shown` are the fields that the call shows again."""

    callback_uri: str
    targets: tuple[Identifier, ...]
    meeting: bool
    app_hosted: bool
    tenant_id: str | None
    shown: Mapping[str, Any] = field(repr=False)

    @property
    def group(self) -> bool:
        """Whether there are more than two in it."""
        return self.meeting or len(self.targets) > 1


@final
@frozen(kw_only=True)
class Answering:
    """What a good body of an answer asks for."""

    callback_uri: str | None
    app_hosted: bool


def read_transfer(body: object) -> Wanted:
    """A transfer's body in either published form. Raises `Unacceptable`."""
    is_2018 = isinstance(body, Mapping) and "target" in body
    (_TRANSFER_2018 if is_2018 else _TRANSFER)(body, "body")
    given: Any = body
    target = given["target" if is_2018 else "transferTarget"]
    transferee = given.get("transferee")
    return Wanted(
        targets=_people([target]),
        replaces=target.get("replacesCallId"),
        transferee=transferee and _person(transferee),
        client_context=given.get("clientContext"),
        is_2018=is_2018,
    )


def read_redirect(body: object, *, beta: bool) -> Wanted:
    """A redirect's body as that version has it. Raises `Unacceptable`."""
    (_REDIRECT_BETA if beta else _REDIRECT)(body, "body")
    given: Any = body
    return Wanted(targets=_people(given["targets"]), callback_uri=given.get("callbackUri"))


def read_new_call(body: object) -> NewCall:
    """The body of a new call: to one, to several, or into a meeting. Raises `Unacceptable`."""
    _NEW_CALL(body, "body")
    given: Any = body
    targets, meeting = given.get("targets") or [], given.get("meetingInfo") is not None
    if meeting and given.get("chatInfo") is None:
        raise Unacceptable("body.chatInfo: is missing, and needed to join a meeting")
    if not meeting and not targets:
        raise Unacceptable("body.targets: is missing, and so is body.meetingInfo")
    return NewCall(
        callback_uri=given["callbackUri"],
        targets=_people(targets),
        meeting=meeting,
        app_hosted=_is_app_hosted(given),
        tenant_id=given.get("tenantId"),
        shown={name: given[name] for name in _SHOWN if given.get(name) is not None},
    )


def read_answer(body: object) -> Answering:
    """The body of an answer. Raises `Unacceptable`."""
    _ANSWER(body, "body")
    given: Any = body
    return Answering(callback_uri=given.get("callbackUri"), app_hosted=_is_app_hosted(given))


def read_reject(body: object) -> str | None:
    """The body of a rejection: where callbacks go from now on, if it says so. Raises `Unacceptable`."""
    _REJECT(body, "body")
    given: Any = body
    return None if given.get("callbackUri") is None else str(given["callbackUri"])


def read_subscribe(body: object) -> str | None:
    """The body of a subscription to tones: its client's context, if any. Raises `Unacceptable`."""
    _SUBSCRIBE(body, "body")
    given: Any = body
    return None if given.get("clientContext") is None else str(given["clientContext"])


def _people(infos: list[Any]) -> tuple[Identifier, ...]:
    return tuple(_person(info) for info in infos)


def _person(info: Mapping[str, Any]) -> Identifier:
    someone = read_identity_set(info["identity"])
    if someone is None:
        raise Unacceptable("body: an identity names nobody")
    return someone


def _is_app_hosted(body: Mapping[str, Any]) -> bool:
    return str(body["mediaConfig"]["@odata.type"]).rpartition(".")[2].lower() == _APP_HOSTED


def _context(value: object, where: str) -> None:
    text(value, where)
    if len(str(value)) > _CONTEXT_LENGTH:
        raise Unacceptable(f"{where}: longer than {_CONTEXT_LENGTH} characters")


_IDENTITY = record(
    {"id": text},
    {"@odata.type": typed("identity"), "displayName": text, "tenantId": text, "identityProvider": text},
)
_MEMBERS_ONLY = record(
    {},
    {
        "@odata.type": typed("identitySet", "communicationsIdentitySet"),
        **dict.fromkeys(_MEMBERS, _IDENTITY),
    },
)


def _identity_set(value: object, where: str) -> None:
    _MEMBERS_ONLY(value, where)
    if isinstance(value, Mapping) and sum(value.get(word) is not None for word in _MEMBERS) != 1:
        raise Unacceptable(f"{where}: expected exactly one of {', '.join(_MEMBERS)}")


_INVITATION = record(
    {"identity": _identity_set},
    {
        "@odata.type": typed("invitationParticipantInfo"),
        "endpointType": one_of(*EndpointType),
        "hidden": boolean,
        "languageId": text,
        "participantId": text,
        "region": text,
        "removeFromDefaultAudioRoutingGroup": boolean,
        "replacesCallId": text,
    },
)
_PARTICIPANT = record(
    {"identity": _identity_set},
    {
        "@odata.type": typed("participantInfo"),
        "countryCode": text,
        "endpointType": one_of(*EndpointType),
        "languageId": text,
        "participantId": text,
        "region": text,
    },
)
_TRANSFER = record(
    {"transferTarget": _INVITATION},
    {
        "transferee": _PARTICIPANT,
        "clientContext": _context,
        # In no schema, but in the published example of a group call.
        "languageId": text,
        "region": text,
    },
)
_TRANSFER_2018 = record({"target": _INVITATION}, {"clientContext": _context, "operationContext": text})
_REDIRECT_FIELDS: dict[str, Check] = {
    "timeout": whole(15, 90),
    "callbackUri": address,
    # In no schema, but in the published example with several targets.
    "routingPolicies": list_of(text, 0, 25),
}
_REDIRECT_TARGETS: dict[str, Check] = {"targets": list_of(_INVITATION, 1, 25)}
_REDIRECT = record(_REDIRECT_TARGETS, _REDIRECT_FIELDS)
_REDIRECT_BETA = record(
    _REDIRECT_TARGETS,
    {
        **_REDIRECT_FIELDS,
        "targetDisposition": one_of(*CallDisposition),
        "maskCallee": boolean,
        "maskCaller": boolean,
    },
)

_MODALITIES = list_of(one_of("audio", "video", "videoBasedScreenSharing", "data"), 1, 4)
_MEDIA_INFO = record({"uri": text}, {"@odata.type": typed("mediaInfo"), "resourceId": text})
_MEDIA = any_of(
    {
        "serviceHostedMediaConfig": record(
            {"@odata.type": text},
            {"preFetchMedia": list_of(_MEDIA_INFO, 0, 100), "removeFromDefaultAudioGroup": boolean},
        ),
        "appHostedMediaConfig": record(
            {"@odata.type": text}, {"blob": text, "removeFromDefaultAudioGroup": boolean}
        ),
    }
)
_MEETING = any_of(
    {
        "organizerMeetingInfo": record(
            {"organizer": _identity_set}, {"@odata.type": text, "allowConversationWithoutHost": boolean}
        ),
        "tokenMeetingInfo": record(
            {"token": text}, {"@odata.type": text, "allowConversationWithoutHost": boolean}
        ),
        "joinMeetingIdMeetingInfo": record(
            {"joinMeetingId": text},
            {"@odata.type": text, "passcode": text, "allowConversationWithoutHost": boolean},
        ),
    }
)
_CHAT = record(
    {},
    {"@odata.type": typed("chatInfo"), "threadId": text, "messageId": text, "replyChainMessageId": text},
)
_SHOWN = ("subject", "requestedModalities", "mediaConfig", "chatInfo", "meetingInfo")
_NEW_CALL = record(
    {"callbackUri": address, "mediaConfig": _MEDIA, "requestedModalities": _MODALITIES},
    {
        "@odata.type": typed("call"),
        "chatInfo": _CHAT,
        "direction": one_of("outgoing"),
        "meetingInfo": _MEETING,
        "ringingTimeoutInSeconds": whole(1, 115),
        "routingPolicies": list_of(text, 0, 25),
        "source": _PARTICIPANT,
        "subject": text,
        "targets": list_of(_INVITATION, 0, _MOST_INVITED),
        "tenantId": text,
    },
)
_ANSWER = record(
    {"acceptedModalities": _MODALITIES, "mediaConfig": _MEDIA},
    {
        "callbackUri": address,
        "callOptions": record(
            {},
            {
                "@odata.type": typed("incomingCallOptions"),
                "hideBotAfterEscalation": boolean,
                "isContentSharingNotificationEnabled": boolean,
                "isDeltaRosterEnabled": boolean,
                "isInteractiveRosterEnabled": boolean,
            },
        ),
        "participantCapacity": whole(1, 10_000),
    },
)
_REJECT = record({}, {"callbackUri": address, "reason": one_of("none", "busy", "forbidden")})
_SUBSCRIBE = record({}, {"clientContext": _context})
