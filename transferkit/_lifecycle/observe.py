"""What a callback's fact means to a call: what it changes, and what of it is published."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import evolve

from transferkit._lifecycle.attribution import (
    Bearing,
    bearing_of,
    finished_meant,
    rival_of,
    settle,
    stated_in,
)
from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.state import CallState, Disputed, Progress
from transferkit._lifecycle.transition import Transition, kinds
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
from transferkit.provider.facts import Fact, RequestKind, Result, Signal

__all__ = ["observe"]


def observe(change: Transition, fact: Fact, seen: str | None) -> Decision:
    """What a delivered fact means; `seen` is the mark of an earlier same delivery."""
    exact = fact.delivery is None or fact.delivery.exact
    if seen is not None and (exact or seen == change.state.era or change.open is None):
        return change.decision(duplicate=True)
    mark = change.state.era
    if fact.tenant_id:
        change.state = evolve(change.state, tenant_id=fact.tenant_id)

    repeated = seen is not None or (fact.content is not None and fact.content in change.state.verdicts)
    bearing = bearing_of(change.state, fact, repeated=repeated)
    count, holding = len(change.events), change.is_holding
    for signal in fact.signals:
        if change.open is not None:
            _signal(change, change.open, signal, fact, bearing)
    _publish(change, fact, bearing, moved=len(change.events) > count or change.is_holding > holding)
    verdict = stated_in(fact)
    if verdict is not None:
        if bearing is Bearing.OTHER and not repeated:
            change.state = settle(change.state, rival_of(change.state, fact), verdict)
        change.state = change.state.with_verdict(fact.content)
    return change.decision(mark=mark)


def _signal(change: Transition, progress: Progress, signal: Signal, fact: Fact, bearing: Bearing) -> None:
    match signal:
        case Signal.RETURNED:
            if progress.started or progress.accepted:
                change.inspect_soon(progress)
        case Signal.CALL_TRANSFERRED:
            change.progress(progress, claimed=fact.result or Result())
        case Signal.CALL_ENDED:
            _call_ended(change, progress, fact)
        case _ if progress.held is not None:
            return  # its verdict is known
        case _ if bearing is Bearing.OPEN:
            _verdict(change, progress, signal, fact)
        case Signal.SUCCEEDED | Signal.FAILED:
            _doubtful_verdict(change, progress, signal, fact, bearing)


def _doubtful_verdict(
    change: Transition, progress: Progress, signal: Signal, fact: Fact, bearing: Bearing
) -> None:
    """A verdict that is not about this transfer beyond doubt: it leads to a query."""
    succeeded = signal is Signal.SUCCEEDED
    if bearing is Bearing.UNATTRIBUTED:
        known = LateVerdict.SUCCEEDED if succeeded else progress.unattributed or LateVerdict.FAILED
        change.inspect_soon(change.progress(progress, unattributed=known))
    elif bearing is Bearing.DISPUTED and succeeded:
        change.claim(change.progress(progress, claimed=fact.result or Result()))
    elif bearing is Bearing.DISPUTED:
        disputed = Disputed(
            result=fact.result or Result(),
            repeated=not any(done.unsettled for done in change.state.finished),
        )
        change.inspect_soon(change.progress(progress, disputed=disputed, query=progress.query + 1))


def _call_ended(change: Transition, progress: Progress, fact: Fact) -> None:
    if progress.held is not None:
        change.release(progress, call_alive=False)
    elif progress.ended is None:
        progress = change.progress(
            progress,
            ended=fact.result or Result(),
            excluded=not progress.reached or (fact.ends_with_verdict and progress.transferee is None),
            evidence=Evidence.CALL_GONE,
        )
        change.set_due(progress, Work.GRACE, change.at + progress.rules.grace)


def _verdict(change: Transition, progress: Progress, signal: Signal, fact: Fact) -> None:
    progress = change.submitted(progress, fact)
    words = fact.result
    match signal:
        case Signal.STARTED if progress.kind is RequestKind.TRANSFER:
            if not (progress.started or progress.accepted):
                change.emit(TransferStarted, change.progress(progress, started=True), fact)
        case Signal.ACCEPTED if progress.kind is RequestKind.TRANSFER:
            if not progress.accepted:
                change.emit(
                    TransferAccepted,
                    change.progress(progress, accepted=True),
                    fact,
                    target=fact.target,
                    transferee=fact.transferee,
                    code=words and words.code,
                    subcode=words and words.subcode,
                    message=words and words.message,
                )
        case Signal.SUCCEEDED:
            change.conclude(progress, kinds(progress).completed, basis=Basis.STATED, fact=fact, result=words)
        case Signal.FAILED:
            change.fail(
                progress,
                words or Result(),
                basis=Basis.STATED,
                call_alive=False if Signal.CALL_ENDED in fact.signals else fact.call_alive,
                fact=fact,
            )


def _publish(change: Transition, fact: Fact, bearing: Bearing, *, moved: bool) -> None:
    """Append the fact's own event. What changed nothing and reports nothing new becomes `provider.other`."""
    event = _with_given_context(change.state, fact.event)
    news = True
    match event:
        case CallIncoming(respond_by=datetime() as respond_by):
            if change.state.respond_by is None:
                change.state = evolve(change.state, respond_by=respond_by)
            else:  # a repetition: the call rings no longer for that
                event = evolve(event, stale=True, respond_by=change.state.respond_by)
        case CallConnected() if not (change.state.connected or change.state.ended):
            change.state = evolve(change.state, connected=True)
        case CallEnded() if not change.state.ended:
            change.state = evolve(change.state, ended=True)
        case CallConnected() | CallEnded() | ProviderOther():
            news = False
    if news:
        change.append(event)
    if moved:
        return
    belonging = _belonging(change.state, fact, bearing)
    if news and not belonging.get("late_verdict"):
        return  # a late verdict is published beside the end of the call that carries it
    other = event if isinstance(event, ProviderOther) else _as_other(event)
    change.append(other, **belonging)


def _with_given_context(state: CallState, event: Event) -> Event:
    """The event with the operation context as the application gave it.

    A transfer to which the application gave none was sent with the transfer's id.
    """
    context = event.operation_context
    if context is None:
        return event
    given = {done.wire_context: done.operation_context for done in state.finished}
    if state.open is not None:
        given[state.open.wire_context] = state.open.operation_context
    return evolve(event, operation_context=given.get(context, context))


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


def _belonging(state: CallState, fact: Fact, bearing: Bearing) -> dict[str, Any]:
    """Which transfer a fact that changed nothing is about, and whether it is a verdict that came too late."""
    if not fact.signals or bearing in {Bearing.DISPUTED, Bearing.UNATTRIBUTED}:
        return {}
    if bearing is Bearing.OPEN and state.open:
        return {"transfer_id": state.open.id}
    done = finished_meant(state, fact)
    if done is None:
        return {}
    verdict = stated_in(fact)
    late: LateVerdict | None = verdict if verdict is not done.verdict else None
    return {"transfer_id": done.id, "late_verdict": late}
