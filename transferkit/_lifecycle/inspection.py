"""What a query of the call proves: evidence, progress, and which transfer a failure belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.inputs import Inspected
from transferkit._lifecycle.state import OpenTransfer
from transferkit._lifecycle.steps import conclude_by_query
from transferkit._lifecycle.transition import Transition
from transferkit.events import Basis, Evidence, TransferStarted
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind

__all__ = ["apply_inspection"]

_IS_ALIVE: Mapping[Presence, bool | None] = {
    Presence.CONNECTED: True,
    Presence.TRANSFERRING: True,
    Presence.GONE: False,
    Presence.UNKNOWN: None,
}


def apply_inspection(transition: Transition, inspected: Inspected) -> Decision:
    """Apply the result of a query. It never proves that a transfer succeeded."""
    transfer = transition.find_open(inspected.transfer_id)
    if transfer is None:
        transition.clear_due(inspected.transfer_id)
        return transition.decide()
    evidence = transfer.evidence if transfer.call_end else _evidence(transfer.evidence, inspected.presence)
    transfer = transition.update(
        transfer,
        last_inspected_at=inspected.at,
        evidence=evidence,
        inspections_after_deadline=transfer.inspections_after_deadline + transfer.deadline_passed,
    )
    if inspected.inspection_round != transfer.inspection_round:
        return transition.decide()  # a query of the current round is due
    transition.clear_due(transfer.id, Work.INSPECT)
    if transfer.pending_failure is not None:
        transition.publish_pending_failure(transfer, call_alive=_IS_ALIVE[inspected.presence])
        return transition.decide()
    if conclude_by_query(transition, transfer, inspected.presence):
        return transition.decide()
    _decide_ambiguous_failure(transition, transfer, inspected.presence)
    if transition.open is not None:
        transfer = _note_transferring(transition, transition.open, inspected.presence)
        _expire_after_deadline(transition, transfer, inspected.presence)
    return transition.decide()


def _decide_ambiguous_failure(transition: Transition, transfer: OpenTransfer, presence: Presence) -> None:
    """Decide whether a failure that may belong to an earlier transfer is that of this one.

    If the provider has this transfer, a connected call of two parties shows that it is over and did not
    succeed. A call that is being transferred shows nothing: an earlier transfer may still be in progress. A
    group call stays connected while one of its participants is transferred; there, a failure that repeats a
    known verdict belongs to this transfer if no other verdict arrived by the deadline.
    """
    failure = transfer.ambiguous_failure
    if failure is None or not transfer.submitted or transfer.call_end is not None:
        return
    if presence is Presence.UNKNOWN:
        transition.schedule_inspection(transfer)
    elif presence is Presence.CONNECTED and (
        transfer.transferee is None or (failure.repeats_known_verdict and transfer.deadline_passed)
    ):
        transition.fail(transfer, failure.result, basis=Basis.INFERRED, call_alive=True)


def _note_transferring(transition: Transition, transfer: OpenTransfer, presence: Presence) -> OpenTransfer:
    """Publish that the transfer started, if the call is being transferred and no earlier one can be why."""
    if presence is not Presence.TRANSFERRING or transfer.kind is not RequestKind.TRANSFER:
        return transfer
    if not transfer.submitted and not transition.state.all_settled:
        return transfer
    transfer = transition.mark_submitted(transfer)
    if not (transfer.started or transfer.accepted):
        transfer = transition.update(transfer, started=True)
        transition.publish(TransferStarted, transfer)
    return transfer


def _expire_after_deadline(transition: Transition, transfer: OpenTransfer, presence: Presence) -> None:
    """Expire the transfer after its deadline. A provider that gave no answer is queried a few times more."""
    if not transfer.deadline_passed or transfer.call_end is not None:  # else the grace period decides
        return
    inspections_left = transfer.inspections_after_deadline < transfer.rules.max_inspections
    if presence is Presence.UNKNOWN and inspections_left:
        transition.schedule_inspection(transfer)
    else:
        transition.expire(transfer)


def _evidence(known: Evidence | None, presence: Presence) -> Evidence | None:
    match presence:
        case Presence.GONE:
            return Evidence.CALL_GONE
        case Presence.UNKNOWN:  # a call that is gone stays gone; one that was connected may have ended since
            return known if known is Evidence.CALL_GONE else None
        case _:
            return Evidence.CALL_CONNECTED
