"""Queries of the call: when they are made and what they prove."""

import pytest
from support.lifecycle import (
    ACCEPTED,
    DEADLINE,
    GAP,
    RETURNED,
    START,
    STARTED,
    kinds,
    requested,
    seconds,
    started,
    submitted,
)

from transferkit._lifecycle import Work
from transferkit.provider.results import Presence, Submitted

# --- a call that returns ----------------------------------------------------------------------------


@pytest.mark.parametrize("before", [STARTED, ACCEPTED])
def test_a_call_that_returns_leads_to_a_query_and_decides_nothing(before):
    story = submitted()
    story.receive(*before)
    story.wait(20)
    decision = story.receive(*RETURNED)
    assert kinds(decision) == ["provider.other"]
    assert decision.events[0].transfer_id == "t1"
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 20}
    assert story.state.open


@pytest.mark.parametrize("before", [[], [Submitted()]])
def test_a_call_that_returns_before_started_leads_to_no_query(before):
    story = requested()
    story.play(*before)
    decision = story.receive(*RETURNED)
    assert Work.INSPECT not in story.due
    assert kinds(decision) == ["provider.other"]


def test_a_call_that_returns_does_not_prove_the_submission():
    story = requested()
    story.receive(*RETURNED)
    assert "submitted" not in kinds(story)


# --- queries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("presence", [Presence.CONNECTED, Presence.GONE, Presence.UNKNOWN])
def test_a_query_decides_nothing_before_the_deadline(presence):
    story = started()
    story.receive(*RETURNED)
    decision = story.inspect(presence)
    assert decision.events == ()
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize(
    ("make", "expected"),
    [(requested, ["submitted", "started"]), (submitted, ["started"]), (started, [])],
)
def test_a_query_that_finds_the_call_transferring_proves_submitted_and_started(make, expected):
    story = make()
    story.wait(9)
    decision = story.inspect(Presence.TRANSFERRING)
    assert kinds(decision) == expected
    assert all(event.time == START + seconds(9) for event in decision.events)
    assert story.state.open


def test_a_query_does_not_publish_started_after_accepted():
    story = submitted()
    story.receive(*ACCEPTED)
    assert story.inspect(Presence.TRANSFERRING).events == ()


def test_started_is_published_once_by_a_query_and_a_callback():
    story = submitted()
    story.inspect(Presence.TRANSFERRING)
    story.receive(*STARTED)
    assert kinds(story).count("started") == 1


def test_queries_keep_the_minimum_gap():
    story = started()
    story.wait(10)
    story.inspect(Presence.CONNECTED)
    story.wait(2)
    story.receive(*RETURNED)
    assert story.due[Work.INSPECT] == 10 + GAP
    story.wait(10)
    story.receive(*RETURNED)
    assert story.due[Work.INSPECT] == 22


def test_a_clock_that_was_set_back_does_not_delay_a_query():
    story = started()
    story.wait(3600)
    story.inspect(Presence.CONNECTED)
    story.wait_until(20)
    story.receive(*RETURNED)
    assert story.due[Work.INSPECT] == 20 + GAP


def test_the_query_at_the_deadline_keeps_the_minimum_gap():
    story = started()
    story.wait_until(DEADLINE - 1)
    story.inspect(Presence.CONNECTED)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE - 1 + GAP}
