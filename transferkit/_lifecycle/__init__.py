"""The life cycle of transfers and redirects as one pure machine.

`step(state, input, seen)` takes a call's state and one thing that happened, and says what follows: the new
state, events to append, due work to set or clear. It does no I/O, reads no clock and knows no provider.
"""

from transferkit._lifecycle.decision import CallKey, Decision, Due, Lease, Opened, Work
from transferkit._lifecycle.inputs import (
    Answered,
    Attempted,
    DueReached,
    Input,
    Inspected,
    Observed,
    Replaced,
    Requested,
)
from transferkit._lifecycle.machine import CallRings, step
from transferkit._lifecycle.state import CallState, Disputed, Finished, Progress, Rules

__all__ = [
    "Answered",
    "Attempted",
    "CallKey",
    "CallRings",
    "CallState",
    "Decision",
    "Disputed",
    "Due",
    "DueReached",
    "Finished",
    "Input",
    "Inspected",
    "Lease",
    "Observed",
    "Opened",
    "Progress",
    "Replaced",
    "Requested",
    "Rules",
    "Work",
    "step",
]
