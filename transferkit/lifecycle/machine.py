"""The transitions. One public function, `step`; everything here is a pure computation on values.

The promises that it keeps, whatever the order, repetition, delay or loss of what it is told:

* a transfer's events are `requested`, then at most one each of `submitted`, `started`, `accepted` in that
  order, then exactly one terminal event, and nothing after it;
* `completed` only because the provider stated it; a stated verdict wins while the transfer is open;
* nothing is sent again that may have executed, unless the provider promised to execute it once;
* whatever was delivered shows on the stream, as `provider.other` when it moves no life cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from attrs import evolve

from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    Event,
    Evidence,
    FailureReason,
    LateVerdict,
    Outcome,
    ProviderOther,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    RedirectRequested,
    RedirectSubmitted,
    TransferAccepted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferRequested,
    TransferStarted,
    TransferSubmitted,
)
from transferkit.lifecycle.decision import CallKey, Decision, Due, Lease, Work
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
    Requested,
    Taken,
)
from transferkit.lifecycle.state import CallState, Finished, Progress, RequestKind
from transferkit.signals import Fact, Result, Signal

__all__ = ["step"]

_LONGEST_BACKOFF = timedelta(seconds=30)

# The caller's leg after a refusal: it is untouched, unless the refusal says that there is none.
_GONE = frozenset({FailureReason.CALL_NOT_FOUND, FailureReason.CALL_ENDED, FailureReason.CALLER_LEFT})
_UNSURE = frozenset({FailureReason.CALL_NOT_ESTABLISHED, FailureReason.PROVIDER_ERROR, FailureReason.UNKNOWN})

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


def step(call: CallKey, state: CallState, happened: Input, seen: str | None = None) -> Decision:
    """Decide what follows from `happened` to `call`.

    `seen` is the mark under which the same delivery was recorded before, if it was. Pure: the same
    arguments give the same decision.
    """
    turn = _Turn(call, state, happened.at)
    match happened:
        case Requested():
            return _request(turn, happened)
        case Attempted():
            return _attempt(turn, happened)
        case Answered():
            return _answer(turn, happened)
        case Observed():
            return _observe(turn, happened.fact, seen)
        case Inspected():
            return _inspected(turn, happened)
        case DueReached():
            return _due(turn, happened)


class _Turn:
    """One step under way: the state as it changes and the decision as it grows."""

    def __init__(self, call: CallKey, state: CallState, at: datetime) -> None:
        self.call = call
        self.state = state
        self.at = at
        self.events: list[Event] = []
        self.outcome: Outcome | None = None
        self._due: dict[tuple[str, Work], Due | None] = {}

    def decision(self, **more: Any) -> Decision:
        return Decision(
            state=self.state,
            events=tuple(self.events),
            due=tuple(due for due in self._due.values() if due),
            cleared=tuple(key for key, due in self._due.items() if due is None),
            outcome=self.outcome,
            **more,
        )

    @property
    def open(self) -> Progress | None:
        return self.state.open

    def open_as(self, transfer_id: str) -> Progress | None:
        """The open transfer, if it is this one."""
        return self.open if self.open and self.open.id == transfer_id else None

    def progress(self, progress: Progress, **changes: Any) -> Progress:
        progress = evolve(progress, **changes)
        self.state = evolve(self.state, open=progress)
        return progress

    def append(self, event: Event, **changes: Any) -> Event:
        sequence = self.state.sequence + 1
        name = f"transferkit:{self.call.provider}\n{self.call.id}\n{sequence}"
        event = evolve(event, sequence=sequence, id=str(uuid5(NAMESPACE_URL, name)), **changes)
        self.state = evolve(self.state, sequence=sequence)
        self.events.append(event)
        return event

    def emit(
        self, event: Callable[..., Event], progress: Progress, fact: Fact | None = None, **fields: Any
    ) -> Event:
        """Append an event of `progress`, which a fact or we ourselves brought about."""
        if fact:
            fields |= {"correlation_id": fact.event.correlation_id, "raw": fact.event.raw}
        return self.append(
            event(
                time=fact.time if fact else self.at,
                provider=self.call.provider,
                call_id=self.call.id,
                transfer_id=progress.id,
                operation_context=progress.operation_context,
                **fields,
            )
        )

    def set_due(self, progress: Progress, work: Work, at: datetime, lease: Lease | None = None) -> None:
        self._due[progress.id, work] = Due(transfer_id=progress.id, work=work, at=at, lease=lease)

    def clear(self, progress: Progress, *works: Work) -> None:
        for work in works:
            self._due[progress.id, work] = None

    def nothing(self, transfer_id: str) -> Decision:
        """The transfer has its outcome: no work of it is left to do."""
        for work in Work:
            self._due[transfer_id, work] = None
        return self.decision()

    def inspect_soon(self, progress: Progress) -> None:
        """Ask the provider, but not more often than the rules allow."""
        at = self.at
        if progress.last_inspected_at is not None:
            at = max(at, progress.last_inspected_at + progress.rules.inspect_gap)
        self.set_due(progress, Work.INSPECT, at)

    def submitted(self, progress: Progress, fact: Fact | None = None, **fields: Any) -> Progress:
        """The provider has the request: by its answer, or because it speaks of it."""
        if progress.submitted:
            return progress
        progress = self.progress(progress, submitted=True)
        self.clear(progress, Work.SUBMIT)
        self.emit(_kinds(progress).submitted, progress, fact, **fields)
        return progress

    def conclude(
        self,
        progress: Progress,
        event: Callable[..., Event],
        *,
        basis: Basis,
        fact: Fact | None = None,
        verdict: LateVerdict | None = None,
        result: Result | None = None,
        **fields: Any,
    ) -> None:
        """The one terminal event."""
        words = {"code": result.code, "subcode": result.subcode, "message": result.message} if result else {}
        outcome = self.emit(
            event,
            progress,
            fact,
            target=_target(progress, fact),
            transferee=(fact and fact.transferee) or progress.transferee,
            basis=basis,
            elapsed=max(self.at - progress.requested_at, timedelta(0)),
            **words,
            **fields,
        )
        if not isinstance(outcome, Outcome):  # the kinds' own types say so; this tells the type checker
            raise TypeError(f"{outcome.kind} is no outcome")
        self.outcome = outcome
        self.clear(progress, *Work)
        done = Finished(
            id=progress.id,
            operation_context=progress.operation_context,
            verdict=verdict if basis is Basis.STATED else None,
        )
        self.state = evolve(self.state, open=None, finished=(*self.state.finished, done))

    def fail(
        self,
        progress: Progress,
        result: Result,
        *,
        basis: Basis,
        call_alive: bool | None,
        fact: Fact | None = None,
    ) -> None:
        self.conclude(
            progress,
            _kinds(progress).failed,
            basis=basis,
            fact=fact,
            verdict=LateVerdict.FAILED,
            result=result,
            reason=result.reason,
            call_alive=False if self.state.ended else call_alive,
            advice=result.advice,
            request_id=result.request_id,
        )

    def expire(self, progress: Progress) -> None:
        self.conclude(
            progress,
            _kinds(progress).expired,
            basis=Basis.INFERRED,
            evidence=progress.evidence or Evidence.SILENCE,
        )


class _TransferKinds:
    requested, submitted = TransferRequested, TransferSubmitted
    completed, failed, expired = TransferCompleted, TransferFailed, TransferExpired


class _RedirectKinds:
    requested, submitted = RedirectRequested, RedirectSubmitted
    completed, failed, expired = RedirectCompleted, RedirectFailed, RedirectExpired


def _kinds(progress: Progress) -> type[_TransferKinds | _RedirectKinds]:
    return _TransferKinds if progress.kind is RequestKind.TRANSFER else _RedirectKinds


def _target(progress: Progress, fact: Fact | None) -> Any:
    """Who received the call: as stated, else the only one asked for."""
    if fact and fact.target:
        return fact.target
    return progress.targets[0] if len(progress.targets) == 1 else None


# --- commands ---------------------------------------------------------------------------------------


def _request(turn: _Turn, asked: Requested) -> Decision:
    """Record the request; its sender already holds the lease and sends attempt 1."""
    opened = asked.opened
    request = opened.request
    progress = Progress(
        id=opened.id,
        kind=RequestKind.REDIRECT if opened.is_redirect else RequestKind.TRANSFER,
        rules=asked.rules,
        targets=request.targets,
        transferee=getattr(request, "transferee", None),
        operation_context=request.operation_context,
        requested_at=asked.at,
        deadline_at=asked.at + request.deadline,
        attempts=1,
        first_sent_at=asked.at,
        in_flight=True,
    )
    turn.state = evolve(turn.state, open=progress, tenant_id=request.call.tenant_id or turn.state.tenant_id)
    turn.emit(
        _kinds(progress).requested,
        progress,
        targets=progress.targets,
        transferee=progress.transferee,
        dropped=asked.dropped,
    )
    turn.set_due(progress, Work.SUBMIT, asked.at, asked.sender)
    turn.set_due(progress, Work.DEADLINE, progress.deadline_at)
    return turn.decision(opened=opened)


def _attempt(turn: _Turn, attempted: Attempted) -> Decision:
    """Whether attempt number n may be sent: never twice, and never again after it may have executed."""
    progress = turn.open_as(attempted.transfer_id)
    if progress is None:
        return turn.nothing(attempted.transfer_id)
    if attempted.attempt != progress.attempts + 1:
        return turn.decision()  # somebody else is at it
    if progress.in_flight:  # whoever began the last attempt is gone without an answer
        progress = turn.progress(progress, in_flight=False, ambiguous=True)
    if progress.submitted:
        turn.clear(progress, Work.SUBMIT)
        return turn.decision()
    if progress.deadline_passed or (progress.ambiguous and not _repeatable(progress, turn.at)):
        turn.clear(progress, Work.SUBMIT)
        turn.inspect_soon(progress)
        return turn.decision()
    first = progress.first_sent_at
    if first is None or not (progress.ambiguous or _repeatable(progress, turn.at)):
        first = turn.at  # nothing can have executed: the provider's window starts anew
    turn.progress(progress, attempts=attempted.attempt, in_flight=True, first_sent_at=first)
    return turn.decision(proceed=True)


def _repeatable(progress: Progress, at: datetime) -> bool:
    window, first = progress.rules.repeatable_for, progress.first_sent_at
    return window is not None and first is not None and at - first < window


# --- answers ----------------------------------------------------------------------------------------


def _answer(turn: _Turn, answered: Answered) -> Decision:
    progress = turn.open_as(answered.transfer_id)
    if progress is None:
        return turn.decision()
    answer = answered.answer
    if isinstance(answer, Taken):  # from any attempt, however late: it is the same request
        return _taken(turn, progress, answer)
    if answered.attempt != progress.attempts or not progress.in_flight:
        return turn.decision()  # a newer attempt's answer counts
    progress = turn.progress(progress, in_flight=False, refusal=answer.result)
    if progress.submitted:  # a callback proved the submission: the answer contradicts it and decides nothing
        turn.inspect_soon(progress)
        return turn.decision()
    _unanswered(turn, progress, answer)
    return turn.decision()


def _taken(turn: _Turn, progress: Progress, answer: Taken) -> Decision:
    progress = turn.progress(progress, in_flight=False)
    progress = turn.submitted(progress, correlation_id=answer.correlation_id)
    if progress.kind is RequestKind.REDIRECT and progress.rules.taken_is_handed_over:
        turn.conclude(progress, RedirectCompleted, basis=Basis.INFERRED)
    return turn.decision()


def _unanswered(turn: _Turn, progress: Progress, answer: Answer) -> None:
    match answer:
        case Refused(result=result) if not progress.ambiguous:
            turn.fail(progress, result, basis=Basis.STATED, call_alive=_alive_after(result))
        case Refused():  # the refusal may be the echo of an earlier attempt that executed
            turn.clear(progress, Work.SUBMIT)
            turn.inspect_soon(progress)
        case NotSent(result=result, retry_after=retry_after):
            _again(turn, progress, result, retry_after)
        case MaybeSent(result=result):
            _again(turn, turn.progress(progress, ambiguous=True), result, None)


def _again(turn: _Turn, progress: Progress, result: Result, retry_after: timedelta | None) -> None:
    """Send again if that is safe and in time; otherwise say what is known."""
    pause = min(progress.rules.backoff * 2 ** (progress.attempts - 1), _LONGEST_BACKOFF)
    at = turn.at + max(pause, retry_after or timedelta(0))
    safe = not progress.ambiguous or _repeatable(progress, at)
    if safe and at < progress.deadline_at and progress.attempts < progress.rules.max_attempts:
        turn.set_due(progress, Work.SUBMIT, at)
        return
    turn.clear(progress, Work.SUBMIT)
    if progress.ambiguous:
        turn.inspect_soon(progress)
    else:
        _never_sent(turn, progress, result)


def _never_sent(turn: _Turn, progress: Progress, result: Result) -> None:
    """No attempt can have executed, and none will be made: that much is certain."""
    basis = Basis.INFERRED if result.code is None else Basis.STATED
    turn.fail(progress, result, basis=basis, call_alive=_alive_after(result))


def _alive_after(refusal: Result) -> bool | None:
    if refusal.reason in _GONE:
        return False
    return None if refusal.reason in _UNSURE else True


# --- facts ------------------------------------------------------------------------------------------


def _observe(turn: _Turn, fact: Fact, seen: str | None) -> Decision:
    exact = fact.delivery is None or fact.delivery.exact
    if seen is not None and (exact or seen == turn.state.era or turn.open is None):
        return turn.decision(duplicate=True)
    mark = turn.state.era
    if fact.tenant_id:
        turn.state = evolve(turn.state, tenant_id=fact.tenant_id)

    count = len(turn.events)
    if seen is not None and turn.open:
        # The very words of an earlier transfer on this call: its echo, or this one's own. Ask.
        turn.inspect_soon(turn.open)
    else:
        _signals(turn, fact)
    _on_the_stream(turn, fact, moved=len(turn.events) > count)
    return turn.decision(mark=mark)


def _signals(turn: _Turn, fact: Fact) -> None:
    ours = _is_about_open(turn.state, fact)
    for signal in fact.signals:
        progress = turn.open
        if progress is None:
            break
        match signal:
            case Signal.RETURNED:
                if progress.started or progress.accepted:
                    turn.inspect_soon(progress)
            case Signal.CALL_ENDED:
                if progress.ended is None:
                    progress = turn.progress(
                        progress, ended=fact.result or Result(), evidence=Evidence.CALL_GONE
                    )
                    turn.set_due(progress, Work.GRACE, turn.at + progress.rules.grace)
            case _ if ours:
                _verdict(turn, progress, signal, fact)


def _verdict(turn: _Turn, progress: Progress, signal: Signal, fact: Fact) -> None:
    progress = turn.submitted(progress, fact)
    words = fact.result
    match signal:
        case Signal.STARTED if progress.kind is RequestKind.TRANSFER:
            if not (progress.started or progress.accepted):
                turn.emit(TransferStarted, turn.progress(progress, started=True), fact)
        case Signal.ACCEPTED if progress.kind is RequestKind.TRANSFER:
            if not progress.accepted:
                turn.emit(
                    TransferAccepted,
                    turn.progress(progress, accepted=True),
                    fact,
                    target=fact.target,
                    transferee=fact.transferee,
                    code=words and words.code,
                    subcode=words and words.subcode,
                    message=words and words.message,
                )
        case Signal.SUCCEEDED:
            turn.conclude(
                progress,
                _kinds(progress).completed,
                basis=Basis.STATED,
                fact=fact,
                verdict=LateVerdict.SUCCEEDED,
                result=words,
            )
        case Signal.FAILED:
            turn.fail(
                progress,
                words or Result(),
                basis=Basis.STATED,
                call_alive=False if Signal.CALL_ENDED in fact.signals else fact.call_alive,
                fact=fact,
            )


def _is_about_open(state: CallState, fact: Fact) -> bool:
    """Whether a verdict can be the open transfer's: by its address, else by the context it echoes."""
    if state.open is None or (fact.redirect_only and state.open.kind is RequestKind.TRANSFER):
        return False
    if fact.transfer_id is not None:
        return fact.transfer_id == state.open.id
    if fact.call_wide:
        return all(done.verdict is not LateVerdict.SUCCEEDED for done in state.finished)
    if fact.echoes_context:
        return fact.event.operation_context == state.open.operation_context
    return True


def _meant_finished(state: CallState, fact: Fact) -> Finished | None:
    """The finished transfer that a verdict is about, where one can be named."""
    for done in reversed(state.finished):
        if fact.transfer_id is not None:
            if done.id == fact.transfer_id:
                return done
        elif (
            fact.call_wide
            or not fact.echoes_context
            or fact.event.operation_context == done.operation_context
        ):
            return done
    return None


_VERDICTS = {Signal.SUCCEEDED: LateVerdict.SUCCEEDED, Signal.FAILED: LateVerdict.FAILED}


def _on_the_stream(turn: _Turn, fact: Fact, *, moved: bool) -> None:
    """Append the fact's own event; what moved nothing and is news to nobody is `provider.other`."""
    event = fact.event
    match event:
        case CallConnected() if turn.state.connected or turn.state.ended:
            pass
        case CallConnected():
            turn.state = evolve(turn.state, connected=True)
            turn.append(event)
            return
        case CallEnded() if not turn.state.ended:
            turn.state = evolve(turn.state, ended=True)
            turn.append(event)
            return
        case CallEnded() | ProviderOther():
            pass
        case _:
            turn.append(event)
            return
    if moved:
        return
    other = event if isinstance(event, ProviderOther) else _as_other(event)
    turn.append(other, **_belonging(turn.state, fact))


def _as_other(event: Event) -> ProviderOther:
    return ProviderOther(
        time=event.time,
        provider=event.provider,
        call_id=event.call_id,
        correlation_id=event.correlation_id,
        operation_context=event.operation_context,
        raw=event.raw,
        name=event.kind,
    )


def _belonging(state: CallState, fact: Fact) -> dict[str, Any]:
    """Whose the leftover is, and whether it is a verdict that came too late."""
    if not fact.signals:
        return {}
    if _is_about_open(state, fact) and state.open:
        return {"transfer_id": state.open.id}
    done = _meant_finished(state, fact)
    if done is None:
        return {}
    verdict = next((_VERDICTS[signal] for signal in fact.signals if signal in _VERDICTS), None)
    late = verdict if verdict is not done.verdict else None
    return {"transfer_id": done.id, "late_verdict": late}


# --- questions and time -----------------------------------------------------------------------------


def _inspected(turn: _Turn, inspected: Inspected) -> Decision:
    progress = turn.open_as(inspected.transfer_id)
    if progress is None:
        return turn.nothing(inspected.transfer_id)
    progress = turn.progress(
        progress,
        last_inspected_at=inspected.at,
        evidence=_evidence(progress.evidence, inspected.presence),
        final_inspections=progress.final_inspections + progress.deadline_passed,
    )
    turn.clear(progress, Work.INSPECT)
    if inspected.presence is Presence.TRANSFERRING and progress.kind is RequestKind.TRANSFER:
        progress = turn.submitted(progress)
        if not (progress.started or progress.accepted):
            progress = turn.progress(progress, started=True)
            turn.emit(TransferStarted, progress)
    if progress.deadline_passed:
        unknown = inspected.presence is Presence.UNKNOWN
        if unknown and progress.final_inspections < progress.rules.max_inspections:
            turn.inspect_soon(progress)
        else:
            turn.expire(progress)
    return turn.decision()


def _evidence(known: Evidence | None, presence: Presence) -> Evidence | None:
    match presence:
        case Presence.GONE:
            return Evidence.CALL_GONE
        case Presence.UNKNOWN:  # calls do not come back; of one that was up, nothing is known any more
            return known if known is Evidence.CALL_GONE else None
        case _:
            return Evidence.CALL_CONNECTED


def _due(turn: _Turn, reached: DueReached) -> Decision:
    progress = turn.open_as(reached.transfer_id)
    if progress is None:
        return turn.nothing(reached.transfer_id)
    if reached.work is Work.GRACE and progress.ended is not None:
        turn.clear(progress, Work.GRACE)
        _grace_over(turn, progress, progress.ended)
    elif reached.work is Work.DEADLINE and turn.at >= progress.deadline_at:
        turn.clear(progress, Work.DEADLINE)
        _deadline(turn, progress)
    return turn.decision()


def _grace_over(turn: _Turn, progress: Progress, ended: Result) -> None:
    """The call ended, and no proof came in time."""
    if progress.kind is RequestKind.REDIRECT and ended.reason in _NOBODY_TOOK_IT:
        turn.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    elif progress.kind is RequestKind.REDIRECT:
        turn.expire(progress)  # handed over or hung up: it looks the same
    elif ended.reason is FailureReason.CALLER_LEFT:
        turn.fail(progress, ended, basis=Basis.STATED, call_alive=False)
    else:
        turn.fail(
            progress, evolve(ended, reason=FailureReason.CALL_ENDED), basis=Basis.INFERRED, call_alive=False
        )


def _deadline(turn: _Turn, progress: Progress) -> None:
    if progress.ended is not None:
        return  # the grace that runs decides
    progress = turn.progress(progress, deadline_passed=True)
    if not (progress.submitted or progress.in_flight or progress.ambiguous):
        turn.clear(progress, Work.SUBMIT)
        _never_sent(turn, progress, progress.refusal or Result(reason=FailureReason.TIMEOUT))
        return
    turn.clear(progress, Work.SUBMIT)
    turn.set_due(progress, Work.INSPECT, turn.at)
