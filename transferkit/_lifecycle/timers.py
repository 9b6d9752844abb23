"""What follows when a grace period or a deadline ends."""

from __future__ import annotations

from attrs import evolve

from transferkit._lifecycle.attempts import fail_unexecuted
from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.inputs import DueReached
from transferkit._lifecycle.state import OpenTransfer
from transferkit._lifecycle.transition import Transition
from transferkit.events import Basis, FailureReason, Verdict
from transferkit.provider.facts import Result
from transferkit.requests import JoinSide, RequestKind

__all__ = ["apply_due"]

# The reasons for which an unanswered call ends after it was offered to its targets and none accepted it.
_NO_TARGET_ACCEPTED = frozenset(
    {
        FailureReason.BUSY,
        FailureReason.DECLINED,
        FailureReason.NO_ANSWER,
        FailureReason.UNREACHABLE,
        FailureReason.TARGET_NOT_FOUND,
        FailureReason.TARGET_NOT_ALLOWED,
    }
)


def apply_due(transition: Transition, reached: DueReached) -> Decision:
    """Apply the end of a grace period or the deadline."""
    transfer = transition.find_open(reached.transfer_id)
    if transfer is None:
        transition.clear_due(reached.transfer_id)
    elif transfer.pending_failure is not None:
        if reached.work is Work.GRACE:
            transition.publish_pending_failure(transfer, call_alive=None)
    elif reached.work is Work.GRACE and transfer.call_end is not None:
        transition.clear_due(transfer.id, Work.GRACE)
        _end_grace_period(transition, transfer, transfer.call_end)
    elif reached.work is Work.DEADLINE and transition.at >= transfer.deadline_at:
        transition.clear_due(transfer.id, Work.DEADLINE)
        _reach_deadline(transition, transfer)
    return transition.decide()


def _end_grace_period(transition: Transition, transfer: OpenTransfer, call_end: Result) -> None:
    """Conclude from the end of the call, because no proof arrived in time."""
    if transfer.kind is RequestKind.REDIRECT and call_end.reason in _NO_TARGET_ACCEPTED:
        transition.fail(transfer, call_end, basis=Basis.STATED, call_alive=False)
    elif transfer.kind is RequestKind.REDIRECT:
        transition.expire(transfer)  # a redirected call and a caller who hung up look the same
    elif transfer.ambiguous_success is not None and transfer.possibly_received:
        _conclude_ambiguous_success(transition, transfer)
    elif transfer.unattributed_verdict is Verdict.SUCCEEDED:
        transition.expire(transfer)
    elif _goes_on_after_success(transfer) and transfer.possibly_received:
        transition.expire(transfer)  # the two may have talked before the agent's call ended
    elif call_end.reason is FailureReason.CALLER_LEFT and (
        transfer.transferee is None or transfer.success_excluded
    ):
        transition.fail(transfer, call_end, basis=Basis.STATED, call_alive=False)
    elif not transfer.success_excluded:
        transition.expire(transfer)  # the callback with its success may be lost
    else:
        ended = evolve(call_end, reason=FailureReason.CALL_ENDED)
        transition.fail(transfer, ended, basis=Basis.INFERRED, call_alive=False)


def _goes_on_after_success(transfer: OpenTransfer) -> bool:
    """Return whether the call goes on after a success: the caller is moved to it, the agent's call."""
    return transfer.kind is RequestKind.JOIN and transfer.rules.join_side is JoinSide.AGENT


def _conclude_ambiguous_success(transition: Transition, transfer: OpenTransfer) -> None:
    """Complete this transfer, because one of the call succeeded; expire it if that may be an earlier one."""
    transition.complete_if_ambiguous_success_fits(transfer)
    if transition.open is None:
        return
    state = transition.state
    has_rival = not state.all_settled or any(
        earlier.verdict is Verdict.SUCCEEDED for earlier in state.finished
    )
    if has_rival:
        transition.expire(transfer)
    else:
        transition.complete(transfer, transfer.ambiguous_success, basis=Basis.INFERRED)


def _reach_deadline(transition: Transition, transfer: OpenTransfer) -> None:
    if transfer.call_end is not None:
        return  # the grace period decides
    transfer = transition.update(transfer, deadline_passed=True)
    if transfer.possibly_received or transfer.last_error is None:
        transition.clear_due(transfer.id, Work.SUBMIT)
        transition.schedule_inspection(transfer)
    else:
        fail_unexecuted(transition, transfer, transfer.last_error)
