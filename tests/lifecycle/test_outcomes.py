"""The events of a transfer in order, its one outcome, and the fields that they carry."""

import pytest
from attrs import evolve
from support.lifecycle import (
    ACCEPTED,
    ACCEPTED_AND_SUCCEEDED,
    AGENT,
    BUSY,
    CALL_NOT_FOUND,
    CALLER,
    ENDED,
    FAILED,
    FAILED_AND_ENDED,
    NO_ANSWER,
    RETURNED,
    START,
    STARTED,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    VOICEMAIL,
    finished,
    kinds,
    requested,
    seconds,
    started,
    submitted,
)

from transferkit._lifecycle import Work
from transferkit.events import Basis, FailureReason, TransferCompleted, TransferFailed
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Presence, Submitted

# --- events in order --------------------------------------------------------------------------------


COURSES = {
    "step by step": (
        [Submitted(), STARTED, ACCEPTED, SUCCEEDED],
        ["requested", "submitted", "started", "accepted", "completed"],
    ),
    "started and accepted are optional": ([Submitted(), SUCCEEDED], ["requested", "submitted", "completed"]),
    "each event at most once": (
        [Submitted(), STARTED, STARTED, ACCEPTED, ACCEPTED, SUCCEEDED],
        [
            "requested",
            "submitted",
            "started",
            "provider.other",
            "accepted",
            "provider.other",
            "completed",
        ],
    ),
    "started after accepted is not published": (
        [Submitted(), ACCEPTED, STARTED, SUCCEEDED],
        ["requested", "submitted", "accepted", "provider.other", "completed"],
    ),
    "a callback arrives before the answer": (
        [STARTED, Submitted(), ACCEPTED, SUCCEEDED],
        ["requested", "submitted", "started", "accepted", "completed"],
    ),
    "the success arrives before the answer": (
        [SUCCEEDED, Submitted()],
        ["requested", "submitted", "completed"],
    ),
    "the failure arrives before the answer": ([FAILED, Submitted()], ["requested", "submitted", "failed"]),
    "ACS: accepted and succeeded in one callback": (
        [Submitted(), ACCEPTED_AND_SUCCEEDED, ENDED],
        ["requested", "submitted", "accepted", "completed", "call.ended"],
    ),
    "ACS: success before the answer": (
        [ACCEPTED_AND_SUCCEEDED, Submitted()],
        ["requested", "submitted", "accepted", "completed"],
    ),
    "Graph: succeeded and call ended in one callback": (
        [Submitted(), STARTED, ACCEPTED, SUCCEEDED_AND_ENDED],
        ["requested", "submitted", "started", "accepted", "completed", "call.ended"],
    ),
    "call ended and succeeded in one callback": (
        [Submitted(), (Signal.CALL_ENDED, Signal.SUCCEEDED)],
        ["requested", "submitted", "completed", "call.ended"],
    ),
    "failed and call ended in one callback": (
        [Submitted(), FAILED_AND_ENDED],
        ["requested", "submitted", "failed", "call.ended"],
    ),
    "accepted is not success": (
        [Submitted(), STARTED, ACCEPTED, FAILED],
        ["requested", "submitted", "started", "accepted", "failed"],
    ),
    "a group call, which does not end": (
        [Submitted(), STARTED, SUCCEEDED],
        ["requested", "submitted", "started", "completed"],
    ),
    "the first verdict of a callback counts": (
        [Submitted(), (Signal.FAILED, Signal.SUCCEEDED)],
        ["requested", "submitted", "failed"],
    ),
}


@pytest.mark.parametrize(("inputs", "expected"), COURSES.values(), ids=COURSES)
def test_signals_and_answers_become_events_in_order(inputs, expected):
    story = requested()
    story.play(*inputs)
    assert kinds(story) == expected


@pytest.mark.parametrize(
    "inputs", [[Submitted()], [Submitted(), STARTED], [Submitted(), ACCEPTED], [Submitted(), RETURNED]]
)
def test_no_signal_except_succeeded_completes_a_transfer(inputs):
    story = requested()
    story.play(*inputs)
    assert story.outcome is None
    assert story.state.open


@pytest.mark.parametrize("ending", ["completed", "failed", "expired"])
def test_no_event_of_a_transfer_follows_its_outcome(ending):
    story = finished(ending)
    before, outcome = len(story.events), story.outcome
    story.play(Submitted(), CALL_NOT_FOUND, NO_ANSWER, STARTED, ACCEPTED, RETURNED, SUCCEEDED, FAILED, ENDED)
    story.attempt(2)
    story.inspect(Presence.TRANSFERRING)
    for work in Work:
        story.reach(work)
    after = [event.kind for event in story.events[before:]]
    assert set(after) == {"provider.other", "call.ended"}
    assert story.outcome is outcome
    assert story.due == {}


@pytest.mark.parametrize("ending", ["completed", "failed", "expired"])
def test_an_outcome_frees_the_call_and_clears_all_due_work(ending):
    story = finished(ending)
    assert story.outcome.transfer_id == "t1"
    assert story.state.open is None
    assert story.due == {}
    story.request("t2")
    assert story.state.open.id == "t2"


@pytest.mark.parametrize(
    "act",
    [
        lambda story: story.attempt(2),
        lambda story: story.inspect(Presence.GONE),
        lambda story: story.reach(Work.DEADLINE),
    ],
)
def test_due_work_of_a_finished_transfer_is_cleared(act):
    story = finished("completed")
    decision = act(story)
    assert {work for _, work in decision.cleared} == set(Work)
    assert not decision.proceed


def test_an_outcome_carries_the_fields_of_the_fact_that_caused_it():
    story = submitted(operation_context="case 42", transferee=CALLER)
    story.wait(10)
    raw = {"code": 200}
    story.receive(*SUCCEEDED, raw=raw, target=VOICEMAIL, result=Result(code=200, subcode=7015, message="ok"))
    outcome = story.outcome
    assert isinstance(outcome, TransferCompleted)
    assert outcome.basis is Basis.STATED
    assert outcome.time == START + seconds(9), "when it input_, not when we heard of it"
    assert outcome.elapsed == seconds(10)
    assert (outcome.correlation_id, outcome.raw, outcome.operation_context) == ("chain", raw, "case 42")
    assert (outcome.target, outcome.transferee) == (VOICEMAIL, CALLER)
    assert (outcome.code, outcome.subcode, outcome.message) == (200, 7015, "ok")


def test_an_accepted_event_carries_the_fields_of_its_fact():
    story = submitted()
    story.receive(
        *ACCEPTED, target=AGENT, transferee=CALLER, result=Result(code=200, subcode=1, message="ok")
    )
    event = story.last
    assert (event.target, event.transferee) == (AGENT, CALLER)
    assert (event.code, event.subcode, event.message) == (200, 1, "ok")
    assert event.correlation_id == "chain"


def test_an_outcome_has_target_and_transferee_of_the_request_by_default():
    story = submitted(transferee=CALLER)
    story.receive(*SUCCEEDED)
    assert (story.outcome.target, story.outcome.transferee) == (AGENT, CALLER)


def test_the_transferee_that_the_provider_states_replaces_that_of_the_request():
    story = submitted(transferee=CALLER)
    story.receive(*SUCCEEDED, transferee=VOICEMAIL)
    assert story.outcome.transferee == VOICEMAIL


def test_a_submitted_event_carries_the_fields_of_the_answer():
    story = requested(operation_context="case 42")
    story.wait(2)
    story.answer(Submitted(correlation_id="chain 7"))
    event = story.last
    assert (event.kind, event.correlation_id) == ("transfer.submitted", "chain 7")
    assert (event.time, event.operation_context) == (START + seconds(2), "case 42")


def test_a_submitted_event_carries_the_fields_of_the_callback_that_proved_it():
    story = requested()
    story.receive(*STARTED, raw={"state": "transferring"})
    event = story.events[1]
    assert (event.kind, event.correlation_id) == ("transfer.submitted", "chain")
    assert event.raw == {"state": "transferring"}


def test_elapsed_is_not_negative_after_the_clock_was_set_back():
    story = submitted()
    story.wait(-10)
    story.receive(*SUCCEEDED)
    assert story.outcome.elapsed == seconds(0)


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [True, False])
def test_a_stated_failure_has_the_call_alive_of_its_fact(alive):
    story = started()
    story.receive(*FAILED, result=evolve(BUSY, advice="try later", request_id="r1"), call_alive=alive)
    outcome = story.outcome
    assert isinstance(outcome, TransferFailed)
    assert (outcome.basis, outcome.reason, outcome.call_alive) == (Basis.STATED, FailureReason.BUSY, alive)
    assert (outcome.code, outcome.subcode, outcome.message) == (486, 10486, "busy here")
    assert (outcome.advice, outcome.request_id) == ("try later", "r1")


def test_a_failure_without_a_result_has_the_reason_unknown():
    story = started()
    story.receive(*FAILED)
    assert story.outcome.reason is FailureReason.UNKNOWN


def test_a_failure_in_the_end_of_the_call_has_call_alive_false():
    story = started()
    story.receive(*FAILED_AND_ENDED, result=BUSY, call_alive=True)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.BUSY, False)
    assert kinds(story)[-2:] == ["failed", "call.ended"]


def test_a_failure_after_the_end_of_the_call_has_call_alive_false():
    story = started()
    story.receive(*ENDED)
    story.receive(*FAILED, result=BUSY, call_alive=True)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.BUSY, False)
