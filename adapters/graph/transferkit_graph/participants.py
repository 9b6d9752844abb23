"""Which participant of a group call a hold or resume means, from the list of participants.

Graph holds a participant by the id that the participant has in the call (participant-startHoldMusic), and
lists participants only in group calls (call-list-participants).
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final

from attrs import evolve
from transferkit_microsoft.responses import HttpResponse

from transferkit.events import Basis, FailureReason
from transferkit.identifiers import TeamsApp
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit.requests import Hold, Resume
from transferkit_graph.identities import read_roster
from transferkit_graph.reasons import GRAPH

__all__ = ["UNRESOLVED", "as_not_sent", "participant_id_of"]

UNRESOLVED: Final = "PARTICIPANT-ID"
"""Shown by a dry run for the id that a query gives."""

_ONLY_IN_GROUP_CALLS: Final = (
    "Graph holds only a participant of a group call. In a call with one person there is nobody else to hear: "
    "play audio to the person instead, or consult with hold=False."
)


def participant_id_of(
    request: Hold | Resume, response: HttpResponse, *, client_id: str | None, now: datetime
) -> str | NotSent | Rejected:
    """The participant id of the party that the request means, or why the request is not sent.

    `client_id` identifies the application, which is itself a participant.
    """
    if response.status != HTTPStatus.OK:
        return _not_listed(response, now=now)
    named = request.participant and request.participant.raw_id.lower()
    ids = []
    for participant in read_roster(response.json.array("value")):
        raw_id = participant.identifier.raw_id.lower()
        is_own = isinstance(participant.identifier, TeamsApp) and participant.identifier.id == client_id
        if participant.id is not None and (raw_id == named if named else not is_own):
            ids.append(participant.id)
    if len(ids) == 1:
        return ids[0]
    found = "is not in the call" if named else f"is not certain: the call has {len(ids)} others"
    return Rejected(
        result=Result(
            message=f"nothing was sent: the participant {found}",
            reason=FailureReason.UNSUPPORTED,
            advice="Give participant or participant_id of someone in the call.",
            basis=Basis.LOCAL,
        )
    )


def _not_listed(response: HttpResponse, *, now: datetime) -> NotSent | Rejected:
    """What follows from an error of the list of participants: the request itself was not sent."""
    answer = GRAPH.submit_result(response, now=now)
    if isinstance(answer, Rejected):
        if answer.result.reason is FailureReason.UNSUPPORTED:
            return Rejected(result=evolve(answer.result, advice=_ONLY_IN_GROUP_CALLS))
        return answer
    if isinstance(answer, NotSent):
        return answer
    return NotSent(result=GRAPH.result(response))


def as_not_sent(answer: NotSent | MaybeSent) -> NotSent:
    """A query without a response: the request itself was not sent."""
    return answer if isinstance(answer, NotSent) else NotSent(result=answer.result)
