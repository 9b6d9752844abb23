"""What a fact of a callback changes in a call, and which event it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve

from transferkit._lifecycle.attribution import (
    Attribution,
    attribute,
    fits_forgotten,
    most_likely_finished,
    only_unsettled_match,
    record_verdict,
    stated_verdict,
)
from transferkit._lifecycle.consultation.machine import note_call_end
from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.state import AmbiguousFailure, CallState, OpenTransfer
from transferkit._lifecycle.steps import conclude_by_fact
from transferkit._lifecycle.transition import Transition, verdict_of
from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    CallIncoming,
    Event,
    Evidence,
    ProviderOther,
    TransferAccepted,
    TransferStarted,
    Verdict,
)
from transferkit.provider.facts import Fact, Result, Signal
from transferkit.requests import RequestKind

__all__ = ["observe"]


def observe(transition: Transition, fact: Fact, previous_mark: str | None) -> Decision:
    """Apply a fact. `previous_mark` is stored with an earlier delivery that has the same key.

    If the key is made from the content, a later transfer may cause the same delivery again. That delivery is
    a duplicate only while the open transfer is the same as at the earlier delivery, or none is open.
    """
    exact = fact.delivery is None or fact.delivery.exact
    mark = transition.state.delivery_mark
    if previous_mark is not None and (exact or previous_mark == mark or transition.open is None):
        return transition.decide(duplicate=True)
    if fact.tenant_id:
        transition.state = evolve(transition.state, tenant_id=fact.tenant_id)

    is_repetition = previous_mark is not None or fact.content in transition.state.verdict_contents
    attribution = attribute(transition.state, fact, is_repetition=is_repetition)
    origin = _origin(transition.state, fact, attribution)
    changed = _apply_signals(transition, fact, attribution)
    _publish(transition, fact, origin, changed=changed)
    note_call_end(transition, fact)
    verdict = stated_verdict(fact)
    if verdict is not None:
        if attribution is Attribution.OTHER and not is_repetition:
            settled = only_unsettled_match(transition.state, fact)
            transition.state = record_verdict(transition.state, settled, verdict)
        transition.state = transition.state.with_verdict_content(fact.content)
    return transition.decide(mark=mark)


# --- the open transfer ------------------------------------------------------------------------------


def _apply_signals(transition: Transition, fact: Fact, attribution: Attribution) -> bool:
    """Apply the signals to the open transfer. Return whether that published, or will publish, an event."""
    had_pending_failure = _has_pending_failure(transition)
    _conclude_step(transition, fact)
    for signal in fact.signals:
        transfer = transition.open
        if transfer is None:
            break
        match signal:
            case Signal.RETURNED:
                if transfer.started or transfer.accepted:
                    transition.schedule_inspection(transfer)
            case Signal.CALL_TRANSFERRED:
                transition.update(transfer, ambiguous_success=fact.result or Result())
            case Signal.CALL_ENDED:
                _apply_call_end(transition, transfer, fact)
            case _ if transfer.pending_failure is not None:
                pass  # the outcome is decided
            case _ if attribution is Attribution.CERTAIN:
                _apply_certain_signal(transition, transfer, signal, fact)
            case Signal.SUCCEEDED | Signal.FAILED:
                _apply_uncertain_verdict(transition, transfer, signal, fact, attribution)
    return bool(transition.events) or (_has_pending_failure(transition) and not had_pending_failure)


def _conclude_step(transition: Transition, fact: Fact) -> None:
    step = transition.open
    if step is not None and step.kind.is_step and step.pending_failure is None:
        conclude_by_fact(transition, step, fact)


def _has_pending_failure(transition: Transition) -> bool:
    return transition.open is not None and transition.open.pending_failure is not None


def _apply_call_end(transition: Transition, transfer: OpenTransfer, fact: Fact) -> None:
    """Start the grace period in which a proof may still arrive."""
    if transfer.pending_failure is not None:
        transition.publish_pending_failure(transfer, call_alive=False)
    elif transfer.call_end is None:
        transfer = transition.update(
            transfer,
            call_end=fact.result or Result(),
            success_excluded=not transfer.possibly_received
            or (fact.ends_with_verdict and transfer.transferee is None),
            evidence=Evidence.CALL_GONE,
        )
        transition.set_due(transfer, Work.GRACE, transition.at + transfer.rules.grace)


def _apply_certain_signal(transition: Transition, transfer: OpenTransfer, signal: Signal, fact: Fact) -> None:
    """Apply progress or a verdict that belongs to the open transfer for certain."""
    transfer = transition.mark_submitted(transfer, fact)
    result = fact.result
    match signal:
        case Signal.STARTED if transfer.kind is RequestKind.TRANSFER:
            if not (transfer.started or transfer.accepted):
                transition.publish(TransferStarted, transition.update(transfer, started=True), fact)
        case Signal.ACCEPTED if transfer.kind is RequestKind.TRANSFER:
            if not transfer.accepted:
                transition.publish(
                    TransferAccepted,
                    transition.update(transfer, accepted=True),
                    fact,
                    target=fact.target,
                    transferee=fact.transferee,
                    code=result and result.code,
                    subcode=result and result.subcode,
                    message=result and result.message,
                )
        case Signal.SUCCEEDED:
            transition.complete(transfer, result, basis=Basis.STATED, fact=fact)
        case Signal.FAILED:
            transition.fail(
                transfer,
                result or Result(),
                basis=Basis.STATED,
                call_alive=False if Signal.CALL_ENDED in fact.signals else fact.call_alive,
                fact=fact,
            )


def _apply_uncertain_verdict(
    transition: Transition, transfer: OpenTransfer, signal: Signal, fact: Fact, attribution: Attribution
) -> None:
    """Remember a verdict that may belong to the open transfer, and query the provider."""
    succeeded = signal is Signal.SUCCEEDED
    result = fact.result or Result()
    if attribution is Attribution.UNATTRIBUTED:
        verdict = Verdict.SUCCEEDED if succeeded else transfer.unattributed_verdict or Verdict.FAILED
        transition.schedule_inspection(transition.update(transfer, unattributed_verdict=verdict))
    elif attribution is Attribution.AMBIGUOUS and succeeded:
        transfer = transition.update(transfer, ambiguous_success=result)
        transition.complete_if_ambiguous_success_fits(transfer)
    elif attribution is Attribution.AMBIGUOUS:
        all_settled = transition.state.all_settled
        transfer = transition.update(
            transfer,
            ambiguous_failure=AmbiguousFailure(result=result, repeats_known_verdict=all_settled),
            inspection_round=transfer.inspection_round + 1,
        )
        transition.schedule_inspection(transfer)


# --- the event stream -------------------------------------------------------------------------------


def _publish(transition: Transition, fact: Fact, origin: Mapping[str, Any], *, changed: bool) -> None:
    """Append the event of the fact. It becomes `provider.other` if it reports and changed nothing new.

    `changed`: the fact moved the open transfer. `origin`: what `_origin` returned before that.
    """
    event = _with_given_context(transition.state, fact.event)
    is_news = True
    match event:
        case CallIncoming(respond_by=datetime() as respond_by):
            if transition.state.respond_by is None:
                transition.state = evolve(transition.state, respond_by=respond_by)
            else:  # the provider repeats the notification, and the call does not ring longer for that
                event = evolve(event, stale=True, respond_by=transition.state.respond_by)
        case CallConnected() if not (transition.state.connected or transition.state.ended):
            transition.note_call(connected=True, ended=False)
        case CallEnded() if not transition.state.ended:
            transition.note_call(connected=False, ended=True)
        case CallConnected() | CallEnded() | ProviderOther():
            is_news = False
    if is_news:
        transition.append(event)
    # A late verdict is published next to its call.ended, and next to what that means for the open transfer.
    if origin.get("late_verdict") or not (is_news or changed):
        transition.append(event if isinstance(event, ProviderOther) else _as_other(event), **origin)


def _with_given_context(state: CallState, event: Event) -> Event:
    """Return the event with the operation context as the application gave it.

    If it gave none, the provider received the transfer's id as the operation context.
    """
    context = event.operation_context
    if context is None:
        return event
    given = {earlier.sent_context: earlier.operation_context for earlier in state.finished}
    if state.open is not None:
        given[state.open.sent_context] = state.open.operation_context
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


def _origin(state: CallState, fact: Fact, attribution: Attribution) -> dict[str, Any]:
    """Return the transfer that a fact belongs to, and its verdict if that came too late."""
    if not fact.signals or attribution in {Attribution.AMBIGUOUS, Attribution.UNATTRIBUTED}:
        return {}
    verdict = stated_verdict(fact)
    if attribution is Attribution.CERTAIN and state.open:
        decided = state.open.pending_failure
        is_late = decided is not None and verdict is not verdict_of(decided)
        return {"transfer_id": state.open.id, "late_verdict": verdict if is_late else None}
    finished = most_likely_finished(state, fact)
    if finished is None:
        is_forgotten = fact.transfer_id is not None and fits_forgotten(state, fact)
        return {"transfer_id": fact.transfer_id, "late_verdict": verdict} if is_forgotten else {}
    late_verdict = verdict if verdict is not finished.verdict else None
    return {"transfer_id": finished.id, "late_verdict": late_verdict}
