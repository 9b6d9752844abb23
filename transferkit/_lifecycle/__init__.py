"""The life cycle of transfers, redirects, call steps and consultations as one pure state machine.

`step(call, state, input, previous_mark)` takes the state of a call and one input, and returns a `Decision`:
the new state, the events to append, and the due work to set or clear. It performs no I/O, reads no clock and
knows no provider.

* `state`, `inputs`, `decision`: the values that go in and come out.
* `machine`: `step`, and the request itself. `attempts`: sending, answers and retries. `observation`: facts of
  callbacks. `attribution`: which transfer a verdict belongs to. `inspection`: queries of the call. `timers`:
  grace periods and deadlines. `steps`: what the state of a call means for a call step.
* `consultation`, `consultation_state`, `consultation_inputs`: consultations, which consist of call steps.
* `routes`, `route_state`: routes, which consist of transfers and consultations.
* `transition`: what the modules above share: changing the state, publishing events, scheduling work.
"""

from transferkit._lifecycle.decision import Decision, Due, Lease, Work
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
from transferkit._lifecycle.machine import CallStillRinging, step
from transferkit._lifecycle.opened import CallKey, Opened
from transferkit._lifecycle.route_state import PlannedAttempt
from transferkit._lifecycle.routes import RouteOver
from transferkit._lifecycle.rules import Rules
from transferkit._lifecycle.state import AmbiguousFailure, CallState, FinishedTransfer, OpenTransfer

__all__ = [
    "AmbiguousFailure",
    "Answered",
    "Attempted",
    "CallKey",
    "CallState",
    "CallStillRinging",
    "Decision",
    "Due",
    "DueReached",
    "FinishedTransfer",
    "Input",
    "Inspected",
    "Lease",
    "Observed",
    "OpenTransfer",
    "Opened",
    "Peeked",
    "PlacedCallObserved",
    "PlannedAttempt",
    "Replaced",
    "Requested",
    "RouteCancelled",
    "RouteOver",
    "Rules",
    "Work",
    "step",
]
