"""The deadline: a query, then the outcome."""

import pytest
from support.lifecycle import (
    ACCEPTED_AND_SUCCEEDED,
    CALL_NOT_FOUND,
    DEADLINE,
    FAILED,
    GAP,
    NO_ANSWER,
    NO_CONNECTION,
    NOT_REPEATABLE,
    REPEATABLE,
    STARTED,
    SUCCEEDED,
    THROTTLED,
    kinds,
    not_sent_yet,
    requested,
    seconds,
    started,
    submitted,
)

from transferkit._lifecycle import Work
from transferkit.events import Basis, Evidence, FailureReason, TransferExpired, TransferFailed
from transferkit.provider.results import Presence, Submitted


def test_the_deadline_leads_to_a_query():
    story = submitted()
    story.wait_until(DEADLINE)
    assert story.reach(Work.DEADLINE).events == ()
    assert story.due == {Work.INSPECT: DEADLINE}
    assert story.state.open


def test_deadline_work_before_the_deadline_changes_nothing():
    story = submitted()
    story.wait_until(DEADLINE - 1)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize(
    ("presence", "evidence"),
    [
        (Presence.GONE, Evidence.CALL_GONE),
        (Presence.CONNECTED, Evidence.CALL_CONNECTED),
        (Presence.TRANSFERRING, Evidence.CALL_CONNECTED),
    ],
)
def test_a_query_after_the_deadline_expires_the_transfer_with_its_evidence(presence, evidence):
    story = submitted()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.wait(1)
    story.inspect(presence)
    outcome = story.outcome
    assert isinstance(outcome, TransferExpired)
    assert (outcome.evidence, outcome.basis) == (evidence, Basis.INFERRED)
    assert outcome.elapsed == seconds(DEADLINE + 1)
    assert story.due == {}


def test_a_query_without_an_answer_after_the_deadline_is_repeated_a_limited_number_of_times():
    story = submitted()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    for time in (DEADLINE, DEADLINE + GAP):
        story.wait_until(time)
        story.inspect(Presence.UNKNOWN)
        assert story.due == {Work.INSPECT: time + GAP}
    story.wait_until(DEADLINE + 2 * GAP)
    story.inspect(Presence.UNKNOWN)
    assert story.outcome.evidence is Evidence.SILENCE


def test_queries_before_the_deadline_do_not_count_towards_the_limit_after_it():
    story = started()
    for _ in range(NOT_REPEATABLE.max_inspections):
        story.wait(10)
        story.inspect(Presence.UNKNOWN)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.UNKNOWN)
    assert story.outcome is None
    assert Work.INSPECT in story.due


@pytest.mark.parametrize(
    ("seen", "evidence"),
    [
        ([Presence.GONE, Presence.UNKNOWN], Evidence.CALL_GONE),
        ([Presence.CONNECTED, Presence.UNKNOWN], Evidence.SILENCE),
        ([Presence.TRANSFERRING, Presence.UNKNOWN], Evidence.SILENCE),
        ([Presence.CONNECTED, Presence.GONE], Evidence.CALL_GONE),
    ],
)
def test_evidence_of_an_earlier_query_counts_only_if_the_call_was_gone(seen, evidence):
    story = submitted()
    for presence in seen:
        story.wait(10)
        story.inspect(presence)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    for _ in range(3):
        story.inspect(Presence.UNKNOWN)
    assert story.outcome.evidence is evidence


@pytest.mark.parametrize(
    ("proof", "expected"),
    [(SUCCEEDED, "completed"), (FAILED, "failed"), (ACCEPTED_AND_SUCCEEDED, "completed")],
)
def test_a_verdict_after_the_deadline_is_the_outcome_while_the_transfer_is_open(proof, expected):
    story = submitted()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.receive(*proof)
    assert kinds(story)[-1] == expected


@pytest.mark.parametrize(
    ("answer", "reason", "basis", "alive"),
    [
        (NO_CONNECTION, FailureReason.UNREACHABLE, Basis.LOCAL, None),
        (THROTTLED, FailureReason.THROTTLED, Basis.STATED, True),
    ],
)
def test_a_request_that_was_never_sent_fails_at_the_deadline(answer, reason, basis, alive):
    story = requested(deadline=10)
    story.answer(answer)
    story.wait_until(10)
    story.reach(Work.DEADLINE)
    assert isinstance(story.outcome, TransferFailed), "it is known that nothing executed"
    assert (story.outcome.reason, story.outcome.basis) == (reason, basis)
    assert story.outcome.call_alive is alive


@pytest.mark.parametrize(
    "before", [[], [NO_ANSWER], [STARTED], [Submitted()]], ids=["in flight", "ambiguous", "proved", "taken"]
)
def test_a_request_that_may_have_been_sent_expires_after_the_deadline(before):
    story = requested()
    story.play(*before)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE}, "requested, and never sent again"
    story.inspect(Presence.GONE)
    assert isinstance(story.outcome, TransferExpired)


def test_a_request_whose_second_attempt_is_in_flight_does_not_fail_at_the_deadline():
    story = requested()
    story.answer(THROTTLED)
    story.wait(0.5)
    story.attempt(2)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE}


@pytest.mark.parametrize(
    ("answer", "expected"), [(Submitted(), None), (CALL_NOT_FOUND, "failed"), (THROTTLED, "failed")]
)
def test_an_answer_after_the_deadline_still_counts(answer, expected):
    story = requested()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.answer(answer)
    assert (story.outcome and kinds(story)[-1]) == expected


def test_an_answer_after_the_deadline_leads_to_no_further_attempt():
    story = requested(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.answer(NO_ANSWER)
    assert story.due == {Work.INSPECT: DEADLINE}


def test_a_request_that_was_accepted_after_a_throttled_attempt_expires_after_the_deadline():
    story = not_sent_yet()
    story.wait(0.5)
    story.attempt(2)
    story.answer(Submitted(), attempt=2)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert isinstance(story.outcome, TransferExpired)
