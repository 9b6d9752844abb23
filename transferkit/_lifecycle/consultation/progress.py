"""A consultation up to the join: hold the caller, call the agent, wait for the decision, join them."""

from __future__ import annotations

from transferkit._lifecycle.consultation.cleanup import begin_ending
from transferkit._lifecycle.consultation.publishing import Consulting, result_of
from transferkit._lifecycle.consultation_state import EndingKind, OpenConsultation, Phase, Wanted
from transferkit.events import (
    Basis,
    ConsultationAnswered,
    ConsultationCompleting,
    ConsultationRinging,
    FailureReason,
    StepCompleted,
    StepExpired,
    StepFailed,
)
from transferkit.provider.facts import Result
from transferkit.requests import RequestKind

__all__ = ["brief", "join", "reach_agent"]

_HOLD_UNKNOWN = Result(
    reason=FailureReason.TIMEOUT,
    message="it is not known whether the caller was put on hold, so the agent was not called",
    basis=Basis.INFERRED,
)
_RANG_OUT = Result(
    reason=FailureReason.NO_ANSWER,
    message="the agent did not answer within the ring timeout",
    basis=Basis.INFERRED,
)
_AGENT_LEFT = Result(reason=FailureReason.TARGET_LEFT, message="the agent's call ended after it was answered")


def reach_agent(consulting: Consulting) -> None:
    """Hold the caller, then call the agent, then wait for the answer."""
    consultation = consulting.consultation
    held = consultation.outcome(RequestKind.HOLD)
    if consultation.caller_end is not None:
        begin_ending(consulting, EndingKind.CALLER_LEFT)
    elif consultation.hold and consultation.step(RequestKind.HOLD) is None:
        consulting.update(wanted=Wanted.HOLD)
    elif consultation.is_open(RequestKind.HOLD):
        return
    elif isinstance(held, StepFailed) and not _goes_on_without_hold(consultation, held):
        begin_ending(consulting, EndingKind.FAILED, result_of(held))
    elif isinstance(held, StepExpired):
        begin_ending(consulting, EndingKind.FAILED, _HOLD_UNKNOWN)
    elif consultation.step(RequestKind.PLACE_CALL) is None:
        consulting.update(wanted=Wanted.PLACE_CALL)
    else:
        _wait_for_answer(consulting)


def _goes_on_without_hold(consultation: OpenConsultation, held: StepFailed) -> bool:
    return consultation.hold_is_optional and held.reason is FailureReason.UNSUPPORTED


def _wait_for_answer(consulting: Consulting) -> None:
    consultation = consulting.consultation
    placed = consultation.outcome(RequestKind.PLACE_CALL)
    if isinstance(placed, StepFailed):
        begin_ending(consulting, EndingKind.FAILED, result_of(placed))
    elif consultation.agent_connected or isinstance(placed, StepCompleted):
        _ring(consulting)
        if consultation.agent_ended:
            begin_ending(consulting, EndingKind.FAILED, _AGENT_LEFT)
        else:
            consulting.enter(Phase.ANSWERED, ConsultationAnswered, ends_after=consultation.briefing_timeout)
            if consultation.join_on_answer:
                consulting.enter(Phase.COMPLETING, ConsultationCompleting)
                join(consulting)
    elif isinstance(placed, StepExpired):
        begin_ending(consulting, EndingKind.UNPLACED)
    elif consultation.is_overdue(consulting.at):
        begin_ending(consulting, EndingKind.FAILED, _RANG_OUT)
    elif consultation.agent_submitted:
        _ring(consulting)


def _ring(consulting: Consulting) -> None:
    """Publish, once, that the provider calls the agent."""
    consultation = consulting.consultation
    if consultation.phase is Phase.REQUESTED:
        consulting.enter(Phase.RINGING, ConsultationRinging, ends_after=consultation.ring_timeout)


def brief(consulting: Consulting) -> None:
    """Wait while the application and the agent talk."""
    consultation = consulting.consultation
    if consultation.caller_end is not None:
        begin_ending(consulting, EndingKind.CALLER_LEFT)
    elif consultation.agent_ended:
        begin_ending(consulting, EndingKind.FAILED, _AGENT_LEFT)
    elif consultation.is_overdue(consulting.at):
        begin_ending(consulting, EndingKind.TIMED_OUT)


def join(consulting: Consulting) -> None:
    """Join the caller and the agent. While the join is open, only its own outcome says what happened."""
    consultation = consulting.consultation
    joined = consultation.outcome(RequestKind.JOIN)
    if consultation.step(RequestKind.JOIN) is None:
        if consultation.caller_end is not None:
            begin_ending(consulting, EndingKind.CALLER_LEFT)
        elif consultation.agent_ended:
            begin_ending(consulting, EndingKind.FAILED, _AGENT_LEFT)
        else:
            consulting.update(wanted=Wanted.JOIN)
    elif isinstance(joined, StepCompleted):
        consulting.complete(joined)
    elif isinstance(joined, StepFailed):
        begin_ending(consulting, EndingKind.FAILED, result_of(joined))
    elif isinstance(joined, StepExpired):
        consulting.expire_join(joined)  # the caller and the agent may be talking: nothing is ended
