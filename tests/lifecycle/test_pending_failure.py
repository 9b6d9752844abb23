"""Failures that wait for one query that shows whether the call is alive."""

import pytest
from support.lifecycle import (
    BUSY,
    CALL_NOT_FOUND,
    DEADLINE,
    ENDED,
    FAILED,
    NO_ANSWER,
    OWN_CONTEXT,
    STARTED,
    SUCCEEDED,
    ambiguous_failure,
    kinds,
    requested,
    seconds,
    submitted,
)

from transferkit._lifecycle import CallState, Work
from transferkit.codec import decode, encode
from transferkit.events import Basis, FailureReason, Verdict
from transferkit.provider.results import Presence, Submitted


def with_pending_failure(**fields):
    """A transfer whose failure does not say whether the call is alive."""
    story = submitted(**fields)
    decision = story.receive(*FAILED, call_alive=None, result=BUSY, raw={"busy": True})
    assert decision.events == ()
    assert (story.due[Work.INSPECT], story.due[Work.GRACE]) == (0, 2)
    return story


@pytest.mark.parametrize(
    ("presence", "alive"),
    [
        (Presence.CONNECTED, True),
        (Presence.TRANSFERRING, True),
        (Presence.GONE, False),
        (Presence.UNKNOWN, None),
    ],
)
def test_a_failure_that_does_not_say_whether_the_call_is_alive_is_published_after_one_query(presence, alive):
    story = with_pending_failure()
    story.wait(1)
    story.inspect(presence, inspection_round=1)
    assert (story.outcome.call_alive, story.outcome.basis, story.outcome.reason) == (
        alive,
        Basis.STATED,
        FailureReason.BUSY,
    )
    assert story.outcome.raw == {"busy": True}
    assert story.outcome.elapsed == seconds(1)
    assert story.due == {}


def test_a_query_that_began_before_the_failure_does_not_say_whether_the_call_is_alive():
    story = with_pending_failure()
    story.inspect(Presence.TRANSFERRING, inspection_round=0)
    assert story.outcome is None
    assert Work.INSPECT in story.due


def test_a_pending_failure_is_published_at_the_limit():
    story = with_pending_failure()
    story.wait(2)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.failed", None)


@pytest.mark.parametrize("late", [Work.DEADLINE, Work.SUBMIT])
def test_other_due_work_does_not_change_a_pending_failure(late):
    story = with_pending_failure()
    story.wait_until(DEADLINE)
    story.reach(late, presence=None)
    assert story.outcome is None


def test_the_end_of_the_call_publishes_a_pending_failure():
    story = with_pending_failure()
    decision = story.receive(*ENDED)
    assert kinds(decision) == ["failed", "call.ended"]
    assert story.outcome.call_alive is False


def test_a_failure_after_the_end_of_the_call_is_published_immediately():
    story = submitted()
    story.receive(*ENDED)
    story.receive(*FAILED, call_alive=None)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.failed", False)


@pytest.mark.parametrize(
    ("signals", "late"), [(FAILED, None), (SUCCEEDED, Verdict.SUCCEEDED), (STARTED, None)]
)
def test_later_signals_do_not_change_a_pending_failure(signals, late):
    story = with_pending_failure()
    (event,) = story.receive(*signals, **OWN_CONTEXT).events
    assert (event.kind, event.transfer_id, event.late_verdict) == ("provider.other", "t1", late)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.reason) == ("transfer.failed", FailureReason.BUSY)


@pytest.mark.parametrize("answer", [Submitted(), CALL_NOT_FOUND, NO_ANSWER])
def test_an_answer_does_not_change_a_pending_failure(answer):
    story = requested()
    story.receive(*FAILED, call_alive=None, result=BUSY)
    due = story.due
    assert kinds(story.answer(answer, presence=None)) == []
    assert story.due == due


def test_a_pending_failure_survives_encoding():
    state = with_pending_failure().state
    assert decode(CallState, encode(state)) == state


def test_an_ambiguous_failure_survives_encoding():
    state = ambiguous_failure().state
    assert decode(CallState, encode(state)) == state
