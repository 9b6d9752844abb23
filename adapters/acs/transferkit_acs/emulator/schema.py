"""The published shapes of request bodies, by API version.

Shapes: ACS REST 2023-03-06 to 2026-03-12. `kind` may be missing from a request and the name of a cloud may
be in upper case, because the official Python SDK sends them so. A field of a later API version is ignored,
because the SDKs send the same body to each version (the one for JavaScript always sends `isAnonymous` with a
phone number). A field of no API version is an error, and so is a kind of identifier that the version lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transferkit.emulators.schema import (
    Check,
    Problem,
    Record,
    anything_in_an_object,
    boolean,
    filled_text,
    integer,
    map_of,
    one_of,
    text,
)
from transferkit_acs.settings import ApiVersion

__all__ = [
    "ADD_PARTICIPANT",
    "ANSWER",
    "CANCEL_ADD_PARTICIPANT",
    "CREATE",
    "HOLD",
    "MOVE_PARTICIPANTS",
    "REDIRECT",
    "REJECT",
    "REMOVE_PARTICIPANT",
    "TRANSFER",
    "UNHOLD",
    "identifier",
]

_LONGEST_INVITATION = 180


def _callback_uri(value: object, path: str, _: str) -> Iterator[Problem]:
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        yield Problem(path, "must be an https address")


_cloud = one_of("public", "dod", "gcch")
_PHONE_NUMBER = Record(
    required={"value": filled_text},
    optional={"isAnonymous": boolean, "assertedId": text},
    since=dict.fromkeys(("isAnonymous", "assertedId"), ApiVersion.V2025_06_15),
)
_COMMUNICATION_USER = Record(required={"id": filled_text})
_TEAMS_APP = Record(required={"appId": filled_text}, optional={"cloud": _cloud})
_KINDS: Mapping[str, Check] = {
    "communicationUser": _COMMUNICATION_USER,
    "phoneNumber": _PHONE_NUMBER,
    "microsoftTeamsUser": Record(
        required={"userId": filled_text}, optional={"isAnonymous": boolean, "cloud": _cloud}
    ),
    "microsoftTeamsApp": _TEAMS_APP,
    "teamsExtensionUser": Record(
        required=dict.fromkeys(("userId", "tenantId", "resourceId"), filled_text),
        optional={"cloud": _cloud},
    ),
}
_IDENTIFIER_FIELDS = Record(
    optional={"kind": text, "rawId": text, **_KINDS},
    since={"microsoftTeamsApp": ApiVersion.V2024_04_15, "teamsExtensionUser": ApiVersion.V2025_06_15},
)


def identifier(value: Any, path: str, version: str) -> Iterator[Problem]:
    """A `CommunicationIdentifierModel`: at most one object of a kind, which `kind` may name."""
    yield from _IDENTIFIER_FIELDS(value, path, version)
    if not isinstance(value, Mapping):
        return
    kinds = [kind for kind in _KINDS if kind in value]
    for kind in kinds:
        if not _IDENTIFIER_FIELDS.has(kind, version):
            yield Problem(f"{path}.{kind}", f"is not a known field in {version}")
    if len(kinds) > 1:
        yield Problem(path, f"must have only one of {', '.join(kinds)}")
    if not kinds and not value.get("rawId"):
        yield Problem(path, "must have a rawId or an object of a kind")
    if "kind" in value and kinds and value["kind"] not in kinds:
        yield Problem(f"{path}.kind", f"must be {kinds[0]}")


def _identifiers(value: object, path: str, version: str) -> Iterator[Problem]:
    if not isinstance(value, list) or not value:
        yield Problem(path, "must be a non-empty list")
        return
    for index, each in enumerate(value):
        yield from identifier(each, f"{path}[{index}]", version)


def _texts(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, text)


_TEAMS_CALL_DETAILS = Record(
    optional={
        "teamsPhoneCallerDetails": Record(
            required={"caller": identifier, **_texts("name", "phoneNumber")},
            optional={
                **_texts("recordId", "screenPopUrl"),
                "isAuthenticated": boolean,
                "additionalCallerInformation": map_of(text),
            },
        ),
        "teamsPhoneSourceDetails": Record(
            required={"source": identifier, **_texts("language", "status")},
            optional={"intendedTargets": map_of(identifier)},
        ),
        **_texts("sessionId", "intent", "callTopic", "callContext"),
        **_texts("transcriptUrl", "callSentiment", "suggestedActions"),
    }
)
_CALLING_CONTEXT = Record(
    optional={
        "sipHeaders": map_of(text),
        "voipHeaders": map_of(text),
        "teamsPhoneCallDetails": _TEAMS_CALL_DETAILS,
    },
    since={"teamsPhoneCallDetails": ApiVersion.V2026_03_12},
)
_OWN_CALLBACK_URI: Mapping[str, Check] = {"operationContext": text, "operationCallbackUri": _callback_uri}

TRANSFER = Record(
    required={"targetParticipant": identifier},
    optional={
        **_OWN_CALLBACK_URI,
        "transferee": identifier,
        "customCallingContext": _CALLING_CONTEXT,
        "sourceCallerIdNumber": _PHONE_NUMBER,
    },
    since={
        "transferee": ApiVersion.V2023_10_15,
        "operationCallbackUri": ApiVersion.V2023_10_15,
        "customCallingContext": ApiVersion.V2023_10_15,
        "sourceCallerIdNumber": ApiVersion.V2024_09_15,
    },
)
"""`TransferToParticipantRequest`."""

REDIRECT = Record(required={"incomingCallContext": filled_text, "target": identifier})
"""`RedirectCallRequest`."""

REJECT = Record(
    required={"incomingCallContext": filled_text},
    optional={"callRejectReason": one_of("none", "busy", "forbidden")},
)
"""`RejectCallRequest`."""

# The emulator does not check what a request asks of media.
_MEDIA: Mapping[str, Check] = {
    "callIntelligenceOptions": Record(optional={"cognitiveServicesEndpoint": text}),
    "mediaStreamingOptions": anything_in_an_object,
    "transcriptionOptions": anything_in_an_object,
}
_MEDIA_SINCE = {
    "callIntelligenceOptions": ApiVersion.V2023_10_15,
    "mediaStreamingOptions": ApiVersion.V2025_05_15,
    "transcriptionOptions": ApiVersion.V2025_05_15,
}

ANSWER = Record(
    required={"incomingCallContext": filled_text, "callbackUri": _callback_uri},
    optional={"operationContext": text, "answeredBy": _COMMUNICATION_USER, **_MEDIA},
    since=_MEDIA_SINCE,
)
"""`AnswerCallRequest`."""

CREATE = Record(
    required={"targets": _identifiers, "callbackUri": _callback_uri},
    optional={
        "sourceCallerIdNumber": _PHONE_NUMBER,
        "sourceDisplayName": text,
        "source": _COMMUNICATION_USER,
        "operationContext": text,
        "teamsAppSource": _TEAMS_APP,
        **_MEDIA,
    },
    since={"teamsAppSource": ApiVersion.V2025_06_15, **_MEDIA_SINCE},
)
"""`CreateCallRequest`."""

ADD_PARTICIPANT = Record(
    required={"participantToAdd": identifier},
    optional={
        **_OWN_CALLBACK_URI,
        "sourceCallerIdNumber": _PHONE_NUMBER,
        "sourceDisplayName": text,
        "invitationTimeoutInSeconds": integer(0, _LONGEST_INVITATION),
        "customCallingContext": _CALLING_CONTEXT,
    },
    since=dict.fromkeys(("operationCallbackUri", "customCallingContext"), ApiVersion.V2023_10_15),
)
"""`AddParticipantRequest`."""

REMOVE_PARTICIPANT = Record(
    required={"participantToRemove": identifier},
    optional=_OWN_CALLBACK_URI,
    since={"operationCallbackUri": ApiVersion.V2023_10_15},
)
"""`RemoveParticipantRequest`."""

CANCEL_ADD_PARTICIPANT = Record(required={"invitationId": filled_text}, optional=_OWN_CALLBACK_URI)
"""`CancelAddParticipantRequest`."""

MOVE_PARTICIPANTS = Record(
    required={"targetParticipants": _identifiers, "fromCall": filled_text}, optional=_OWN_CALLBACK_URI
)
"""`MoveParticipantsRequest`."""

HOLD = Record(
    required={"targetParticipant": identifier},
    optional={**_OWN_CALLBACK_URI, "playSourceInfo": anything_in_an_object},
)
"""`HoldRequest`."""

UNHOLD = Record(
    required={"targetParticipant": identifier},
    optional=_OWN_CALLBACK_URI,
    since={"operationCallbackUri": ApiVersion.V2025_05_15},
)
"""`UnholdRequest`."""
