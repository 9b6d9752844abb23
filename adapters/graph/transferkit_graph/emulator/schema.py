"""The published shapes of request bodies: every field, its type, and whether it is required.

Fields: learn.microsoft.com application-post-calls, call-answer, call-reject, call-transfer, call-redirect,
call-subscribetotone, participant-startHoldMusic, participant-stopHoldMusic, invitationParticipantInfo,
participantInfo; the 2018 documentation of call: transfer. Optional fields may be null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transferkit.emulators.schema import (
    Check,
    Problem,
    Record,
    boolean,
    filled_text,
    integer,
    list_of,
    one_of,
    or_null,
)
from transferkit.provider.urls import is_loopback, split_url
from transferkit.requests import CallDisposition, EndpointType
from transferkit_graph.identities import CLASSLESS

__all__ = [
    "ANSWER",
    "HOLD",
    "NEW_CALL",
    "REDIRECT",
    "REDIRECT_BETA",
    "REJECT",
    "RESUME",
    "SUBSCRIBE_TO_TONE",
    "TRANSFER",
    "TRANSFER_2018",
]

_KINDS_OF_IDENTITY = ("user", "phone", "application", "azureCommunicationServicesUser", *CLASSLESS)
_CONTEXT_LENGTH = 256
_MOST_INVITED = 5
_MOST_REDIRECT_TARGETS = 25


def _record(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Record:
    return Record(required=required, optional={name: or_null(check) for name, check in optional.items()})


def _texts(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, filled_text)


def _odata_type(*names: str) -> Check:
    """The name of one of these types, with or without the number sign."""
    return one_of(*(f"{mark}microsoft.graph.{name}" for name in names for mark in ("#", "")))


def _by_odata_type(records: Mapping[str, Record]) -> Check:
    """An object of one of these types, which its `@odata.type` names."""
    by_name = {name.lower(): check for name, check in records.items()}

    def check(value: object, path: str, version: str) -> Iterator[Problem]:
        given = value.get("@odata.type") if isinstance(value, Mapping) else None
        name = given.rpartition(".")[2].lower() if isinstance(given, str) else ""
        if name in by_name:
            yield from by_name[name](value, path, version)
        else:
            yield Problem(path, f"must have an @odata.type, one of {', '.join(records)}")

    return check


def _callback_uri(value: object, path: str, _: str) -> Iterator[Problem]:
    """Graph requires https; the emulator also takes http on loopback."""
    parts = split_url(value if isinstance(value, str) else "")
    is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not (parts.scheme == "https" or is_local):
        yield Problem(path, "must be an https address")


def _client_context(value: object, path: str, version: str) -> Iterator[Problem]:
    yield from filled_text(value, path, version)
    if isinstance(value, str) and len(value) > _CONTEXT_LENGTH:
        yield Problem(path, f"must not be longer than {_CONTEXT_LENGTH} characters")


_IDENTITY = _record(
    {"id": filled_text},
    {
        "@odata.type": _odata_type("identity"),
        **_texts("displayName", "tenantId", "identityProvider"),
    },
)
_IDENTITY_SET_FIELDS = _record(
    {},
    {
        "@odata.type": _odata_type("identitySet", "communicationsIdentitySet"),
        **dict.fromkeys(_KINDS_OF_IDENTITY, _IDENTITY),
    },
)


def _identity_set(value: Any, path: str, version: str) -> Iterator[Problem]:
    yield from _IDENTITY_SET_FIELDS(value, path, version)
    if isinstance(value, Mapping) and sum(value.get(kind) is not None for kind in _KINDS_OF_IDENTITY) != 1:
        yield Problem(path, f"must have exactly one of {', '.join(_KINDS_OF_IDENTITY)}")


_INVITATION = _record(
    {"identity": _identity_set},
    {
        "@odata.type": _odata_type("invitationParticipantInfo"),
        "endpointType": one_of(*EndpointType),
        "hidden": boolean,
        **_texts("languageId", "participantId", "region"),
        "removeFromDefaultAudioRoutingGroup": boolean,
        "replacesCallId": filled_text,
    },
)
_PARTICIPANT = _record(
    {"identity": _identity_set},
    {
        "@odata.type": _odata_type("participantInfo"),
        "countryCode": filled_text,
        "endpointType": one_of(*EndpointType),
        **_texts("languageId", "participantId", "region"),
    },
)

TRANSFER = _record(
    {"transferTarget": _INVITATION},
    {
        "transferee": _PARTICIPANT,
        "clientContext": _client_context,
        # Not in the schema, but in the published example of a group call.
        **_texts("languageId", "region"),
    },
)
TRANSFER_2018 = _record(
    {"target": _INVITATION}, {"clientContext": _client_context, "operationContext": filled_text}
)

_REDIRECT_TARGETS = {"targets": list_of(_INVITATION, least=1, most=_MOST_REDIRECT_TARGETS)}
_REDIRECT_OPTIONS: dict[str, Check] = {
    "timeout": integer(15, 90),
    "callbackUri": _callback_uri,
    # Not in the schema, but in the published example with several targets.
    "routingPolicies": list_of(filled_text, most=25),
}
REDIRECT = _record(_REDIRECT_TARGETS, _REDIRECT_OPTIONS)
REDIRECT_BETA = _record(
    _REDIRECT_TARGETS,
    {
        **_REDIRECT_OPTIONS,
        "targetDisposition": one_of(*CallDisposition),
        "maskCallee": boolean,
        "maskCaller": boolean,
    },
)

_MODALITIES = list_of(one_of("audio", "video", "videoBasedScreenSharing", "data"), least=1, most=4)
_MEDIA_INFO = _record(
    {"uri": filled_text}, {"@odata.type": _odata_type("mediaInfo"), "resourceId": filled_text}
)
_MEDIA_CONFIG = _by_odata_type(
    {
        "serviceHostedMediaConfig": _record(
            {"@odata.type": filled_text},
            {"preFetchMedia": list_of(_MEDIA_INFO, most=100), "removeFromDefaultAudioGroup": boolean},
        ),
        "appHostedMediaConfig": _record(
            {"@odata.type": filled_text}, {"blob": filled_text, "removeFromDefaultAudioGroup": boolean}
        ),
    }
)
_MEETING_INFO = _by_odata_type(
    {
        "organizerMeetingInfo": _record(
            {"organizer": _identity_set},
            {"@odata.type": filled_text, "allowConversationWithoutHost": boolean},
        ),
        "tokenMeetingInfo": _record(
            {"token": filled_text}, {"@odata.type": filled_text, "allowConversationWithoutHost": boolean}
        ),
        "joinMeetingIdMeetingInfo": _record(
            {"joinMeetingId": filled_text},
            {"@odata.type": filled_text, "passcode": filled_text, "allowConversationWithoutHost": boolean},
        ),
    }
)
_CHAT_INFO = _record(
    {},
    {
        "@odata.type": _odata_type("chatInfo"),
        **_texts("threadId", "messageId", "replyChainMessageId"),
    },
)
NEW_CALL = _record(
    {"callbackUri": _callback_uri, "mediaConfig": _MEDIA_CONFIG, "requestedModalities": _MODALITIES},
    {
        "@odata.type": _odata_type("call"),
        "chatInfo": _CHAT_INFO,
        "direction": one_of("outgoing"),
        "meetingInfo": _MEETING_INFO,
        "ringingTimeoutInSeconds": integer(1, 115),
        "routingPolicies": list_of(filled_text, most=25),
        "source": _PARTICIPANT,
        "subject": filled_text,
        "targets": list_of(_INVITATION, most=_MOST_INVITED),
        "tenantId": filled_text,
    },
)
ANSWER = _record(
    {"acceptedModalities": _MODALITIES, "mediaConfig": _MEDIA_CONFIG},
    {
        "callbackUri": _callback_uri,
        "callOptions": _record(
            {},
            {
                "@odata.type": _odata_type("incomingCallOptions"),
                "hideBotAfterEscalation": boolean,
                "isContentSharingNotificationEnabled": boolean,
                "isDeltaRosterEnabled": boolean,
                "isInteractiveRosterEnabled": boolean,
            },
        ),
        "participantCapacity": integer(1, 10_000),
    },
)
REJECT = _record({}, {"callbackUri": _callback_uri, "reason": one_of("none", "busy", "forbidden")})
SUBSCRIBE_TO_TONE = _record({}, {"clientContext": _client_context})
_PROMPT = _record({"mediaInfo": _MEDIA_INFO}, {"@odata.type": _odata_type("mediaPrompt")})
HOLD = _record({}, {"clientContext": _client_context, "customPrompt": _PROMPT})
RESUME = SUBSCRIBE_TO_TONE
