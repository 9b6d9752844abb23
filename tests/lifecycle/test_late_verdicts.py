"""Verdicts that arrive after the outcome."""

import pytest
from support.lifecycle import (
    ACCEPTED_AND_SUCCEEDED,
    BUSY,
    ENDED,
    FAILED,
    FAILED_AND_ENDED,
    GRACE,
    RETURNED,
    STARTED,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    finished,
    kinds,
    started,
)

from transferkit._lifecycle import Work
from transferkit.events import ProviderOther, Verdict
from transferkit.provider.results import Rejected


@pytest.mark.parametrize(
    ("ending", "proof", "late"),
    [
        ("expired", SUCCEEDED, Verdict.SUCCEEDED),
        ("expired", ACCEPTED_AND_SUCCEEDED, Verdict.SUCCEEDED),
        ("expired", FAILED, Verdict.FAILED),
        ("failed", SUCCEEDED, Verdict.SUCCEEDED),
        ("completed", FAILED, Verdict.FAILED),
        ("completed", SUCCEEDED, None),
        ("failed", FAILED, None),
        ("completed", RETURNED, None),
        ("expired", STARTED, None),
    ],
)
def test_a_verdict_after_the_outcome_is_marked_as_late_unless_it_agrees(ending, proof, late):
    story = finished(ending)
    outcome = story.outcome
    decision = story.receive(*proof, raw={"body": "late"})
    (event,) = decision.events
    assert isinstance(event, ProviderOther)
    assert (event.transfer_id, event.late_verdict, event.raw) == ("t1", late, {"body": "late"})
    assert decision.outcomes == ()
    assert story.outcome is outcome


@pytest.mark.parametrize(
    ("ending", "proof", "late"),
    [
        ("expired", SUCCEEDED_AND_ENDED, Verdict.SUCCEEDED),
        ("failed", SUCCEEDED_AND_ENDED, Verdict.SUCCEEDED),
        ("expired", FAILED_AND_ENDED, Verdict.FAILED),
        ("completed", FAILED_AND_ENDED, Verdict.FAILED),
    ],
)
def test_a_late_verdict_in_the_end_of_the_call_is_published_next_to_call_ended(ending, proof, late):
    story = finished(ending)
    decision = story.receive(*proof)
    assert sorted(kinds(decision)) == ["call.ended", "provider.other"]
    (other,) = (event for event in decision.events if isinstance(event, ProviderOther))
    assert (other.transfer_id, other.late_verdict) == ("t1", late)


@pytest.mark.parametrize(
    ("ending", "proof"), [("completed", SUCCEEDED_AND_ENDED), ("completed", ENDED), ("expired", ENDED)]
)
def test_a_call_end_without_a_late_verdict_is_published_as_call_ended_only(ending, proof):
    story = finished(ending)
    assert kinds(story.receive(*proof)) == ["call.ended"]


def test_a_late_verdict_after_the_end_of_the_call_is_published():
    story = finished("expired")
    story.receive(*ENDED)
    (event,) = story.receive(*SUCCEEDED_AND_ENDED).events
    assert (event.kind, event.name, event.late_verdict) == (
        "provider.other",
        "call.ended",
        Verdict.SUCCEEDED,
    )


def test_every_verdict_after_an_inferred_outcome_is_marked_as_late():
    story = started()
    story.receive(*ENDED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    (event,) = story.receive(*FAILED, result=BUSY).events
    assert event.late_verdict is Verdict.FAILED


def test_a_late_verdict_is_marked_once():
    story = finished("expired")
    (first,) = story.receive(*SUCCEEDED).events
    (second,) = story.receive(*SUCCEEDED).events
    assert (first.late_verdict, second.late_verdict) == (Verdict.SUCCEEDED, None)
    assert second.transfer_id == "t1"


def test_a_late_verdict_is_published_while_the_next_transfer_is_open():
    story = finished("expired")
    story.request("t2")
    (event,) = story.receive(*SUCCEEDED, transfer_id="t1").events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)
    assert story.state.open.id == "t2"


def test_a_late_verdict_in_a_call_end_that_publishes_the_failure_of_the_next_transfer_is_published():
    story = finished("expired")
    story.request("t2")
    story.attempt(1)
    story.answer(Rejected(result=BUSY), presence=None)
    decision = story.receive(*SUCCEEDED_AND_ENDED, transfer_id="t1")
    assert kinds(decision) == ["failed", "call.ended", "provider.other"]
    failed, _, late = decision.events
    assert (failed.transfer_id, failed.call_alive) == ("t2", False)
    assert (late.transfer_id, late.late_verdict) == ("t1", Verdict.SUCCEEDED)
