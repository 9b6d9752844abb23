"""The life cycle of a redirect."""

import pytest
from support.lifecycle import (
    ACCEPTED,
    AGENT,
    BUSY,
    CALL_NOT_FOUND,
    COMPLETES_ON_ACCEPTANCE,
    DEADLINE,
    ENDED,
    FAILED,
    GRACE,
    HUNG_UP,
    NOT_REPEATABLE,
    STARTED,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    VOICEMAIL,
    finished,
    kinds,
    redirect_requested,
    seconds,
    started,
)

from transferkit._lifecycle import Work
from transferkit.events import (
    Basis,
    Evidence,
    FailureReason,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    Verdict,
)
from transferkit.provider.facts import RequestKind, Result
from transferkit.provider.results import Presence, Submitted

NO_TARGET_ACCEPTED = {
    FailureReason.BUSY,
    FailureReason.DECLINED,
    FailureReason.NO_ANSWER,
    FailureReason.UNREACHABLE,
    FailureReason.TARGET_NOT_FOUND,
    FailureReason.TARGET_NOT_ALLOWED,
}


def test_an_acceptance_completes_a_redirect_if_the_provider_sends_nothing_more():
    story = redirect_requested(COMPLETES_ON_ACCEPTANCE)
    story.wait(1)
    story.answer(Submitted())
    assert kinds(story) == ["redirect.requested", "redirect.submitted", "redirect.completed"]
    assert isinstance(story.outcome, RedirectCompleted)
    assert (story.outcome.basis, story.outcome.target) == (Basis.INFERRED, AGENT)
    assert story.outcome.elapsed == seconds(1)
    assert story.due == {}


def test_an_acceptance_completes_no_redirect_if_callbacks_follow():
    story = redirect_requested()
    story.answer(Submitted())
    assert kinds(story) == ["redirect.requested", "redirect.submitted"]


def test_a_completed_redirect_to_several_targets_has_no_target():
    story = redirect_requested(COMPLETES_ON_ACCEPTANCE, to=[AGENT, VOICEMAIL])
    story.answer(Submitted())
    assert story.outcome.target is None


def test_a_stated_success_completes_a_redirect_with_its_target():
    story = redirect_requested()
    story.answer(Submitted())
    story.receive(*SUCCEEDED_AND_ENDED, target=VOICEMAIL)
    assert kinds(story)[-2:] == ["redirect.completed", "call.ended"]
    assert (story.outcome.basis, story.outcome.target) == (Basis.STATED, VOICEMAIL)


def test_a_success_of_a_redirect_operation_completes_a_redirect():
    story = redirect_requested()
    story.answer(Submitted())
    story.receive(*SUCCEEDED_AND_ENDED, operation=RequestKind.REDIRECT)
    assert story.outcome.kind == "redirect.completed"


def test_a_success_of_a_redirect_operation_does_not_complete_a_transfer():
    story = started()
    decision = story.receive(*SUCCEEDED_AND_ENDED, operation=RequestKind.REDIRECT, ends_with_verdict=True)
    assert kinds(decision) == ["call.ended"]
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALL_ENDED


@pytest.mark.parametrize("ended_before", [False, True])
@pytest.mark.parametrize("ending", ["failed", "expired"])
def test_a_success_of_a_redirect_operation_is_not_a_late_verdict_of_a_transfer(ending, ended_before):
    story = finished(ending)
    if ended_before:
        story.receive(*ENDED)
    (event,) = story.receive(*SUCCEEDED_AND_ENDED, operation=RequestKind.REDIRECT).events
    assert getattr(event, "late_verdict", None) is None


def test_a_success_of_a_redirect_operation_can_be_a_late_verdict_of_a_redirect():
    story = redirect_requested()
    story.answer(CALL_NOT_FOUND)
    event = story.receive(*SUCCEEDED, operation=RequestKind.REDIRECT).events[-1]
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


@pytest.mark.parametrize("result", [None, HUNG_UP])
def test_a_redirect_expires_if_its_call_ends_without_a_proof(result):
    story = redirect_requested()
    story.answer(Submitted())
    story.receive(*ENDED, result=result)
    assert story.outcome is None
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert isinstance(story.outcome, RedirectExpired)
    assert (story.outcome.evidence, story.outcome.basis) == (Evidence.CALL_GONE, Basis.INFERRED)


@pytest.mark.parametrize("reason", FailureReason)
def test_a_redirect_fails_if_its_call_ends_because_no_target_accepted_it(reason):
    story = redirect_requested()
    story.receive(*ENDED, result=Result(code=486, reason=reason))
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    if reason in NO_TARGET_ACCEPTED:
        assert isinstance(outcome, RedirectFailed)
        assert (outcome.reason, outcome.basis) == (reason, Basis.STATED)
        assert (outcome.code, outcome.call_alive) == (486, False)
    else:
        assert isinstance(outcome, RedirectExpired)


@pytest.mark.parametrize("presence", Presence)
def test_no_query_result_changes_the_evidence_of_an_ended_call(presence):
    story = redirect_requested()
    story.receive(*ENDED)
    story.inspect(presence)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.evidence is Evidence.CALL_GONE


def test_a_stated_failure_fails_a_redirect():
    story = redirect_requested()
    story.receive(*FAILED, result=BUSY)
    assert kinds(story) == ["redirect.requested", "redirect.submitted", "redirect.failed"]
    assert isinstance(story.outcome, RedirectFailed)
    assert story.outcome.reason is FailureReason.BUSY


def test_a_rejection_fails_a_redirect():
    story = redirect_requested()
    story.answer(CALL_NOT_FOUND)
    assert kinds(story) == ["redirect.requested", "redirect.failed"]


@pytest.mark.parametrize("signals", [STARTED, ACCEPTED])
def test_started_and_accepted_prove_only_the_submission_of_a_redirect(signals):
    story = redirect_requested()
    assert kinds(story.receive(*signals)) == ["redirect.submitted"]
    assert Work.SUBMIT not in story.due
    assert kinds(story.receive(*signals)) == ["provider.other"]


def test_a_query_that_finds_the_call_transferring_proves_nothing_of_a_redirect():
    story = redirect_requested()
    assert story.inspect(Presence.TRANSFERRING).events == ()


def test_a_redirect_expires_after_its_deadline():
    story = redirect_requested()
    story.answer(Submitted())
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE)
    assert isinstance(story.outcome, RedirectExpired)
    assert story.outcome.evidence is Evidence.CALL_GONE


@pytest.mark.parametrize(
    ("rules", "before", "proof", "late"),
    [
        (COMPLETES_ON_ACCEPTANCE, [Submitted()], FAILED, Verdict.FAILED),
        (COMPLETES_ON_ACCEPTANCE, [Submitted()], SUCCEEDED, Verdict.SUCCEEDED),
        (NOT_REPEATABLE, [CALL_NOT_FOUND], SUCCEEDED, Verdict.SUCCEEDED),
        (NOT_REPEATABLE, [SUCCEEDED], SUCCEEDED, None),
    ],
)
def test_a_verdict_after_the_outcome_of_a_redirect_is_marked_as_late(rules, before, proof, late):
    story = redirect_requested(rules)
    story.play(*before)
    (event,) = story.receive(*proof).events
    assert (event.transfer_id, event.late_verdict) == ("t1", late)
