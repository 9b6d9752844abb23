"""Sending a request: whether an attempt may be sent, what its answer means, and when to retry."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import evolve

from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.inputs import Answered, Attempted
from transferkit._lifecycle.state import OpenTransfer
from transferkit._lifecycle.transition import Transition
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Rejected, Submitted

__all__ = ["apply_answer", "fail_unexecuted", "start_attempt"]

_LONGEST_PAUSE = timedelta(seconds=30)
_MOST_DOUBLINGS = 16  # the longest pause is reached long before, and the product stays within timedelta
_PERSISTENT_ERROR_LIMIT = timedelta(seconds=3)
"""How long attempts continue that fail for a cause which is unlikely to pass soon."""
_PERSISTENT_ERROR_PAUSE = timedelta(seconds=1)

_CALL_IS_GONE = frozenset({FailureReason.CALL_NOT_FOUND, FailureReason.CALL_ENDED, FailureReason.CALLER_LEFT})


def start_attempt(transition: Transition, attempted: Attempted) -> Decision:
    """Decide whether an attempt may be sent.

    Each attempt is sent at most once. After one that may have executed, another is sent only within
    `Rules.repeatable_for`.
    """
    transfer = transition.find_open(attempted.transfer_id)
    if transfer is None:
        transition.clear_due(attempted.transfer_id)
        return transition.decide()
    if attempted.attempt != transfer.attempts + 1:
        return transition.decide()  # another process has started this attempt
    if transfer.in_flight:  # the process that started the last attempt is gone or slow
        transfer = transition.update(
            transfer,
            in_flight=False,
            may_have_executed=True,
            late_answer_decides=not transfer.may_have_executed,
        )
    if transfer.submitted:
        transition.clear_due(transfer.id, Work.SUBMIT)
        return transition.decide()
    is_late = transfer.deadline_passed or transition.at >= transfer.deadline_at
    if is_late or (transfer.may_have_executed and not _is_repeatable(transfer, transition.at)):
        transition.clear_due(transfer.id, Work.SUBMIT)
        transition.schedule_inspection(transfer)
        return transition.decide()
    first_sent_at = transfer.first_sent_at
    if not (transfer.may_have_executed or _is_repeatable(transfer, transition.at)):
        first_sent_at = transition.at  # no earlier attempt can have executed: a new window starts
    transition.update(
        transfer,
        attempts=attempted.attempt,
        in_flight=True,
        late_answer_decides=False,
        first_sent_at=first_sent_at,
    )
    return transition.decide(proceed=True)


def _is_repeatable(transfer: OpenTransfer, at: datetime) -> bool:
    """Return whether the provider still recognizes a repetition of the first attempt."""
    window = transfer.rules.repeatable_for
    return window is not None and at - transfer.first_sent_at < window


def apply_answer(transition: Transition, answered: Answered) -> Decision:
    """Apply the answer of an attempt.

    An acceptance counts from any attempt, however late, because all attempts are the same request. Any other
    answer counts only if it is that of the last attempt.
    """
    answer = answered.answer
    if isinstance(answer, Submitted) and answer.call_id is not None:
        transition.state = evolve(transition.state, placed_call=answer.call_id)
    transfer = transition.find_open(answered.transfer_id)
    if transfer is None:
        return transition.decide()
    if isinstance(answer, Submitted):
        _apply_acceptance(transition, transfer, answer)
        return transition.decide()
    if answered.attempt != transfer.attempts or not (transfer.in_flight or transfer.late_answer_decides):
        return transition.decide()
    transfer = transition.update(
        transfer,
        in_flight=False,
        may_have_executed=transfer.may_have_executed and not transfer.late_answer_decides,
        late_answer_decides=False,
        last_error=answer.result,
    )
    if not transfer.submitted:
        _apply_error(transition, transfer, answer)
    elif transfer.pending_failure is None:  # a callback proved the submission, which the answer contradicts
        transition.schedule_inspection(transfer)
    return transition.decide()


def _apply_acceptance(transition: Transition, transfer: OpenTransfer, answer: Submitted) -> None:
    transfer = transition.update(transfer, in_flight=False)
    transfer = transition.mark_submitted(transfer, correlation_id=answer.correlation_id)
    if answer.done or transfer.rules.completes_on_acceptance:
        transition.complete(transfer, None, basis=Basis.STATED if answer.done else Basis.INFERRED)
        return
    if transfer.ambiguous_failure is not None:  # only a query that begins after the acceptance can decide
        transfer = transition.update(transfer, inspection_round=transfer.inspection_round + 1)
        transition.schedule_inspection(transfer)
    if transfer.call_end is None:  # after the end of the call, the grace period decides
        transition.complete_if_ambiguous_success_fits(transfer)


def _apply_error(
    transition: Transition, transfer: OpenTransfer, answer: Rejected | NotSent | MaybeSent
) -> None:
    match answer:
        case Rejected(result=result) if not transfer.may_have_executed:
            fail_unexecuted(transition, transfer, result)
        case Rejected():  # the rejection may be the consequence of an earlier attempt that executed
            transition.clear_due(transfer.id, Work.SUBMIT)
            transition.schedule_inspection(transfer)
        case NotSent(result=result, retry_after=retry_after, lasting=is_persistent):
            if not transfer.may_have_executed:  # any verdict so far belongs to an earlier transfer
                transfer = transition.update(transfer, ambiguous_success=None, ambiguous_failure=None)
            transfer = _note_error(transition, transfer, is_persistent=is_persistent)
            _retry(transition, transfer, result, retry_after)
        case MaybeSent(result=result):
            transfer = transition.update(transfer, may_have_executed=True)
            transfer = _note_error(transition, transfer, is_persistent=False)
            _retry(transition, transfer, result, None)


def _note_error(transition: Transition, transfer: OpenTransfer, *, is_persistent: bool) -> OpenTransfer:
    """Record since when the attempts have failed for a persistent cause. Attempt 1 began with the request."""
    began = transfer.requested_at if transfer.attempts == 1 else transition.at
    since = transfer.persistent_error_since or began
    return transition.update(transfer, persistent_error_since=since if is_persistent else None)


def _retry(
    transition: Transition, transfer: OpenTransfer, result: Result, retry_after: timedelta | None
) -> None:
    """Schedule the next attempt if it is safe and before the deadline. Otherwise fail, or query."""
    end = transfer.deadline_at
    pause = transfer.rules.backoff * 2 ** min(transfer.attempts - 1, _MOST_DOUBLINGS)
    pause = min(pause, _LONGEST_PAUSE)
    if transfer.persistent_error_since is not None:
        pause = min(pause, _PERSISTENT_ERROR_PAUSE)
        end = min(end, transfer.persistent_error_since + _PERSISTENT_ERROR_LIMIT)
    at = transition.at + max(pause, retry_after or timedelta(0))
    is_safe = not transfer.may_have_executed or _is_repeatable(transfer, at)
    if is_safe and at < end and transfer.attempts < transfer.rules.max_attempts:
        transition.set_due(transfer, Work.SUBMIT, at)
        return
    transition.clear_due(transfer.id, Work.SUBMIT)
    if transfer.may_have_executed:
        transition.schedule_inspection(transfer)
    else:
        fail_unexecuted(transition, transfer, result)


def fail_unexecuted(transition: Transition, transfer: OpenTransfer, result: Result) -> None:
    """Publish a failure with the result of the last attempt: no attempt can have executed, and none follows.

    A result that says that the call does not exist proves that it is not alive, unless the request is about
    two calls and the result may mean the other one. No result proves that it is alive.
    """
    is_gone = result.reason in _CALL_IS_GONE and not transfer.concerns_two_calls
    call_alive = False if is_gone else None
    transition.fail(transfer, result, basis=result.basis, call_alive=call_alive)
