"""Incoming calls in the life cycle: which requests are accepted while a call rings."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from transferkit import (
    Call,
    CallConnected,
    CallEnded,
    CallIncoming,
    PhoneNumber,
    Redirect,
    Transfer,
)
from transferkit._lifecycle import (
    CallKey,
    CallState,
    CallStillRinging,
    Lease,
    Observed,
    Opened,
    Requested,
    Rules,
    step,
)
from transferkit.codec import decode, encode
from transferkit.provider.facts import Delivery, Fact

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
CALL = CallKey("graph", "c1")
SOON, LATE = AT + timedelta(seconds=10), AT + timedelta(seconds=15)


def observed(event_class, at, **more):
    event = event_class(time=at, provider="graph", call_id="c1", **more)
    return Observed(at=at, fact=Fact(event=event, delivery=Delivery(str(uuid4()))))


def offered(at):
    return observed(CallIncoming, at, respond_by=at + timedelta(seconds=15))


def requested(at, request_class=Transfer):
    request = request_class(call=Call("graph", "c1"), to=PhoneNumber("+14255550100"))
    opened = Opened(id=str(uuid4()), call=CALL, request=request, fingerprint="", at=at, legs=(CALL,))
    return Requested(at=at, opened=opened, rules=Rules(), sender=Lease("me", at + timedelta(minutes=2)))


def state_after(*inputs):
    state = CallState()
    for input_ in inputs:
        state = step(CALL, state, input_).state
    return state


def test_a_ringing_call_refuses_a_transfer_and_accepts_a_redirect():
    state = state_after(offered(AT))
    with pytest.raises(CallStillRinging):
        step(CALL, state, requested(SOON))
    assert step(CALL, state, requested(SOON, Redirect)).opened


@pytest.mark.parametrize(
    ("state", "at"),
    [
        (state_after(offered(AT), observed(CallConnected, AT)), SOON),
        (
            state_after(offered(AT), observed(CallEnded, AT)),
            SOON,
        ),  # the provider rejects the transfer with its own reason
        (state_after(offered(AT)), LATE),  # it may have been answered without a callback
        (state_after(), AT),
    ],
    ids=["answered", "ended", "ringing time over", "unknown call"],
)
def test_a_call_that_does_not_ring_accepts_a_transfer(state, at):
    assert step(CALL, state, requested(at)).opened


def test_a_repeated_offer_is_stale_and_does_not_extend_the_ringing():
    state = state_after(offered(AT))
    (again,) = step(CALL, state, offered(SOON)).events
    assert again.stale
    assert again.respond_by == AT + timedelta(seconds=15)


def test_a_state_without_respond_by_can_be_read():
    stored = encode(CallState(sequence=3))
    assert "respond_by" not in stored
    assert decode(CallState, stored) == CallState(sequence=3)
