"""The published bodies as the emulator checks them, by api-version: names, types, what must be there.

Shapes: ACS REST 2023-03-06 to 2026-03-12. `kind` may be missing from a request and a cloud may be in upper
case: the official Python SDK writes them so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from attrs import frozen

from transferkit_acs.settings import ApiVersion

__all__ = ["identifier_problems", "redirect_problems", "transfer_problems"]

Check = Callable[[object, str, ApiVersion], Iterator[str]]


@final
@frozen(kw_only=True)
class _Field:
    check: Check
    required: bool = False
    since: ApiVersion = ApiVersion.V2023_03_06


def _text(value: object, where: str, _: ApiVersion) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where} must be text"


def _filled(value: object, where: str, _: ApiVersion) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield f"{where} must be text that is not empty"


def _flag(value: object, where: str, _: ApiVersion) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{where} must be true or false"


def _cloud(value: object, where: str, _: ApiVersion) -> Iterator[str]:
    if not isinstance(value, str) or value.lower() not in {"public", "dod", "gcch"}:
        yield f"{where} must be public, dod or gcch"


def _uri(value: object, where: str, _: ApiVersion) -> Iterator[str]:
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        yield f"The field {where} is invalid"


def _map_of(check: Check) -> Check:
    def problems(value: object, where: str, version: ApiVersion) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{where} must be an object"
            return
        for name, item in value.items():
            yield from check(item, f"{where}.{name}", version)

    return problems


def _object(**members: _Field) -> Check:
    def problems(value: object, where: str, version: ApiVersion) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{where} must be an object"
            return
        for name, item in value.items():
            member = members.get(name)
            if member is None or member.since > version:
                yield f"{where}.{name} is not known"
            else:
                yield from member.check(item, f"{where}.{name}", version)
        for name, member in members.items():
            if member.required and name not in value:
                yield f"{where}.{name} is required"

    return problems


_PHONE = _object(
    value=_Field(check=_filled, required=True),
    isAnonymous=_Field(check=_flag, since=ApiVersion.V2025_06_15),
    assertedId=_Field(check=_text, since=ApiVersion.V2025_06_15),
)
_TYPED: Mapping[str, _Field] = {
    "communicationUser": _Field(check=_object(id=_Field(check=_filled, required=True))),
    "phoneNumber": _Field(check=_PHONE),
    "microsoftTeamsUser": _Field(
        check=_object(
            userId=_Field(check=_filled, required=True),
            isAnonymous=_Field(check=_flag),
            cloud=_Field(check=_cloud),
        )
    ),
    "microsoftTeamsApp": _Field(
        check=_object(appId=_Field(check=_filled, required=True), cloud=_Field(check=_cloud)),
        since=ApiVersion.V2024_04_15,
    ),
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


def identifier_problems(value: object, where: str, version: ApiVersion) -> Iterator[str]:
    """What is wrong with a `CommunicationIdentifierModel`: at most one typed object, of the kind it names."""
    yield from _IDENTIFIER(value, where, version)
    if not isinstance(value, Mapping):
        return
    typed = [name for name in _TYPED if name in value]
    if len(typed) > 1:
        yield f"{where} has more than one of {', '.join(typed)}"
    if not typed and not value.get("rawId"):
        yield f"{where} names nobody"
    if "kind" in value and typed and value["kind"] not in typed:
        yield f"{where}.kind does not fit {typed[0]}"


_WHO = _Field(check=identifier_problems)
_WHO_REQUIRED = _Field(check=identifier_problems, required=True)
_TEXT = _Field(check=_text)
_TEXT_REQUIRED = _Field(check=_text, required=True)
_TEXTS = _Field(check=_map_of(_text))

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
_TRANSFER = _object(
    targetParticipant=_WHO_REQUIRED,
    operationContext=_TEXT,
    transferee=_Field(check=identifier_problems, since=ApiVersion.V2023_10_15),
    operationCallbackUri=_Field(check=_uri, since=ApiVersion.V2023_10_15),
    customCallingContext=_Field(check=_CONTEXT, since=ApiVersion.V2023_10_15),
    sourceCallerIdNumber=_Field(check=_PHONE, since=ApiVersion.V2024_09_15),
)
_REDIRECT = _object(incomingCallContext=_Field(check=_filled, required=True), target=_WHO_REQUIRED)


def transfer_problems(body: Any, version: ApiVersion) -> list[str]:
    """Everything that is wrong with a `TransferToParticipantRequest`."""
    return list(_TRANSFER(body, "request", version))


def redirect_problems(body: Any, version: ApiVersion) -> list[str]:
    """Everything that is wrong with a `RedirectCallRequest`."""
    return list(_REDIRECT(body, "request", version))
