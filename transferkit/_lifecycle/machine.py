"""The transitions. One public function, `step`; everything here is a pure computation on values.

The promises that it keeps, whatever the order, repetition, delay or loss of what it is told:

* a transfer's events are `requested`, then at most one each of `submitted`, `started`, `accepted` in that
  order, then exactly one terminal event, and nothing after it;
* `completed` only because the provider stated it; a stated verdict wins while the transfer is open;
* nothing is sent again that may have executed, unless the provider promised to execute it once;
* whatever was delivered shows on the stream, as `provider.other` when it moves no life cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import evolve

from transferkit._lifecycle.decision import CallKey, Decision, Work
from transferkit._lifecycle.inputs import (
    Answered,
    Attempted,
    DueReached,
    Input,
    Inspected,
    Observed,
    Replaced,
    Requested,
)
from transferkit._lifecycle.observe import observe
from transferkit._lifecycle.state import CallState, Finished, Progress
from transferkit._lifecycle.transition import Transition, kinds
from transferkit.events import (
    Basis,
    Evidence,
    FailureReason,
    LateVerdict,
    RedirectCompleted,
    TransferStarted,
)
from transferkit.provider.facts import RequestKind, Result
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted

__all__ = ["CallRings", "step"]

_LONGEST_BACKOFF = timedelta(seconds=30)
_MOST_DOUBLINGS = 16  # far beyond the longest backoff, and far from a span that cannot be said
_LASTING_FOR = timedelta(seconds=3)
"""For how long attempts continue that fail for a lasting cause."""
_LASTING_BACKOFF = timedelta(seconds=1)

# Refusals that say that there is no such call.
_GONE = frozenset({FailureReason.CALL_NOT_FOUND, FailureReason.CALL_ENDED, FailureReason.CALLER_LEFT})

_ALIVE: Mapping[Presence, bool | None] = {
    Presence.CONNECTED: True,
    Presence.TRANSFERRING: True,
    Presence.GONE: False,
    Presence.UNKNOWN: None,
}

# An unanswered call that ends for one of these was offered to its targets, and none of them has it.
_NOBODY_TOOK_IT = frozenset(
    {
        FailureReason.BUSY,
        FailureReason.DECLINED,
        FailureReason.NO_ANSWER,
        FailureReason.UNREACHABLE,
        FailureReason.TARGET_NOT_FOUND,
        FailureReason.TARGET_NOT_ALLOWED,
    }
)


class CallRings(Exception):
    """A transfer was asked for of a call that still rings. Nothing follows from it."""


def step(call: CallKey, state: CallState, happened: Input, seen: str | None = None) -> Decision:
    """Decide what follows from `happened` to `call`.

    `seen` is the mark under which the same delivery was recorded before, if it was. Pure: the same
    arguments give the same decision. Raises `CallRings`.
    """
    change = Transition(call, state, happened.at)
    match happened:
        case Requested():
            decision = _request(change, happened)
        case Replaced():
            decision = _replaced(change, happened)
        case Attempted():
            decision = _attempt(change, happened)
        case Answered():
            decision = _answer(change, happened)
        case Observed():
            decision = observe(change, happened.fact, seen)
        case Inspected():
            decision = _inspected(change, happened)
        case DueReached():  # pragma: no branch - these are all the inputs
            decision = _due(change, happened)
    return decision


# --- commands ---------------------------------------------------------------------------------------


def _request(change: Transition, asked: Requested) -> Decision:
    """Record the request; its sender already holds the lease and sends attempt 1."""
    opened = asked.opened
    request = opened.request
    if not opened.is_redirect and change.state.rings(asked.at):
        raise CallRings(str(opened.call))
    progress = Progress(
        id=opened.id,
        kind=RequestKind.REDIRECT if opened.is_redirect else RequestKind.TRANSFER,
        rules=asked.rules,
        targets=request.targets,
        transferee=getattr(request, "transferee", None),
        operation_context=request.operation_context,
        own_address=(request.callback_uri or "").endswith(f"/{opened.id}"),
        requested_at=asked.at,
        deadline_at=asked.at + request.deadline,
        attempts=1,
        first_sent_at=asked.at,
        in_flight=True,
    )
    change.state = evolve(
        change.state, open=progress, tenant_id=request.call.tenant_id or change.state.tenant_id
    )
    change.emit(
        kinds(progress).requested,
        progress,
        targets=progress.targets,
        transferee=progress.transferee,
        dropped=asked.dropped,
    )
    change.set_due(progress, Work.SUBMIT, asked.at, asked.sender)
    change.set_due(progress, Work.DEADLINE, progress.deadline_at)
    return change.decision(opened=opened)


def _replaced(change: Transition, replaced: Replaced) -> Decision:
    """Remember on the consultation leg that another call's transfer may end it."""
    change.state = change.state.with_finished(Finished(id=replaced.transfer_id))
    return change.decision()


def _attempt(change: Transition, attempted: Attempted) -> Decision:
    """Whether attempt number n may be sent: never twice, and never again after it may have executed."""
    progress = change.open_as(attempted.transfer_id)
    if progress is None:
        return change.nothing(attempted.transfer_id)
    if attempted.attempt != progress.attempts + 1:
        return change.decision()  # somebody else is at it
    if progress.in_flight:  # whoever began the last attempt is gone without an answer
        progress = change.progress(
            progress, in_flight=False, ambiguous=True, overtaken=not progress.ambiguous
        )
    if progress.submitted:
        change.clear(progress, Work.SUBMIT)
        return change.decision()
    late = progress.deadline_passed or change.at >= progress.deadline_at
    if late or (progress.ambiguous and not _repeatable(progress, change.at)):
        change.clear(progress, Work.SUBMIT)
        change.inspect_soon(progress)
        return change.decision()
    first = progress.first_sent_at
    if first is None or not (progress.ambiguous or _repeatable(progress, change.at)):
        first = change.at  # nothing can have executed: the provider's window starts anew
    change.progress(
        progress, attempts=attempted.attempt, in_flight=True, overtaken=False, first_sent_at=first
    )
    return change.decision(proceed=True)


def _repeatable(progress: Progress, at: datetime) -> bool:
    window, first = progress.rules.repeatable_for, progress.first_sent_at
    return window is not None and first is not None and at - first < window


# --- answers ----------------------------------------------------------------------------------------


def _answer(change: Transition, answered: Answered) -> Decision:
    progress = change.open_as(answered.transfer_id)
    if progress is None:
        return change.decision()
    answer = answered.answer
    if isinstance(answer, Submitted):  # from any attempt, however late: it is the same request
        return _taken(change, progress, answer)
    if answered.attempt != progress.attempts or not (progress.in_flight or progress.overtaken):
        return change.decision()  # a newer attempt's answer counts
    progress = change.progress(
        progress,
        in_flight=False,
        ambiguous=progress.ambiguous and not progress.overtaken,
        overtaken=False,
        refusal=answer.result,
    )
    if progress.submitted:  # a callback proved the submission: the answer contradicts it and decides nothing
        if progress.held is None:
            change.inspect_soon(progress)
        return change.decision()
    _unanswered(change, progress, answer)
    return change.decision()


def _taken(change: Transition, progress: Progress, answer: Submitted) -> Decision:
    progress = change.progress(progress, in_flight=False)
    progress = change.submitted(progress, correlation_id=answer.correlation_id)
    if progress.kind is RequestKind.REDIRECT and progress.rules.taken_is_handed_over:
        change.conclude(progress, RedirectCompleted, basis=Basis.INFERRED)
        return change.decision()
    if progress.disputed is not None:  # only a query that begins after this can decide
        progress = change.progress(progress, query=progress.query + 1)
        change.inspect_soon(progress)
    if progress.ended is None:  # else the grace period decides
        change.claim(progress)
    return change.decision()


def _unanswered(change: Transition, progress: Progress, answer: SubmitResult) -> None:
    match answer:
        case Rejected(result=result) if not progress.ambiguous:
            change.fail(progress, result, basis=result.basis, call_alive=_alive_after(result))
        case Rejected():  # the refusal may be the echo of an earlier attempt that executed
            change.clear(progress, Work.SUBMIT)
            change.inspect_soon(progress)
        case NotSent(result=result, retry_after=retry_after, lasting=lasting):
            if not progress.ambiguous:  # what was stated came before anything that can have executed
                progress = change.progress(progress, claimed=None, disputed=None)
            _again(change, _failing(change, progress, lasting=lasting), result, retry_after)
        case MaybeSent(result=result):  # pragma: no branch - these are all the answers
            progress = _failing(change, change.progress(progress, ambiguous=True), lasting=False)
            _again(change, progress, result, None)


def _failing(change: Transition, progress: Progress, *, lasting: bool) -> Progress:
    """Note since when attempts fail for a lasting cause: the first attempt began with the request."""
    since = progress.failing_since or (progress.requested_at if progress.attempts == 1 else change.at)
    return change.progress(progress, failing_since=since if lasting else None)


def _again(change: Transition, progress: Progress, result: Result, retry_after: timedelta | None) -> None:
    """Send again if that is safe and in time; otherwise say what is known."""
    doublings, end = min(progress.attempts - 1, _MOST_DOUBLINGS), progress.deadline_at
    pause = min(progress.rules.backoff * 2**doublings, _LONGEST_BACKOFF)
    if progress.failing_since is not None:
        pause, end = min(pause, _LASTING_BACKOFF), min(end, progress.failing_since + _LASTING_FOR)
    at = change.at + max(pause, retry_after or timedelta(0))
    safe = not progress.ambiguous or _repeatable(progress, at)
    if safe and at < end and progress.attempts < progress.rules.max_attempts:
        change.set_due(progress, Work.SUBMIT, at)
        return
    change.clear(progress, Work.SUBMIT)
    if progress.ambiguous:
        change.inspect_soon(progress)
    else:
        _never_sent(change, progress, result)


def _never_sent(change: Transition, progress: Progress, result: Result) -> None:
    """No attempt can have executed, and none will be made: that much is certain."""
    change.fail(progress, result, basis=result.basis, call_alive=_alive_after(result))


def _alive_after(refusal: Result) -> bool | None:
    """False if the refusal says that there is no such call. No refusal proves that there is one."""
    return False if refusal.reason in _GONE else None


# --- questions and time -----------------------------------------------------------------------------


def _inspected(change: Transition, inspected: Inspected) -> Decision:
    progress = change.open_as(inspected.transfer_id)
    if progress is None:
        return change.nothing(inspected.transfer_id)
    progress = change.progress(
        progress,
        last_inspected_at=inspected.at,
        evidence=progress.evidence if progress.ended else _evidence(progress.evidence, inspected.presence),
        final_inspections=progress.final_inspections + progress.deadline_passed,
    )
    if inspected.query != progress.query:
        return change.decision()  # another query is due
    change.clear(progress, Work.INSPECT)
    progress = _answered_by(change, progress, inspected.presence)
    if change.open is None:
        return change.decision()
    transferring = inspected.presence is Presence.TRANSFERRING and progress.kind is RequestKind.TRANSFER
    if transferring and (progress.submitted or not any(done.unsettled for done in change.state.finished)):
        progress = change.submitted(progress)
        if not (progress.started or progress.accepted):
            progress = change.progress(progress, started=True)
            change.emit(TransferStarted, progress)
    if progress.deadline_passed and progress.ended is None:  # else the grace that runs decides
        unknown = inspected.presence is Presence.UNKNOWN
        if unknown and progress.final_inspections < progress.rules.max_inspections:
            change.inspect_soon(progress)
        else:
            change.expire(progress)
    return change.decision()


def _answered_by(change: Transition, progress: Progress, presence: Presence) -> Progress:
    """Conclude what the query was made for: whether the call is alive, or which transfer failed.

    If the provider has this transfer, a call of two parties that is connected shows that it is over and did
    not succeed. A call that is being transferred shows nothing: an earlier transfer may still run.
    A group call stays connected while one of its parties is transferred. There a failure in the words of an
    earlier one is this transfer's if no other verdict arrived by the deadline.
    """
    if progress.held is not None:
        change.release(progress, call_alive=_ALIVE[presence])
        return progress
    disputed = progress.disputed
    if disputed is None or not progress.submitted or progress.ended is not None:
        return progress
    if presence is Presence.UNKNOWN:
        change.inspect_soon(progress)
    elif presence is Presence.CONNECTED and (
        progress.transferee is None or (disputed.repeated and progress.deadline_passed)
    ):
        change.fail(progress, disputed.result, basis=Basis.INFERRED, call_alive=True)
    return progress


def _evidence(known: Evidence | None, presence: Presence) -> Evidence | None:
    match presence:
        case Presence.GONE:
            return Evidence.CALL_GONE
        case Presence.UNKNOWN:  # calls do not come back; of one that was up, nothing is known any more
            return known if known is Evidence.CALL_GONE else None
        case _:
            return Evidence.CALL_CONNECTED


def _due(change: Transition, reached: DueReached) -> Decision:
    progress = change.open_as(reached.transfer_id)
    if progress is None:
        return change.nothing(reached.transfer_id)
    if progress.held is not None:
        if reached.work is Work.GRACE:
            change.release(progress, call_alive=None)
    elif reached.work is Work.GRACE and progress.ended is not None:
        change.clear(progress, Work.GRACE)
        _grace_over(change, progress, progress.ended)
    elif reached.work is Work.DEADLINE and change.at >= progress.deadline_at:
        change.clear(progress, Work.DEADLINE)
        _deadline(change, progress)
    return change.decision()


def _grace_over(change: Transition, progress: Progress, ended: Result) -> None:
    """The call ended, and no proof came in time."""
    if progress.kind is RequestKind.REDIRECT and ended.reason in _NOBODY_TOOK_IT:
        change.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    elif progress.kind is RequestKind.REDIRECT:
        change.expire(progress)  # handed over or hung up: it looks the same
    elif progress.claimed is not None and progress.reached:
        _claimed_and_over(change, progress)
    elif progress.unattributed is LateVerdict.SUCCEEDED:
        change.expire(progress)
    elif ended.reason is FailureReason.CALLER_LEFT and (progress.transferee is None or progress.excluded):
        change.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    elif not progress.excluded:
        change.expire(progress)  # its success may have been stated in a callback that did not arrive
    else:
        change.fail(
            progress, evolve(ended, reason=FailureReason.CALL_ENDED), basis=Basis.INFERRED, call_alive=False
        )


def _claimed_and_over(change: Transition, progress: Progress) -> None:
    """Some transfer of the call succeeded: this one, unless it may have been an earlier one."""
    change.claim(progress)
    if change.open is None:
        return
    rivals = any(done.unsettled or done.verdict is LateVerdict.SUCCEEDED for done in change.state.finished)
    if not rivals:
        change.conclude(progress, kinds(progress).completed, basis=Basis.INFERRED, result=progress.claimed)
    else:
        change.expire(progress)


def _deadline(change: Transition, progress: Progress) -> None:
    if progress.ended is not None:
        return  # the grace period decides
    progress = change.progress(progress, deadline_passed=True)
    if progress.submitted or progress.in_flight or progress.ambiguous or progress.refusal is None:
        change.clear(progress, Work.SUBMIT)
        change.inspect_soon(progress)
    else:
        _never_sent(change, progress, progress.refusal)
