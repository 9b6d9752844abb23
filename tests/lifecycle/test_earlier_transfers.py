"""Verdicts that an earlier transfer of the call can have caused."""

import pytest
from attrs import evolve
from support.lifecycle import (
    ACCEPTED,
    AGENT,
    BUSY,
    CALL_NOT_FOUND,
    CALLER,
    DEADLINE,
    FAILED,
    GRACE,
    NO_ANSWER,
    NO_CONNECTION,
    NOT_REPEATABLE,
    OWN_CONTEXT,
    REPEATABLE,
    STARTED,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    THROTTLED,
    Story,
    ambiguous_failure,
    finished,
    kinds,
    not_sent_yet,
    requested,
    second_transfer_after,
    submitted,
)

from transferkit import Call, Redirect
from transferkit._lifecycle import Work
from transferkit.events import Basis, Evidence, FailureReason, Verdict
from transferkit.provider.facts import RequestKind, Result
from transferkit.provider.results import Presence, Submitted

# --- earlier transfers without a verdict ------------------------------------------------------------


SHARED = {"echoes_context": True, "context": "case"}


def second_transfer_with_the_same_context(**fields):
    story = Story()
    story.request("t1", operation_context="case")
    story.answer(Submitted())
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    story.request("t2", operation_context="case", **fields)
    return story


@pytest.mark.parametrize(
    ("make", "fact"),
    [(lambda: second_transfer_after("expired"), {}), (second_transfer_with_the_same_context, SHARED)],
    ids=["names the call", "names a context of both"],
)
@pytest.mark.parametrize("taken_first", [True, False])
def test_an_ambiguous_success_completes_an_accepted_transfer_by_inference(make, fact, taken_first):
    story = make()
    if taken_first:
        story.answer(Submitted())
    story.receive(*SUCCEEDED, result=Result(code=200, subcode=7015), **fact)
    if not taken_first:
        assert kinds(story)[-1] == "provider.other"
        assert story.outcome is None
        story.answer(Submitted())
    assert kinds(story)[-1] == "completed"
    assert (story.outcome.basis, story.outcome.code, story.outcome.subcode) == (Basis.INFERRED, 200, 7015)


def test_an_ambiguous_success_completes_nothing_in_a_group_call():
    story = second_transfer_with_the_same_context(transferee=CALLER)
    story.answer(Submitted())
    (event,) = story.receive(*SUCCEEDED, **SHARED).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert (story.outcome.kind, story.outcome.evidence) == (
        "transfer.expired",
        Evidence.UNATTRIBUTED_VERDICT,
    )


def test_a_rejection_after_an_ambiguous_success_is_the_outcome():
    story = second_transfer_after("expired")
    story.receive(*SUCCEEDED_AND_ENDED)
    story.answer(CALL_NOT_FOUND)
    assert kinds(story)[-3:] == ["requested", "call.ended", "failed"]
    assert (story.outcome.transfer_id, story.outcome.basis) == ("t2", Basis.STATED)


def test_an_ambiguous_success_without_an_answer_expires_the_transfer():
    story = second_transfer_after("expired")
    story.receive(*SUCCEEDED_AND_ENDED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.evidence, story.outcome.call_alive) == (
        "transfer.expired",
        Evidence.UNATTRIBUTED_VERDICT,
        False,
    )


def test_an_ambiguous_failure_is_the_outcome_by_inference_if_the_call_is_connected():
    story = ambiguous_failure()
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.reason, story.outcome.call_alive) == (
        "transfer.failed",
        Basis.INFERRED,
        FailureReason.BUSY,
        True,
    )


def test_a_call_that_is_being_transferred_does_not_decide_an_ambiguous_failure():
    """The earlier transfer may be the one in progress."""
    story = ambiguous_failure()
    story.inspect(Presence.TRANSFERRING, inspection_round=1)
    assert story.outcome is None
    story.receive(*SUCCEEDED)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.INFERRED)


def test_a_query_that_began_before_an_ambiguous_failure_decides_nothing():
    story = ambiguous_failure()
    story.inspect(Presence.CONNECTED)
    assert story.outcome is None
    assert Work.INSPECT in story.due


def test_an_ambiguous_failure_before_the_answer_is_decided_by_a_query_after_it():
    story = second_transfer_after("expired")
    story.receive(*FAILED, result=BUSY)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    story.answer(Submitted())
    assert story.outcome is None
    assert Work.INSPECT in story.due
    story.inspect(Presence.CONNECTED, inspection_round=2)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.failed", Basis.INFERRED)


@pytest.mark.parametrize("presence", [Presence.UNKNOWN, Presence.GONE])
def test_an_ambiguous_failure_stays_undecided_if_the_call_is_not_found(presence):
    story = ambiguous_failure()
    story.inspect(presence, inspection_round=1)
    assert story.outcome is None
    assert (Work.INSPECT in story.due) is (presence is Presence.UNKNOWN)


def test_a_query_does_not_decide_an_ambiguous_failure_in_a_group_call():
    story = ambiguous_failure(transferee=CALLER)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome is None


def test_an_attempt_that_was_not_sent_discards_an_ambiguous_failure():
    story = second_transfer_after("expired")
    story.receive(*FAILED, result=BUSY)
    story.answer(NO_CONNECTION)
    story.wait(1)
    story.attempt(2)
    story.answer(Submitted(), attempt=2)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome is None


@pytest.mark.parametrize(("ending", "signals"), [("expired", STARTED), ("failed", ACCEPTED)])
def test_progress_before_the_answer_may_be_that_of_an_earlier_transfer(ending, signals):
    story = second_transfer_after(ending)
    before = story.state.open
    (event,) = story.receive(*signals, result=BUSY).events
    assert event.kind == "provider.other"
    assert story.state.open == before
    story.answer(CALL_NOT_FOUND)
    assert kinds(story)[-1] == "failed"
    assert story.outcome.reason is FailureReason.CALL_NOT_FOUND


@pytest.mark.parametrize(
    "fact", [{"transfer_id": "t2"}, {"echoes_context": True, "context": "case 2"}], ids=str
)
def test_a_verdict_that_names_the_open_transfer_is_stated(fact):
    story = finished("expired")
    story.request("t2", operation_context="case 2")
    story.receive(*SUCCEEDED, **fact)
    assert kinds(story)[-2:] == ["submitted", "completed"]
    assert story.outcome.basis is Basis.STATED


@pytest.mark.parametrize("ending", ["failed", "completed"])
def test_a_verdict_is_stated_if_all_earlier_transfers_have_their_verdicts(ending):
    story = second_transfer_after(ending)
    story.receive(*FAILED, result=BUSY)
    assert (story.outcome.transfer_id, story.outcome.reason) == ("t2", FailureReason.BUSY)
    assert story.outcome.basis is Basis.STATED


def test_a_late_verdict_settles_the_only_transfer_that_it_fits():
    story = finished("expired")
    (event,) = story.receive(*FAILED, result=BUSY).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.FAILED)
    story.request("t2")
    story.answer(Submitted())
    story.receive(*SUCCEEDED)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.STATED)


def test_a_late_verdict_settles_no_transfer_if_it_fits_several():
    story = ambiguous_failure()
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE, inspection_round=1)
    story.receive(*FAILED, result=BUSY)
    assert [done.unsettled for done in story.state.finished] == [True, True]


@pytest.mark.parametrize("answer", [CALL_NOT_FOUND, NO_CONNECTION])
def test_a_transfer_that_the_provider_never_received_has_no_late_verdict(answer):
    story = Story(evolve(NOT_REPEATABLE, max_attempts=1))
    story.request("t1")
    story.answer(answer)
    assert kinds(story)[-1] == "failed"
    story.request("t2")
    story.receive(*STARTED)
    story.receive(*SUCCEEDED)
    assert kinds(story)[-3:] == ["submitted", "started", "completed"]
    assert story.outcome.basis is Basis.STATED


@pytest.mark.parametrize("before", [[], [NO_ANSWER]], ids=["no answer yet", "answer lost"])
def test_a_success_is_ambiguous_if_an_earlier_transfer_may_have_been_executed(before):
    story = requested()
    story.play(*before)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    story.request("t2")
    story.receive(*SUCCEEDED)
    assert kinds(story)[-2:] == ["requested", "provider.other"]


@pytest.mark.parametrize("signals", [STARTED, ACCEPTED, SUCCEEDED, FAILED])
@pytest.mark.parametrize("fact", [{}, {"echoes_context": True, "context": "case 1"}], ids=str)
def test_a_verdict_is_not_attributed_to_a_transfer_that_was_not_sent(signals, fact):
    story = not_sent_yet()
    (event,) = story.receive(*signals, **fact).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    story.wait(0.5)
    assert story.attempt(2).proceed
    story.answer(Submitted(), attempt=2)
    assert kinds(story)[-1] == "submitted"


@pytest.mark.parametrize("fact", [{"transfer_id": "t1"}, OWN_CONTEXT], ids=["address", "id as context"])
def test_a_verdict_that_names_a_transfer_proves_that_it_was_sent(fact):
    story = requested()
    story.answer(THROTTLED)
    story.receive(*SUCCEEDED, **fact)
    assert kinds(story)[-1] == "completed"


def second_transfer_expired_after(*before):
    """A call of two transfers, of which the second expired."""
    story = requested()
    story.play(*before)
    story.request("t2")
    story.answer(Submitted())
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert kinds(story)[-1] == "expired"
    return story


def test_a_late_verdict_is_not_attributed_to_a_transfer_with_the_opposite_verdict():
    story = finished("expired")
    story.request("t2", operation_context="case 2")
    story.answer(Submitted())
    story.receive(*FAILED, transfer_id="t2")
    (event,) = story.receive(*SUCCEEDED).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


def test_a_late_verdict_is_not_attributed_to_a_transfer_that_was_not_sent():
    story = finished("expired")
    story.rules = evolve(NOT_REPEATABLE, max_attempts=1)
    story.request("t2")
    story.answer(NO_CONNECTION)
    (event,) = story.receive(*SUCCEEDED).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


def test_an_ambiguous_success_before_an_attempt_that_was_not_sent_is_discarded():
    story = second_transfer_after("expired")
    story.receive(*SUCCEEDED)
    story.answer(THROTTLED)
    story.wait(0.5)
    story.attempt(2)
    story.answer(Submitted(), attempt=2)
    assert kinds(story)[-1] == "submitted"


def test_an_ambiguous_success_is_kept_if_an_earlier_attempt_may_have_executed():
    story = second_transfer_after("expired", REPEATABLE)
    story.answer(NO_ANSWER)
    story.receive(*SUCCEEDED)
    story.wait(0.5)
    story.attempt(2)
    story.answer(THROTTLED, attempt=2)
    story.wait(1)
    story.attempt(3)
    story.answer(Submitted(), attempt=3)
    assert kinds(story)[-1] == "completed"


@pytest.mark.parametrize(("verdict", "late"), [(SUCCEEDED, Verdict.SUCCEEDED), (FAILED, Verdict.FAILED)])
def test_a_late_verdict_is_attributed_to_the_last_transfer_that_it_fits(verdict, late):
    (event,) = second_transfer_expired_after(verdict).receive(*verdict).events
    assert (event.transfer_id, event.late_verdict) == ("t2", late)


def test_a_late_verdict_is_attributed_to_a_transfer_without_a_verdict_first():
    (event,) = second_transfer_expired_after(SUCCEEDED).receive(*FAILED).events
    assert (event.transfer_id, event.late_verdict) == ("t2", Verdict.FAILED)


def test_a_query_proves_that_an_accepted_transfer_started():
    story = second_transfer_after("expired")
    story.answer(Submitted())
    story.inspect(Presence.TRANSFERRING)
    assert kinds(story)[-1] == "started"


def test_a_query_proves_nothing_before_the_answer_if_an_earlier_transfer_is_unsettled():
    story = second_transfer_after("expired")
    story.answer(NO_ANSWER)
    story.inspect(Presence.TRANSFERRING)
    assert kinds(story)[-1] == "requested"
    assert story.state.open.evidence is Evidence.CALL_CONNECTED


# --- verdicts that repeat a known one ---------------------------------------------------------------


def second_transfer_after_a_repeated_failure(**second):
    """A submitted second transfer, and a failure with the content of the first one's failure."""
    story = submitted()
    story.receive(*FAILED, result=BUSY, content="busy")
    story.request("t2", **second)
    story.answer(Submitted())
    (event,) = story.receive(*FAILED, result=BUSY, content="busy").events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    return story


def test_a_failure_that_repeats_a_known_verdict_is_the_outcome_by_inference():
    story = second_transfer_after_a_repeated_failure()
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.call_alive) == (
        "transfer.failed",
        Basis.INFERRED,
        True,
    )


def test_a_repeated_failure_is_the_outcome_of_a_group_call_transfer_at_the_deadline():
    story = second_transfer_after_a_repeated_failure(transferee=CALLER)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome is None
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.reason) == (
        "transfer.failed",
        Basis.INFERRED,
        FailureReason.BUSY,
    )


def test_a_repeated_failure_does_not_fail_a_transfer_in_progress():
    story = second_transfer_after_a_repeated_failure()
    story.inspect(Presence.TRANSFERRING, inspection_round=1)
    story.receive(*SUCCEEDED, content="transferred")
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.STATED)


def test_a_repeated_success_is_not_attributed_to_the_next_transfer():
    story = submitted()
    story.receive(*SUCCEEDED, content="transferred")
    story.request("t2")
    story.answer(Submitted())
    (event,) = story.receive(*SUCCEEDED, content="transferred").events
    assert (event.kind, event.transfer_id) == ("provider.other", "t1")
    assert story.state.open.id == "t2"


def test_the_contents_of_the_last_32_verdicts_are_kept():
    story = Story()
    for number in range(40):
        story.receive(*FAILED, content=str(number))
        story.receive(*FAILED, content=str(number))
    assert story.state.verdict_contents == tuple(map(str, range(8, 40)))


def test_the_last_unsettled_and_the_last_settled_transfers_are_kept():
    story = finished("expired")
    for number in range(2, 30):
        story.request(f"t{number}")
        story.receive(*FAILED, transfer_id=f"t{number}")
    assert [done.id for done in story.state.finished] == ["t1", *(f"t{number}" for number in range(14, 30))]


# --- forgotten transfers --------------------------------------------------------------------------------


def after_many_expired_transfers(number=40, **fields):
    """A transfer after so many expired ones that the state no longer contains all of them."""
    story = Story()
    for each in range(number):
        expire(story, f"t{each}")
    story.request("last", **fields)
    story.answer(Submitted())
    return story


def expire(story, transfer_id):
    story.request(transfer_id)
    story.answer(Submitted())
    story.wait(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert story.outcome.kind == "transfer.expired"


def test_the_state_of_a_call_does_not_grow_with_its_expired_transfers():
    some, more = (after_many_expired_transfers(number).state for number in (40, 80))
    assert len(some.finished) == len(more.finished) < 20
    assert some.forgotten == more.forgotten == (RequestKind.TRANSFER,)


@pytest.mark.parametrize("signals", [SUCCEEDED, FAILED])
def test_a_verdict_that_may_belong_to_a_forgotten_transfer_is_not_stated(signals):
    story = after_many_expired_transfers()
    for done in story.state.finished:
        story.receive(*FAILED, transfer_id=done.id)
    assert not any(done.unsettled for done in story.state.finished)
    assert not story.state.all_settled
    story.receive(*signals)
    if story.outcome is None:
        story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome.basis is Basis.INFERRED


def test_a_verdict_that_names_the_open_transfer_is_stated_after_any_number_of_transfers():
    story = after_many_expired_transfers()
    story.receive(*SUCCEEDED, echoes_context=True, context="last")
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.STATED)


def test_a_forgotten_transfer_does_not_make_the_verdict_of_another_kind_ambiguous():
    story = after_many_expired_transfers()
    story.receive(*FAILED, transfer_id="last")
    story.request("redirect", Redirect(call=Call("fake", story.call.id), to=AGENT))
    story.answer(Submitted())
    story.receive(*SUCCEEDED, operation=RequestKind.REDIRECT)
    assert (story.outcome.kind, story.outcome.basis) == ("redirect.completed", Basis.STATED)


def test_progress_before_the_acceptance_may_be_that_of_a_forgotten_transfer():
    story = Story()
    for each in range(40):
        expire(story, f"t{each}")
    for done in story.state.finished:
        story.receive(*FAILED, transfer_id=done.id)
    story.request("last")
    story.receive(*STARTED)
    assert kinds(story)[-1] == "provider.other"


@pytest.mark.parametrize("signals", [SUCCEEDED, FAILED])
def test_a_late_verdict_about_a_forgotten_transfer_is_published(signals):
    story = after_many_expired_transfers()
    (event,) = story.receive(*signals, transfer_id="t0").events
    assert (event.kind, event.transfer_id) == ("provider.other", "t0")
    assert event.late_verdict is (Verdict.SUCCEEDED if signals is SUCCEEDED else Verdict.FAILED)
    assert story.outcome is None


def test_a_verdict_that_fits_one_known_and_a_forgotten_transfer_settles_neither():
    story = Story()
    for each in range(40):
        expire(story, f"t{each}")
    unsettled = [done.id for done in story.state.finished]
    for transfer_id in unsettled[1:]:
        story.receive(*FAILED, transfer_id=transfer_id)
    story.receive(*SUCCEEDED)
    assert [done.id for done in story.state.finished if done.unsettled] == unsettled[:1]
