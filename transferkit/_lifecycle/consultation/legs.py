"""What is known of the two calls of a consultation."""

from __future__ import annotations

from enum import Enum

from transferkit._lifecycle.consultation_state import OpenConsultation
from transferkit.events import Basis, StepCompleted, StepFailed
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind

__all__ = ["AgentLeg", "agent_leg", "caller_alive", "caller_gone", "caller_held", "proven_basis"]


class AgentLeg(Enum):
    """Whether the agent's call exists."""

    NONE = "none"
    """It was never placed, or it ended. This is proven."""
    PRESENT = "present"
    """It exists as far as known, and nothing was done to end it."""
    ENDING = "ending"
    """A request to end it was sent."""
    AWAITED = "awaited"
    """Whether it exists will be known, as the request that places it has no outcome yet."""
    UNKNOWN = "unknown"
    """It may exist, and nothing more can be done to end it."""


def agent_leg(consultation: OpenConsultation) -> AgentLeg:
    """Return whether the agent's call exists."""
    placed = consultation.step(RequestKind.PLACE_CALL)
    hung_up = consultation.outcome(RequestKind.HANG_UP)
    if placed is None or consultation.agent_ended or isinstance(placed.outcome, StepFailed):
        return AgentLeg.NONE
    if isinstance(hung_up, StepCompleted) or _says_gone(hung_up):
        return AgentLeg.NONE
    if consultation.is_open(RequestKind.HANG_UP):
        return AgentLeg.ENDING
    is_placed = placed.outcome is not None or consultation.agent_submitted  # else ending it proves nothing
    if hung_up is None and is_placed and consultation.agent_call is not None:
        return AgentLeg.PRESENT
    return AgentLeg.UNKNOWN if hung_up is not None or placed.outcome is not None else AgentLeg.AWAITED


def caller_gone(consultation: OpenConsultation) -> bool:
    """Return whether the caller's call is proven to have ended."""
    return (
        consultation.caller_end is not None
        or consultation.presence is Presence.GONE
        or any(_says_gone(consultation.outcome(kind)) for kind in _kinds_on_callers_call(consultation))
    )


def _kinds_on_callers_call(consultation: OpenConsultation) -> tuple[RequestKind, ...]:
    kinds = (RequestKind.HOLD, RequestKind.RESUME)
    return (*kinds, RequestKind.JOIN) if consultation.joins_on_callers_call else kinds


def _says_gone(outcome: object) -> bool:
    """Return whether the outcome of a step says that the step's call does not exist."""
    return isinstance(outcome, StepFailed) and outcome.call_alive is False


def caller_held(consultation: OpenConsultation) -> bool | None:
    """Return whether the caller is on hold, None if that is not known."""
    held, resumed = consultation.outcome(RequestKind.HOLD), consultation.outcome(RequestKind.RESUME)
    if caller_gone(consultation) or isinstance(resumed, StepCompleted):
        return False
    if consultation.step(RequestKind.HOLD) is None or isinstance(held, StepFailed):
        return False
    if isinstance(held, StepCompleted) and (resumed is None or isinstance(resumed, StepFailed)):
        return True
    return None


def caller_alive(consultation: OpenConsultation) -> bool | None:
    """Return whether the caller is on the application's call, None if that is not proven."""
    if caller_gone(consultation):
        return False
    if consultation.presence in {Presence.CONNECTED, Presence.TRANSFERRING}:
        return True
    if isinstance(consultation.outcome(RequestKind.RESUME), StepCompleted):
        return True
    later_than_hold = consultation.step(RequestKind.PLACE_CALL) is not None
    outcomes = (
        consultation.outcome(kind)
        for kind in _kinds_on_callers_call(consultation)
        if not (later_than_hold and kind is RequestKind.HOLD)  # what was known then may have changed
    )
    return True if any(isinstance(one, StepFailed) and one.call_alive for one in outcomes) else None


def proven_basis(consultation: OpenConsultation) -> Basis:
    """Return the basis of a cancellation: stated if the provider stated each part of it."""
    parts = [consultation.outcome(RequestKind.RESUME)]
    if consultation.step(RequestKind.PLACE_CALL) is not None and not consultation.agent_ended:
        failed = consultation.outcome(RequestKind.PLACE_CALL)
        hung_up = consultation.outcome(RequestKind.HANG_UP)
        parts.append(failed if isinstance(failed, StepFailed) else hung_up)
    stated = all(part is not None and part.basis is Basis.STATED for part in parts)
    return Basis.STATED if stated else Basis.INFERRED
