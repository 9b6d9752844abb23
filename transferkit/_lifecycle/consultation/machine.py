"""What each input changes in a consultation."""

from __future__ import annotations

from attrs import evolve

from transferkit._lifecycle.consultation.cleanup import begin_ending, clean_up
from transferkit._lifecycle.consultation.progress import brief, join, reach_agent
from transferkit._lifecycle.consultation.publishing import Consulting
from transferkit._lifecycle.consultation_inputs import (
    CancellationDecided,
    CompletionDecided,
    ConsultationAdvanced,
    ConsultationInput,
    ConsultationInspected,
    StepOpened,
    StepPostponed,
    StepRefused,
)
from transferkit._lifecycle.consultation_state import (
    ConsultationStep,
    EndingKind,
    OpenConsultation,
    Phase,
    Wanted,
    step_id,
)
from transferkit._lifecycle.decision import Decision
from transferkit._lifecycle.inputs import Requested
from transferkit._lifecycle.transition import Transition
from transferkit._util.frozenmap import EMPTY
from transferkit.events import ConsultationCompleting, ConsultationRequested, StepFailed
from transferkit.provider.facts import Fact, Result, Signal
from transferkit.requests import Consultation, OnUnsupported

__all__ = [
    "AlreadyDecided",
    "NotAnswered",
    "StepSuperseded",
    "apply_to_consultation",
    "note_call_end",
    "open_consultation",
]


class StepSuperseded(Exception):
    """The consultation does not want this step any more. Nothing changes."""


class NotAnswered(Exception):
    """The agent has not answered, so the consultation cannot be completed. Nothing changes."""


class AlreadyDecided(Exception):
    """The consultation has been decided otherwise, or is over. Nothing changes."""


def open_consultation(
    transition: Transition,
    requested: Requested,
    request: Consultation,
) -> Decision:
    """Open the consultation, which is due at once. If the caller's call has ended, no agent is called."""
    opened = requested.opened
    consulting = Consulting(
        transition,
        OpenConsultation(
            id=opened.id,
            target=request.to,
            hold=request.hold,
            hold_is_optional=request.on_unsupported is OnUnsupported.DROP,
            join_side=requested.rules.join_side,
            ring_timeout=request.ring_timeout,
            briefing_timeout=request.briefing_timeout,
            join_on_answer=request.join_on_answer,
            operation_context=request.operation_context,
            parent=opened.parent,
            requested_at=transition.at,
            caller_end=Result() if transition.state.ended else None,
            wanted=Wanted.HOLD if request.hold else Wanted.PLACE_CALL,
        ),
    )
    consulting.publish(ConsultationRequested, targets=request.targets, dropped=requested.dropped)
    return consulting.decide(opened=(opened,))


def note_call_end(transition: Transition, fact: Fact) -> None:
    """Record that the caller's call ended, and have its consultation continue."""
    consultation = transition.state.consultation
    if consultation is None or Signal.CALL_ENDED not in fact.signals or consultation.caller_end is not None:
        return
    consultation = evolve(consultation, caller_end=fact.result or Result())
    transition.state = evolve(transition.state, consultation=consultation)
    transition.advance(consultation.id)


def apply_to_consultation(transition: Transition, happened: ConsultationInput) -> Decision:
    """Apply an input. Raises `AlreadyDecided`, `NotAnswered` or `StepSuperseded`."""
    consultation = transition.state.consultation
    if consultation is None or consultation.id != happened.consultation_id:
        _refuse_if_over(happened)
        transition.clear_due(happened.consultation_id)
        return transition.decide()
    consulting = Consulting(transition, consultation)
    _apply(consulting, happened)
    _proceed(consulting)
    lease = happened.lease if isinstance(happened, ConsultationAdvanced | StepOpened) else None
    return consulting.decide(lease=lease)


def _refuse_if_over(happened: ConsultationInput) -> None:
    """Raise for an input that comes too late, as the consultation has its outcome."""
    match happened:
        case CompletionDecided() | CancellationDecided():
            raise AlreadyDecided(happened.consultation_id)
        case StepOpened():
            raise StepSuperseded(happened.consultation_id)
        case _:
            pass


def _apply(consulting: Consulting, happened: ConsultationInput) -> None:
    match happened:
        case ConsultationAdvanced():
            consulting.saw_all_steps = True
            _note_steps(consulting, happened)
        case StepOpened():
            _open_step(consulting, happened)
        case StepPostponed():
            consulting.due_at = happened.until
        case StepRefused():
            _refuse_step(consulting, happened)
        case ConsultationInspected():
            consulting.update(presence=happened.presence)
        case CompletionDecided():
            _decide_completion(consulting)
        case CancellationDecided():
            _decide_cancellation(consulting)


def _proceed(consulting: Consulting) -> None:
    """Decide what follows from the state."""
    consulting.update(wanted=None)
    match consulting.consultation.phase:
        case Phase.REQUESTED | Phase.RINGING:
            reach_agent(consulting)
        case Phase.ANSWERED:
            brief(consulting)
        case Phase.COMPLETING:
            join(consulting)
        case Phase.ENDING:
            pass
    if consulting.consultation.phase is Phase.ENDING:
        clean_up(consulting)


def _note_steps(consulting: Consulting, advanced: ConsultationAdvanced) -> None:
    """Record what is known of the steps and of the agent's call. What was known once stays known."""
    for step in consulting.consultation.steps:
        outcome = advanced.outcomes.get(step.id)
        if step.outcome is None and outcome is not None:
            consulting.update(steps=consulting.consultation.with_outcome(step, evolve(outcome, raw=EMPTY)))
    placed, known = advanced.placed, consulting.consultation
    if placed is not None:
        consulting.update(
            agent_call=known.agent_call or placed.call_id,
            agent_submitted=known.agent_submitted or placed.submitted,
            agent_connected=known.agent_connected or placed.connected,
            agent_ended=known.agent_ended or placed.ended,
        )


def _open_step(consulting: Consulting, opened: StepOpened) -> None:
    consultation = consulting.consultation
    if consultation.wanted is None or consultation.wanted.value != opened.kind.value:
        raise StepSuperseded(consultation.id)
    step = ConsultationStep(
        id=step_id(consultation.id, opened.kind), kind=opened.kind, call_id=opened.call_id
    )
    consulting.update(steps=(*consultation.steps, step))


def _refuse_step(consulting: Consulting, refused: StepRefused) -> None:
    """Treat a step that cannot be requested as one that failed."""
    consultation, call = consulting.consultation, consulting.transition.call
    if consultation.wanted is None or consultation.wanted.value != refused.kind.value:
        return
    id_ = step_id(consultation.id, refused.kind)
    result = refused.result
    failed = StepFailed(
        time=consulting.at,
        provider=call.provider,
        call_id=call.id,
        transfer_id=id_,
        step=refused.kind,
        reason=result.reason,
        message=result.message,
        advice=result.advice,
        basis=result.basis,
    )
    step = ConsultationStep(id=id_, kind=refused.kind, call_id=call.id, outcome=failed)
    consulting.update(steps=(*consultation.steps, step))


def _decide_completion(consulting: Consulting) -> None:
    match consulting.consultation.phase:
        case Phase.REQUESTED | Phase.RINGING:
            raise NotAnswered(consulting.consultation.id)
        case Phase.ENDING:
            raise AlreadyDecided(consulting.consultation.id)
        case Phase.ANSWERED:
            consulting.enter(Phase.COMPLETING, ConsultationCompleting)
        case Phase.COMPLETING:
            pass  # the application repeats its decision


def _decide_cancellation(consulting: Consulting) -> None:
    match consulting.consultation.phase:
        case Phase.COMPLETING:
            raise AlreadyDecided(consulting.consultation.id)
        case Phase.ENDING:
            pass  # the caller is resumed anyway
        case _:
            begin_ending(consulting, EndingKind.CANCELLED)
