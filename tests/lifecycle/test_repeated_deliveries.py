"""Callbacks that are delivered more than once."""

import pytest
from support.lifecycle import (
    DEADLINE,
    ENDED,
    FAILED,
    RETURNED,
    START,
    STARTED,
    SUCCEEDED,
    Story,
    kinds,
    started,
)

from transferkit._lifecycle import Observed, Work
from transferkit.events import ProviderOther
from transferkit.provider.facts import Delivery, Fact
from transferkit.provider.results import Submitted


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("signals", [STARTED, ENDED, RETURNED, SUCCEEDED, ()])
def test_a_repeated_delivery_changes_nothing(exact, signals):
    story = started()
    delivery = Delivery("d", exact=exact)
    story.receive(*signals, delivery=delivery)
    before, due = story.state, story.due
    decision = story.receive(*signals, delivery=delivery)
    assert decision.duplicate
    assert (decision.events, decision.due, decision.mark) == ((), (), None)
    assert (story.state, story.due) == (before, due)


def test_a_first_delivery_is_not_a_duplicate():
    decision = started().receive(*STARTED)
    assert not decision.duplicate
    assert decision.mark == "t1"


def test_a_fact_without_a_delivery_is_never_a_duplicate():
    story = started()
    event = ProviderOther(time=START, provider="fake", call_id="leg")
    for _ in range(2):
        assert not story.apply(Observed(at=START, fact=Fact(event=event))).duplicate


def second_transfer_after_a_failure(exact):
    """A submitted second transfer, after the first one failed with the delivery key "body"."""
    story = started()
    story.receive(*FAILED, delivery=Delivery("body", exact=exact), call_alive=True)
    story.wait(30)
    story.request("t2")
    story.answer(Submitted())
    return story


def test_a_numbered_delivery_of_an_earlier_transfer_is_a_duplicate():
    story = second_transfer_after_a_failure(exact=True)
    assert story.receive(*FAILED, delivery=Delivery("body")).duplicate
    assert story.due == {Work.DEADLINE: 30 + DEADLINE}


def test_content_of_an_earlier_transfer_leads_to_a_query():
    story = second_transfer_after_a_failure(exact=False)
    decision = story.receive(*FAILED, content_key="body")
    assert not decision.duplicate
    assert kinds(decision) == ["provider.other"]
    assert story.due == {Work.DEADLINE: 30 + DEADLINE, Work.INSPECT: 30}
    assert story.state.open.id == "t2"


def test_content_that_was_repeated_once_in_a_transfer_is_a_duplicate_from_then_on():
    story = second_transfer_after_a_failure(exact=False)
    assert story.receive(*FAILED, content_key="body").mark == "t2"
    assert story.receive(*FAILED, content_key="body").duplicate


def test_content_of_an_earlier_transfer_leads_to_a_query_in_each_further_transfer():
    story = second_transfer_after_a_failure(exact=False)
    story.receive(*FAILED, content_key="body")
    story.receive(*FAILED, content_key="another body")
    story.request("t3")
    story.receive(*FAILED, content_key="body")
    assert story.state.open.id == "t3"
    assert Work.INSPECT in story.due


def test_repeated_content_without_an_open_transfer_is_a_duplicate():
    story = started()
    story.receive(*FAILED, content_key="body")
    assert story.receive(*FAILED, content_key="body").duplicate


def test_content_from_before_the_request_leads_to_a_query():
    story = Story()
    assert story.receive(*FAILED, content_key="body").mark == "-"
    story.request()
    story.receive(*FAILED, content_key="body")
    assert story.state.open
    assert Work.INSPECT in story.due


@pytest.mark.parametrize(("proof", "expected"), [(SUCCEEDED, "completed"), (FAILED, "failed")])
def test_new_content_decides_although_it_may_be_repeated_later(proof, expected):
    story = second_transfer_after_a_failure(exact=False)
    story.receive(*proof, content_key="new body")
    assert kinds(story)[-1] == expected
