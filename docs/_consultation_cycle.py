"""Find every transition of a consultation by calling `step` with every input until no new state appears."""

# ruff: noqa: INP001 - a folder of pages, not a package
from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from _life_cycle import Transition
from attrs import evolve

from transferkit import (
    Basis,
    CallEnded,
    Consultation,
    Evidence,
    Fact,
    FailureReason,
    JoinSide,
    PhoneNumber,
    Result,
    Signal,
    StepCompleted,
    StepExpired,
    StepFailed,
)
from transferkit._lifecycle import CallKey, CallState, Input, Lease, Observed, Opened, Requested, Rules, step
from transferkit._lifecycle.consultation.machine import AlreadyDecided, NotAnswered
from transferkit._lifecycle.consultation_inputs import (
    CancellationDecided,
    CompletionDecided,
    ConsultationAdvanced,
    ConsultationInspected,
    PlacedCall,
    StepOpened,
)
from transferkit._lifecycle.consultation_state import EndingKind, OpenConsultation, Wanted
from transferkit.events import StepOutcome
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind

__all__ = ["explore_consultation"]

_CALL: Final = CallKey("any", "call")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ENDINGS: Final = {
    EndingKind.FAILED: "it failed",
    EndingKind.CALLER_LEFT: "the caller hung up",
    EndingKind.CANCELLED: "it was cancelled",
    EndingKind.TIMED_OUT: "nobody decided in time",
    EndingKind.UNPLACED: "the agent's call may or may not have been placed",
}


def explore_consultation() -> tuple[Transition, ...]:
    """Every transition of a consultation, on providers that join on either call."""
    return tuple(sorted({found for side in JoinSide for found in _transitions(side)}))


def _transitions(side: JoinSide) -> Iterator[Transition]:
    pending, visited = [_requested(side)], set[object]()
    while pending:
        state = pending.pop()
        consultation = state.consultation
        if consultation is None or (key := _key(consultation)) in visited:
            continue
        visited.add(key)
        for cause, inputs in _inputs(consultation):
            after, outcome = state, None
            try:
                for happened in inputs:
                    decision = step(_CALL, after, happened)
                    after, outcome = decision.state, next(iter(decision.outcomes), None)
            except (AlreadyDecided, NotAnswered):
                continue
            pending.append(after)
            start, end = consultation.phase.value, outcome and outcome.kind.partition(".")[2]
            if outcome is not None and end is not None:
                yield Transition(start, end, _why(consultation, cause, end), outcome.basis.value)
            elif after.consultation is not None and after.consultation.phase != consultation.phase:
                yield Transition(start, after.consultation.phase.value, cause)


def _why(consultation: OpenConsultation, cause: str, end: str) -> str:
    """Why a consultation has its outcome. When it was ending, the reason was decided before."""
    if consultation.ending is None:
        return cause
    decided = _ENDINGS[consultation.ending.kind]
    proof = {
        "cancelled": ", the agent's call ended, and the caller is back",
        "expired": ", and the clean-up is not proven",
    }
    if end == "failed" and consultation.ending.kind in {EndingKind.CANCELLED, EndingKind.TIMED_OUT}:
        return f"{decided}, and the caller hung up"
    return decided + proof.get(end, "")


def _requested(side: JoinSide) -> CallState:
    request = Consultation("call", to=PhoneNumber("+14255550100"))
    opened = Opened(id="c", call=_CALL, request=request, fingerprint="", at=_START, legs=(_CALL,))
    sender = Lease("here", _START + timedelta(minutes=2))
    requested = Requested(at=_START, opened=opened, rules=Rules(join_side=side), sender=sender)
    return step(_CALL, CallState(), requested).state


def _key(consultation: OpenConsultation) -> object:
    """The state without times and texts. Two states with the same key have the same transitions."""
    steps = tuple(sorted((one.kind, type(one.outcome).__name__) for one in consultation.steps))
    return evolve(consultation, steps=(), until=None), consultation.until is None, steps


def _inputs(consultation: OpenConsultation) -> Iterator[tuple[str, tuple[Input, ...]]]:
    """What may happen, each as the inputs that it becomes."""
    at, id_ = _START + timedelta(seconds=1), consultation.id
    if consultation.wanted is Wanted.QUERY:
        for presence in (Presence.CONNECTED, Presence.GONE, Presence.UNKNOWN):
            yield "", (ConsultationInspected(at=at, consultation_id=id_, presence=presence),)
    elif consultation.wanted is not None:
        kind = RequestKind(consultation.wanted.value)
        yield "", (StepOpened(at=at, consultation_id=id_, kind=kind, call_id=_CALL.id),)
    for one in consultation.steps:
        if one.outcome is None and not (one.kind is RequestKind.PLACE_CALL and consultation.agent_connected):
            for cause, outcome in _outcomes(one.kind):
                yield cause, (_advanced(consultation, {one.id: outcome}),)
    yield from (
        (cause, (_advanced(consultation, {}, placed),)) for cause, placed in _agent_changes(consultation)
    )
    if consultation.caller_end is None:
        event = CallEnded(time=at, provider=_CALL.provider, call_id=_CALL.id)
        result = Result(reason=FailureReason.CALLER_LEFT)
        ended = Observed(at=at, fact=Fact(event=event, signals=(Signal.CALL_ENDED,), result=result))
        yield "the caller hangs up", (ended, _advanced(consultation, {}))
    yield "the application completes it", (CompletionDecided(at=at, consultation_id=id_),)
    yield "the application cancels it", (CancellationDecided(at=at, consultation_id=id_),)
    if consultation.until is not None:
        cause = f"nobody {'answers' if consultation.phase == 'ringing' else 'decides'} in time"
        yield cause, (_advanced(consultation, {}, at=consultation.until),)


def _agent_changes(consultation: OpenConsultation) -> Iterator[tuple[str, PlacedCall]]:
    if consultation.step(RequestKind.PLACE_CALL) is None or consultation.agent_ended:
        return
    known = PlacedCall(call_id="agent", submitted=True)
    if not consultation.agent_submitted:
        yield "the provider calls the agent", known
    elif not consultation.agent_connected:
        yield "the agent answers", evolve(known, connected=True)
    else:
        yield "the agent hangs up", evolve(known, connected=True, ended=True)


def _advanced(
    consultation: OpenConsultation,
    outcomes: Mapping[str, StepOutcome],
    placed: PlacedCall | None = None,
    *,
    at: datetime = _START + timedelta(seconds=1),
) -> ConsultationAdvanced:
    return ConsultationAdvanced(at=at, consultation_id=consultation.id, outcomes=outcomes, placed=placed)


def _outcomes(kind: RequestKind) -> Iterator[tuple[str, StepOutcome]]:
    name = kind.value.replace("_", " ")
    common = {"time": _START, "provider": _CALL.provider, "call_id": _CALL.id, "step": kind}
    yield f"{name}: completed", StepCompleted(basis=Basis.STATED, **common)  # type: ignore[arg-type]
    reason = FailureReason.CONFLICT
    yield f"{name}: failed", StepFailed(basis=Basis.STATED, reason=reason, call_alive=True, **common)  # type: ignore[arg-type]
    yield f"{name}: expired", StepExpired(basis=Basis.INFERRED, evidence=Evidence.SILENCE, **common)  # type: ignore[arg-type]
