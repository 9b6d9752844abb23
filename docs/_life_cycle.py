"""Find every transition of the life cycle by calling `step` with every input until no new state appears."""

# ruff: noqa: INP001 - a folder of pages, not a package
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, final

from attrs import evolve, frozen

from transferkit import (
    Basis,
    CallConnected,
    CallEnded,
    Event,
    Fact,
    FailureReason,
    PhoneNumber,
    ProviderOther,
    Redirect,
    Request,
    Result,
    Signal,
    Transfer,
)
from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    DueReached,
    Input,
    Inspected,
    Lease,
    Observed,
    Opened,
    OpenTransfer,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.provider.facts import RequestKind
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted

__all__ = ["Transition", "explore", "table"]

_CALL: Final = CallKey("any", "call")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SOON: Final = timedelta(seconds=1)
_BUSY: Final = Result(code=486, reason=FailureReason.BUSY)
_LEFT: Final = Result(code=487, reason=FailureReason.CALLER_LEFT)
_RULES: Final = (
    Rules(max_attempts=2, max_inspections=1),
    Rules(max_attempts=2, max_inspections=1, repeatable_for=timedelta(minutes=5)),
)
_REDIRECT_RULES: Final = Rules(max_attempts=2, max_inspections=1, completes_on_acceptance=True)

_ANSWERS: Final[dict[str, SubmitResult]] = {
    "the provider accepts the request (2xx)": Submitted(),
    "the provider rejects the request (4xx)": Rejected(result=_BUSY),
    "the provider throttles the last attempt (429)": NotSent(result=Result(code=429)),
    "the last attempt cannot be sent": NotSent(result=Result(basis=Basis.LOCAL)),
    "the request may have been executed": MaybeSent(result=Result()),
}
_Callbacks = dict[str, tuple[tuple[Signal, ...], Result | None]]
_SIGNALS: Final[_Callbacks] = {
    "callback: started": ((Signal.STARTED,), None),
    "callback: accepted": ((Signal.ACCEPTED,), None),
    "callback: succeeded": ((Signal.SUCCEEDED,), None),
    "callback: succeeded, and the call ended": ((Signal.SUCCEEDED, Signal.CALL_ENDED), None),
    "callback: failed": ((Signal.FAILED,), _BUSY),
    "callback: connected again": ((Signal.RETURNED,), None),
    "callback: the call ended": ((Signal.CALL_ENDED,), None),
    "callback: the caller left": ((Signal.CALL_ENDED,), _LEFT),
}
_REDIRECT_SIGNALS: Final[_Callbacks] = {
    "callback: the call ended, no target answered": ((Signal.CALL_ENDED,), _BUSY)
}

_END_CAUSES: Final = {
    FailureReason.CALLER_LEFT: "the caller left",
    FailureReason.BUSY: "the call ended, no target answered",
}


@final
@frozen(order=True)
class Transition:
    """From one state to another: the cause, and the basis of an outcome."""

    start: str
    end: str
    cause: str
    basis: str = ""


@cache
def explore(kind: RequestKind) -> tuple[Transition, ...]:
    """Every transition of a transfer or a redirect, under the rules of all providers."""
    rules = (*_RULES, _REDIRECT_RULES) if kind is RequestKind.REDIRECT else _RULES
    return tuple(sorted({found for each in rules for found in _transitions(kind, each)}))


def _transitions(kind: RequestKind, rules: Rules) -> Iterator[Transition]:
    pending, visited = [_requested(kind, rules)], set[object]()
    while pending:
        state = pending.pop()
        if state.open is None or (key := _key(state)) in visited:
            continue
        visited.add(key)
        start = _state_name(state.open)
        for cause, happened in _inputs(state.open):
            decision = step(_CALL, state, happened)
            outcome = next(iter(decision.outcomes), None)
            end = outcome.kind.partition(".")[2] if outcome else _open_state_name(decision.state)
            if end != start:
                yield Transition(start, end, cause, str(outcome.basis) if outcome else "")
            if decision.state != state:
                pending.append(decision.state)


def _requested(kind: RequestKind, rules: Rules) -> CallState:
    to = PhoneNumber("+14255550100")
    request: Request = Transfer(call="call", to=to)
    if kind is RequestKind.REDIRECT:
        request = Redirect(call="call", to=to)
    opened = Opened(id="t", call=_CALL, request=request, fingerprint="", at=_START, legs=(_CALL,))
    sender = Lease("here", _START + timedelta(minutes=2))
    return step(_CALL, CallState(), Requested(at=_START, opened=opened, rules=rules, sender=sender)).state


def _key(state: CallState) -> object:
    """The state without times, counts and texts. Two states with the same key have the same transitions."""
    transfer = state.open
    if transfer is None:
        return None
    inspections = min(transfer.inspections_after_deadline, transfer.rules.max_inspections)
    last_error = transfer.last_error and Result(code=transfer.last_error.code and 1)
    return evolve(
        transfer,
        first_sent_at=transfer.requested_at,
        last_inspected_at=None,
        evidence=None,
        inspections_after_deadline=inspections,
        last_error=last_error,
    )


def _state_name(transfer: OpenTransfer) -> str:
    names = ("accepted", "started", "submitted")
    return next((name for name in names if getattr(transfer, name)), "requested")


def _open_state_name(state: CallState) -> str:
    return _state_name(state.open) if state.open else ""


def _inputs(transfer: OpenTransfer) -> Iterator[tuple[str, Input]]:
    at = transfer.deadline_at + _SOON if transfer.deadline_passed else _START + _SOON
    name = transfer.id
    if transfer.attempts < transfer.rules.max_attempts:
        again = Attempted(at=at, transfer_id=name, attempt=transfer.attempts + 1)
        yield "another process takes over", again
    for cause, answer in _ANSWERS.items():
        yield cause, Answered(at=at, transfer_id=name, attempt=transfer.attempts, answer=answer)
    of_kind = _REDIRECT_SIGNALS if transfer.kind is RequestKind.REDIRECT else {}
    for cause, (signals, result) in (_SIGNALS | of_kind).items():
        yield cause, Observed(at=at, fact=_fact(signals, result, at))
    for presence in Presence:
        last = transfer.deadline_passed and not transfer.call_end
        cause = "the deadline, and a query decides nothing" if last else f"query: the call is {presence}"
        yield cause, Inspected(at=at, transfer_id=name, presence=presence)
    if transfer.call_end:
        how = _END_CAUSES.get(transfer.call_end.reason, "the call ended")
        grace_over = DueReached(at=at, transfer_id=name, work=Work.GRACE)
        yield f"{how}, and no proof arrived within the grace period", grace_over
    due = DueReached(at=transfer.deadline_at, transfer_id=name, work=Work.DEADLINE)
    yield "the deadline, before a request can have been sent", due


def _fact(signals: tuple[Signal, ...], result: Result | None, at: datetime) -> Fact:
    kind: type[Event] = ProviderOther
    if Signal.CALL_ENDED in signals:
        kind = CallEnded
    elif Signal.RETURNED in signals:
        kind = CallConnected
    event = kind(time=at, provider=_CALL.provider, call_id=_CALL.id)
    return Fact(event=event, signals=signals, result=result or Result(), transfer_id="t")


def table(transitions: tuple[Transition, ...]) -> str:
    """The transitions as a Markdown table, one row for each pair of states."""
    lines = ["| from | to | when |", "|---|---|---|"]
    pairs = sorted({(found.start, found.end) for found in transitions}, key=_rank)
    for start, end in pairs:
        causes: dict[str, set[str]] = {}
        for found in transitions:
            if (found.start, found.end) == (start, end):
                causes.setdefault(found.cause, set()).add(found.basis)
        words = "; ".join(_with_basis(cause, basis) for cause, basis in sorted(causes.items()))
        lines.append(f"| {start} | {end} | {words} |")
    return "\n".join(lines)


def _with_basis(cause: str, basis: set[str]) -> str:
    return cause + (f" ({' or '.join(sorted(basis))})" if basis != {""} else "")


_ORDER: Final[tuple[str, ...]] = (
    "requested",
    "submitted",
    "started",
    "accepted",
    "ringing",
    "answered",
    "completing",
    "ending",
    "completed",
    "cancelled",
    "failed",
    "expired",
)


def _rank(pair: tuple[str, str]) -> tuple[int, int]:
    return _ORDER.index(pair[0]), _ORDER.index(pair[1])
