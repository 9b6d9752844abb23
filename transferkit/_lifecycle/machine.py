"""`step`, the one entry point of the machine. It is a pure function of its arguments.

Guarantees, for any order, duplication, delay or loss of the inputs:

* The events of a transfer, redirect or step are `requested`, then at most one each of `submitted`, `started`
  and `accepted` in that order, then exactly one terminal event, and nothing after it.
* `completed` follows only from a success that the provider stated. The first verdict that certainly belongs
  to the open transfer is its outcome.
* A request that may have been executed is sent again only while the provider promises to execute it once.
* Every delivery appears on the stream, as `provider.other` if it changes no life cycle.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import evolve

from transferkit._lifecycle.attempts import apply_answer, start_attempt
from transferkit._lifecycle.consultation.machine import (
    AlreadyDecided,
    apply_to_consultation,
    open_consultation,
)
from transferkit._lifecycle.consultation_inputs import CancellationDecided, ConsultationInput
from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.inputs import (
    Answered,
    Attempted,
    DueReached,
    Input,
    Inspected,
    Observed,
    Peeked,
    PlacedCallObserved,
    Replaced,
    Requested,
    RouteCancelled,
)
from transferkit._lifecycle.inspection import apply_inspection
from transferkit._lifecycle.observation import observe
from transferkit._lifecycle.opened import CallKey, Opened
from transferkit._lifecycle.routes import cancel_route, continue_route, open_route
from transferkit._lifecycle.state import CallState, FinishedTransfer, OpenTransfer
from transferkit._lifecycle.steps import observe_placed_call
from transferkit._lifecycle.timers import apply_due
from transferkit._lifecycle.transition import Transition, event_classes
from transferkit.requests import Consultation, RequestKind, Route

__all__ = ["CallStillRinging", "step"]


_NEEDS_ANSWERED_CALL = {
    RequestKind.TRANSFER,
    RequestKind.HOLD,
    RequestKind.RESUME,
    RequestKind.JOIN,
    RequestKind.CONSULTATION,
    RequestKind.ROUTE,
}


class CallStillRinging(Exception):
    """A request needs an answered call, and the call still rings. The call's state does not change."""


def step(call: CallKey, state: CallState, happened: Input, previous_mark: str | None = None) -> Decision:
    """Decide what follows from one input to a call.

    `previous_mark` is the mark that is stored with an earlier equal delivery; None if there is none. Raises
    `CallStillRinging` if the input requests something of a ringing call that needs an answered one.
    """
    transition = Transition(call, state, happened.at)
    match happened:
        case Peeked():
            decision = transition.decide()
        case Requested():
            decision = _request(transition, happened)
        case Replaced():
            decision = _replace(transition, happened)
        case Attempted():
            decision = start_attempt(transition, happened)
        case Answered():
            decision = apply_answer(transition, happened)
        case Observed():
            decision = observe(transition, happened.fact, previous_mark)
        case PlacedCallObserved():
            decision = observe_placed_call(transition, happened.fact)
        case Inspected():
            decision = apply_inspection(transition, happened)
        case DueReached():
            decision = apply_due(transition, happened)
        case _:
            decision = _continue(transition, happened)
    return continue_route(transition, decision, _open_attempt)


def _continue(transition: Transition, happened: ConsultationInput | RouteCancelled) -> Decision:
    if isinstance(happened, RouteCancelled):
        return _cancel_route(transition, happened)
    return apply_to_consultation(transition, happened)


def _request(transition: Transition, requested: Requested) -> Decision:
    """Open what was requested."""
    opened = requested.opened
    request = opened.request
    if request.kind in _NEEDS_ANSWERED_CALL and transition.state.is_ringing(requested.at):
        raise CallStillRinging(str(opened.call))
    if isinstance(request, Route):
        return open_route(transition, requested, _open_attempt)
    return transition.decide(opened=(_open_attempt(transition, requested),))


def _open_attempt(transition: Transition, requested: Requested) -> Opened:
    """Open a transfer, redirect, step or consultation, and return its request."""
    opened = requested.opened
    if isinstance(opened.request, Consultation):
        open_consultation(transition, requested, opened.request)
    else:
        _open_transfer(transition, requested)
    return opened


def _cancel_route(transition: Transition, cancelled: RouteCancelled) -> Decision:
    """Make no further attempt, and cancel the consultation that is the current one, if it can be."""
    route = cancel_route(transition, cancelled)
    consultation = transition.state.consultation
    if consultation is not None and consultation.id == route.current:
        cancellation = CancellationDecided(at=cancelled.at, consultation_id=consultation.id)
        with suppress(AlreadyDecided):  # it is being completed
            return apply_to_consultation(transition, cancellation)
    return transition.decide()


def _open_transfer(transition: Transition, requested: Requested) -> None:
    """Open a transfer, redirect or step. If it has a sender, that process sends attempt 1 immediately."""
    opened = requested.opened
    request = opened.request
    is_sent = requested.sender is not None
    transfer = OpenTransfer(
        id=opened.id,
        kind=request.kind,
        rules=requested.rules,
        targets=request.targets,
        transferee=getattr(request, "transferee", None),
        operation_context=request.operation_context,
        concerns_two_calls=request.kind is RequestKind.JOIN or len(opened.legs) > 1,
        own_callback_uri=(request.callback_uri or "").endswith(f"/{opened.id}"),
        parent=opened.parent,
        requested_at=requested.at,
        deadline_at=requested.at + request.deadline,
        attempts=1 if is_sent else 0,
        first_sent_at=requested.at,
        in_flight=is_sent,
    )
    tenant_id = request.call.tenant_id or transition.state.tenant_id
    transition.state = evolve(transition.state, open=transfer, tenant_id=tenant_id)
    if request.kind is RequestKind.PLACE_CALL:
        transition.state = evolve(transition.state, parent=opened.parent)
    transition.publish(
        event_classes(transfer).requested,
        transfer,
        targets=transfer.targets,
        transferee=transfer.transferee,
        dropped=requested.dropped,
    )
    transition.set_due(transfer, Work.SUBMIT, requested.at, requested.sender)
    transition.set_due(transfer, Work.DEADLINE, transfer.deadline_at)


def _replace(transition: Transition, replaced: Replaced) -> Decision:
    """Record on the consultation leg that the attended transfer of another call may end it."""
    transition.state = transition.state.with_finished(FinishedTransfer(id=replaced.transfer_id))
    return transition.decide()
