"""The end of a consultation without a join: the agent's call is ended, and the caller resumed."""

from __future__ import annotations

from attrs import evolve

from transferkit._lifecycle.consultation.legs import (
    AgentLeg,
    agent_leg,
    caller_alive,
    caller_gone,
    caller_held,
    proven_basis,
)
from transferkit._lifecycle.consultation.publishing import Consulting
from transferkit._lifecycle.consultation_state import Ending, EndingKind, Phase, Wanted
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.requests import RequestKind

__all__ = ["begin_ending", "clean_up"]

_NOT_PLACED = Result(
    reason=FailureReason.TIMEOUT,
    message="it was not known in time whether the agent's call was placed; it has ended",
    basis=Basis.INFERRED,
)
_ON_CALLERS_CALL = (RequestKind.HOLD, RequestKind.RESUME)


def begin_ending(consulting: Consulting, kind: EndingKind, result: Result | None = None) -> None:
    """Decide that the caller and the agent are not joined. The reason does not change any more."""
    if consulting.consultation.caller_end is not None:
        kind = EndingKind.CALLER_LEFT
    ending = Ending(kind=kind, result=result or Result())
    consulting.update(phase=Phase.ENDING, ending=ending, until=None)


def clean_up(consulting: Consulting) -> None:
    """End the agent's call and resume the caller, both at once. Then publish what is proven."""
    consultation = consulting.consultation
    leg = agent_leg(consultation)
    if leg is AgentLeg.PRESENT:
        consulting.update(wanted=Wanted.HANG_UP)
    elif consultation.is_open(*_ON_CALLERS_CALL):
        return  # the caller's call carries one step at a time, and is not free before its outcome
    elif caller_held(consultation) is not False and consultation.step(RequestKind.RESUME) is None:
        consulting.update(wanted=Wanted.RESUME)
    elif leg in {AgentLeg.AWAITED, AgentLeg.ENDING}:
        return
    elif caller_alive(consultation) is None and consultation.presence is None:
        consulting.update(wanted=Wanted.QUERY)
    elif consultation.ending is not None:
        _publish(consulting, consultation.ending, is_agent_gone=leg is AgentLeg.NONE)


def _publish(consulting: Consulting, ending: Ending, *, is_agent_gone: bool) -> None:
    consultation = consulting.consultation
    is_back = caller_alive(consultation) and caller_held(consultation) is False
    match ending.kind:
        case EndingKind.FAILED:
            consulting.fail(ending.result)
        case _ if caller_gone(consultation):
            consulting.fail(_caller_left(consultation.caller_end))
        case EndingKind.UNPLACED if is_agent_gone:
            consulting.fail(_NOT_PLACED)
        case EndingKind.CANCELLED | EndingKind.TIMED_OUT if is_agent_gone and is_back:
            consulting.cancel(proven_basis(consultation), timed_out=ending.kind is EndingKind.TIMED_OUT)
        case _:
            consulting.expire()


def _caller_left(end: Result | None) -> Result:
    """Return the result of a caller who left. It is stated only if the provider stated this reason."""
    if end is None:
        return Result(reason=FailureReason.CALLER_LEFT, basis=Basis.INFERRED)
    if end.reason is FailureReason.CALLER_LEFT:
        return end
    reason = FailureReason.CALLER_LEFT if end.reason is FailureReason.UNKNOWN else FailureReason.CALL_ENDED
    return evolve(end, reason=reason, basis=Basis.INFERRED)
