"""The bodies of transfer and redirect, held to the published fields: none missing, none unknown.

Fields: learn.microsoft.com call-transfer, call-redirect, invitationParticipantInfo, participantInfo, and the
2018 documentation of call: transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from attrs import frozen

from transferkit.identifiers import Identifier
from transferkit.requests import CallDisposition, EndpointType
from transferkit_graph.identities import CLASSLESS, read_identity_set

__all__ = ["Unacceptable", "Wanted", "read_redirect", "read_transfer"]

Check = Callable[[object, str], None]

_MEMBERS = ("user", "phone", "application", "azureCommunicationServicesUser", *CLASSLESS)
_CONTEXT_LENGTH = 256


class Unacceptable(Exception):
    """A body that Graph answers with 400; the text says where and why, for people."""


@final
@frozen(kw_only=True)
class Wanted:
    """What a good body asks for."""

    targets: tuple[Identifier, ...]
    replaces: str | None = None
    transferee: bool = False
    client_context: str | None = None
    is_2018: bool = False
    callback_uri: str | None = None


def read_transfer(body: object) -> Wanted:
    """A transfer's body in either published form. Raises `Unacceptable`."""
    is_2018 = isinstance(body, Mapping) and "target" in body
    (_TRANSFER_2018 if is_2018 else _TRANSFER)(body, "body")
    given: Any = body
    target = given["target" if is_2018 else "transferTarget"]
    return Wanted(
        targets=_targets([target]),
        replaces=target.get("replacesCallId"),
        transferee=given.get("transferee") is not None,
        client_context=given.get("clientContext"),
        is_2018=is_2018,
    )


def read_redirect(body: object, *, beta: bool) -> Wanted:
    """A redirect's body as that version has it. Raises `Unacceptable`."""
    (_REDIRECT_BETA if beta else _REDIRECT)(body, "body")
    given: Any = body
    return Wanted(targets=_targets(given["targets"]), callback_uri=given.get("callbackUri"))


def _targets(infos: list[Any]) -> tuple[Identifier, ...]:
    found = tuple(read_identity_set(info["identity"]) for info in infos)
    return tuple(someone for someone in found if someone is not None)


def _text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value:
        raise Unacceptable(f"{where}: expected text")


def _context(value: object, where: str) -> None:
    _text(value, where)
    if len(str(value)) > _CONTEXT_LENGTH:
        raise Unacceptable(f"{where}: longer than {_CONTEXT_LENGTH} characters")


def _https(value: object, where: str) -> None:
    _text(value, where)
    if not str(value).startswith("https://"):
        raise Unacceptable(f"{where}: expected an https address")


def _boolean(value: object, where: str) -> None:
    if not isinstance(value, bool):
        raise Unacceptable(f"{where}: expected true or false")


def _ring_timeout(value: object, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 15 <= value <= 90:  # noqa: PLR2004
        raise Unacceptable(f"{where}: expected whole seconds from 15 to 90")


def _one_of(*words: str) -> Check:
    def check(value: object, where: str) -> None:
        if value not in words:
            raise Unacceptable(f"{where}: expected one of {', '.join(words)}")

    return check


def _typed(name: str) -> Check:
    return _one_of(f"#microsoft.graph.{name}", f"microsoft.graph.{name}")


def _list_of(item: Check, least: int, most: int) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Unacceptable(f"{where}: expected a list of {least} to {most}")
        for index, each in enumerate(value):
            item(each, f"{where}[{index}]")

    return check


def _record(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """An object of these fields and no others; an optional field may be null."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise Unacceptable(f"{where}: expected an object")
        for name in required:
            if value.get(name) is None:
                raise Unacceptable(f"{where}.{name}: is missing")
        for name, item in value.items():
            known = required.get(name) or optional.get(name)
            if known is None:
                raise Unacceptable(f"{where}.{name}: is no property of this type")
            if item is not None:
                known(item, f"{where}.{name}")

    return check


_IDENTITY = _record(
    {"id": _text},
    {
        "@odata.type": _typed("identity"),
        "displayName": _text,
        "tenantId": _text,
        "identityProvider": _text,
    },
)
_MEMBERS_ONLY = _record({}, {"@odata.type": _typed("identitySet"), **dict.fromkeys(_MEMBERS, _IDENTITY)})


def _identity_set(value: object, where: str) -> None:
    _MEMBERS_ONLY(value, where)
    if isinstance(value, Mapping) and sum(value.get(word) is not None for word in _MEMBERS) != 1:
        raise Unacceptable(f"{where}: expected exactly one of {', '.join(_MEMBERS)}")


_INVITATION = _record(
    {"identity": _identity_set},
    {
        "@odata.type": _typed("invitationParticipantInfo"),
        "endpointType": _one_of(*EndpointType),
        "hidden": _boolean,
        "languageId": _text,
        "participantId": _text,
        "region": _text,
        "removeFromDefaultAudioRoutingGroup": _boolean,
        "replacesCallId": _text,
    },
)
_PARTICIPANT = _record(
    {"identity": _identity_set},
    {
        "@odata.type": _typed("participantInfo"),
        "countryCode": _text,
        "endpointType": _one_of(*EndpointType),
        "languageId": _text,
        "participantId": _text,
        "region": _text,
    },
)
_TRANSFER = _record(
    {"transferTarget": _INVITATION},
    {
        "transferee": _PARTICIPANT,
        "clientContext": _context,
        # In no schema, but in the published example of a group call.
        "languageId": _text,
        "region": _text,
    },
)
_TRANSFER_2018 = _record({"target": _INVITATION}, {"clientContext": _context, "operationContext": _text})
_REDIRECT_FIELDS: dict[str, Check] = {
    "timeout": _ring_timeout,
    "callbackUri": _https,
    # In no schema, but in the published example with several targets.
    "routingPolicies": _list_of(_text, 0, 25),
}
_REDIRECT_TARGETS: dict[str, Check] = {"targets": _list_of(_INVITATION, 1, 25)}
_REDIRECT = _record(_REDIRECT_TARGETS, _REDIRECT_FIELDS)
_REDIRECT_BETA = _record(
    _REDIRECT_TARGETS,
    {
        **_REDIRECT_FIELDS,
        "targetDisposition": _one_of(*CallDisposition),
        "maskCallee": _boolean,
        "maskCaller": _boolean,
    },
)
