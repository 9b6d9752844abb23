"""The life cycle of call steps."""

from datetime import timedelta

import pytest
from support.lifecycle import (
    AGENT,
    BUSY,
    CALL,
    CALL_NOT_FOUND,
    COMPLETES_ON_ACCEPTANCE,
    ENDED,
    FAILED,
    HUNG_UP,
    NO_ANSWER,
    NO_CONNECTION,
    REPEATABLE,
    START,
    SUCCEEDED,
    Story,
    kinds,
)

from transferkit._lifecycle import CallKey, CallState, CallStillRinging, PlacedCallObserved, Rules, Work
from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    CallIncoming,
    FailureReason,
    StepCompleted,
    StepExpired,
    StepFailed,
)
from transferkit.provider.facts import Fact, Result, Signal
from transferkit.provider.results import Presence, Submitted
from transferkit.requests import (
    AnswerCall,
    Call,
    HangUp,
    Hold,
    Join,
    JoinSide,
    PlaceCall,
    RejectCall,
    RequestKind,
    Resume,
)

LEG = Call("fake", CALL.id)
STEPS = {
    RequestKind.ANSWER: AnswerCall(LEG),
    RequestKind.REJECT: RejectCall(LEG),
    RequestKind.PLACE_CALL: PlaceCall(AGENT, provider="fake", step_id="t1"),
    RequestKind.HOLD: Hold(LEG),
    RequestKind.RESUME: Resume(LEG),
    RequestKind.JOIN: Join(LEG, other="agent", to=AGENT),
    RequestKind.HANG_UP: HangUp(LEG),
}
CONNECTING = [RequestKind.ANSWER, RequestKind.PLACE_CALL]
ENDING = [RequestKind.REJECT, RequestKind.HANG_UP]
HOLDING = [RequestKind.HOLD, RequestKind.RESUME]
NAMED = {"transfer_id": "t1"}


def requested(kind, rules=None, **fields):
    story = Story(rules) if rules else Story()
    story.request(request=STEPS[kind], **fields)
    return story


def submitted(kind, rules=None, **answer):
    story = requested(kind, rules)
    story.answer(Submitted(**answer))
    return story


def connect(story):
    event = CallConnected(time=story.now, provider="fake", call_id=story.call.id)
    story.observe(Fact(event=event, signals=(Signal.RETURNED,)))


def test_every_step_publishes_its_request_and_its_submission():
    for kind in STEPS:
        story = submitted(kind)
        assert kinds(story) == ["step.requested", "step.submitted"]
        assert [event.step for event in story.events] == [kind, kind]


@pytest.mark.parametrize("kind", CONNECTING)
def test_a_connected_call_completes_an_answer_and_a_placed_call(kind):
    story = submitted(kind)
    connect(story)
    assert isinstance(story.outcome, StepCompleted)
    assert (story.outcome.basis, story.outcome.step) == (Basis.STATED, kind)
    assert kinds(story)[-2:] == ["step.completed", "call.connected"]


@pytest.mark.parametrize("kind", CONNECTING)
def test_the_end_of_a_call_that_never_connected_is_the_failure(kind):
    story = submitted(kind)
    story.receive(*ENDED, result=BUSY)
    assert isinstance(story.outcome, StepFailed)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.BUSY, Basis.STATED)
    assert story.outcome.call_alive is False


@pytest.mark.parametrize("kind", ENDING)
def test_the_end_of_the_call_completes_a_rejection_and_a_hang_up(kind):
    story = submitted(kind)
    story.receive(*ENDED, result=HUNG_UP)
    assert isinstance(story.outcome, StepCompleted)
    assert story.outcome.basis is Basis.STATED


def test_the_end_of_a_call_before_its_hang_up_was_sent_completes_it_as_inferred():
    story = requested(RequestKind.HANG_UP)
    story.answer(NO_CONNECTION)
    story.receive(*ENDED)
    assert isinstance(story.outcome, StepCompleted)
    assert story.outcome.basis is Basis.INFERRED


def test_a_hang_up_of_an_unknown_call_fails_and_the_call_is_not_alive():
    story = requested(RequestKind.HANG_UP)
    story.answer(CALL_NOT_FOUND)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.CALL_NOT_FOUND, False)


@pytest.mark.parametrize("kind", HOLDING)
def test_an_acceptance_completes_a_hold_as_inferred_if_no_callback_follows(kind):
    story = submitted(kind, COMPLETES_ON_ACCEPTANCE)
    assert (story.outcome.step, story.outcome.basis) == (kind, Basis.INFERRED)


def test_a_response_that_says_done_completes_a_step_as_stated():
    story = submitted(RequestKind.HOLD, done=True)
    assert isinstance(story.outcome, StepCompleted)
    assert story.outcome.basis is Basis.STATED


@pytest.mark.parametrize("kind", [*HOLDING, RequestKind.JOIN])
def test_a_stated_failure_of_the_step_is_its_outcome(kind):
    story = submitted(kind)
    story.receive(*FAILED, result=BUSY, operation=kind, call_alive=True, **NAMED)
    assert isinstance(story.outcome, StepFailed)
    assert (story.outcome.basis, story.outcome.call_alive) == (Basis.STATED, True)


@pytest.mark.parametrize("operation", [None, RequestKind.TRANSFER, RequestKind.RESUME])
def test_a_verdict_about_another_operation_never_decides_a_hold(operation):
    story = submitted(RequestKind.HOLD)
    story.receive(*FAILED, result=BUSY, operation=operation)
    story.receive(*SUCCEEDED, operation=operation)
    assert story.outcome is None


@pytest.mark.parametrize("operation", [RequestKind.JOIN, RequestKind.TRANSFER])
def test_a_success_completes_a_join_that_the_provider_performs_as_a_transfer(operation):
    story = submitted(RequestKind.JOIN)
    story.receive(*SUCCEEDED, operation=operation)
    assert isinstance(story.outcome, StepCompleted)
    assert story.outcome.basis is Basis.STATED


def test_a_join_whose_call_ends_without_a_verdict_expires_after_the_grace_period():
    story = submitted(RequestKind.JOIN)
    story.receive(*ENDED)
    story.reach(Work.GRACE)
    assert isinstance(story.outcome, StepExpired)


def test_the_end_of_the_agents_call_does_not_prove_that_a_join_on_it_failed():
    """The caller may have been moved to it, and talked, before the agent hung up."""
    story = submitted(RequestKind.JOIN, Rules(join_side=JoinSide.AGENT))
    story.receive(*ENDED, result=HUNG_UP)
    story.reach(Work.GRACE)
    assert isinstance(story.outcome, StepExpired)


def test_a_caller_who_hangs_up_fails_a_join_on_the_callers_call():
    story = submitted(RequestKind.JOIN, Rules(join_side=JoinSide.CALLER))
    story.receive(*ENDED, result=HUNG_UP)
    story.reach(Work.GRACE)
    assert isinstance(story.outcome, StepFailed)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


@pytest.mark.parametrize("kind", HOLDING)
def test_the_end_of_the_call_fails_a_hold_at_once(kind):
    story = submitted(kind)
    story.receive(*ENDED, result=HUNG_UP)
    assert isinstance(story.outcome, StepFailed)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.CALLER_LEFT, False)


@pytest.mark.parametrize(
    ("kind", "presence", "outcome"),
    [
        (RequestKind.ANSWER, Presence.CONNECTED, StepCompleted),
        (RequestKind.PLACE_CALL, Presence.CONNECTED, StepCompleted),
        (RequestKind.ANSWER, Presence.GONE, StepFailed),
        (RequestKind.HANG_UP, Presence.GONE, StepCompleted),
        (RequestKind.HOLD, Presence.GONE, StepFailed),
    ],
)
def test_a_query_after_an_unknown_answer_decides_by_the_call_itself(kind, presence, outcome):
    story = requested(kind)
    story.answer(NO_ANSWER)
    story.inspect(presence)
    assert isinstance(story.outcome, outcome)
    assert story.outcome.basis is Basis.INFERRED


@pytest.mark.parametrize("kind", [RequestKind.HOLD, RequestKind.JOIN])
def test_a_query_never_completes_a_hold_or_a_join(kind):
    story = requested(kind)
    story.answer(NO_ANSWER)
    story.inspect(Presence.CONNECTED)
    assert story.outcome is None


def test_an_unknown_answer_is_repeated_only_if_the_provider_recognizes_it():
    once = requested(RequestKind.PLACE_CALL)
    once.answer(NO_ANSWER)
    assert Work.SUBMIT not in once.due
    again = requested(RequestKind.PLACE_CALL, REPEATABLE)
    again.answer(NO_ANSWER)
    assert Work.SUBMIT in again.due


def test_a_step_without_proof_expires_at_its_deadline():
    story = submitted(RequestKind.HANG_UP)
    story.wait_until(30)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert isinstance(story.outcome, StepExpired)
    assert story.outcome.call_alive is True


@pytest.mark.parametrize("kind", [*HOLDING, RequestKind.JOIN])
def test_a_step_that_needs_an_answered_call_is_refused_while_the_call_rings(kind):
    story = Story()
    event = CallIncoming(
        time=START, provider="fake", call_id=CALL.id, respond_by=START + timedelta(seconds=30)
    )
    story.observe(Fact(event=event))
    with pytest.raises(CallStillRinging):
        story.request(request=STEPS[kind])
    story.request(request=STEPS[RequestKind.ANSWER])
    assert kinds(story)[-1] == "step.requested"


# --- placed calls -----------------------------------------------------------------------------------


class Placed(Story):
    """The state of a step that places a call, as the callbacks of the placed call reach it."""

    def __init__(self, rules=None):
        super().__init__(*([rules] if rules else []), call=CallKey("fake", "t1"))
        self.request(request=STEPS[RequestKind.PLACE_CALL], parent="consultation")

    def hear(self, event, *signals, **fields):
        event = event(time=self.now, provider="fake", call_id="provider-1")
        fact = Fact(event=event, signals=signals, placed_by="t1", **fields)
        return self.apply(PlacedCallObserved(at=self.now, fact=fact))


def test_the_answer_of_a_placed_call_gives_its_id():
    story = Placed()
    story.answer(Submitted(call_id="provider-1"))
    story.hear(CallConnected)
    assert story.outcome.placed == "provider-1"


def test_a_callback_proves_a_placed_call_whose_answer_was_lost():
    story = Placed()
    story.answer(NO_ANSWER)
    story.hear(CallConnected)
    assert isinstance(story.outcome, StepCompleted)
    assert (story.outcome.placed, story.outcome.basis) == ("provider-1", Basis.STATED)


def test_a_callback_without_the_calls_id_proves_a_placed_call_and_does_not_name_it():
    story = Placed()
    story.answer(NO_ANSWER)
    story.hear(CallConnected, names_call=False)
    assert (story.outcome.basis, story.outcome.placed) == (Basis.STATED, None)
    story.hear(CallConnected)
    assert story.state.placed_call == "provider-1"


def test_the_end_of_a_placed_call_before_it_connects_is_the_failure():
    story = Placed()
    story.answer(Submitted(call_id="provider-1"))
    story.hear(CallEnded, Signal.CALL_ENDED, result=BUSY)
    assert (story.outcome.reason, story.outcome.placed) == (FailureReason.BUSY, "provider-1")


def test_a_stated_failure_of_a_placed_call_is_its_outcome():
    story = Placed()
    story.answer(Submitted(call_id="provider-1"))
    story.hear(CallEnded, Signal.FAILED, operation=RequestKind.PLACE_CALL, result=BUSY)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.BUSY, Basis.STATED)


def test_what_requested_a_placed_call_is_advanced_when_the_call_connects_and_ends():
    story = Placed()
    story.answer(Submitted(call_id="provider-1"))
    (connected,) = story.hear(CallConnected).due
    assert (connected.transfer_id, connected.work) == ("consultation", Work.ADVANCE)
    (ended,) = story.hear(CallEnded, Signal.CALL_ENDED).due
    assert (ended.transfer_id, ended.work) == ("consultation", Work.ADVANCE)
    assert story.hear(CallEnded, Signal.CALL_ENDED).due == ()
    assert story.state.ended


def test_a_callback_of_a_placed_call_publishes_nothing_twice():
    story = Placed()
    story.hear(CallConnected)
    story.hear(CallConnected)
    assert kinds(story) == ["step.requested", "step.submitted", "step.completed"]


def test_a_callback_at_the_address_of_an_unknown_step_changes_nothing():
    story = Story()
    event = CallConnected(time=START, provider="fake", call_id="provider-1")
    decision = story.apply(PlacedCallObserved(at=START, fact=Fact(event=event, placed_by="unknown")))
    assert (decision.state, decision.events, decision.due) == (CallState(), (), ())


def test_a_provider_with_client_chosen_ids_uses_one_state_for_step_and_call():
    story = Placed()
    event = CallConnected(time=story.now, provider="fake", call_id="t1")
    decision = story.observe(Fact(event=event, placed_by="t1"))
    assert story.outcome.placed == "t1"
    assert [due.work for due in decision.due if due.transfer_id == "consultation"] == [Work.ADVANCE]


def test_the_outcome_of_a_step_advances_what_requested_it():
    story = Story()
    story.request(request=STEPS[RequestKind.HANG_UP], parent="consultation")
    story.answer(Submitted())
    decision = story.receive(*ENDED)
    assert [(due.transfer_id, due.work) for due in decision.due] == [("consultation", Work.ADVANCE)]


def test_a_failure_without_a_reason_is_the_end_of_the_call():
    story = submitted(RequestKind.ANSWER)
    story.receive(*ENDED, result=Result())
    assert story.outcome.reason is FailureReason.CALL_ENDED


# --- proofs that arrive late, or belong to an earlier step ------------------------------------------------


@pytest.mark.parametrize("kind", CONNECTING)
@pytest.mark.parametrize("result", [HUNG_UP, Result()])
def test_an_end_that_does_not_say_that_the_call_never_connected_states_nothing(kind, result):
    story = submitted(kind)
    story.receive(*ENDED, result=result)
    assert (type(story.outcome), story.outcome.basis) == (StepFailed, Basis.INFERRED)


@pytest.mark.parametrize("kind", HOLDING)
def test_the_end_of_the_call_does_not_state_that_a_hold_failed(kind):
    story = submitted(kind)
    story.receive(*ENDED, result=HUNG_UP)
    assert (type(story.outcome), story.outcome.basis) == (StepFailed, Basis.INFERRED)


def test_a_late_failure_of_an_earlier_hold_is_not_stated_for_the_next_one():
    story = Story()
    for transfer_id in ("t1", "t2"):
        story.request(transfer_id, Hold(LEG, operation_context="case-42"))
        story.answer(Submitted())
        if transfer_id == "t1":
            story.wait_until(30)
            story.reach(Work.DEADLINE)
            story.inspect(Presence.CONNECTED)
    echoed = {"echoes_context": True, "context": "case-42"}
    story.receive(*FAILED, result=BUSY, operation=RequestKind.HOLD, call_alive=True, **echoed)
    assert story.outcome is None or story.outcome.basis is not Basis.STATED
