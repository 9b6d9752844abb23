"""The end of the call while its transfer is open: the grace period, and what it proves."""

import pytest
from support.lifecycle import (
    ACCEPTED_AND_SUCCEEDED,
    BUSY,
    CALLER,
    DEADLINE,
    ENDED,
    FAILED,
    GRACE,
    HUNG_UP,
    NO_ANSWER,
    OWN_CONTEXT,
    START,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    THROTTLED,
    Story,
    kinds,
    not_sent_yet,
    redirect_requested,
    requested,
    second_transfer_after,
    seconds,
    started,
    submitted,
)

from transferkit._lifecycle import Work
from transferkit.events import Basis, Evidence, FailureReason, ProviderOther
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Presence, Submitted

# --- the grace period -------------------------------------------------------------------------------


def test_the_end_of_the_call_starts_a_grace_period():
    story = started()
    story.wait(20)
    decision = story.receive(*ENDED, result=BUSY)
    assert kinds(decision) == ["call.ended"]
    assert story.state.open
    assert story.due == {Work.DEADLINE: DEADLINE, Work.GRACE: 20 + GRACE}


def test_a_second_end_of_the_call_does_not_change_the_grace_period():
    story = started()
    story.receive(*ENDED, result=HUNG_UP)
    story.wait(3)
    decision = story.receive(*ENDED, result=BUSY)
    assert kinds(decision) == ["provider.other"]
    assert story.due[Work.GRACE] == GRACE
    story.wait_until(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


def test_a_call_end_without_verdict_fails_the_transfer_if_the_provider_states_success_there():
    story = started()
    story.receive(*ENDED, result=BUSY, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    assert (outcome.reason, outcome.basis) == (FailureReason.CALL_ENDED, Basis.INFERRED)
    assert outcome.call_alive is False
    assert (outcome.code, outcome.subcode, outcome.message) == (486, 10486, "busy here")
    assert outcome.time == START + seconds(GRACE)


def test_a_call_end_without_result_fails_the_transfer_without_a_code():
    story = started()
    story.receive(*ENDED, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.reason, story.outcome.code) == (FailureReason.CALL_ENDED, None)


@pytest.mark.parametrize(
    ("transferee", "ends_with_verdict"), [(None, False), (CALLER, False), (CALLER, True)], ids=str
)
def test_a_call_end_expires_the_transfer_if_its_success_may_be_in_another_callback(
    transferee, ends_with_verdict
):
    story = submitted(transferee=transferee)
    story.receive(*ENDED, ends_with_verdict=ends_with_verdict)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.evidence, story.outcome.call_alive) == (
        "transfer.expired",
        Evidence.CALL_GONE,
        False,
    )


def test_a_call_end_that_says_that_the_caller_left_is_a_stated_failure():
    story = started()
    story.receive(*ENDED, result=HUNG_UP)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    assert (outcome.reason, outcome.basis) == (FailureReason.CALLER_LEFT, Basis.STATED)
    assert (outcome.call_alive, outcome.code) == (False, 487)


@pytest.mark.parametrize(("proof", "expected"), [(SUCCEEDED, "completed"), (FAILED, "failed")])
def test_a_verdict_within_the_grace_period_is_the_outcome(proof, expected):
    story = started()
    story.receive(*ENDED, result=HUNG_UP)
    story.wait(GRACE - 1)
    story.receive(*proof, result=BUSY)
    assert kinds(story)[-1] == expected
    assert story.outcome.basis is Basis.STATED
    assert story.due == {}


def test_a_grace_period_that_did_not_start_decides_nothing():
    story = started()
    assert story.reach(Work.GRACE).events == ()
    assert story.state.open


def test_a_grace_period_that_did_not_start_does_not_count_as_the_deadline():
    story = started()
    story.wait_until(DEADLINE)
    assert story.reach(Work.GRACE).due == ()
    assert not story.state.open.deadline_passed


@pytest.mark.parametrize(
    ("make", "result"),
    [(started, None), (started, HUNG_UP), (redirect_requested, BUSY)],
    ids=["no reason", "caller left", "no target"],
)
def test_call_alive_is_false_after_a_call_end_that_published_no_call_ended(make, result):
    story = make()
    story.receive(*ENDED, event=ProviderOther, result=result)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert not story.state.ended
    assert story.outcome.call_alive is False


def test_the_grace_period_decides_if_the_deadline_is_reached_during_it():
    story = started()
    story.wait_until(DEADLINE - 2)
    story.receive(*ENDED, result=HUNG_UP)
    story.wait_until(DEADLINE)
    assert story.reach(Work.DEADLINE).events == ()
    assert story.due == {Work.GRACE: DEADLINE - 2 + GRACE}
    story.wait(3)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


@pytest.mark.parametrize("presence", Presence)
def test_the_grace_period_decides_if_the_call_ends_after_the_deadline(presence):
    story = started()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.receive(*ENDED, result=HUNG_UP)
    story.wait(1)
    story.inspect(presence)
    assert story.outcome is None, "a proof may still come"
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


def test_a_call_end_before_the_request_starts_no_grace_period():
    story = Story()
    story.receive(*ENDED)
    story.request()
    assert Work.GRACE not in story.due


# --- a call that ended by a transfer ----------------------------------------------------------------


CALL_TRANSFERRED = (Signal.CALL_TRANSFERRED, Signal.CALL_ENDED)


@pytest.mark.parametrize("answer", [Submitted(), NO_ANSWER])
def test_a_call_that_ended_by_a_transfer_completes_its_only_transfer_by_inference(answer):
    story = requested()
    story.answer(answer)
    story.receive(*CALL_TRANSFERRED, result=Result(code=200, subcode=7015))
    assert story.outcome is None
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.subcode) == (
        "transfer.completed",
        Basis.INFERRED,
        7015,
    )


@pytest.mark.parametrize("signals", [ACCEPTED_AND_SUCCEEDED, FAILED])
def test_a_verdict_after_a_call_that_ended_by_a_transfer_is_stated(signals):
    story = submitted()
    story.receive(*CALL_TRANSFERRED)
    story.receive(*signals, **OWN_CONTEXT)
    assert story.outcome.basis is Basis.STATED
    assert getattr(story.outcome, "call_alive", False) is False


@pytest.mark.parametrize("ending", ["expired", "completed"])
def test_a_call_that_an_earlier_transfer_may_have_ended_expires_the_open_one(ending):
    story = second_transfer_after(ending)
    story.answer(NO_ANSWER)
    story.receive(*CALL_TRANSFERRED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


def test_a_call_that_ended_by_a_transfer_fails_a_transfer_that_was_not_sent():
    story = not_sent_yet()
    story.receive(*CALL_TRANSFERRED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.reason) == ("transfer.failed", FailureReason.CALL_ENDED)


def test_a_caller_who_leaves_a_group_call_expires_a_submitted_transfer():
    story = submitted(transferee=CALLER)
    story.receive(*ENDED, result=HUNG_UP, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


def test_a_caller_who_leaves_a_group_call_fails_a_transfer_that_was_not_sent():
    story = requested(transferee=CALLER)
    story.answer(THROTTLED)
    story.receive(*ENDED, result=HUNG_UP)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.CALLER_LEFT, Basis.STATED)


def test_an_acceptance_within_the_grace_period_decides_nothing():
    story = second_transfer_after("expired")
    story.receive(*SUCCEEDED_AND_ENDED)
    story.answer(Submitted())
    assert story.outcome is None
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.INFERRED)
