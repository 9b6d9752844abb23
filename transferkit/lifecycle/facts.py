"""What a callback's fact means to a call: whose it is, what it moves, and what of it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import evolve

from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    CallIncoming,
    Event,
    Evidence,
    LateVerdict,
    ProviderOther,
    TransferAccepted,
    TransferStarted,
)
from transferkit.lifecycle.decision import Decision, Work
from transferkit.lifecycle.state import CallState, Finished, Progress, RequestKind
from transferkit.lifecycle.turn import Turn, kinds
from transferkit.signals import Fact, Result, Signal

__all__ = ["observe"]


def observe(turn: Turn, fact: Fact, seen: str | None) -> Decision:
    """What a delivered fact means; `seen` is the mark of an earlier same delivery."""
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


def _signals(turn: Turn, fact: Fact) -> None:
    ours, disputed = _is_about_open(turn.state, fact), _is_disputed(turn.state, fact)
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
            case _ if ours and not disputed:
                _verdict(turn, progress, signal, fact)
            case Signal.SUCCEEDED if ours and progress.reached:
                turn.progress(progress, claimed=fact.result or Result())


def _verdict(turn: Turn, progress: Progress, signal: Signal, fact: Fact) -> None:
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
                kinds(progress).completed,
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
    return not fact.echoes_context or _same_context(fact, state.open.operation_context)


def _is_disputed(state: CallState, fact: Fact) -> bool:
    """Whether what seems to be about the open transfer may be about an earlier one of the call.

    It may while the provider has not answered to the open one, if nothing in the fact tells them apart. Once
    it has, the earlier are over: it lets no transfer begin before the one under way has ended.
    """
    if state.open is None or state.open.submitted:
        return False
    if not (state.open.reached or fact.transfer_id or (fact.echoes_context and fact.event.operation_context)):
        return True  # of what never left the provider says nothing
    stated = _stated(fact)
    return any(
        done.reached if stated is None else done.unsettled for done in state.finished if _fits(done, fact)
    )


def _fits(done: Finished, fact: Fact) -> bool:
    """Whether a fact can be about this finished transfer."""
    if fact.redirect_only and done.kind is RequestKind.TRANSFER:
        return False
    if fact.transfer_id is not None:
        return fact.transfer_id == done.id
    return fact.call_wide or not fact.echoes_context or _same_context(fact, done.operation_context)


def _same_context(fact: Fact, context: str | None) -> bool:
    return (fact.event.operation_context or None) == (context or None)  # an empty one may be left out


def _meant_finished(state: CallState, fact: Fact) -> Finished | None:
    """The finished transfer that a fact is about, where one can be named: the last of the likeliest."""
    stated = _stated(fact)

    def unlikelihood(done: Finished) -> int:
        if fact.call_wide and done.verdict is LateVerdict.SUCCEEDED:
            return 0  # who succeeded ended the call
        return 1 if done.reached and done.verdict in {None, stated} else 2

    fitting = [done for done in reversed(state.finished) if _fits(done, fact)]
    return min(fitting, key=unlikelihood, default=None)


_VERDICTS = {Signal.SUCCEEDED: LateVerdict.SUCCEEDED, Signal.FAILED: LateVerdict.FAILED}


def _stated(fact: Fact) -> LateVerdict | None:
    """The verdict that the fact states."""
    return next((_VERDICTS[signal] for signal in fact.signals if signal in _VERDICTS), None)


def _on_the_stream(turn: Turn, fact: Fact, *, moved: bool) -> None:
    """Append the fact's own event; what moved nothing and is news to nobody is `provider.other`."""
    event = fact.event
    news = True
    match event:
        case CallIncoming(respond_by=datetime() as respond_by):
            if turn.state.respond_by is None:
                turn.state = evolve(turn.state, respond_by=respond_by)
            else:  # told again: it rings no longer for that
                event = evolve(event, stale=True, respond_by=turn.state.respond_by)
        case CallConnected() if not (turn.state.connected or turn.state.ended):
            turn.state = evolve(turn.state, connected=True)
        case CallEnded() if not turn.state.ended:
            turn.state = evolve(turn.state, ended=True)
        case CallConnected() | CallEnded() | ProviderOther():
            news = False
    if news:
        turn.append(event)
    if moved:
        return
    belonging = _belonging(turn.state, fact)
    if news and not belonging.get("late_verdict"):
        return  # a late verdict is told beside the call's end that carries it
    other = event if isinstance(event, ProviderOther) else _as_other(event)
    turn.append(other, **belonging)


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
        return {} if _is_disputed(state, fact) else {"transfer_id": state.open.id}
    done = _meant_finished(state, fact)
    if done is None:
        return {}
    verdict = _stated(fact)
    late = verdict if verdict is not done.verdict else None
    return {"transfer_id": done.id, "late_verdict": late}
