"""Which participant a step means, and whether it is on hold, from queries of the call.

`CallConnectionProperties` and `GetParticipantsResponse`, ACS REST 2026-03-12. The list of participants
includes the application.
"""

from __future__ import annotations

from typing import Final

from transferkit_microsoft.lenient_json import JsonObject
from transferkit_microsoft.responses import HttpResponse

from transferkit.events import Basis, FailureReason
from transferkit.identifiers import Identifier, UnknownIdentifier
from transferkit.provider.facts import Result
from transferkit.provider.results import Rejected
from transferkit_acs.identities import identifier_of

__all__ = ["UNRESOLVED", "is_on_hold", "only_other_party"]

UNRESOLVED: Final = UnknownIdentifier("THE-OTHER-PARTY")
"""Shown by a dry run for the participant that a query gives."""


def only_other_party(call: HttpResponse, participants: HttpResponse) -> Identifier | Rejected:
    """The only participant besides the application, or why the request that needs it is not sent."""
    own = _own_raw_id(call.json)
    others = [each for each in _identifiers(participants) if each.raw_id.lower() != own]
    if len(others) == 1:
        return others[0]
    return Rejected(
        result=Result(
            message=f"nothing was sent: the call has {len(others)} participants besides the application",
            reason=FailureReason.UNSUPPORTED,
            advice="Name the participant.",
            basis=Basis.LOCAL,
        )
    )


def is_on_hold(participants: HttpResponse, participant: Identifier) -> bool | None:
    """Whether the participant is on hold; None if the response does not say so."""
    for entry in map(JsonObject, participants.json.array("value")):
        identifier = identifier_of(entry.get("identifier"))
        if identifier is not None and identifier.raw_id.lower() == participant.raw_id.lower():
            return entry.flag("isonhold")
    return None


def _own_raw_id(call: JsonObject) -> str | None:
    """The application on its call: who answered an incoming one, else its source."""
    answered_by = call.child("answeredby")
    own = identifier_of({"communicationUser": answered_by}) or identifier_of(call.get("source"))
    return None if own is None else own.raw_id.lower()


def _identifiers(participants: HttpResponse) -> list[Identifier]:
    entries = map(JsonObject, participants.json.array("value"))
    found = (identifier_of(entry.get("identifier")) for entry in entries)
    return [identifier for identifier in found if identifier is not None]
