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
    if fact.echoes_context:
        return fact.event.operation_context == state.open.operation_context
    return True


def _meant_finished(state: CallState, fact: Fact) -> Finished | None:
    """The finished transfer that a verdict is about, where one can be named."""
    newest_first = state.finished[::-1]
    if fact.call_wide:  # who succeeded before ended the call; a stable sort keeps the others in order
        newest_first = tuple(sorted(newest_first, key=lambda done: done.verdict is not LateVerdict.SUCCEEDED))
    for done in newest_first:
        if fact.redirect_only and done.kind is RequestKind.TRANSFER:
            continue
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
        return {"transfer_id": state.open.id}
    done = _meant_finished(state, fact)
    if done is None:
        return {}
    verdict = next((_VERDICTS[signal] for signal in fact.signals if signal in _VERDICTS), None)
    late = verdict if verdict is not done.verdict else None
    return {"transfer_id": done.id, "late_verdict": late}
