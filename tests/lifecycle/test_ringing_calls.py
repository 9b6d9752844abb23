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


def told(event_class, at, **more):
    event = event_class(time=at, provider="graph", call_id="c1", **more)
    return Observed(at=at, fact=Fact(event=event, delivery=Delivery(str(uuid4()))))


def offered(at):
    return told(CallIncoming, at, respond_by=at + timedelta(seconds=15))


def asked(at, request_class=Transfer):
    request = request_class(call=Call("graph", "c1"), to=PhoneNumber("+14255550100"))
    opened = Opened(id=str(uuid4()), call=CALL, request=request, fingerprint="", at=at, legs=(CALL,))
    return Requested(at=at, opened=opened, rules=Rules(), sender=Lease("me", at + timedelta(minutes=2)))


def after(*inputs):
    state = CallState()
    for one in inputs:
        state = step(CALL, state, one).state
    return state


def test_a_ringing_call_refuses_a_transfer_and_accepts_a_redirect():
    state = after(offered(AT))
    with pytest.raises(CallStillRinging):
        step(CALL, state, asked(SOON))
    assert step(CALL, state, asked(SOON, Redirect)).opened


@pytest.mark.parametrize(
    ("state", "at"),
    [
        (after(offered(AT), told(CallConnected, AT)), SOON),
        (after(offered(AT), told(CallEnded, AT)), SOON),  # the provider says best what is wrong
        (after(offered(AT)), LATE),  # it was answered, and nobody told; or the provider says what is wrong
        (after(), AT),
    ],
    ids=["answered", "over", "too late to ring", "never heard of"],
)
def test_a_call_that_does_not_ring_accepts_a_transfer(state, at):
    assert step(CALL, state, asked(at)).opened


def test_a_repeated_offer_is_stale_and_does_not_extend_the_ringing():
    state = after(offered(AT))
    (again,) = step(CALL, state, offered(SOON)).events
    assert again.stale
    assert again.respond_by == AT + timedelta(seconds=15)


def test_a_state_without_respond_by_can_be_read():
    stored = encode(CallState(sequence=3))
    assert "respond_by" not in stored
    assert decode(CallState, stored) == CallState(sequence=3)
