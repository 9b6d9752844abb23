"""The published bodies as the emulator checks them, by api-version: names, types, what must be there.

Shapes: ACS REST 2023-03-06 to 2026-03-12. `kind` may be missing from a request and a cloud may be in upper
case: the official Python SDK writes them so. A field that came with a later api-version is ignored: the SDKs
write the same body for each (that for JavaScript always has `isAnonymous` in a phone number). A field of no
api-version is refused, and so is a kind of identifier that the api-version does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from attrs import frozen

from transferkit_acs.settings import ApiVersion

__all__ = [
    "ADD_PARTICIPANT",
    "ANSWER",
    "CREATE",
    "REDIRECT",
    "REJECT",
    "REMOVE_PARTICIPANT",
    "TRANSFER",
    "Check",
    "Problem",
    "Shape",
    "identifier_problems",
    "problems_of",
]


@final
@frozen
class Problem:
    """What is wrong with the value at a place (`request.target.rawId`)."""

    where: str
    text: str

    @property
    def field(self) -> str | None:
        """The field as `target` of an error names it; None for the body itself."""
        return self.where.partition(".")[2] or None


Check = Callable[[object, str, ApiVersion], Iterator[Problem]]
"""Yields everything that is wrong with a value at a place, in an api-version."""

_LONGEST_INVITATION = 180


@final
@frozen(kw_only=True)
class _Field:
    check: Check
    required: bool = False
    since: ApiVersion = ApiVersion.V2023_03_06


def _text(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(where, f"{where} must be text")


def _filled(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, str) or not value:
        yield Problem(where, f"{where} must be text that is not empty")


def _flag(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, bool):
        yield Problem(where, f"{where} must be true or false")


def _cloud(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, str) or value.lower() not in {"public", "dod", "gcch"}:
        yield Problem(where, f"{where} must be public, dod or gcch")


def _uri(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        yield Problem(where, f"The field {where} is invalid")


def _mapping(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(where, f"{where} must be an object")


def _reason(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, str) or value not in {"none", "busy", "forbidden"}:
        yield Problem(where, f"{where} must be none, busy or forbidden")


def _invitation(value: object, where: str, _: ApiVersion) -> Iterator[Problem]:
    if type(value) is not int or not 0 <= value <= _LONGEST_INVITATION:
        yield Problem(where, f"{where} must be a whole number of seconds, at most {_LONGEST_INVITATION}")


def _map_of(check: Check) -> Check:
    def problems(value: object, where: str, version: ApiVersion) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(where, f"{where} must be an object")
            return
        for name, item in value.items():
            yield from check(item, f"{where}.{name}", version)

    return problems


@final
@frozen
class Shape:
    """An object and its fields, each since an api-version. It is a check itself."""

    fields: Mapping[str, _Field]

    def __call__(self, value: object, where: str, version: ApiVersion) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(where, f"{where} must be an object")
            return
        for name, item in value.items():
            field = self.fields.get(name)
            if field is None:
                yield Problem(f"{where}.{name}", f"{where}.{name} is not known")
            elif field.since <= version:
                yield from field.check(item, f"{where}.{name}", version)
        for name, field in self.fields.items():
            if field.required and name not in value:
                yield Problem(f"{where}.{name}", f"{where}.{name} is required")

    def known(self, value: Mapping[str, Any], version: ApiVersion) -> dict[str, Any]:
        """The fields that the api-version has."""
        return {name: item for name, item in value.items() if self.fields[name].since <= version}


def _object(**fields: _Field) -> Shape:
    return Shape(fields)


_PHONE = _object(
    value=_Field(check=_filled, required=True),
    isAnonymous=_Field(check=_flag, since=ApiVersion.V2025_06_15),
    assertedId=_Field(check=_text, since=ApiVersion.V2025_06_15),
)
_USER = _object(id=_Field(check=_filled, required=True))
_APP = _object(appId=_Field(check=_filled, required=True), cloud=_Field(check=_cloud))
_TYPED: Mapping[str, _Field] = {
    "communicationUser": _Field(check=_USER),
    "phoneNumber": _Field(check=_PHONE),
    "microsoftTeamsUser": _Field(
        check=_object(
            userId=_Field(check=_filled, required=True),
            isAnonymous=_Field(check=_flag),
            cloud=_Field(check=_cloud),
        )
    ),
    "microsoftTeamsApp": _Field(check=_APP, since=ApiVersion.V2024_04_15),
    "teamsExtensionUser": _Field(
        check=_object(
            userId=_Field(check=_filled, required=True),
            tenantId=_Field(check=_filled, required=True),
            resourceId=_Field(check=_filled, required=True),
            cloud=_Field(check=_cloud),
        ),
        since=ApiVersion.V2025_06_15,
    ),
}
_IDENTIFIER = _object(kind=_Field(check=_text), rawId=_Field(check=_text), **_TYPED)


def identifier_problems(value: object, where: str, version: ApiVersion) -> Iterator[Problem]:
    """What is wrong with a `CommunicationIdentifierModel`: at most one typed object, of the kind it names."""
    yield from _IDENTIFIER(value, where, version)
    if not isinstance(value, Mapping):
        return
    typed = [name for name in _TYPED if name in value]
    for name in typed:
        if _TYPED[name].since > version:
            yield Problem(f"{where}.{name}", f"{where}.{name} is not known in {version}")
    if len(typed) > 1:
        yield Problem(where, f"{where} has more than one of {', '.join(typed)}")
    if not typed and not value.get("rawId"):
        yield Problem(where, f"{where} names no identifier")
    if "kind" in value and typed and value["kind"] not in typed:
        yield Problem(f"{where}.kind", f"{where}.kind does not fit {typed[0]}")


def _people(value: object, where: str, version: ApiVersion) -> Iterator[Problem]:
    if not isinstance(value, list) or not value:
        yield Problem(where, f"{where} must be a list that is not empty")
        return
    for index, one in enumerate(value):
        yield from identifier_problems(one, f"{where}[{index}]", version)


_WHO = _Field(check=identifier_problems)
_WHO_REQUIRED = _Field(check=identifier_problems, required=True)
_TEXT = _Field(check=_text)
_TEXT_REQUIRED = _Field(check=_text, required=True)
_TEXTS = _Field(check=_map_of(_text))
_FILLED = _Field(check=_filled, required=True)
_URI = _Field(check=_uri, required=True)

_CALLER_DETAILS = _object(
    caller=_WHO_REQUIRED,
    name=_TEXT_REQUIRED,
    phoneNumber=_TEXT_REQUIRED,
    recordId=_TEXT,
    screenPopUrl=_TEXT,
    isAuthenticated=_Field(check=_flag),
    additionalCallerInformation=_TEXTS,
)
_SOURCE_DETAILS = _object(
    source=_WHO_REQUIRED,
    language=_TEXT_REQUIRED,
    status=_TEXT_REQUIRED,
    intendedTargets=_Field(check=_map_of(identifier_problems)),
)
_TEAMS_DETAILS = _object(
    teamsPhoneCallerDetails=_Field(check=_CALLER_DETAILS),
    teamsPhoneSourceDetails=_Field(check=_SOURCE_DETAILS),
    sessionId=_TEXT,
    intent=_TEXT,
    callTopic=_TEXT,
    callContext=_TEXT,
    transcriptUrl=_TEXT,
    callSentiment=_TEXT,
    suggestedActions=_TEXT,
)
_CONTEXT = _object(
    sipHeaders=_TEXTS,
    voipHeaders=_TEXTS,
    teamsPhoneCallDetails=_Field(check=_TEAMS_DETAILS, since=ApiVersion.V2026_03_12),
)
TRANSFER = _object(
    targetParticipant=_WHO_REQUIRED,
    operationContext=_TEXT,
    transferee=_Field(check=identifier_problems, since=ApiVersion.V2023_10_15),
    operationCallbackUri=_Field(check=_uri, since=ApiVersion.V2023_10_15),
    customCallingContext=_Field(check=_CONTEXT, since=ApiVersion.V2023_10_15),
    sourceCallerIdNumber=_Field(check=_PHONE, since=ApiVersion.V2024_09_15),
)
"""`TransferToParticipantRequest`."""

REDIRECT = _object(incomingCallContext=_FILLED, target=_WHO_REQUIRED)
"""`RedirectCallRequest`."""

REJECT = _object(incomingCallContext=_FILLED, callRejectReason=_Field(check=_reason))
"""`RejectCallRequest`."""

_MEDIA: Mapping[str, _Field] = {
    "callIntelligenceOptions": _Field(
        check=_object(cognitiveServicesEndpoint=_TEXT), since=ApiVersion.V2023_10_15
    ),
    "mediaStreamingOptions": _Field(check=_mapping, since=ApiVersion.V2025_05_15),
    "transcriptionOptions": _Field(check=_mapping, since=ApiVersion.V2025_05_15),
}

ANSWER = _object(
    incomingCallContext=_FILLED,
    callbackUri=_URI,
    operationContext=_TEXT,
    answeredBy=_Field(check=_USER),
    **_MEDIA,
)
"""`AnswerCallRequest`; what is asked for of media is not looked into."""

CREATE = _object(
    targets=_Field(check=_people, required=True),
    callbackUri=_URI,
    sourceCallerIdNumber=_Field(check=_PHONE),
    sourceDisplayName=_TEXT,
    source=_Field(check=_USER),
    operationContext=_TEXT,
    teamsAppSource=_Field(check=_APP, since=ApiVersion.V2025_06_15),
    **_MEDIA,
)
"""`CreateCallRequest`."""

ADD_PARTICIPANT = _object(
    participantToAdd=_WHO_REQUIRED,
    sourceCallerIdNumber=_Field(check=_PHONE),
    sourceDisplayName=_TEXT,
    invitationTimeoutInSeconds=_Field(check=_invitation),
    operationContext=_TEXT,
    operationCallbackUri=_Field(check=_uri, since=ApiVersion.V2023_10_15),
    customCallingContext=_Field(check=_CONTEXT, since=ApiVersion.V2023_10_15),
)
"""`AddParticipantRequest`."""

REMOVE_PARTICIPANT = _object(
    participantToRemove=_WHO_REQUIRED,
    operationContext=_TEXT,
    operationCallbackUri=_Field(check=_uri, since=ApiVersion.V2023_10_15),
)
"""`RemoveParticipantRequest`."""


def problems_of(check: Check, body: object, version: ApiVersion) -> list[Problem]:
    """Everything that is wrong with the body of a request."""
    return list(check(body, "request", version))
