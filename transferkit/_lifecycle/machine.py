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

from attrs import evolve

from transferkit._lifecycle.attempts import apply_answer, start_attempt
from transferkit._lifecycle.consultation.machine import apply_to_consultation, open_consultation
from transferkit._lifecycle.decision import CallKey, Decision, Work
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
)
from transferkit._lifecycle.inspection import apply_inspection
from transferkit._lifecycle.observation import observe
from transferkit._lifecycle.state import CallState, FinishedTransfer, OpenTransfer
from transferkit._lifecycle.steps import observe_placed_call
from transferkit._lifecycle.timers import apply_due
from transferkit._lifecycle.transition import Transition, event_classes
from transferkit.requests import Consultation, RequestKind

__all__ = ["CallStillRinging", "step"]


_NEEDS_ANSWERED_CALL = {
    RequestKind.TRANSFER,
    RequestKind.HOLD,
    RequestKind.RESUME,
    RequestKind.JOIN,
    RequestKind.CONSULTATION,
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
            decision = apply_to_consultation(transition, happened)
    return decision


def _request(transition: Transition, requested: Requested) -> Decision:
    """Open the transfer. Its sender owns the submission and sends attempt 1 immediately."""
    opened = requested.opened
    request = opened.request
    if request.kind in _NEEDS_ANSWERED_CALL and transition.state.is_ringing(requested.at):
        raise CallStillRinging(str(opened.call))
    if isinstance(request, Consultation):
        return open_consultation(transition, requested, request)
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
        attempts=1,
        first_sent_at=requested.at,
        in_flight=True,
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
    return transition.decide(opened=opened)


def _replace(transition: Transition, replaced: Replaced) -> Decision:
    """Record on the consultation leg that the attended transfer of another call may end it."""
    transition.state = transition.state.with_finished(FinishedTransfer(id=replaced.transfer_id))
    return transition.decide()
