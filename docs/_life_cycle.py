"""The life cycle, drawn from the machine itself: `step` is asked what can follow, until nothing new does."""

# ruff: noqa: INP001 - a folder of pages, no package
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from html import escape
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
    Progress,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.provider.facts import RequestKind
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted

__all__ = ["Transition", "explore", "svg", "table"]

_CALL: Final = CallKey("any", "call")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SOON: Final = timedelta(seconds=1)
_BUSY: Final = Result(code=486, reason=FailureReason.BUSY)
_LEFT: Final = Result(code=487, reason=FailureReason.CALLER_LEFT)
_RULES: Final = (
    Rules(max_attempts=2, max_inspections=1),
    Rules(max_attempts=2, max_inspections=1, repeatable_for=timedelta(minutes=5)),
)
_HANDED_OVER: Final = Rules(max_attempts=2, max_inspections=1, taken_is_handed_over=True)

_ANSWERS: Final[dict[str, SubmitResult]] = {
    "the provider takes the request (2xx)": Submitted(),
    "the provider refuses (4xx)": Rejected(result=_BUSY),
    "the provider turns the last attempt away (429)": NotSent(result=Result(code=429)),
    "the request cannot be sent, and no attempt is left": NotSent(result=Result(basis=Basis.LOCAL)),
    "the request may have been executed": MaybeSent(result=Result()),
}
_Said = dict[str, tuple[tuple[Signal, ...], Result | None]]
_SIGNALS: Final[_Said] = {
    "callback: started": ((Signal.STARTED,), None),
    "callback: accepted": ((Signal.ACCEPTED,), None),
    "callback: succeeded": ((Signal.SUCCEEDED,), None),
    "callback: succeeded, and the call ended": ((Signal.SUCCEEDED, Signal.CALL_ENDED), None),
    "callback: failed": ((Signal.FAILED,), _BUSY),
    "callback: connected again": ((Signal.RETURNED,), None),
    "callback: the call ended": ((Signal.CALL_ENDED,), None),
    "callback: the caller left": ((Signal.CALL_ENDED,), _LEFT),
}
_OF_REDIRECTS: Final[_Said] = {"callback: the call ended, no target took it": ((Signal.CALL_ENDED,), _BUSY)}

_ENDS: Final = {
    FailureReason.CALLER_LEFT: "the caller left",
    FailureReason.BUSY: "the call ended, no target took it",
}


@final
@frozen(order=True)
class Transition:
    """From one state to another: what happened, and how an outcome is known."""

    start: str
    end: str
    cause: str
    basis: str = ""


@cache
def explore(kind: RequestKind) -> tuple[Transition, ...]:
    """Every transition that the machine makes for a transfer or a redirect, whatever the provider allows."""
    rules = (*_RULES, _HANDED_OVER) if kind is RequestKind.REDIRECT else _RULES
    return tuple(sorted({found for allowed in rules for found in _reached(kind, allowed)}))


def _reached(kind: RequestKind, rules: Rules) -> Iterator[Transition]:
    waiting, known = [_requested(kind, rules)], set[object]()
    while waiting:
        state = waiting.pop()
        if state.open is None or (key := _key(state)) in known:
            continue
        known.add(key)
        start = _place(state.open)
        for cause, happened in _inputs(state.open):
            decision = step(_CALL, state, happened)
            outcome = decision.outcome
            end = outcome.kind.partition(".")[2] if outcome else _place_of(decision.state)
            if end != start:
                yield Transition(start, end, cause, str(outcome.basis) if outcome else "")
            if decision.state != state:
                waiting.append(decision.state)


def _requested(kind: RequestKind, rules: Rules) -> CallState:
    to = PhoneNumber("+14255550100")
    request: Request = Transfer(call="call", to=to)
    if kind is RequestKind.REDIRECT:
        request = Redirect(call="call", to=to)
    opened = Opened(id="t", call=_CALL, request=request, fingerprint="", at=_START, legs=(_CALL,))
    sender = Lease("here", _START + timedelta(minutes=2))
    return step(_CALL, CallState(), Requested(at=_START, opened=opened, rules=rules, sender=sender)).state


def _key(state: CallState) -> object:
    """A state without times, counts and what is only told: two that are equal here go on alike."""
    progress = state.open
    if progress is None:
        return None
    asked = min(progress.final_inspections, progress.rules.max_inspections)
    refusal = progress.refusal and Result(code=progress.refusal.code and 1)
    return evolve(
        progress,
        first_sent_at=None,
        last_inspected_at=None,
        evidence=None,
        final_inspections=asked,
        refusal=refusal,
    )


def _place(progress: Progress) -> str:
    names = ("accepted", "started", "submitted")
    return next((name for name in names if getattr(progress, name)), "requested")


def _place_of(state: CallState) -> str:
    return _place(state.open) if state.open else ""


def _inputs(progress: Progress) -> Iterator[tuple[str, Input]]:
    at = progress.deadline_at + _SOON if progress.deadline_passed else _START + _SOON
    name = progress.id
    if progress.attempts < progress.rules.max_attempts:
        again = Attempted(at=at, transfer_id=name, attempt=progress.attempts + 1)
        yield "somebody takes the work over", again
    for cause, answer in _ANSWERS.items():
        yield cause, Answered(at=at, transfer_id=name, attempt=progress.attempts, answer=answer)
    of_kind = _OF_REDIRECTS if progress.kind is RequestKind.REDIRECT else {}
    for cause, (signals, result) in (_SIGNALS | of_kind).items():
        yield cause, Observed(at=at, fact=_fact(signals, result, at))
    for presence in Presence:
        last = progress.deadline_passed and not progress.ended
        cause = "the deadline, and asking settles nothing" if last else f"asked: the call is {presence}"
        yield cause, Inspected(at=at, transfer_id=name, presence=presence)
    if progress.ended:
        how = _ENDS.get(progress.ended.reason, "the call ended")
        grace_over = DueReached(at=at, transfer_id=name, work=Work.GRACE)
        yield f"{how}, and no proof came within the grace", grace_over
    due = DueReached(at=progress.deadline_at, transfer_id=name, work=Work.DEADLINE)
    yield "the deadline, before anything can have left", due


def _fact(signals: tuple[Signal, ...], result: Result | None, at: datetime) -> Fact:
    kind: type[Event] = ProviderOther
    if Signal.CALL_ENDED in signals:
        kind = CallEnded
    elif Signal.RETURNED in signals:
        kind = CallConnected
    event = kind(time=at, provider=_CALL.provider, call_id=_CALL.id)
    return Fact(event=event, signals=signals, result=result or Result(), transfer_id="t")


def table(transitions: tuple[Transition, ...]) -> str:
    """The transitions as a Markdown table, one line for each pair of states."""
    lines = ["| from | to | when |", "|---|---|---|"]
    pairs = sorted({(found.start, found.end) for found in transitions}, key=_rank)
    for start, end in pairs:
        causes: dict[str, set[str]] = {}
        for found in transitions:
            if (found.start, found.end) == (start, end):
                causes.setdefault(found.cause, set()).add(found.basis)
        words = "; ".join(_known(cause, basis) for cause, basis in sorted(causes.items()))
        lines.append(f"| {start} | {end} | {words} |")
    return "\n".join(lines)


def _known(cause: str, basis: set[str]) -> str:
    return cause + (f" ({' or '.join(sorted(basis))})" if basis != {""} else "")


_ORDER: Final[tuple[str, ...]] = (
    "requested",
    "submitted",
    "started",
    "accepted",
    "completed",
    "failed",
    "expired",
)
_OUTCOMES: Final = {"completed": "#2e8b57", "failed": "#c0392b", "expired": "#b8860b"}
_GAP, _WIDTH, _HEIGHT, _TOP, _BOTTOM = 190, 120, 40, 130, 320


def _rank(pair: tuple[str, str]) -> tuple[int, int]:
    return _ORDER.index(pair[0]), _ORDER.index(pair[1])


def svg(transitions: tuple[Transition, ...], *, title: str) -> str:
    """The states as boxes and each possible transition as one arrow; dashed where it is inferred only."""
    found = {name for one in transitions for name in (one.start, one.end)}
    open_states = [name for name in _ORDER if name in found and name not in _OUTCOMES]
    span = max(len(open_states), len(_OUTCOMES)) * _GAP
    places = _row(open_states, span, _TOP) | _row([*_OUTCOMES], span, _BOTTOM)
    pairs = sorted({(one.start, one.end) for one in transitions}, key=_rank)
    inferred = {
        pair: all(one.basis == "inferred" for one in transitions if (one.start, one.end) == pair)
        for pair in pairs
    }
    drawn = [_arrow(places, *pair, dashed=inferred[pair]) for pair in pairs]
    drawn += [_box(name, *place) for name, place in places.items()]
    heads = "".join(_head(name, colour) for name, colour in {"open": "currentColor", **_OUTCOMES}.items())
    return (
        f'<svg viewBox="0 0 {span} {_BOTTOM + 40}" role="img" aria-label="{escape(title)}" '
        f'font-family="sans-serif" font-size="14" style="max-width:{span}px;width:100%">'
        f"<title>{escape(title)}</title><defs>{heads}</defs>{''.join(drawn)}</svg>"
    )


def _row(names: list[str], span: int, y: int) -> dict[str, tuple[int, int]]:
    left = (span - (len(names) - 1) * _GAP) // 2
    return {name: (left + index * _GAP, y) for index, name in enumerate(names)}


def _head(name: str, colour: str) -> str:
    return (
        f'<marker id="to-{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
    )


def _box(name: str, x: int, y: int) -> str:
    colour = _OUTCOMES.get(name, "currentColor")
    return (
        f'<rect x="{x - _WIDTH // 2}" y="{y - _HEIGHT // 2}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" '
        f'fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{colour}">{name}</text>'
    )


def _arrow(places: dict[str, tuple[int, int]], start: str, end: str, *, dashed: bool) -> str:
    (x1, y1), (x2, y2) = places[start], places[end]
    half = _HEIGHT // 2
    if end in _OUTCOMES:
        path = f"M{x1} {y1 + half}L{x2 + (x1 - x2) // 12} {y2 - half}"
    elif x2 - x1 == _GAP:
        path = f"M{x1 + _WIDTH // 2} {y1}L{x2 - _WIDTH // 2} {y2}"
    else:
        lift = y1 - half - (x2 - x1) // 4
        path = f"M{x1} {y1 - half}Q{(x1 + x2) // 2} {lift} {x2} {y2 - half}"
    colour = _OUTCOMES.get(end, "currentColor")
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    marker = end if end in _OUTCOMES else "open"
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes} '
        f'marker-end="url(#to-{marker})"/>'
    )
