"""Which requests are sent again, when, and for how long."""

from datetime import timedelta

import pytest
from attrs import evolve
from support.lifecycle import (
    DEADLINE,
    NO_ANSWER,
    NO_CONNECTION,
    NO_DNS,
    NOT_REPEATABLE,
    REPEATABLE,
    START,
    THROTTLED,
    kinds,
    requested,
    seconds,
)

from transferkit._lifecycle import Work
from transferkit.events import Basis, FailureReason, TransferFailed
from transferkit.provider.facts import Result
from transferkit.provider.results import Rejected

# --- attempts that cannot have executed -------------------------------------------------------------


def test_the_pause_before_each_attempt_doubles_up_to_30_seconds():
    story = requested(evolve(NOT_REPEATABLE, max_attempts=20), deadline=600)
    pauses = []
    for number in range(1, 10):
        story.answer(NO_CONNECTION, attempt=number)
        pauses.append(story.due[Work.SUBMIT] - (story.now - START).total_seconds())
        story.wait_until(story.due[Work.SUBMIT])
        assert story.attempt(number + 1).proceed
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert kinds(story) == ["requested"]


def test_the_pause_stays_at_30_seconds_after_many_attempts():
    story = requested(evolve(NOT_REPEATABLE, max_attempts=100), deadline=6000)
    for number in range(1, 80):
        story.answer(NO_CONNECTION, attempt=number)
        story.wait_until(story.due[Work.SUBMIT])
        assert story.attempt(number + 1).proceed
    story.answer(NO_CONNECTION, attempt=80)
    assert story.due[Work.SUBMIT] - (story.now - START).total_seconds() == 30


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 0.5), (0.1, 0.5), (7.5, 7.5), (45, 45)])
def test_retry_after_can_lengthen_the_pause(retry_after, pause):
    story = requested()
    story.answer(evolve(THROTTLED, retry_after=retry_after and seconds(retry_after)))
    assert story.due == {Work.SUBMIT: pause, Work.DEADLINE: DEADLINE}


def test_a_scheduled_attempt_has_no_lease():
    story = requested()
    decision = story.answer(THROTTLED)
    assert [due.lease for due in decision.due] == [None]


def test_a_request_fails_after_the_maximum_number_of_attempts():
    story = requested(evolve(NOT_REPEATABLE, max_attempts=3))
    for number in (1, 2):
        story.answer(NO_CONNECTION, attempt=number)
        story.wait(10)
        assert story.attempt(number + 1).proceed
    story.answer(NO_CONNECTION, attempt=3)
    outcome = story.outcome
    assert kinds(story) == ["requested", "failed"]
    assert (outcome.reason, outcome.basis) == (FailureReason.UNREACHABLE, Basis.LOCAL)
    assert (outcome.call_alive, outcome.message) == (None, "connection refused")


def attempt_until_failure(story, answer, *, took=0.0):
    """Answer each attempt `took` seconds after it began, until the transfer fails. Return when they began."""
    begun = [0.0]
    while True:
        story.wait(took)
        story.answer(answer, attempt=len(begun))
        if story.outcome is not None:
            return begun
        begun.append(story.due[Work.SUBMIT])
        story.wait_until(begun[-1])
        assert story.attempt(len(begun)).proceed


def test_attempts_that_fail_for_a_persistent_cause_end_within_seconds():
    story = requested()
    assert attempt_until_failure(story, NO_DNS) == [0, 0.5, 1.5, 2.5]
    assert (story.outcome.message, story.outcome.basis) == ("no such host", Basis.LOCAL)
    assert story.outcome.elapsed == timedelta(seconds=2.5)


def test_attempts_that_fail_for_a_transient_cause_use_the_usual_pauses():
    story = requested()
    assert attempt_until_failure(story, NO_CONNECTION) == [0, 0.5, 1.5, 3.5, 7.5, 15.5]


def test_a_slow_attempt_that_fails_for_a_persistent_cause_is_the_last():
    story = requested()
    assert attempt_until_failure(story, NO_DNS, took=10) == [0]


def test_the_limit_for_persistent_causes_starts_with_the_first_of_them_in_a_row():
    story = requested()
    story.answer(THROTTLED)
    story.wait(60)
    assert story.attempt(2).proceed
    story.answer(NO_DNS, attempt=2)
    assert story.outcome is None
    story.wait(1)
    assert story.attempt(3).proceed
    story.answer(THROTTLED, attempt=3)  # another cause resets the limit
    story.wait(60)
    assert story.attempt(4).proceed
    story.answer(NO_DNS, attempt=4)
    assert story.outcome is None


def test_a_local_rejection_has_the_basis_local():
    story = requested()
    story.answer(Rejected(result=Result(reason=FailureReason.UNAUTHORIZED, basis=Basis.LOCAL)))
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.UNAUTHORIZED, Basis.LOCAL)


def test_the_last_throttled_attempt_is_a_stated_failure():
    story = requested(evolve(NOT_REPEATABLE, max_attempts=1))
    story.answer(THROTTLED)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.THROTTLED, Basis.STATED)
    assert (story.outcome.code, story.outcome.message) == (429, "slow down")


@pytest.mark.parametrize(("retry_after", "fails"), [(149.9, False), (150, True), (3600, True)])
def test_a_retry_after_beyond_the_deadline_fails_immediately(retry_after, fails):
    story = requested()
    story.answer(evolve(THROTTLED, retry_after=seconds(retry_after)))
    assert isinstance(story.outcome, TransferFailed) is fails


def test_an_attempt_after_the_repetition_window_starts_a_new_window():
    story = requested(REPEATABLE, deadline=900)
    story.answer(evolve(THROTTLED, retry_after=seconds(300)))
    story.wait_until(300)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START + seconds(300)
    story.answer(NO_ANSWER, attempt=2)
    assert story.due[Work.SUBMIT] == 301


def test_an_attempt_within_the_repetition_window_keeps_first_sent_at():
    story = requested(REPEATABLE)
    story.answer(THROTTLED)
    story.wait(1)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START


def test_without_a_repetition_window_first_sent_at_is_that_of_the_attempt():
    story = requested()
    story.answer(THROTTLED)
    story.wait(1)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START + seconds(1)


@pytest.mark.parametrize("answer", [NO_CONNECTION, THROTTLED])
def test_no_attempt_is_sent_after_the_deadline(answer):
    """After a long outage, the submission and the deadline are due at the same time."""
    story = requested(REPEATABLE)
    story.answer(answer)
    story.wait_until(3600)
    assert not story.attempt(2).proceed
    story.reach(Work.DEADLINE)
    assert isinstance(story.outcome, TransferFailed), "nothing was sent"


def test_no_attempt_is_sent_exactly_at_the_deadline():
    story = requested(REPEATABLE)
    story.answer(NO_CONNECTION)
    story.wait_until(DEADLINE)
    assert not story.attempt(2).proceed


def test_no_attempt_is_sent_after_the_deadline_if_the_clock_was_set_back():
    story = requested(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.wait_until(1)
    assert not story.attempt(2).proceed


# --- attempts that may have executed ----------------------------------------------------------------


def test_a_request_without_an_answer_is_sent_again_within_the_repetition_window():
    story = requested(REPEATABLE)
    story.answer(NO_ANSWER)
    assert story.due == {Work.SUBMIT: 0.5, Work.DEADLINE: DEADLINE}
    story.wait(0.5)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START, "the provider recognises the request by it"
    assert story.state.open.attempts == 2


def test_a_request_without_an_answer_is_not_sent_again_without_a_repetition_window():
    story = requested()
    decision = story.answer(NO_ANSWER)
    assert decision.events == ()
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 0}
    assert not story.attempt(2).proceed


def test_every_attempt_after_a_lost_answer_must_be_within_the_repetition_window():
    story = requested(REPEATABLE, deadline=900)
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.answer(evolve(THROTTLED, retry_after=seconds(284)), attempt=2)
    assert Work.SUBMIT not in story.due, "the window is over by then"
    assert Work.INSPECT in story.due
    assert story.outcome is None


def test_no_repetition_is_scheduled_after_the_repetition_window():
    story = requested(REPEATABLE, deadline=900)
    story.wait(284.5)
    story.answer(NO_ANSWER)
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 284.5}


def test_no_repetition_is_sent_after_the_repetition_window():
    story = requested(REPEATABLE, deadline=900)
    story.answer(NO_ANSWER)
    story.wait_until(285)
    assert not story.attempt(2).proceed
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 285}


def test_a_repetition_is_sent_until_the_end_of_the_repetition_window():
    story = requested(REPEATABLE, deadline=900)
    story.answer(NO_ANSWER)
    story.wait_until(284.9)
    assert story.attempt(2).proceed


def test_repetitions_end_after_the_maximum_number_of_attempts():
    story = requested(evolve(REPEATABLE, max_attempts=2))
    story.answer(NO_ANSWER)
    story.wait(1)
    story.attempt(2)
    story.answer(NO_ANSWER, attempt=2)
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 1}
    assert story.outcome is None, "it may have been executed"
