"""Identifiers as Graph's `identitySet`, and back.

Types: the v1.0 schema's `identitySet` and `communicationsIdentitySet`, open types with one member a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from transferkit_microsoft.lenient import folded, is_object, text_of

from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)

__all__ = ["CLASSLESS", "KINDS", "identity_set", "read_identity_set"]

KINDS: tuple[type[Identifier], ...] = (PhoneNumber, TeamsUser, TeamsApp, CommunicationUser)
"""The kinds that an `identitySet` has a member for."""

CLASSLESS = ("applicationInstance", "assertedIdentity", "device", "encrypted", "guest", "onPremises")
"""Members of `communicationsIdentitySet` that have no class of their own in transferkit."""

_USER, _PHONE, _APP, _INSTANCE = "user", "phone", "application", "applicationInstance"
_ACS_USER = "azureCommunicationServicesUser"
_DECLARED = frozenset({_USER, _APP, "device"})
_FIRST = (_USER, _PHONE, _APP, _INSTANCE, _ACS_USER, *CLASSLESS)
_RANKS = {word: rank for rank, word in enumerate(dict.fromkeys(_FIRST))}
"""Which of several members says who it is; one that is not here comes last."""


def identity_set(someone: Identifier, *, typed: bool = True) -> dict[str, Any]:
    """`someone` as an `identitySet`. Raises `TypeError` for a kind that has no member in it.

    Not `typed`, types are left out where the schema says them: of a member that `identitySet` declares.

    A `TeamsApp` is the member `application`, as in Microsoft's example of a redirect to a bot, and as
    Microsoft advises for queues and auto attendants (microsoft-graph-comms-samples issue 260). Who needs the
    member `applicationInstance` says `UnknownIdentifier(id, kind="applicationInstance")`.
    """
    match someone:
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
            raise TypeError(f"Graph has no identity for a {someone.kind_name}")
    said = {
        "id": identity,
        "tenantId": getattr(someone, "tenant_id", None),
        "displayName": getattr(someone, "display_name", None),
    }
    member = {name: value for name, value in said.items() if value is not None}
    if typed or word not in _DECLARED:
        member = {"@odata.type": "#microsoft.graph.identity", **member}
    return {"@odata.type": "#microsoft.graph.identitySet", word: member} if typed else {word: member}


def read_identity_set(value: object) -> Identifier | None:
    """Who an `identitySet` of Graph's names; None where it names nobody. Raises nothing.

    An `applicationInstance` is a resource account, so a `TeamsApp`; an unknown member keeps its word.
    """
    if not is_object(value):
        return None
    members = [word for word, identity in value.items() if is_object(identity)]
    if len(members) > 1:
        members.sort(key=lambda word: _RANKS.get(word, len(_RANKS)))
    for word in members:
        someone = _read(word, folded(value[word]))
        if someone is not None:
            return someone
    return None


def _read(word: str, identity: Mapping[str, Any]) -> Identifier | None:
    id_ = text_of(identity.get("id"))
    if id_ is None:
        return None
    tenant_id, display_name = text_of(identity.get("tenantid")), text_of(identity.get("displayname"))
    try:
        if word == _USER:
            return TeamsUser(id_, tenant_id=tenant_id, display_name=display_name)
        if word in {_APP, _INSTANCE}:
            return TeamsApp(id_, tenant_id=tenant_id, display_name=display_name)
        if word == _PHONE or (word == _ACS_USER and id_.startswith("8:")):
            someone = parse_identifier(f"4:{id_}" if word == _PHONE else id_)
            if isinstance(someone, (PhoneNumber, CommunicationUser)):
                someone = evolve(someone, display_name=display_name)
            return someone
        return UnknownIdentifier(id_, kind=word, tenant_id=tenant_id, display_name=display_name)
    except ValueError:
        return None
