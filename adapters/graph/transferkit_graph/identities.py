"""Identifiers as Graph's `identitySet`, and back.

Types: the v1.0 schema's `identitySet` and `communicationsIdentitySet`, open types with one member a kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve
from transferkit_microsoft.lenient_json import JsonObject

from transferkit.events import Participant
from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)

__all__ = [
    "CLASSLESS",
    "KINDS",
    "identity_set",
    "read_identities",
    "read_identity_set",
    "read_legacy_parties",
    "read_roster",
]

KINDS: tuple[type[Identifier], ...] = (PhoneNumber, TeamsUser, TeamsApp, CommunicationUser)
"""The kinds that an `identitySet` has a member for."""

CLASSLESS = ("applicationInstance", "assertedIdentity", "device", "encrypted", "guest", "onPremises")
"""Members of `communicationsIdentitySet` that have no class of their own in transferkit."""

_USER, _PHONE, _APP, _INSTANCE = "user", "phone", "application", "applicationInstance"
_ACS_USER = "azureCommunicationServicesUser"
_DECLARED = frozenset({_USER, _APP, "device"})
_FIRST = (_USER, _PHONE, _APP, _INSTANCE, _ACS_USER, *CLASSLESS)
_RANKS = {word: rank for rank, word in enumerate(dict.fromkeys(_FIRST))}
"""The order in which members are read, if there are several. Other members come last."""


def identity_set(identifier: Identifier, *, typed: bool = True) -> dict[str, Any]:
    """An identifier as an `identitySet`. Raises `TypeError` for a kind that has no member in it.

    If not `typed`, types are left out where the schema implies them: of a member that `identitySet` declares.

    A `TeamsApp` is the member `application`, as in Microsoft's example of a redirect to a bot, and as
    Microsoft advises for queues and auto attendants (microsoft-graph-comms-samples issue 260). For the member
    `applicationInstance`, use `UnknownIdentifier(id, kind="applicationInstance")`.
    """
    match identifier:
        case TeamsUser(id=identity):
            word = _USER
        case TeamsApp(id=identity):
            word = _APP
        case PhoneNumber(number=identity):
            word = _PHONE
        case CommunicationUser(id=identity):
            word = _ACS_USER
        case UnknownIdentifier(id=identity, kind=str(word)):
            pass
        case _:
            raise TypeError(f"Graph has no identity for a {identifier.kind_name}")
    members = {
        "@odata.type": "#microsoft.graph.identity" if typed or word not in _DECLARED else None,
        "id": identity,
        "tenantId": getattr(identifier, "tenant_id", None),
        "displayName": getattr(identifier, "display_name", None),
    }
    member = {name: value for name, value in members.items() if value is not None}
    return {"@odata.type": "#microsoft.graph.identitySet", word: member} if typed else {word: member}


def read_identity_set(value: object) -> Identifier | None:
    """The identifier in an `identitySet`; None if it contains no identity. Raises nothing.

    An `applicationInstance` is a resource account, so a `TeamsApp`. An unknown member keeps its name.
    """
    members = value if isinstance(value, Mapping) else {}
    for word in sorted(members, key=lambda word: _RANKS.get(word, len(_RANKS))):
        identifier = _read(word, JsonObject(members[word]))
        if identifier is not None:
            return identifier
    return None


def _read(word: str, identity: JsonObject) -> Identifier | None:
    id_ = identity.text("id")
    if id_ is None:
        return None
    tenant_id, display_name = identity.text("tenantid"), identity.text("displayname")
    try:
        if word == _USER:
            return TeamsUser(id_, tenant_id=tenant_id, display_name=display_name)
        if word in {_APP, _INSTANCE}:
            return TeamsApp(id_, tenant_id=tenant_id, display_name=display_name)
        if word == _PHONE or (word == _ACS_USER and id_.startswith("8:")):
            identifier = parse_identifier(f"4:{id_}" if word == _PHONE else id_)
            if isinstance(identifier, (PhoneNumber, CommunicationUser)):
                identifier = evolve(identifier, display_name=display_name)
            return identifier
        return UnknownIdentifier(id_, kind=word, tenant_id=tenant_id, display_name=display_name)
    except ValueError:
        return None


def read_identities(infos: Iterable[object]) -> tuple[Identifier, ...]:
    """The identifiers in a list of `participantInfo`."""
    found = (read_identity_set(JsonObject(info).get("identity")) for info in infos)
    return tuple(identifier for identifier in found if identifier is not None)


def read_roster(entries: Iterable[object]) -> tuple[Participant, ...]:
    """The participants in a list of `participant`. One without an identity is known by its participant id."""
    participants: list[Participant] = []
    for entry in map(JsonObject, entries):
        own_id = entry.text("id")
        identifier = read_identity_set(entry.child("info").get("identity"))
        if identifier is None and own_id:
            identifier = UnknownIdentifier(own_id, kind="participant")
        if identifier is not None:
            participants.append(Participant(identifier=identifier, id=own_id, muted=entry.flag("ismuted")))
    return tuple(participants)


def read_legacy_parties(participants: Iterable[object]) -> tuple[list[Identifier], list[Identifier]]:
    """Callers and called parties of the format before Graph's: raw ids, with the caller marked."""
    callers: list[Identifier] = []
    called: list[Identifier] = []
    for entry in map(JsonObject, participants):
        raw_id = entry.text("identity")
        identifier = parse_identifier(raw_id) if raw_id else read_identity_set(entry.get("identity"))
        if identifier is not None:
            (callers if entry.flag("originator") else called).append(identifier)
    return callers, called
