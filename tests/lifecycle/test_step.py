"""`step` is a pure function of values that can be stored."""

import attrs
import pytest
from support.lifecycle import (
    CALL,
    CALL_NOT_FOUND,
    DEADLINE,
    FAILED_AND_ENDED,
    NO_ANSWER,
    START,
    SUCCEEDED,
    THROTTLED,
    Story,
    finished,
    redirect_requested,
    requested,
    seconds,
    started,
)

from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallState,
    DueReached,
    Inspected,
    Observed,
    Rules,
    Work,
    step,
)
from transferkit.codec import decode, encode
from transferkit.config import LifecycleConfig
from transferkit.events import CallEnded
from transferkit.provider.facts import Fact, RequestKind
from transferkit.provider.results import Presence, Submitted

INPUTS = {
    "an attempt": Attempted(at=START, transfer_id="t1", attempt=2),
    "taken": Answered(at=START, transfer_id="t1", attempt=1, answer=Submitted()),
    "refused": Answered(at=START, transfer_id="t1", attempt=1, answer=CALL_NOT_FOUND),
    "lost": Answered(at=START, transfer_id="t1", attempt=1, answer=NO_ANSWER),
    "not sent": Answered(at=START, transfer_id="t1", attempt=1, answer=THROTTLED),
    "a question": Inspected(at=START, transfer_id="t1", presence=Presence.TRANSFERRING),
    "the deadline": DueReached(at=START + seconds(DEADLINE), transfer_id="t1", work=Work.DEADLINE),
    "a fact": Observed(
        at=START,
        fact=Fact(event=CallEnded(time=START, provider="fake", call_id="leg"), signals=FAILED_AND_ENDED),
    ),
}


@pytest.mark.parametrize("input_", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("make", [Story, requested, started, redirect_requested])
def test_step_is_pure(make, input_):
    state = make().state
    before = encode(state)
    assert step(CALL, state, input_) == step(CALL, state, input_)
    assert encode(state) == before


@pytest.mark.parametrize("make", [Story, requested, started, redirect_requested, lambda: finished("expired")])
def test_the_state_survives_encoding(make):
    state = make().state
    assert decode(CallState, encode(state)) == state


def test_the_values_of_stored_enums_do_not_change():
    assert [*Work] == ["submit", "inspect", "grace", "deadline", "advance"]
    assert [*RequestKind] == [
        "transfer",
        "redirect",
        "answer",
        "reject",
        "place_call",
        "hold",
        "resume",
        "join",
        "hang_up",
        "consultation",
        "route",
    ]
    assert [*Presence] == ["connected", "transferring", "gone", "unknown"]


def test_submitted_answers_are_compared_by_correlation_id_only():
    assert Submitted(status=202, request_id="r-1") == Submitted()
    assert Submitted(correlation_id="chain") != Submitted()


def test_the_default_rules_match_the_default_configuration():
    timing = LifecycleConfig()
    same = Rules(grace=timing.grace, inspect_gap=timing.inspect_gap, max_attempts=timing.max_attempts)
    assert Rules() == same


def test_the_repr_of_a_state_redacts_the_operation_context():
    story = requested(operation_context="for +14255550123")
    opened = repr(story.state)
    story.receive(*SUCCEEDED)
    assert "4255550123" not in opened + repr(story.state)


def test_a_decision_cannot_be_changed():
    decision = Story().request()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        decision.state.sequence = 7
