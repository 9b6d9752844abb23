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

from transferkit.events import (
    Basis,
    Evidence,
    FailureReason,
    LateVerdict,
    RedirectCompleted,
    TransferStarted,
)
from transferkit.lifecycle.decision import CallKey, Decision, Work
from transferkit.lifecycle.inputs import (
    Answer,
    Answered,
    Attempted,
    DueReached,
    Input,
    Inspected,
    MaybeSent,
    NotSent,
    Observed,
    Presence,
    Refused,
    Replaced,
    Requested,
    Taken,
)
from transferkit.lifecycle.observe import observe
from transferkit.lifecycle.state import CallState, Finished, Progress
from transferkit.lifecycle.turn import Turn, kinds
from transferkit.signals import RequestKind, Result

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
    turn = Turn(call, state, happened.at)
    match happened:
        case Requested():
            decision = _request(turn, happened)
        case Replaced():
            decision = _replaced(turn, happened)
        case Attempted():
            decision = _attempt(turn, happened)
        case Answered():
            decision = _answer(turn, happened)
        case Observed():
            decision = observe(turn, happened.fact, seen)
        case Inspected():
            decision = _inspected(turn, happened)
        case DueReached():  # pragma: no branch - these are all the inputs
            decision = _due(turn, happened)
    return decision


# --- commands ---------------------------------------------------------------------------------------


def _request(turn: Turn, asked: Requested) -> Decision:
    """Record the request; its sender already holds the lease and sends attempt 1."""
    opened = asked.opened
    request = opened.request
    if not opened.is_redirect and turn.state.rings(asked.at):
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
    turn.state = evolve(turn.state, open=progress, tenant_id=request.call.tenant_id or turn.state.tenant_id)
    turn.emit(
        kinds(progress).requested,
        progress,
        targets=progress.targets,
        transferee=progress.transferee,
        dropped=asked.dropped,
    )
    turn.set_due(progress, Work.SUBMIT, asked.at, asked.sender)
    turn.set_due(progress, Work.DEADLINE, progress.deadline_at)
    return turn.decision(opened=opened)


def _replaced(turn: Turn, replaced: Replaced) -> Decision:
    """Remember on the consultation leg that another call's transfer may end it."""
    turn.state = turn.state.with_finished(Finished(id=replaced.transfer_id))
    return turn.decision()


def _attempt(turn: Turn, attempted: Attempted) -> Decision:
    """Whether attempt number n may be sent: never twice, and never again after it may have executed."""
    progress = turn.open_as(attempted.transfer_id)
    if progress is None:
        return turn.nothing(attempted.transfer_id)
    if attempted.attempt != progress.attempts + 1:
        return turn.decision()  # somebody else is at it
    if progress.in_flight:  # whoever began the last attempt is gone without an answer
        progress = turn.progress(progress, in_flight=False, ambiguous=True, overtaken=not progress.ambiguous)
    if progress.submitted:
        turn.clear(progress, Work.SUBMIT)
        return turn.decision()
    late = progress.deadline_passed or turn.at >= progress.deadline_at
    if late or (progress.ambiguous and not _repeatable(progress, turn.at)):
        turn.clear(progress, Work.SUBMIT)
        turn.inspect_soon(progress)
        return turn.decision()
    first = progress.first_sent_at
    if first is None or not (progress.ambiguous or _repeatable(progress, turn.at)):
        first = turn.at  # nothing can have executed: the provider's window starts anew
    turn.progress(progress, attempts=attempted.attempt, in_flight=True, overtaken=False, first_sent_at=first)
    return turn.decision(proceed=True)


def _repeatable(progress: Progress, at: datetime) -> bool:
    window, first = progress.rules.repeatable_for, progress.first_sent_at
    return window is not None and first is not None and at - first < window


# --- answers ----------------------------------------------------------------------------------------


def _answer(turn: Turn, answered: Answered) -> Decision:
    progress = turn.open_as(answered.transfer_id)
    if progress is None:
        return turn.decision()
    answer = answered.answer
    if isinstance(answer, Taken):  # from any attempt, however late: it is the same request
        return _taken(turn, progress, answer)
    if answered.attempt != progress.attempts or not (progress.in_flight or progress.overtaken):
        return turn.decision()  # a newer attempt's answer counts
    progress = turn.progress(
        progress,
        in_flight=False,
        ambiguous=progress.ambiguous and not progress.overtaken,
        overtaken=False,
        refusal=answer.result,
    )
    if progress.submitted:  # a callback proved the submission: the answer contradicts it and decides nothing
        if progress.held is None:
            turn.inspect_soon(progress)
        return turn.decision()
    _unanswered(turn, progress, answer)
    return turn.decision()


def _taken(turn: Turn, progress: Progress, answer: Taken) -> Decision:
    progress = turn.progress(progress, in_flight=False)
    progress = turn.submitted(progress, correlation_id=answer.correlation_id)
    if progress.kind is RequestKind.REDIRECT and progress.rules.taken_is_handed_over:
        turn.conclude(progress, RedirectCompleted, basis=Basis.INFERRED)
        return turn.decision()
    if progress.disputed is not None:  # only a query that begins after this can decide
        progress = turn.progress(progress, query=progress.query + 1)
        turn.inspect_soon(progress)
    if progress.ended is None:  # else the grace period decides
        turn.claim(progress)
    return turn.decision()


def _unanswered(turn: Turn, progress: Progress, answer: Answer) -> None:
    match answer:
        case Refused(result=result) if not progress.ambiguous:
            turn.fail(progress, result, basis=result.basis, call_alive=_alive_after(result))
        case Refused():  # the refusal may be the echo of an earlier attempt that executed
            turn.clear(progress, Work.SUBMIT)
            turn.inspect_soon(progress)
        case NotSent(result=result, retry_after=retry_after, lasting=lasting):
            if not progress.ambiguous:  # what was stated came before anything that can have executed
                progress = turn.progress(progress, claimed=None, disputed=None)
            _again(turn, _failing(turn, progress, lasting=lasting), result, retry_after)
        case MaybeSent(result=result):  # pragma: no branch - these are all the answers
            progress = _failing(turn, turn.progress(progress, ambiguous=True), lasting=False)
            _again(turn, progress, result, None)


def _failing(turn: Turn, progress: Progress, *, lasting: bool) -> Progress:
    """Note since when attempts fail for a lasting cause: the first attempt began with the request."""
    since = progress.failing_since or (progress.requested_at if progress.attempts == 1 else turn.at)
    return turn.progress(progress, failing_since=since if lasting else None)


def _again(turn: Turn, progress: Progress, result: Result, retry_after: timedelta | None) -> None:
    """Send again if that is safe and in time; otherwise say what is known."""
    doublings, end = min(progress.attempts - 1, _MOST_DOUBLINGS), progress.deadline_at
    pause = min(progress.rules.backoff * 2**doublings, _LONGEST_BACKOFF)
    if progress.failing_since is not None:
        pause, end = min(pause, _LASTING_BACKOFF), min(end, progress.failing_since + _LASTING_FOR)
    at = turn.at + max(pause, retry_after or timedelta(0))
    safe = not progress.ambiguous or _repeatable(progress, at)
    if safe and at < end and progress.attempts < progress.rules.max_attempts:
        turn.set_due(progress, Work.SUBMIT, at)
        return
    turn.clear(progress, Work.SUBMIT)
    if progress.ambiguous:
        turn.inspect_soon(progress)
    else:
        _never_sent(turn, progress, result)


def _never_sent(turn: Turn, progress: Progress, result: Result) -> None:
    """No attempt can have executed, and none will be made: that much is certain."""
    turn.fail(progress, result, basis=result.basis, call_alive=_alive_after(result))


def _alive_after(refusal: Result) -> bool | None:
    """False if the refusal says that there is no such call. No refusal proves that there is one."""
    return False if refusal.reason in _GONE else None


# --- questions and time -----------------------------------------------------------------------------


def _inspected(turn: Turn, inspected: Inspected) -> Decision:
    progress = turn.open_as(inspected.transfer_id)
    if progress is None:
        return turn.nothing(inspected.transfer_id)
    progress = turn.progress(
        progress,
        last_inspected_at=inspected.at,
        evidence=progress.evidence if progress.ended else _evidence(progress.evidence, inspected.presence),
        final_inspections=progress.final_inspections + progress.deadline_passed,
    )
    if inspected.query != progress.query:
        return turn.decision()  # another query is due
    turn.clear(progress, Work.INSPECT)
    progress = _answered_by(turn, progress, inspected.presence)
    if turn.open is None:
        return turn.decision()
    transferring = inspected.presence is Presence.TRANSFERRING and progress.kind is RequestKind.TRANSFER
    if transferring and (progress.submitted or not any(done.unsettled for done in turn.state.finished)):
        progress = turn.submitted(progress)
        if not (progress.started or progress.accepted):
            progress = turn.progress(progress, started=True)
            turn.emit(TransferStarted, progress)
    if progress.deadline_passed and progress.ended is None:  # else the grace that runs decides
        unknown = inspected.presence is Presence.UNKNOWN
        if unknown and progress.final_inspections < progress.rules.max_inspections:
            turn.inspect_soon(progress)
        else:
            turn.expire(progress)
    return turn.decision()


def _answered_by(turn: Turn, progress: Progress, presence: Presence) -> Progress:
    """Conclude what the query was made for: whether the call is alive, or which transfer failed.

    If the provider has this transfer, a call of two parties that is connected shows that it is over and did
    not succeed. A call that is being transferred shows nothing: an earlier transfer may still run.
    A group call stays connected while one of its parties is transferred. There a failure in the words of an
    earlier one is this transfer's if no other verdict arrived by the deadline.
    """
    if progress.held is not None:
        turn.release(progress, call_alive=_ALIVE[presence])
        return progress
    disputed = progress.disputed
    if disputed is None or not progress.submitted or progress.ended is not None:
        return progress
    if presence is Presence.UNKNOWN:
        turn.inspect_soon(progress)
    elif presence is Presence.CONNECTED and (
        progress.transferee is None or (disputed.repeated and progress.deadline_passed)
    ):
        turn.fail(progress, disputed.result, basis=Basis.INFERRED, call_alive=True)
    return progress


def _evidence(known: Evidence | None, presence: Presence) -> Evidence | None:
    match presence:
        case Presence.GONE:
            return Evidence.CALL_GONE
        case Presence.UNKNOWN:  # calls do not come back; of one that was up, nothing is known any more
            return known if known is Evidence.CALL_GONE else None
        case _:
            return Evidence.CALL_CONNECTED


def _due(turn: Turn, reached: DueReached) -> Decision:
    progress = turn.open_as(reached.transfer_id)
    if progress is None:
        return turn.nothing(reached.transfer_id)
    if progress.held is not None:
        if reached.work is Work.GRACE:
            turn.release(progress, call_alive=None)
    elif reached.work is Work.GRACE and progress.ended is not None:
        turn.clear(progress, Work.GRACE)
        _grace_over(turn, progress, progress.ended)
    elif reached.work is Work.DEADLINE and turn.at >= progress.deadline_at:
        turn.clear(progress, Work.DEADLINE)
        _deadline(turn, progress)
    return turn.decision()


def _grace_over(turn: Turn, progress: Progress, ended: Result) -> None:
    """The call ended, and no proof came in time."""
    if progress.kind is RequestKind.REDIRECT and ended.reason in _NOBODY_TOOK_IT:
        turn.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    elif progress.kind is RequestKind.REDIRECT:
        turn.expire(progress)  # handed over or hung up: it looks the same
    elif progress.claimed is not None and progress.reached:
        _claimed_and_over(turn, progress)
    elif progress.unattributed is LateVerdict.SUCCEEDED:
        turn.expire(progress)
    elif ended.reason is FailureReason.CALLER_LEFT and (progress.transferee is None or progress.excluded):
        turn.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    elif not progress.excluded:
        turn.expire(progress)  # its success may have been stated in a callback that did not arrive
    else:
        turn.fail(
            progress, evolve(ended, reason=FailureReason.CALL_ENDED), basis=Basis.INFERRED, call_alive=False
        )


def _claimed_and_over(turn: Turn, progress: Progress) -> None:
    """Some transfer of the call succeeded: this one, unless it may have been an earlier one."""
    turn.claim(progress)
    if turn.open is None:
        return
    rivals = any(done.unsettled or done.verdict is LateVerdict.SUCCEEDED for done in turn.state.finished)
    if not rivals:
        turn.conclude(progress, kinds(progress).completed, basis=Basis.INFERRED, result=progress.claimed)
    else:
        turn.expire(progress)


def _deadline(turn: Turn, progress: Progress) -> None:
    if progress.ended is not None:
        return  # the grace period decides
    progress = turn.progress(progress, deadline_passed=True)
    if progress.submitted or progress.in_flight or progress.ambiguous or progress.refusal is None:
        turn.clear(progress, Work.SUBMIT)
        turn.inspect_soon(progress)
    else:
        _never_sent(turn, progress, progress.refusal)
