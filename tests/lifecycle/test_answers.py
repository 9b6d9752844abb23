"""Rejections, takeovers by another process, and late answers."""

import pytest
from support.lifecycle import (
    CALL_NOT_FOUND,
    DEADLINE,
    FAILED,
    NO_ANSWER,
    NO_CONNECTION,
    REPEATABLE,
    START,
    STARTED,
    SUCCEEDED,
    THROTTLED,
    kinds,
    requested,
    submitted,
)

from transferkit._lifecycle import Work
from transferkit.events import Basis, Evidence, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import Presence, Rejected, Submitted

# --- rejections -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "alive"),
    [
        (FailureReason.CALL_NOT_FOUND, False),
        (FailureReason.CALL_ENDED, False),
        (FailureReason.CALLER_LEFT, False),
        (FailureReason.TARGET_NOT_FOUND, True),
        (FailureReason.TENANT_MISMATCH, True),
        (FailureReason.FORBIDDEN, True),
        (FailureReason.CONFLICT, True),
    ],
)
def test_a_rejection_of_the_first_attempt_is_the_outcome(reason, alive):
    story = requested()
    story.answer(Rejected(result=Result(code=400, subcode=7, message="no", reason=reason, advice="fix it")))
    outcome = story.outcome
    assert kinds(story) == ["requested", "failed"]
    assert (outcome.reason, outcome.basis, outcome.call_alive) == (reason, Basis.STATED, alive)
    assert (outcome.code, outcome.subcode, outcome.message) == (400, 7, "no")
    assert outcome.advice == "fix it"
    assert story.due == {}


@pytest.mark.parametrize(
    "reason", [FailureReason.CALL_NOT_ESTABLISHED, FailureReason.THROTTLED, FailureReason.FORBIDDEN]
)
def test_a_rejection_that_does_not_say_whether_the_call_is_alive_leads_to_one_query(reason):
    story = requested()
    story.answer(Rejected(result=Result(code=400, reason=reason)), presence=None)
    assert story.outcome is None
    story.inspect(Presence.GONE, inspection_round=1)
    assert (story.outcome.reason, story.outcome.basis, story.outcome.call_alive) == (
        reason,
        Basis.STATED,
        False,
    )


def test_a_rejection_after_attempts_that_cannot_have_executed_is_the_outcome():
    story = requested()
    story.answer(NO_CONNECTION)
    story.wait(1)
    story.attempt(2)
    story.answer(CALL_NOT_FOUND, attempt=2)
    assert story.outcome.reason is FailureReason.CALL_NOT_FOUND


def test_a_rejection_after_a_lost_answer_decides_nothing():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.answer(CALL_NOT_FOUND, attempt=2)
    assert story.outcome is None
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 1}


def test_a_rejection_of_an_attempt_after_a_takeover_decides_nothing():
    story = requested(REPEATABLE)
    story.wait(90)
    assert story.attempt(2).proceed
    story.answer(CALL_NOT_FOUND, attempt=2)
    assert story.outcome is None
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 90}


def test_a_transfer_expires_after_a_rejection_that_decided_nothing():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.answer(CALL_NOT_FOUND, attempt=2)
    story.inspect(Presence.GONE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE)
    assert story.outcome.evidence is Evidence.CALL_GONE


def test_a_verdict_is_the_outcome_after_a_rejection_that_decided_nothing():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.answer(CALL_NOT_FOUND, attempt=2)
    story.receive(*SUCCEEDED)
    assert kinds(story) == ["requested", "submitted", "completed"]


@pytest.mark.parametrize("answer", [CALL_NOT_FOUND, NO_ANSWER, THROTTLED])
def test_an_error_after_a_callback_proved_the_submission_leads_to_a_query(answer):
    story = requested(REPEATABLE)
    story.receive(*STARTED)
    story.wait(3)
    decision = story.answer(answer)
    assert decision.events == ()
    assert story.state.open
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 3}, "queried, and not sent again"


# --- takeovers and late answers ---------------------------------------------------------------------


def test_another_process_repeats_an_unanswered_attempt_within_the_repetition_window():
    story = requested(REPEATABLE)
    story.wait(90)
    decision = story.attempt(2)
    assert decision.proceed
    assert story.state.open.first_sent_at == START


def test_another_process_does_not_repeat_an_unanswered_attempt_without_a_repetition_window():
    story = requested()
    story.wait(90)
    decision = story.attempt(2)
    assert not decision.proceed
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 90}
    assert story.outcome is None


def test_a_takeover_after_the_repetition_window_sends_nothing():
    story = requested(REPEATABLE, deadline=900)
    story.wait(285)
    assert not story.attempt(2).proceed
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 285}


def test_a_takeover_after_the_deadline_sends_nothing():
    story = requested(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert not story.attempt(2).proceed
    assert Work.SUBMIT not in story.due
    assert Work.INSPECT in story.due


@pytest.mark.parametrize("input_", [Submitted(), STARTED])
def test_a_submitted_request_is_not_sent_again(input_):
    story = requested(REPEATABLE)
    story.play(input_)
    assert Work.SUBMIT not in story.due
    assert not story.attempt(2).proceed


def test_a_request_that_a_query_proves_to_be_submitted_is_not_sent_again():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.inspect(Presence.TRANSFERRING)
    assert Work.SUBMIT not in story.due
    assert not story.attempt(2).proceed


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_attempt_with_an_unexpected_number_is_not_sent(number):
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    before = story.state
    assert not story.attempt(number).proceed
    assert story.state == before


def test_only_one_of_two_concurrent_attempts_is_sent():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    assert story.attempt(2).proceed
    assert not story.attempt(2).proceed


@pytest.mark.parametrize("late", [CALL_NOT_FOUND, NO_ANSWER, THROTTLED])
def test_a_late_error_of_an_old_attempt_decides_nothing(late):
    story = requested(REPEATABLE)
    story.wait(90)
    story.attempt(2)
    before = story.state
    assert story.answer(late, attempt=1).events == ()
    assert story.state == before


def taken_over(before=()):
    """A transfer whose unanswered attempt another process took over and may not repeat."""
    story = requested()
    story.play(*before)
    story.wait(90)
    assert not story.attempt(2).proceed
    return story


def test_a_late_rejection_of_the_only_attempt_is_the_outcome_after_a_takeover():
    story = taken_over()
    story.answer(CALL_NOT_FOUND)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.failed", Basis.STATED)


def test_a_late_answer_that_nothing_was_sent_leads_to_another_attempt():
    story = taken_over()
    story.answer(NO_CONNECTION)
    assert story.due[Work.SUBMIT] == 90.5
    story.wait(0.5)
    assert story.attempt(2).proceed
    story.answer(Submitted(), attempt=2)
    assert kinds(story) == ["requested", "submitted"]


def test_a_late_timeout_of_the_only_attempt_decides_nothing():
    story = taken_over()
    story.answer(NO_ANSWER)
    assert story.outcome is None
    assert Work.SUBMIT not in story.due
    before = story.state
    assert story.answer(CALL_NOT_FOUND).events == (), "each attempt is answered once"
    assert story.state == before


def test_a_late_answer_decides_nothing_if_an_earlier_attempt_may_have_executed():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.wait_until(DEADLINE + 150)
    assert not story.attempt(3).proceed
    before = story.state
    assert story.answer(CALL_NOT_FOUND, attempt=2).events == ()
    assert story.state == before


@pytest.mark.parametrize("late", [CALL_NOT_FOUND, NO_ANSWER, THROTTLED])
def test_a_second_answer_of_an_attempt_changes_nothing(late):
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    before, due = story.state, story.due
    story.answer(late)
    assert (story.state, story.due) == (before, due)


def test_a_late_acceptance_of_an_old_attempt_counts():
    story = requested(REPEATABLE)
    story.wait(90)
    story.attempt(2)
    story.answer(Submitted(), attempt=1)
    assert kinds(story) == ["requested", "submitted"]
    assert Work.SUBMIT not in story.due
    before = story.state
    assert story.answer(CALL_NOT_FOUND, attempt=2).events == ()
    assert story.state == before
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize("second", [Submitted(), CALL_NOT_FOUND, NO_ANSWER, THROTTLED])
def test_a_second_answer_after_an_acceptance_changes_nothing(second):
    story = submitted()
    before = story.state
    assert story.answer(second).events == ()
    assert story.state == before
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize("answer", [Submitted(), CALL_NOT_FOUND, NO_ANSWER, THROTTLED])
def test_an_answer_after_the_outcome_changes_nothing(answer):
    story = requested()
    story.receive(*SUCCEEDED)
    before = story.state
    decision = story.answer(answer)
    assert (decision.events, decision.due) == ((), ())
    assert story.state == before


def test_an_answer_to_a_finished_transfer_does_not_change_the_open_one():
    story = requested()
    story.receive(*FAILED)
    story.request("t2")
    story.answer(Submitted(), transfer_id="t1")
    story.answer(CALL_NOT_FOUND, transfer_id="t1")
    assert kinds(story) == ["requested", "submitted", "failed", "requested"]
