"""The life cycle of transfers and redirects as one pure machine.

`step(state, input, seen)` takes a call's state and one thing that happened, and says what follows: the new
state, events to append, due work to set or clear. It does no I/O, reads no clock and knows no provider.
"""

from transferkit.lifecycle.decision import CallKey, Decision, Due, Lease, Opened, Work
from transferkit.lifecycle.inputs import (
    Answer,
    Answered,
    Attempted,
    DueReached,
    Input,
    Inspected,
    MaybeSent,
    NotSent,
    Observed,
    Presence,
    Refused,
    Replaced,
    Requested,
    Taken,
)
from transferkit.lifecycle.machine import CallRings, step
from transferkit.lifecycle.state import CallState, Disputed, Finished, Progress, Rules
from transferkit.signals import RequestKind

__all__ = [
    "Answer",
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
    "MaybeSent",
    "NotSent",
    "Observed",
    "Opened",
    "Presence",
    "Progress",
    "Refused",
    "Replaced",
    "RequestKind",
    "Requested",
    "Rules",
    "Taken",
    "Work",
    "step",
]
