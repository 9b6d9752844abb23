"""What the state of a call means for an open call step."""

from __future__ import annotations

from attrs import evolve

from transferkit._lifecycle.decision import Decision
from transferkit._lifecycle.state import CallState, OpenTransfer
from transferkit._lifecycle.transition import Transition
from transferkit.events import Basis, CallConnected, FailureReason
from transferkit.provider.facts import Fact, Result, Signal
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind

__all__ = ["conclude_by_fact", "conclude_by_query", "observe_placed_call"]

_CONNECTING = {RequestKind.ANSWER, RequestKind.PLACE_CALL}
_ENDING = {RequestKind.REJECT, RequestKind.HANG_UP}
_NEVER_CONNECTED = {
    FailureReason.BUSY,
    FailureReason.DECLINED,
    FailureReason.NO_ANSWER,
    FailureReason.UNREACHABLE,
    FailureReason.TARGET_NOT_FOUND,
    FailureReason.TARGET_NOT_ALLOWED,
}
"""The reasons for the end of a call that say that it was never connected."""
_NEEDS_CALL = {*_CONNECTING, RequestKind.HOLD, RequestKind.RESUME}


def conclude_by_fact(transition: Transition, step: OpenTransfer, fact: Fact) -> bool:
    """Publish the outcome of a step if the fact reports that its call is connected or ended.

    Returns whether it did. A join is decided by its own verdict, as a transfer is.
    """
    ended = Signal.CALL_ENDED in fact.signals
    if step.kind in _ENDING and ended:
        basis = Basis.STATED if step.possibly_received else Basis.INFERRED
        transition.complete(step, fact.result, basis=basis, fact=fact)
    elif not step.possibly_received:
        return False  # the grace period decides
    elif step.kind in _CONNECTING and isinstance(fact.event, CallConnected):
        if fact.placed_by is not None:
            _note_placed_call(transition, fact)
        step = transition.mark_submitted(step, fact)
        transition.complete(step, None, basis=Basis.STATED, fact=fact)
    elif step.kind in _NEEDS_CALL and ended:
        result = _as_end(fact.result or Result())
        says_never_connected = step.kind in _CONNECTING and result.reason in _NEVER_CONNECTED
        basis = Basis.STATED if says_never_connected else Basis.INFERRED  # the proof of a success may be late
        transition.fail(step, result, basis=basis, call_alive=False, fact=fact)
    else:
        return False
    return True


def conclude_by_query(transition: Transition, step: OpenTransfer, presence: Presence) -> bool:
    """Publish the outcome of a step if the query shows that its call is connected or gone.

    Returns whether it did.
    """
    if step.call_end is not None or not step.possibly_received:
        return False  # the grace period, or the next attempt, decides
    if step.kind in _ENDING and presence is Presence.GONE:
        transition.complete(step, None, basis=Basis.INFERRED)
    elif step.kind in _CONNECTING and presence is Presence.CONNECTED:
        step = transition.mark_submitted(step)
        transition.complete(step, None, basis=Basis.INFERRED)
    elif step.kind in _NEEDS_CALL and presence is Presence.GONE:
        transition.fail(step, _as_end(Result()), basis=Basis.INFERRED, call_alive=False)
    else:
        return False
    return True


def observe_placed_call(transition: Transition, fact: Fact) -> Decision:
    """Apply a fact about a call to the step that placed it, or that answered it under another id.

    The call's own state applies it too.
    """
    if transition.state == CallState():
        return transition.decide()  # no such step is stored
    _note_placed_call(transition, fact)
    step = transition.open
    if step is not None and step.kind in _CONNECTING:
        step = transition.mark_submitted(step, fact)
        concluded = conclude_by_fact(transition, step, fact)
        if not concluded and Signal.FAILED in fact.signals and fact.operation is step.kind:
            result = fact.result or Result()
            transition.fail(step, result, basis=Basis.STATED, call_alive=False, fact=fact)
    transition.note_call(
        connected=isinstance(fact.event, CallConnected), ended=Signal.CALL_ENDED in fact.signals
    )
    return transition.decide()


def _note_placed_call(transition: Transition, fact: Fact) -> None:
    """Record the id of the call that was placed, if it is new and the fact has it."""
    if transition.state.placed_call is None and fact.names_call:
        transition.state = evolve(transition.state, placed_call=fact.event.call_id)


def _as_end(result: Result) -> Result:
    return (
        evolve(result, reason=FailureReason.CALL_ENDED) if result.reason is FailureReason.UNKNOWN else result
    )
