"""What the life cycle machine promises, one behaviour a test.

`Story` is one call, told to `step` input by input. It keeps what a store keeps: the state, the events, the
due work and the marks of deliveries. Times are seconds since the story began.
"""

from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

import attrs
import pytest
from attrs import evolve

from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    DueReached,
    Inspected,
    Lease,
    Observed,
    Opened,
    Replaced,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.codec import decode, encode
from transferkit.config import LifecycleConfig
from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    CallParticipants,
    Evidence,
    FailureReason,
    ProviderOther,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    Verdict,
)
from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.provider.facts import Delivery, Fact, RequestKind, Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Call, Redirect, Transfer
from transferkit.stores.contract import delivery_key

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = CallKey("fake", "leg")
AGENT = PhoneNumber("+14255550100")
CALLER = TeamsUser("caller")
VOICEMAIL = TeamsUser("voicemail")

ONCE_ONLY = Rules()
REPEATABLE = Rules(repeatable_for=timedelta(seconds=285))
HANDED_OVER = Rules(redirect_completes_on_acceptance=True)
GRACE, GAP, DEADLINE = 5, 5, 150  # seconds, as the rules and the request have it

STARTED, ACCEPTED, SUCCEEDED, FAILED = (
    (Signal.STARTED,),
    (Signal.ACCEPTED,),
    (Signal.SUCCEEDED,),
    (Signal.FAILED,),
)
RETURNED, ENDED = (Signal.RETURNED,), (Signal.CALL_ENDED,)
ACS_SUCCESS = (Signal.ACCEPTED, Signal.SUCCEEDED)
GRAPH_SUCCESS = (Signal.SUCCEEDED, Signal.CALL_ENDED)
FAILED_AND_ENDED = (Signal.FAILED, Signal.CALL_ENDED)

BUSY = Result(code=486, subcode=10486, message="busy here", reason=FailureReason.BUSY)
HUNG_UP = Result(code=487, subcode=10003, message="hung up", reason=FailureReason.CALLER_LEFT)
NO_CALL = Rejected(result=Result(code=404, subcode=8522, reason=FailureReason.CALL_NOT_FOUND))
LOST = MaybeSent(result=Result(message="read timed out", reason=FailureReason.TIMEOUT))
NO_CONNECTION = NotSent(
    result=Result(message="connection refused", reason=FailureReason.UNREACHABLE, basis=Basis.LOCAL)
)
NO_NAME = NotSent(result=evolve(NO_CONNECTION.result, message="no such host"), lasting=True)
TOO_MANY = NotSent(result=Result(code=429, message="slow down", reason=FailureReason.THROTTLED))

NOBODY_TOOK_IT = {
    FailureReason.BUSY,
    FailureReason.DECLINED,
    FailureReason.NO_ANSWER,
    FailureReason.UNREACHABLE,
    FailureReason.TARGET_NOT_FOUND,
    FailureReason.TARGET_NOT_ALLOWED,
}


def seconds(number):
    return timedelta(seconds=number)


def words(told):
    """The kinds of the events of a story or a decision; without their noun where it is `transfer`."""
    return [event.kind.removeprefix("transfer.") for event in told.events]


class Story:
    """One call under the machine."""

    def __init__(self, rules=ONCE_ONLY, call=CALL):
        self.call = call
        self.rules = rules
        self.now = START
        self.state = CallState()
        self.events = []
        self.outcomes = {}
        self.transfer = None
        self._marks = {}
        self._due = {}
        self._deliveries = 0

    # What the machine is told.

    def happens(self, happened):
        key = delivery_key(happened)
        decision = step(self.call, self.state, happened, self._marks.get(key))
        self.state = decision.state
        self.events += decision.events
        if key is not None and decision.mark is not None:
            self._marks[key] = decision.mark
        for due in decision.due:
            self._due[due.transfer_id, due.work] = due
        for cleared in decision.cleared:
            self._due.pop(cleared, None)
        if decision.outcome:
            self.outcomes[decision.outcome.transfer_id] = decision.outcome
        return decision

    def wait(self, span):
        self.now += seconds(span)

    def wait_until(self, second):
        self.now = START + seconds(second)

    def request(self, transfer_id="t1", request=None, *, dropped=(), **fields):
        request = request or Transfer(call=Call("fake", self.call.id), to=AGENT, **fields)
        self.transfer = transfer_id
        opened = Opened(
            id=transfer_id, call=self.call, request=request, fingerprint="", at=self.now, legs=(self.call,)
        )
        sender = Lease("me", self.now + seconds(90))
        asked = Requested(at=self.now, opened=opened, rules=self.rules, sender=sender, dropped=dropped)
        return self.happens(asked)

    def attempt(self, number, transfer_id=None):
        attempted = Attempted(at=self.now, transfer_id=transfer_id or self.transfer, attempt=number)
        return self.happens(attempted)

    def answer(self, answer, attempt=1, transfer_id=None, *, finds=Presence.CONNECTED):
        """An answer; a query about the call that only it delays finds this, or is not answered yet."""
        decision = self.happens(
            Answered(at=self.now, transfer_id=transfer_id or self.transfer, attempt=attempt, answer=answer)
        )
        self._query_answered(finds)
        return decision

    def _query_answered(self, finds):
        if finds is not None and self.state.open and self.state.open.pending_failure:
            self.inspect(finds, inspection_round=self.state.open.inspection_round)

    def hear(self, *signals, event=None, delivery=None, repeatable_key=None, said=None, context=None, **fact):
        """A callback, by default a delivery of its own. By default a failure says that the call is alive."""
        self._deliveries += 1
        if Signal.FAILED in signals and Signal.CALL_ENDED not in signals:
            fact.setdefault("call_alive", True)
        cls = event or (CallEnded if Signal.CALL_ENDED in signals else ProviderOther)
        if repeatable_key is not None:
            delivery = Delivery(repeatable_key, exact=False)
        told = cls(
            time=self.now - seconds(1),
            provider=self.call.provider,
            call_id=self.call.id,
            correlation_id="chain",
            operation_context=context,
            raw=said or {"said": [*signals]},
        )
        delivery = delivery or Delivery(f"delivery {self._deliveries}")
        return self.happens(
            Observed(at=self.now, fact=Fact(event=told, signals=signals, delivery=delivery, **fact))
        )

    def inspect(self, presence, transfer_id=None, inspection_round=0):
        return self.happens(
            Inspected(
                at=self.now,
                transfer_id=transfer_id or self.transfer,
                presence=presence,
                inspection_round=inspection_round,
            )
        )

    def reach(self, work, transfer_id=None, *, finds=Presence.CONNECTED):
        decision = self.happens(DueReached(at=self.now, transfer_id=transfer_id or self.transfer, work=work))
        self._query_answered(finds)
        return decision

    def play(self, *tellings):
        """Answers of attempt 1, and signals."""
        for telling in tellings:
            if isinstance(telling, tuple):
                self.hear(*telling)
            else:
                self.answer(telling)

    # What there is to see.

    @property
    def outcome(self):
        return self.outcomes.get(self.transfer)

    @property
    def due(self):
        """When each piece of work is due."""
        return {work: (due.at - START).total_seconds() for (_, work), due in self._due.items()}

    @property
    def last(self):
        return self.events[-1]


def asked(rules=ONCE_ONLY, **fields):
    """A transfer whose first attempt is in flight."""
    story = Story(rules)
    story.request(**fields)
    return story


def submitted(rules=ONCE_ONLY, **fields):
    story = asked(rules, **fields)
    story.answer(Submitted())
    return story


def started(rules=ONCE_ONLY, **fields):
    story = submitted(rules, **fields)
    story.hear(*STARTED)
    return story


def redirecting(rules=ONCE_ONLY, to=AGENT):
    story = Story(rules)
    story.request(request=Redirect(call=Call("fake", story.call.id), to=to))
    return story


def concluded(ending):
    """A transfer that has its outcome: `completed`, `failed` or `expired`."""
    story = submitted()
    match ending:
        case "completed":
            story.hear(*SUCCEEDED)
        case "failed":
            story.hear(*FAILED, result=BUSY)
        case "expired":
            story.wait_until(DEADLINE)
            story.reach(Work.DEADLINE)
            story.inspect(Presence.CONNECTED)
    assert words(story)[-1] == ending
    return story


# --- asking -----------------------------------------------------------------------------------------


def test_a_request_is_recorded_before_anything_leaves():
    story = Story()
    decision = story.request(transferee=CALLER, operation_context="case 42", dropped=("region",))
    (event,) = decision.events
    assert event.kind == "transfer.requested"
    assert (event.transfer_id, event.operation_context, event.time) == ("t1", "case 42", START)
    assert (event.targets, event.transferee, event.dropped) == ((AGENT,), CALLER, ("region",))
    assert decision.opened.id == "t1"
    assert decision.outcome is None


def test_whoever_asks_holds_the_submission_and_everybody_sees_the_deadline():
    story = Story()
    decision = story.request(deadline=60)
    submit, deadline = decision.due
    assert (submit.work, submit.at, submit.lease) == (Work.SUBMIT, START, Lease("me", START + seconds(90)))
    assert (deadline.work, deadline.at, deadline.lease) == (Work.DEADLINE, START + seconds(60), None)


def test_the_request_itself_begins_attempt_1():
    progress = asked().state.open
    assert (progress.attempts, progress.in_flight, progress.first_sent_at) == (1, True, START)


def test_a_redirect_leads_a_life_of_its_own():
    story = redirecting(to=[AGENT, VOICEMAIL])
    assert story.last.kind == "redirect.requested"
    assert story.last.targets == (AGENT, VOICEMAIL)
    assert story.state.open.kind is RequestKind.REDIRECT


def test_the_tenant_of_the_call_is_kept_with_the_call():
    story = Story()
    story.hear(event=CallConnected, tenant_id="from a callback")
    story.hear(event=CallParticipants)
    story.request()
    assert story.state.tenant_id == "from a callback"


def test_the_tenant_that_the_application_names_is_kept():
    story = Story()
    story.hear(event=CallConnected, tenant_id="before")
    story.request(request=Transfer(call=Call("fake", "leg", tenant_id="named"), to=AGENT))
    assert story.state.tenant_id == "named"


def test_a_repeated_delivery_does_not_bring_its_tenant_back():
    story = asked()
    story.hear(delivery=Delivery("d"), tenant_id="old")
    story.hear(tenant_id="new")
    story.hear(delivery=Delivery("d"), tenant_id="old")
    assert story.state.tenant_id == "new"


# --- requested, submitted, started, accepted, and one outcome ---------------------------------------

LIVES = {
    "step by step": (
        [Submitted(), STARTED, ACCEPTED, SUCCEEDED],
        ["requested", "submitted", "started", "accepted", "completed"],
    ),
    "started and accepted are optional": ([Submitted(), SUCCEEDED], ["requested", "submitted", "completed"]),
    "each at most once": (
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
    "a late started comes after accepted no more": (
        [Submitted(), ACCEPTED, STARTED, SUCCEEDED],
        ["requested", "submitted", "accepted", "provider.other", "completed"],
    ),
    "a callback overtakes the 202": (
        [STARTED, Submitted(), ACCEPTED, SUCCEEDED],
        ["requested", "submitted", "started", "accepted", "completed"],
    ),
    "the verdict overtakes the 202": ([SUCCEEDED, Submitted()], ["requested", "submitted", "completed"]),
    "the failure overtakes the 202": ([FAILED, Submitted()], ["requested", "submitted", "failed"]),
    "ACS: accepted and succeeded at once": (
        [Submitted(), ACS_SUCCESS, ENDED],
        ["requested", "submitted", "accepted", "completed", "call.ended"],
    ),
    "ACS: overtaking the 202": (
        [ACS_SUCCESS, Submitted()],
        ["requested", "submitted", "accepted", "completed"],
    ),
    "Graph: succeeded and call ended at once": (
        [Submitted(), STARTED, ACCEPTED, GRAPH_SUCCESS],
        ["requested", "submitted", "started", "accepted", "completed", "call.ended"],
    ),
    "the same, the other way round": (
        [Submitted(), (Signal.CALL_ENDED, Signal.SUCCEEDED)],
        ["requested", "submitted", "completed", "call.ended"],
    ),
    "failed and call ended at once": (
        [Submitted(), FAILED_AND_ENDED],
        ["requested", "submitted", "failed", "call.ended"],
    ),
    "accepted is no success": (
        [Submitted(), STARTED, ACCEPTED, FAILED],
        ["requested", "submitted", "started", "accepted", "failed"],
    ),
    "a group transfer, where the leg stays": (
        [Submitted(), STARTED, SUCCEEDED],
        ["requested", "submitted", "started", "completed"],
    ),
    "the first verdict of a fact counts": (
        [Submitted(), (Signal.FAILED, Signal.SUCCEEDED)],
        ["requested", "submitted", "failed"],
    ),
}


@pytest.mark.parametrize(("told", "expected"), LIVES.values(), ids=LIVES)
def test_a_life_is_told_in_order(told, expected):
    story = asked()
    story.play(*told)
    assert words(story) == expected


@pytest.mark.parametrize(
    "told", [[Submitted()], [Submitted(), STARTED], [Submitted(), ACCEPTED], [Submitted(), RETURNED]]
)
def test_nothing_but_a_statement_of_success_completes(told):
    story = asked()
    story.play(*told)
    assert story.outcome is None
    assert story.state.open


@pytest.mark.parametrize("ending", ["completed", "failed", "expired"])
def test_nothing_comes_after_the_outcome(ending):
    story = concluded(ending)
    before, outcome = len(story.events), story.outcome
    story.play(Submitted(), NO_CALL, LOST, STARTED, ACCEPTED, RETURNED, SUCCEEDED, FAILED, ENDED)
    story.attempt(2)
    story.inspect(Presence.TRANSFERRING)
    for work in Work:
        story.reach(work)
    after = [event.kind for event in story.events[before:]]
    assert set(after) == {"provider.other", "call.ended"}
    assert story.outcome is outcome
    assert story.due == {}


@pytest.mark.parametrize("ending", ["completed", "failed", "expired"])
def test_the_outcome_frees_the_call_and_leaves_no_work(ending):
    story = concluded(ending)
    assert story.outcome.transfer_id == "t1"
    assert story.state.open is None
    assert story.due == {}
    story.request("t2")
    assert story.state.open.id == "t2"


@pytest.mark.parametrize(
    "tell",
    [
        lambda story: story.attempt(2),
        lambda story: story.inspect(Presence.GONE),
        lambda story: story.reach(Work.DEADLINE),
    ],
)
def test_work_left_over_from_a_concluded_transfer_is_cleared(tell):
    story = concluded("completed")
    decision = tell(story)
    assert {work for _, work in decision.cleared} == set(Work)
    assert not decision.proceed


def test_an_event_that_a_fact_brought_about_says_what_the_fact_said():
    story = submitted(operation_context="case 42", transferee=CALLER)
    story.wait(10)
    said = {"code": 200}
    story.hear(*SUCCEEDED, said=said, target=VOICEMAIL, result=Result(code=200, subcode=7015, message="ok"))
    outcome = story.outcome
    assert isinstance(outcome, TransferCompleted)
    assert outcome.basis is Basis.STATED
    assert outcome.time == START + seconds(9), "when it happened, not when we heard of it"
    assert outcome.elapsed == seconds(10)
    assert (outcome.correlation_id, outcome.raw, outcome.operation_context) == ("chain", said, "case 42")
    assert (outcome.target, outcome.transferee) == (VOICEMAIL, CALLER)
    assert (outcome.code, outcome.subcode, outcome.message) == (200, 7015, "ok")


def test_accepted_says_what_the_fact_said():
    story = submitted()
    story.hear(*ACCEPTED, target=AGENT, transferee=CALLER, result=Result(code=200, subcode=1, message="ok"))
    event = story.last
    assert (event.target, event.transferee) == (AGENT, CALLER)
    assert (event.code, event.subcode, event.message) == (200, 1, "ok")
    assert event.correlation_id == "chain"


def test_who_received_the_call_is_known_from_the_request_if_the_provider_does_not_say():
    story = submitted(transferee=CALLER)
    story.hear(*SUCCEEDED)
    assert (story.outcome.target, story.outcome.transferee) == (AGENT, CALLER)


def test_the_transferee_that_the_provider_states_counts():
    story = submitted(transferee=CALLER)
    story.hear(*SUCCEEDED, transferee=VOICEMAIL)
    assert story.outcome.transferee == VOICEMAIL


def test_submitted_carries_what_the_answer_said():
    story = asked(operation_context="case 42")
    story.wait(2)
    story.answer(Submitted(correlation_id="chain 7"))
    event = story.last
    assert (event.kind, event.correlation_id) == ("transfer.submitted", "chain 7")
    assert (event.time, event.operation_context) == (START + seconds(2), "case 42")


def test_submitted_carries_what_the_overtaking_callback_said():
    story = asked()
    story.hear(*STARTED, said={"state": "transferring"})
    event = story.events[1]
    assert (event.kind, event.correlation_id) == ("transfer.submitted", "chain")
    assert event.raw == {"state": "transferring"}


def test_a_clock_that_goes_backwards_gives_no_negative_time():
    story = submitted()
    story.wait(-10)
    story.hear(*SUCCEEDED)
    assert story.outcome.elapsed == seconds(0)


# --- failed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [True, False])
def test_a_stated_failure_says_whether_the_caller_is_still_there(alive):
    story = started()
    story.hear(*FAILED, result=evolve(BUSY, advice="try later", request_id="r1"), call_alive=alive)
    outcome = story.outcome
    assert isinstance(outcome, TransferFailed)
    assert (outcome.basis, outcome.reason, outcome.call_alive) == (Basis.STATED, FailureReason.BUSY, alive)
    assert (outcome.code, outcome.subcode, outcome.message) == (486, 10486, "busy here")
    assert (outcome.advice, outcome.request_id) == ("try later", "r1")


def test_a_failure_without_a_word_is_unknown():
    story = started()
    story.hear(*FAILED)
    assert story.outcome.reason is FailureReason.UNKNOWN


def test_failed_and_ended_at_once_leaves_nobody_to_talk_to():
    story = started()
    story.hear(*FAILED_AND_ENDED, result=BUSY, call_alive=True)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.BUSY, False)
    assert words(story)[-2:] == ["failed", "call.ended"]


def test_a_failure_stated_after_the_call_ended_leaves_nobody_to_talk_to():
    story = started()
    story.hear(*ENDED)
    story.hear(*FAILED, result=BUSY, call_alive=True)
    assert (story.outcome.reason, story.outcome.call_alive) == (FailureReason.BUSY, False)


# --- the call looks connected again -----------------------------------------------------------------


@pytest.mark.parametrize("before", [STARTED, ACCEPTED])
def test_a_returned_call_is_asked_about_and_decides_nothing(before):
    story = submitted()
    story.hear(*before)
    story.wait(20)
    decision = story.hear(*RETURNED)
    assert words(decision) == ["provider.other"]
    assert decision.events[0].transfer_id == "t1"
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 20}
    assert story.state.open


@pytest.mark.parametrize("before", [[], [Submitted()]])
def test_a_call_that_never_left_does_not_return(before):
    story = asked()
    story.play(*before)
    decision = story.hear(*RETURNED)
    assert Work.INSPECT not in story.due
    assert words(decision) == ["provider.other"]


def test_a_returned_call_proves_no_submission():
    story = asked()
    story.hear(*RETURNED)
    assert "submitted" not in words(story)


# --- the call ends while its transfer is open -------------------------------------------------------


def test_the_calls_end_waits_a_grace_for_a_proof():
    story = started()
    story.wait(20)
    decision = story.hear(*ENDED, result=BUSY)
    assert words(decision) == ["call.ended"]
    assert story.state.open
    assert story.due == {Work.DEADLINE: DEADLINE, Work.GRACE: 20 + GRACE}


def test_a_second_end_does_not_lengthen_the_grace():
    story = started()
    story.hear(*ENDED, result=HUNG_UP)
    story.wait(3)
    decision = story.hear(*ENDED, result=BUSY)
    assert words(decision) == ["provider.other"]
    assert story.due[Work.GRACE] == GRACE
    story.wait_until(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


def test_a_call_that_ended_without_proof_failed_if_its_end_would_carry_the_proof():
    story = started()
    story.hear(*ENDED, result=BUSY, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    assert (outcome.reason, outcome.basis) == (FailureReason.CALL_ENDED, Basis.INFERRED)
    assert outcome.call_alive is False
    assert (outcome.code, outcome.subcode, outcome.message) == (486, 10486, "busy here")
    assert outcome.time == START + seconds(GRACE)


def test_a_call_that_ended_without_a_word_failed_as_well():
    story = started()
    story.hear(*ENDED, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.reason, story.outcome.code) == (FailureReason.CALL_ENDED, None)


@pytest.mark.parametrize(
    ("transferee", "ends_with_verdict"), [(None, False), (CALLER, False), (CALLER, True)], ids=str
)
def test_a_call_that_ended_proves_nothing_if_the_proof_may_be_in_another_callback(
    transferee, ends_with_verdict
):
    story = submitted(transferee=transferee)
    story.hear(*ENDED, ends_with_verdict=ends_with_verdict)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.evidence, story.outcome.call_alive) == (
        "transfer.expired",
        Evidence.CALL_GONE,
        False,
    )


def test_a_caller_who_left_is_stated_where_the_end_says_so():
    story = started()
    story.hear(*ENDED, result=HUNG_UP)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    assert (outcome.reason, outcome.basis) == (FailureReason.CALLER_LEFT, Basis.STATED)
    assert (outcome.call_alive, outcome.code) == (False, 487)


@pytest.mark.parametrize(("proof", "expected"), [(SUCCEEDED, "completed"), (FAILED, "failed")])
def test_a_proof_within_the_grace_wins(proof, expected):
    story = started()
    story.hear(*ENDED, result=HUNG_UP)
    story.wait(GRACE - 1)
    story.hear(*proof, result=BUSY)
    assert words(story)[-1] == expected
    assert story.outcome.basis is Basis.STATED
    assert story.due == {}


def test_a_grace_that_never_began_cannot_run_out():
    story = started()
    assert story.reach(Work.GRACE).events == ()
    assert story.state.open


def test_a_grace_that_never_began_is_no_deadline_either():
    story = started()
    story.wait_until(DEADLINE)
    assert story.reach(Work.GRACE).due == ()
    assert not story.state.open.deadline_passed


@pytest.mark.parametrize(
    ("make", "result"),
    [(started, None), (started, HUNG_UP), (redirecting, BUSY)],
    ids=["we", "caller", "nobody"],
)
def test_a_call_that_ended_has_nobody_left_even_if_no_event_of_its_end_was_told(make, result):
    story = make()
    story.hear(*ENDED, event=ProviderOther, result=result)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert not story.state.ended
    assert story.outcome.call_alive is False


def test_the_grace_decides_if_the_deadline_comes_meanwhile():
    story = started()
    story.wait_until(DEADLINE - 2)
    story.hear(*ENDED, result=HUNG_UP)
    story.wait_until(DEADLINE)
    assert story.reach(Work.DEADLINE).events == ()
    assert story.due == {Work.GRACE: DEADLINE - 2 + GRACE}
    story.wait(3)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


@pytest.mark.parametrize("presence", Presence)
def test_the_grace_decides_if_the_call_ends_after_the_deadline(presence):
    story = started()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.hear(*ENDED, result=HUNG_UP)
    story.wait(1)
    story.inspect(presence)
    assert story.outcome is None, "a proof may still come"
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALLER_LEFT


def test_a_call_that_ended_before_its_transfer_ends_it_no_second_time():
    story = Story()
    story.hear(*ENDED)
    story.request()
    assert Work.GRACE not in story.due


# --- the deadline -----------------------------------------------------------------------------------


def test_at_the_deadline_the_provider_is_asked():
    story = submitted()
    story.wait_until(DEADLINE)
    assert story.reach(Work.DEADLINE).events == ()
    assert story.due == {Work.INSPECT: DEADLINE}
    assert story.state.open


def test_a_deadline_that_is_reached_early_is_not_reached():
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
def test_asking_proves_no_outcome_so_the_transfer_expires_with_its_evidence(presence, evidence):
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


def test_a_provider_that_does_not_say_is_asked_again_a_few_times():
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


def test_questions_before_the_deadline_do_not_count_against_those_after_it():
    story = started()
    for _ in range(ONCE_ONLY.max_inspections):
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
def test_old_evidence_counts_only_where_it_cannot_have_changed(seen, evidence):
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
    ("proof", "expected"), [(SUCCEEDED, "completed"), (FAILED, "failed"), (ACS_SUCCESS, "completed")]
)
def test_a_verdict_still_wins_after_the_deadline_while_the_transfer_is_open(proof, expected):
    story = submitted()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.hear(*proof)
    assert words(story)[-1] == expected


@pytest.mark.parametrize(
    ("answer", "reason", "basis", "alive"),
    [
        (NO_CONNECTION, FailureReason.UNREACHABLE, Basis.LOCAL, None),
        (TOO_MANY, FailureReason.THROTTLED, Basis.STATED, True),
    ],
)
def test_what_was_never_sent_fails_at_the_deadline(answer, reason, basis, alive):
    story = asked(deadline=10)
    story.answer(answer)
    story.wait_until(10)
    story.reach(Work.DEADLINE)
    assert isinstance(story.outcome, TransferFailed), "it is known that nothing executed"
    assert (story.outcome.reason, story.outcome.basis) == (reason, basis)
    assert story.outcome.call_alive is alive


@pytest.mark.parametrize(
    "before", [[], [LOST], [STARTED], [Submitted()]], ids=["in flight", "ambiguous", "proved", "taken"]
)
def test_what_may_have_been_sent_does_not_fail_at_the_deadline(before):
    story = asked()
    story.play(*before)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE}, "asked, and never sent again"
    story.inspect(Presence.GONE)
    assert isinstance(story.outcome, TransferExpired)


def test_nor_does_what_was_turned_away_once_and_is_in_flight_again():
    story = asked()
    story.answer(TOO_MANY)
    story.wait(0.5)
    story.attempt(2)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE}


@pytest.mark.parametrize(
    ("answer", "expected"), [(Submitted(), None), (NO_CALL, "failed"), (TOO_MANY, "failed")]
)
def test_an_answer_may_still_come_after_the_deadline(answer, expected):
    story = asked()
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.answer(answer)
    assert (story.outcome and words(story)[-1]) == expected


def test_no_answer_after_the_deadline_has_anything_sent_again():
    story = asked(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.answer(LOST)
    assert story.due == {Work.INSPECT: DEADLINE}


# --- refusals ---------------------------------------------------------------------------------------


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
def test_a_refusal_of_the_first_attempt_is_final(reason, alive):
    story = asked()
    story.answer(Rejected(result=Result(code=400, subcode=7, message="no", reason=reason, advice="fix it")))
    outcome = story.outcome
    assert words(story) == ["requested", "failed"]
    assert (outcome.reason, outcome.basis, outcome.call_alive) == (reason, Basis.STATED, alive)
    assert (outcome.code, outcome.subcode, outcome.message) == (400, 7, "no")
    assert outcome.advice == "fix it"
    assert story.due == {}


@pytest.mark.parametrize(
    "reason", [FailureReason.CALL_NOT_ESTABLISHED, FailureReason.THROTTLED, FailureReason.FORBIDDEN]
)
def test_a_refusal_that_leaves_the_calls_state_open_leads_to_one_query(reason):
    story = asked()
    story.answer(Rejected(result=Result(code=400, reason=reason)), finds=None)
    assert story.outcome is None
    story.inspect(Presence.GONE, inspection_round=1)
    assert (story.outcome.reason, story.outcome.basis, story.outcome.call_alive) == (
        reason,
        Basis.STATED,
        False,
    )


def test_a_refusal_after_attempts_that_cannot_have_executed_is_final():
    story = asked()
    story.answer(NO_CONNECTION)
    story.wait(1)
    story.attempt(2)
    story.answer(NO_CALL, attempt=2)
    assert story.outcome.reason is FailureReason.CALL_NOT_FOUND


def test_a_refusal_after_a_lost_answer_decides_nothing():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.answer(NO_CALL, attempt=2)
    assert story.outcome is None
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 1}


def test_a_refusal_after_a_takeover_decides_nothing():
    story = asked(REPEATABLE)
    story.wait(90)
    assert story.attempt(2).proceed
    story.answer(NO_CALL, attempt=2)
    assert story.outcome is None
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 90}


def test_after_a_refusal_that_decided_nothing_the_transfer_expires():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.answer(NO_CALL, attempt=2)
    story.inspect(Presence.GONE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE)
    assert story.outcome.evidence is Evidence.CALL_GONE


def test_after_a_refusal_that_decided_nothing_a_verdict_wins():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.answer(NO_CALL, attempt=2)
    story.hear(*SUCCEEDED)
    assert words(story) == ["requested", "submitted", "completed"]


@pytest.mark.parametrize("answer", [NO_CALL, LOST, TOO_MANY])
def test_an_answer_that_contradicts_a_proof_of_submission_decides_nothing(answer):
    story = asked(REPEATABLE)
    story.hear(*STARTED)
    story.wait(3)
    decision = story.answer(answer)
    assert decision.events == ()
    assert story.state.open
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 3}, "asked about, and never sent again"


# --- what cannot have been sent is sent again -------------------------------------------------------


def test_an_attempt_that_did_not_leave_is_made_again_after_longer_and_longer_pauses():
    story = asked(evolve(ONCE_ONLY, max_attempts=20), deadline=600)
    pauses = []
    for number in range(1, 10):
        story.answer(NO_CONNECTION, attempt=number)
        pauses.append(story.due[Work.SUBMIT] - (story.now - START).total_seconds())
        story.wait_until(story.due[Work.SUBMIT])
        assert story.attempt(number + 1).proceed
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert words(story) == ["requested"]


def test_the_longest_pause_stays_however_many_attempts_there_are():
    story = asked(evolve(ONCE_ONLY, max_attempts=100), deadline=6000)
    for number in range(1, 80):
        story.answer(NO_CONNECTION, attempt=number)
        story.wait_until(story.due[Work.SUBMIT])
        assert story.attempt(number + 1).proceed
    story.answer(NO_CONNECTION, attempt=80)
    assert story.due[Work.SUBMIT] - (story.now - START).total_seconds() == 30


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 0.5), (0.1, 0.5), (7.5, 7.5), (45, 45)])
def test_the_provider_may_ask_for_a_longer_pause(retry_after, pause):
    story = asked()
    story.answer(evolve(TOO_MANY, retry_after=retry_after and seconds(retry_after)))
    assert story.due == {Work.SUBMIT: pause, Work.DEADLINE: DEADLINE}


def test_the_next_attempt_is_free_for_anybody():
    story = asked()
    decision = story.answer(TOO_MANY)
    assert [due.lease for due in decision.due] == [None]


def test_attempts_are_not_endless():
    story = asked(evolve(ONCE_ONLY, max_attempts=3))
    for number in (1, 2):
        story.answer(NO_CONNECTION, attempt=number)
        story.wait(10)
        assert story.attempt(number + 1).proceed
    story.answer(NO_CONNECTION, attempt=3)
    outcome = story.outcome
    assert words(story) == ["requested", "failed"]
    assert (outcome.reason, outcome.basis) == (FailureReason.UNREACHABLE, Basis.LOCAL)
    assert (outcome.call_alive, outcome.message) == (None, "connection refused")


def attempted_until_the_end(story, answer, *, took=0.0):
    """Each attempt ends so, `took` seconds after it began; returns when the attempts began."""
    begun = [0.0]
    while True:
        story.wait(took)
        story.answer(answer, attempt=len(begun))
        if story.outcome is not None:
            return begun
        begun.append(story.due[Work.SUBMIT])
        story.wait_until(begun[-1])
        assert story.attempt(len(begun)).proceed


def test_attempts_that_fail_for_a_lasting_cause_end_within_seconds():
    story = asked()
    assert attempted_until_the_end(story, NO_NAME) == [0, 0.5, 1.5, 2.5]
    assert (story.outcome.message, story.outcome.basis) == ("no such host", Basis.LOCAL)
    assert story.outcome.elapsed == timedelta(seconds=2.5)


def test_attempts_that_fail_for_a_passing_cause_are_spread_over_the_usual_pauses():
    story = asked()
    assert attempted_until_the_end(story, NO_CONNECTION) == [0, 0.5, 1.5, 3.5, 7.5, 15.5]


def test_one_attempt_that_takes_long_to_fail_for_a_lasting_cause_is_the_last():
    story = asked()
    assert attempted_until_the_end(story, NO_NAME, took=10) == [0]


def test_a_lasting_cause_counts_from_when_it_began():
    story = asked()
    story.answer(TOO_MANY)
    story.wait(60)
    assert story.attempt(2).proceed
    story.answer(NO_NAME, attempt=2)
    assert story.outcome is None
    story.wait(1)
    assert story.attempt(3).proceed
    story.answer(TOO_MANY, attempt=3)  # and ends when another follows
    story.wait(60)
    assert story.attempt(4).proceed
    story.answer(NO_NAME, attempt=4)
    assert story.outcome is None


def test_a_refusal_of_this_side_is_no_statement_of_the_provider():
    story = asked()
    story.answer(Rejected(result=Result(reason=FailureReason.UNAUTHORIZED, basis=Basis.LOCAL)))
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.UNAUTHORIZED, Basis.LOCAL)


def test_attempts_that_the_provider_turned_away_end_with_its_word():
    story = asked(evolve(ONCE_ONLY, max_attempts=1))
    story.answer(TOO_MANY)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.THROTTLED, Basis.STATED)
    assert (story.outcome.code, story.outcome.message) == (429, "slow down")


@pytest.mark.parametrize(("retry_after", "fails"), [(149.9, False), (150, True), (3600, True)])
def test_throttled_beyond_the_deadline_fails_at_once(retry_after, fails):
    story = asked()
    story.answer(evolve(TOO_MANY, retry_after=seconds(retry_after)))
    assert isinstance(story.outcome, TransferFailed) is fails


def test_what_is_sent_anew_starts_a_window_of_its_own_once_the_old_one_is_over():
    story = asked(REPEATABLE, deadline=900)
    story.answer(evolve(TOO_MANY, retry_after=seconds(300)))
    story.wait_until(300)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START + seconds(300)
    story.answer(LOST, attempt=2)
    assert story.due[Work.SUBMIT] == 301


def test_what_is_sent_anew_within_the_window_keeps_its_first_time():
    story = asked(REPEATABLE)
    story.answer(TOO_MANY)
    story.wait(1)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START


def test_without_a_window_the_first_time_is_that_of_the_attempt():
    story = asked()
    story.answer(TOO_MANY)
    story.wait(1)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START + seconds(1)


@pytest.mark.parametrize("answer", [NO_CONNECTION, TOO_MANY])
def test_nothing_is_sent_after_the_deadline_not_even_for_the_first_time(answer):
    """Somebody returns after a long outage and finds the submission and the deadline due at once."""
    story = asked(REPEATABLE)
    story.answer(answer)
    story.wait_until(3600)
    assert not story.attempt(2).proceed
    story.reach(Work.DEADLINE)
    assert isinstance(story.outcome, TransferFailed), "nothing ever left"


def test_nothing_is_sent_at_the_very_deadline():
    story = asked(REPEATABLE)
    story.answer(NO_CONNECTION)
    story.wait_until(DEADLINE)
    assert not story.attempt(2).proceed


def test_nothing_is_sent_after_the_deadline_was_reached_although_the_clock_was_set_back():
    story = asked(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.wait_until(1)
    assert not story.attempt(2).proceed


# --- what may have been executed --------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_again_where_the_provider_promises_to_execute_once():
    story = asked(REPEATABLE)
    story.answer(LOST)
    assert story.due == {Work.SUBMIT: 0.5, Work.DEADLINE: DEADLINE}
    story.wait(0.5)
    assert story.attempt(2).proceed
    assert story.state.open.first_sent_at == START, "the provider recognises the request by it"
    assert story.state.open.attempts == 2


def test_a_lost_answer_is_never_asked_for_again_elsewhere():
    story = asked()
    decision = story.answer(LOST)
    assert decision.events == ()
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 0}
    assert not story.attempt(2).proceed


def test_once_an_answer_is_lost_every_later_attempt_counts_as_a_repetition():
    story = asked(REPEATABLE, deadline=900)
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.answer(evolve(TOO_MANY, retry_after=seconds(284)), attempt=2)
    assert Work.SUBMIT not in story.due, "by then the provider has forgotten the first one"
    assert Work.INSPECT in story.due
    assert story.outcome is None


def test_no_repetition_is_planned_beyond_the_window():
    story = asked(REPEATABLE, deadline=900)
    story.wait(284.5)
    story.answer(LOST)
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 284.5}


def test_no_repetition_leaves_after_the_window():
    story = asked(REPEATABLE, deadline=900)
    story.answer(LOST)
    story.wait_until(285)
    assert not story.attempt(2).proceed
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 285}


def test_a_repetition_leaves_until_the_windows_last_moment():
    story = asked(REPEATABLE, deadline=900)
    story.answer(LOST)
    story.wait_until(284.9)
    assert story.attempt(2).proceed


def test_repetitions_are_not_endless():
    story = asked(evolve(REPEATABLE, max_attempts=2))
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.answer(LOST, attempt=2)
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 1}
    assert story.outcome is None, "it may have been executed"


# --- somebody takes over ----------------------------------------------------------------------------


def test_an_attempt_without_an_answer_is_taken_over_where_it_may_be_repeated():
    story = asked(REPEATABLE)
    story.wait(90)
    decision = story.attempt(2)
    assert decision.proceed
    assert story.state.open.first_sent_at == START


def test_an_attempt_without_an_answer_is_never_repeated_elsewhere():
    story = asked()
    story.wait(90)
    decision = story.attempt(2)
    assert not decision.proceed
    assert story.due == {Work.DEADLINE: DEADLINE, Work.INSPECT: 90}
    assert story.outcome is None


def test_a_takeover_after_the_window_repeats_nothing():
    story = asked(REPEATABLE, deadline=900)
    story.wait(285)
    assert not story.attempt(2).proceed
    assert story.due == {Work.DEADLINE: 900, Work.INSPECT: 285}


def test_a_takeover_after_the_deadline_repeats_nothing():
    story = asked(REPEATABLE)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert not story.attempt(2).proceed
    assert Work.SUBMIT not in story.due
    assert Work.INSPECT in story.due


@pytest.mark.parametrize("telling", [Submitted(), STARTED])
def test_what_the_provider_has_is_not_sent_again(telling):
    story = asked(REPEATABLE)
    story.play(telling)
    assert Work.SUBMIT not in story.due
    assert not story.attempt(2).proceed


def test_what_an_inspection_proves_to_be_there_is_not_sent_again():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.inspect(Presence.TRANSFERRING)
    assert Work.SUBMIT not in story.due
    assert not story.attempt(2).proceed


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_attempt_out_of_turn_is_fenced_off(number):
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    before = story.state
    assert not story.attempt(number).proceed
    assert story.state == before


def test_of_two_that_attempt_at_once_one_may():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    assert story.attempt(2).proceed
    assert not story.attempt(2).proceed


@pytest.mark.parametrize("late", [NO_CALL, LOST, TOO_MANY])
def test_a_late_answer_of_an_old_attempt_decides_nothing(late):
    story = asked(REPEATABLE)
    story.wait(90)
    story.attempt(2)
    before = story.state
    assert story.answer(late, attempt=1).events == ()
    assert story.state == before


def taken_over(before=()):
    """A transfer whose attempt has no answer when somebody looks after it, and which may not be repeated."""
    story = asked()
    story.play(*before)
    story.wait(90)
    assert not story.attempt(2).proceed
    return story


def test_the_late_answer_of_the_only_attempt_settles_what_the_takeover_left_open():
    story = taken_over()
    story.answer(NO_CALL)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.failed", Basis.STATED)


def test_what_did_not_leave_is_sent_after_all_when_its_late_answer_says_so():
    story = taken_over()
    story.answer(NO_CONNECTION)
    assert story.due[Work.SUBMIT] == 90.5
    story.wait(0.5)
    assert story.attempt(2).proceed
    story.answer(Submitted(), attempt=2)
    assert words(story) == ["requested", "submitted"]


def test_a_late_answer_that_nobody_knows_leaves_it_open():
    story = taken_over()
    story.answer(LOST)
    assert story.outcome is None
    assert Work.SUBMIT not in story.due
    before = story.state
    assert story.answer(NO_CALL).events == (), "each attempt is answered once"
    assert story.state == before


def test_a_late_answer_does_not_settle_what_an_earlier_attempt_left_open():
    story = asked(REPEATABLE)
    story.answer(LOST)
    story.wait(1)
    story.attempt(2)
    story.wait_until(DEADLINE + 150)
    assert not story.attempt(3).proceed
    before = story.state
    assert story.answer(NO_CALL, attempt=2).events == ()
    assert story.state == before


@pytest.mark.parametrize("late", [NO_CALL, LOST, TOO_MANY])
def test_a_second_answer_of_the_same_attempt_decides_nothing(late):
    story = asked(REPEATABLE)
    story.answer(LOST)
    before, due = story.state, story.due
    story.answer(late)
    assert (story.state, story.due) == (before, due)


def test_a_late_202_of_an_old_attempt_is_the_202_of_the_request():
    story = asked(REPEATABLE)
    story.wait(90)
    story.attempt(2)
    story.answer(Submitted(), attempt=1)
    assert words(story) == ["requested", "submitted"]
    assert Work.SUBMIT not in story.due
    before = story.state
    assert story.answer(NO_CALL, attempt=2).events == ()
    assert story.state == before
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize("second", [Submitted(), NO_CALL, LOST, TOO_MANY])
def test_a_second_answer_after_the_202_is_no_news(second):
    story = submitted()
    before = story.state
    assert story.answer(second).events == ()
    assert story.state == before
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize("answer", [Submitted(), NO_CALL, LOST, TOO_MANY])
def test_an_answer_after_the_outcome_changes_nothing(answer):
    story = asked()
    story.hear(*SUCCEEDED)
    before = story.state
    decision = story.answer(answer)
    assert (decision.events, decision.due) == ((), ())
    assert story.state == before


def test_an_answer_to_the_transfer_before_does_not_touch_this_one():
    story = asked()
    story.hear(*FAILED)
    story.request("t2")
    story.answer(Submitted(), transfer_id="t1")
    story.answer(NO_CALL, transfer_id="t1")
    assert words(story) == ["requested", "submitted", "failed", "requested"]


# --- verdicts that come too late --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "proof", "late"),
    [
        ("expired", SUCCEEDED, Verdict.SUCCEEDED),
        ("expired", ACS_SUCCESS, Verdict.SUCCEEDED),
        ("expired", FAILED, Verdict.FAILED),
        ("failed", SUCCEEDED, Verdict.SUCCEEDED),
        ("completed", FAILED, Verdict.FAILED),
        ("completed", SUCCEEDED, None),
        ("failed", FAILED, None),
        ("completed", RETURNED, None),
        ("expired", STARTED, None),
    ],
)
def test_a_verdict_after_the_outcome_is_told_and_flagged_unless_it_agrees(ending, proof, late):
    story = concluded(ending)
    outcome = story.outcome
    decision = story.hear(*proof, said={"body": "late"})
    (event,) = decision.events
    assert isinstance(event, ProviderOther)
    assert (event.transfer_id, event.late_verdict, event.raw) == ("t1", late, {"body": "late"})
    assert decision.outcome is None
    assert story.outcome is outcome


@pytest.mark.parametrize(
    ("ending", "proof", "late"),
    [
        ("expired", GRAPH_SUCCESS, Verdict.SUCCEEDED),
        ("failed", GRAPH_SUCCESS, Verdict.SUCCEEDED),
        ("expired", FAILED_AND_ENDED, Verdict.FAILED),
        ("completed", FAILED_AND_ENDED, Verdict.FAILED),
    ],
)
def test_a_late_verdict_that_is_the_calls_end_too_is_told_as_both(ending, proof, late):
    story = concluded(ending)
    decision = story.hear(*proof)
    assert sorted(words(decision)) == ["call.ended", "provider.other"]
    (other,) = (event for event in decision.events if isinstance(event, ProviderOther))
    assert (other.transfer_id, other.late_verdict) == ("t1", late)


@pytest.mark.parametrize(
    ("ending", "proof"), [("completed", GRAPH_SUCCESS), ("completed", ENDED), ("expired", ENDED)]
)
def test_the_calls_end_after_the_outcome_is_only_that_where_no_verdict_is_news(ending, proof):
    story = concluded(ending)
    assert words(story.hear(*proof)) == ["call.ended"]


def test_a_late_verdict_shows_even_after_the_calls_end():
    story = concluded("expired")
    story.hear(*ENDED)
    (event,) = story.hear(*GRAPH_SUCCESS).events
    assert (event.kind, event.name, event.late_verdict) == (
        "provider.other",
        "call.ended",
        Verdict.SUCCEEDED,
    )


def test_an_outcome_that_we_inferred_agrees_with_no_verdict():
    story = started()
    story.hear(*ENDED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    (event,) = story.hear(*FAILED, result=BUSY).events
    assert event.late_verdict is Verdict.FAILED


def test_a_late_verdict_is_flagged_once():
    story = concluded("expired")
    (first,) = story.hear(*SUCCEEDED).events
    (second,) = story.hear(*SUCCEEDED).events
    assert (first.late_verdict, second.late_verdict) == (Verdict.SUCCEEDED, None)
    assert second.transfer_id == "t1"


def test_a_late_verdict_is_told_while_the_next_transfer_is_open():
    story = concluded("expired")
    story.request("t2")
    (event,) = story.hear(*SUCCEEDED, transfer_id="t1").events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)
    assert story.state.open.id == "t2"


# --- which transfer a verdict is about --------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "transfer_id"),
    [
        ({}, "t2"),
        ({"transfer_id": "t2"}, "t2"),
        ({"transfer_id": "t1"}, "t1"),
        ({"transfer_id": "another application's"}, None),
        ({"echoes_context": True, "context": "case 2"}, "t2"),
        ({"echoes_context": True, "context": "case 1"}, "t1"),
        ({"echoes_context": True, "context": "another application's"}, None),
        ({"echoes_context": True}, None),
        ({"context": "case 1"}, "t2"),
        ({"transfer_id": "t2", "echoes_context": True, "context": "case 1"}, "t2"),
        ({"transfer_id": "t1", "echoes_context": True, "context": "case 2"}, "t1"),
    ],
    ids=str,
)
def test_a_verdict_is_attributed_by_address_then_by_context_then_by_call(fact, transfer_id):
    story = Story()
    story.request("t1", operation_context="case 1")
    story.hear(*FAILED, transfer_id="t1")
    story.request("t2", operation_context="case 2")
    story.answer(Submitted())
    (event,) = story.hear(*SUCCEEDED, **fact).events
    assert event.transfer_id == transfer_id
    if transfer_id == "t2":
        assert story.outcome.kind == "transfer.completed"
    else:
        late = Verdict.SUCCEEDED if transfer_id else None
        assert (event.kind, event.late_verdict) == ("provider.other", late)
        assert story.state.open.id == "t2"


def test_started_and_accepted_of_another_transfer_do_not_change_this_one():
    story = asked()
    story.hear(*STARTED, transfer_id="t0")
    story.hear(*ACCEPTED, echoes_context=True, context="another application's")
    assert words(story) == ["requested", "provider.other", "provider.other"]
    assert Work.SUBMIT in story.due


@pytest.mark.parametrize(
    "fact", [{}, {"transfer_id": "t1"}, {"echoes_context": True, "context": "the call's own"}], ids=str
)
def test_the_end_of_the_call_concerns_the_open_transfer_whatever_it_names(fact):
    story = started()
    story.hear(*ENDED, **fact)
    assert Work.GRACE in story.due


@pytest.mark.parametrize(
    ("fact", "transfer_id"),
    [
        ({}, "t2"),
        ({"transfer_id": "t1"}, "t1"),
        ({"echoes_context": True, "context": "case 1"}, "t1"),
        ({"echoes_context": True, "context": "another application's"}, None),
    ],
    ids=str,
)
def test_a_late_verdict_that_names_no_transfer_is_attributed_to_the_last_one(fact, transfer_id):
    story = Story()
    for number in (1, 2):
        story.request(f"t{number}", operation_context=f"case {number}")
        story.hear(*FAILED)
    (event,) = story.hear(*SUCCEEDED, **fact).events
    assert event.transfer_id == transfer_id


def test_a_verdict_about_a_call_without_transfers_names_none():
    story = Story()
    (event,) = story.hear(*SUCCEEDED).events
    assert (event.kind, event.transfer_id, event.late_verdict) == ("provider.other", None, None)


# --- own callback addresses -------------------------------------------------------------------------


def with_own_address(**fields):
    """A transfer that was accepted, whose verdict comes to an address of its own."""
    return submitted(callback_uri="https://app.example.com/acs/t1", **fields)


OWN_CONTEXT = {"echoes_context": True, "context": "t1"}


@pytest.mark.parametrize("signals", [SUCCEEDED, FAILED, ACS_SUCCESS])
@pytest.mark.parametrize("fact", [{"echoes_context": True}, OWN_CONTEXT], ids=["no context", "its context"])
def test_a_transfer_with_its_own_address_accepts_verdicts_only_there(signals, fact):
    story = with_own_address()
    (event,) = story.hear(*signals, **fact).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    assert Work.INSPECT in story.due
    story.hear(*FAILED, transfer_id="t1", result=BUSY)
    assert (story.outcome.basis, story.outcome.reason) == (Basis.STATED, FailureReason.BUSY)


def test_an_own_address_of_another_transfer_is_not_this_ones():
    story = submitted(callback_uri="https://app.example.com/acs/t0")
    story.hear(*SUCCEEDED, **OWN_CONTEXT)
    assert words(story)[-1] == "completed"


@pytest.mark.parametrize("presence", [Presence.CONNECTED, Presence.GONE, Presence.UNKNOWN])
def test_an_unattributed_verdict_is_named_by_the_evidence_of_an_expired_transfer(presence):
    story = submitted(operation_context="case 7")
    story.hear(*SUCCEEDED, echoes_context=True, context=None)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    for _ in range(3):
        story.wait(GAP)
        story.inspect(presence)
    assert story.outcome.evidence is Evidence.UNATTRIBUTED_VERDICT
    alive = {Presence.CONNECTED: True, Presence.GONE: False, Presence.UNKNOWN: None}
    assert story.outcome.call_alive is alive[presence]


def test_a_call_that_ends_after_an_unattributed_success_expires_the_transfer():
    story = submitted()
    story.hear(*FAILED, echoes_context=True)
    story.hear(*SUCCEEDED, echoes_context=True)
    story.hear(*FAILED, echoes_context=True)
    story.hear(*ENDED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


# --- operation contexts -----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, ""])
def test_a_transfer_without_a_context_is_recognised_by_its_id(given):
    story = submitted(operation_context=given)
    story.hear(*SUCCEEDED, **OWN_CONTEXT)
    assert words(story)[-1] == "completed"
    assert story.outcome.operation_context == given


def test_events_show_the_context_as_the_application_gave_it():
    story = submitted()
    story.hear(*FAILED, **OWN_CONTEXT)
    (event,) = story.hear(*SUCCEEDED, **OWN_CONTEXT).events
    assert (event.transfer_id, event.operation_context) == ("t1", None)
    (event,) = story.hear(*SUCCEEDED, echoes_context=True, context="another application's").events
    assert event.operation_context == "another application's"


def test_the_context_of_an_open_transfer_is_shown_as_given_before_its_verdict():
    story = asked()
    story.answer(TOO_MANY)
    (event,) = story.hear(event=CallParticipants, **OWN_CONTEXT).events
    assert event.operation_context is None


# --- while an earlier transfer may still be reported on --------------------------------------------


def after(ending, rules=ONCE_ONLY, **fields):
    """A transfer that is in flight, on a call whose last one ended so."""
    story = concluded(ending)
    story.rules = rules
    story.request("t2", **fields)
    return story


SHARED = {"echoes_context": True, "context": "case"}


def after_one_with_the_same_context(**fields):
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
    [(lambda: after("expired"), {}), (after_one_with_the_same_context, SHARED)],
    ids=["names the call", "names a context of both"],
)
@pytest.mark.parametrize("taken_first", [True, False])
def test_a_success_that_an_earlier_transfer_may_have_had_completes_only_by_inference(make, fact, taken_first):
    story = make()
    if taken_first:
        story.answer(Submitted())
    story.hear(*SUCCEEDED, result=Result(code=200, subcode=7015), **fact)
    if not taken_first:
        assert words(story)[-1] == "provider.other"
        assert story.outcome is None
        story.answer(Submitted())
    assert words(story)[-1] == "completed"
    assert (story.outcome.basis, story.outcome.code, story.outcome.subcode) == (Basis.INFERRED, 200, 7015)


def test_in_a_group_call_such_a_success_completes_nothing():
    story = after_one_with_the_same_context(transferee=CALLER)
    story.answer(Submitted())
    (event,) = story.hear(*SUCCEEDED, **SHARED).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert (story.outcome.kind, story.outcome.evidence) == (
        "transfer.expired",
        Evidence.UNATTRIBUTED_VERDICT,
    )


def test_a_success_was_the_earlier_transfers_if_the_provider_refuses_this_one():
    story = after("expired")
    story.hear(*GRAPH_SUCCESS)
    story.answer(NO_CALL)
    assert words(story)[-3:] == ["requested", "call.ended", "failed"]
    assert (story.outcome.transfer_id, story.outcome.basis) == ("t2", Basis.STATED)


def test_without_an_answer_a_disputed_success_expires_this_transfer():
    story = after("expired")
    story.hear(*GRAPH_SUCCESS)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.evidence, story.outcome.call_alive) == (
        "transfer.expired",
        Evidence.UNATTRIBUTED_VERDICT,
        False,
    )


def disputed_failure(**fields):
    """A transfer that was accepted, and a failure that an earlier one may have had."""
    story = after("expired", **fields)
    story.answer(Submitted())
    (event,) = story.hear(*FAILED, result=BUSY).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    assert Work.INSPECT in story.due
    return story


def test_a_disputed_failure_is_this_transfers_by_inference_if_the_call_is_connected():
    story = disputed_failure()
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.reason, story.outcome.call_alive) == (
        "transfer.failed",
        Basis.INFERRED,
        FailureReason.BUSY,
        True,
    )


def test_a_call_that_is_being_transferred_does_not_decide_a_disputed_failure():
    """The earlier transfer may be the one that still runs."""
    story = disputed_failure()
    story.inspect(Presence.TRANSFERRING, inspection_round=1)
    assert story.outcome is None
    story.hear(*SUCCEEDED)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.INFERRED)


def test_a_query_that_began_before_the_disputed_failure_decides_nothing():
    story = disputed_failure()
    story.inspect(Presence.CONNECTED)
    assert story.outcome is None
    assert Work.INSPECT in story.due


def test_a_disputed_failure_before_the_answer_is_decided_by_a_query_after_it():
    story = after("expired")
    story.hear(*FAILED, result=BUSY)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    story.answer(Submitted())
    assert story.outcome is None
    assert Work.INSPECT in story.due
    story.inspect(Presence.CONNECTED, inspection_round=2)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.failed", Basis.INFERRED)


@pytest.mark.parametrize("presence", [Presence.UNKNOWN, Presence.GONE])
def test_a_disputed_failure_stays_undecided_if_the_call_is_not_found(presence):
    story = disputed_failure()
    story.inspect(presence, inspection_round=1)
    assert story.outcome is None
    assert (Work.INSPECT in story.due) is (presence is Presence.UNKNOWN)


def test_in_a_group_call_a_query_does_not_decide_a_disputed_failure():
    story = disputed_failure(transferee=CALLER)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome is None


def test_an_attempt_that_did_not_leave_forgets_the_dispute():
    story = after("expired")
    story.hear(*FAILED, result=BUSY)
    story.answer(NO_CONNECTION)
    story.wait(1)
    story.attempt(2)
    story.answer(Submitted(), attempt=2)
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert story.outcome is None


@pytest.mark.parametrize(("ending", "signals"), [("expired", STARTED), ("failed", ACCEPTED)])
def test_the_progress_of_an_earlier_transfer_changes_nothing_before_the_answer(ending, signals):
    story = after(ending)
    before = story.state.open
    (event,) = story.hear(*signals, result=BUSY).events
    assert event.kind == "provider.other"
    assert story.state.open == before
    story.answer(NO_CALL)
    assert words(story)[-1] == "failed"
    assert story.outcome.reason is FailureReason.CALL_NOT_FOUND


@pytest.mark.parametrize(
    "fact", [{"transfer_id": "t2"}, {"echoes_context": True, "context": "case 2"}], ids=str
)
def test_a_verdict_that_names_the_open_transfer_is_stated(fact):
    story = concluded("expired")
    story.request("t2", operation_context="case 2")
    story.hear(*SUCCEEDED, **fact)
    assert words(story)[-2:] == ["submitted", "completed"]
    assert story.outcome.basis is Basis.STATED


@pytest.mark.parametrize("ending", ["failed", "completed"])
def test_a_verdict_is_the_open_transfers_if_the_earlier_ones_have_theirs(ending):
    story = after(ending)
    story.hear(*FAILED, result=BUSY)
    assert (story.outcome.transfer_id, story.outcome.reason) == ("t2", FailureReason.BUSY)
    assert story.outcome.basis is Basis.STATED


def test_a_late_verdict_settles_the_only_transfer_that_can_have_caused_it():
    story = concluded("expired")
    (event,) = story.hear(*FAILED, result=BUSY).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.FAILED)
    story.request("t2")
    story.answer(Submitted())
    story.hear(*SUCCEEDED)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.STATED)


def test_a_late_verdict_settles_none_if_several_can_have_caused_it():
    story = disputed_failure()
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE, inspection_round=1)
    story.hear(*FAILED, result=BUSY)
    assert [done.unsettled for done in story.state.finished] == [True, True]


@pytest.mark.parametrize("answer", [NO_CALL, NO_CONNECTION])
def test_a_transfer_that_the_provider_never_received_has_no_late_verdict(answer):
    story = Story(evolve(ONCE_ONLY, max_attempts=1))
    story.request("t1")
    story.answer(answer)
    assert words(story)[-1] == "failed"
    story.request("t2")
    story.hear(*STARTED)
    story.hear(*SUCCEEDED)
    assert words(story)[-3:] == ["submitted", "started", "completed"]
    assert story.outcome.basis is Basis.STATED


@pytest.mark.parametrize("before", [[], [LOST]], ids=["no answer yet", "answer lost"])
def test_a_success_is_disputed_if_the_earlier_transfer_may_have_been_executed(before):
    story = asked()
    story.play(*before)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    story.request("t2")
    story.hear(*SUCCEEDED)
    assert words(story)[-2:] == ["requested", "provider.other"]


def not_sent_yet():
    """A transfer whose only attempt was not sent, and which is to be sent again."""
    story = asked(operation_context="case 1")
    story.answer(TOO_MANY)
    return story


@pytest.mark.parametrize("signals", [STARTED, ACCEPTED, SUCCEEDED, FAILED])
@pytest.mark.parametrize("fact", [{}, {"echoes_context": True, "context": "case 1"}], ids=str)
def test_a_verdict_is_not_about_a_transfer_that_was_not_sent(signals, fact):
    story = not_sent_yet()
    (event,) = story.hear(*signals, **fact).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    story.wait(0.5)
    assert story.attempt(2).proceed
    story.answer(Submitted(), attempt=2)
    assert words(story)[-1] == "submitted"


@pytest.mark.parametrize("fact", [{"transfer_id": "t1"}, OWN_CONTEXT], ids=["address", "id as context"])
def test_a_verdict_that_names_a_transfer_proves_that_it_was_sent(fact):
    story = asked()
    story.answer(TOO_MANY)
    story.hear(*SUCCEEDED, **fact)
    assert words(story)[-1] == "completed"


def expired_after(*before):
    """A call of two transfers, of which the second expired."""
    story = asked()
    story.play(*before)
    story.request("t2")
    story.answer(Submitted())
    story.wait_until(DEADLINE * 2)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.CONNECTED)
    assert words(story)[-1] == "expired"
    return story


def test_a_late_verdict_is_attributed_to_the_transfer_without_the_opposite_one():
    story = concluded("expired")
    story.request("t2", operation_context="case 2")
    story.answer(Submitted())
    story.hear(*FAILED, transfer_id="t2")
    (event,) = story.hear(*SUCCEEDED).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


def test_a_late_verdict_is_not_attributed_to_a_transfer_that_was_not_sent():
    story = concluded("expired")
    story.rules = evolve(ONCE_ONLY, max_attempts=1)
    story.request("t2")
    story.answer(NO_CONNECTION)
    (event,) = story.hear(*SUCCEEDED).events
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


def test_a_success_before_an_attempt_that_did_not_leave_proves_no_later_attempt():
    story = after("expired")
    story.hear(*SUCCEEDED)
    story.answer(TOO_MANY)
    story.wait(0.5)
    story.attempt(2)
    story.answer(Submitted(), attempt=2)
    assert words(story)[-1] == "submitted"


def test_a_disputed_success_counts_if_an_earlier_attempt_may_have_executed():
    story = after("expired", REPEATABLE)
    story.answer(LOST)
    story.hear(*SUCCEEDED)
    story.wait(0.5)
    story.attempt(2)
    story.answer(TOO_MANY, attempt=2)
    story.wait(1)
    story.attempt(3)
    story.answer(Submitted(), attempt=3)
    assert words(story)[-1] == "completed"


@pytest.mark.parametrize(("verdict", "late"), [(SUCCEEDED, Verdict.SUCCEEDED), (FAILED, Verdict.FAILED)])
def test_a_late_verdict_is_attributed_to_the_last_transfer_that_it_fits(verdict, late):
    (event,) = expired_after(verdict).hear(*verdict).events
    assert (event.transfer_id, event.late_verdict) == ("t2", late)


def test_a_late_verdict_is_attributed_to_a_transfer_without_one_first():
    (event,) = expired_after(SUCCEEDED).hear(*FAILED).events
    assert (event.transfer_id, event.late_verdict) == ("t2", Verdict.FAILED)


def test_an_accepted_transfer_is_the_one_that_an_inspection_sees():
    story = after("expired")
    story.answer(Submitted())
    story.inspect(Presence.TRANSFERRING)
    assert words(story)[-1] == "started"


def test_an_inspection_may_see_an_earlier_transfer_before_the_answer():
    story = after("expired")
    story.answer(LOST)
    story.inspect(Presence.TRANSFERRING)
    assert words(story)[-1] == "requested"
    assert story.state.open.evidence is Evidence.CALL_CONNECTED


# --- verdicts that come again under another message id ---------------------------------------------


def busy_again(**second):
    """A second transfer that was accepted, and the failure of the first in the same words."""
    story = submitted()
    story.hear(*FAILED, result=BUSY, content="busy")
    story.request("t2", **second)
    story.answer(Submitted())
    (event,) = story.hear(*FAILED, result=BUSY, content="busy").events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    return story


def test_a_repeated_failure_leads_to_a_query_and_is_inferred():
    story = busy_again()
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.call_alive) == (
        "transfer.failed",
        Basis.INFERRED,
        True,
    )


def test_in_a_group_call_a_repeated_failure_is_inferred_at_the_deadline():
    story = busy_again(transferee=CALLER)
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


def test_a_repeated_failure_does_not_fail_a_transfer_that_is_under_way():
    story = busy_again()
    story.inspect(Presence.TRANSFERRING, inspection_round=1)
    story.hear(*SUCCEEDED, content="transferred")
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.STATED)


def test_a_repeated_success_is_not_the_next_transfers():
    story = submitted()
    story.hear(*SUCCEEDED, content="transferred")
    story.request("t2")
    story.answer(Submitted())
    (event,) = story.hear(*SUCCEEDED, content="transferred").events
    assert (event.kind, event.transfer_id) == ("provider.other", "t1")
    assert story.state.open.id == "t2"


def test_the_words_of_only_so_many_verdicts_are_kept():
    story = Story()
    for number in range(40):
        story.hear(*FAILED, content=str(number))
        story.hear(*FAILED, content=str(number))
    assert story.state.verdict_contents == tuple(map(str, range(8, 40)))


def test_of_the_finished_transfers_all_unsettled_and_the_last_settled_are_kept():
    story = concluded("expired")
    for number in range(2, 30):
        story.request(f"t{number}")
        story.hear(*FAILED, transfer_id=f"t{number}")
    assert [done.id for done in story.state.finished] == ["t1", *(f"t{number}" for number in range(13, 30))]


# --- the consultation leg of an attended transfer --------------------------------------------------


def test_a_verdict_on_a_consultation_leg_may_be_the_attended_transfers():
    story = Story()
    story.happens(Replaced(at=story.now, transfer_id="attended"))
    story.request("t1")
    story.answer(Submitted())
    story.hear(*GRAPH_SUCCESS, operation=RequestKind.TRANSFER)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.INFERRED)


# --- a call that ends because some transfer succeeded ----------------------------------------------

CALL_TRANSFERRED = (Signal.CALL_TRANSFERRED, Signal.CALL_ENDED)


@pytest.mark.parametrize("answer", [Submitted(), LOST])
def test_a_call_that_was_transferred_completes_its_only_transfer_by_inference(answer):
    story = asked()
    story.answer(answer)
    story.hear(*CALL_TRANSFERRED, result=Result(code=200, subcode=7015))
    assert story.outcome is None
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.basis, story.outcome.subcode) == (
        "transfer.completed",
        Basis.INFERRED,
        7015,
    )


@pytest.mark.parametrize("signals", [ACS_SUCCESS, FAILED])
def test_the_verdict_itself_counts_during_the_grace_period(signals):
    story = submitted()
    story.hear(*CALL_TRANSFERRED)
    story.hear(*signals, **OWN_CONTEXT)
    assert story.outcome.basis is Basis.STATED
    assert getattr(story.outcome, "call_alive", False) is False


@pytest.mark.parametrize("ending", ["expired", "completed"])
def test_a_call_that_an_earlier_transfer_may_have_ended_expires_this_one(ending):
    story = after(ending)
    story.answer(LOST)
    story.hear(*CALL_TRANSFERRED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


def test_a_call_that_was_transferred_fails_a_transfer_that_was_not_sent():
    story = not_sent_yet()
    story.hear(*CALL_TRANSFERRED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.reason) == ("transfer.failed", FailureReason.CALL_ENDED)


def test_a_caller_who_leaves_a_group_call_may_have_been_transferred_before():
    story = submitted(transferee=CALLER)
    story.hear(*ENDED, result=HUNG_UP, ends_with_verdict=True)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


def test_a_caller_who_leaves_a_group_call_fails_a_transfer_that_was_not_sent():
    story = asked(transferee=CALLER)
    story.answer(TOO_MANY)
    story.hear(*ENDED, result=HUNG_UP)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.reason, story.outcome.basis) == (FailureReason.CALLER_LEFT, Basis.STATED)


# --- whether the call is alive after a failure ------------------------------------------------------


def held(**fields):
    """A transfer whose failure does not say whether the call is alive."""
    story = submitted(**fields)
    decision = story.hear(*FAILED, call_alive=None, result=BUSY, said={"busy": True})
    assert decision.events == ()
    assert (story.due[Work.INSPECT], story.due[Work.GRACE]) == (0, 2)
    return story


@pytest.mark.parametrize(
    ("presence", "alive"),
    [
        (Presence.CONNECTED, True),
        (Presence.TRANSFERRING, True),
        (Presence.GONE, False),
        (Presence.UNKNOWN, None),
    ],
)
def test_a_failure_that_does_not_say_it_is_published_after_one_query(presence, alive):
    story = held()
    story.wait(1)
    story.inspect(presence, inspection_round=1)
    assert (story.outcome.call_alive, story.outcome.basis, story.outcome.reason) == (
        alive,
        Basis.STATED,
        FailureReason.BUSY,
    )
    assert story.outcome.raw == {"busy": True}
    assert story.outcome.elapsed == seconds(1)
    assert story.due == {}


def test_a_query_that_began_before_the_failure_does_not_say_whether_the_call_is_alive():
    story = held()
    story.inspect(Presence.TRANSFERRING, inspection_round=0)
    assert story.outcome is None
    assert Work.INSPECT in story.due


def test_a_failure_is_not_held_longer_than_the_limit():
    story = held()
    story.wait(2)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.failed", None)


@pytest.mark.parametrize("late", [Work.DEADLINE, Work.SUBMIT])
def test_other_due_work_leaves_a_held_failure_as_it_is(late):
    story = held()
    story.wait_until(DEADLINE)
    story.reach(late, finds=None)
    assert story.outcome is None


def test_the_end_of_the_call_publishes_a_held_failure():
    story = held()
    decision = story.hear(*ENDED)
    assert words(decision) == ["failed", "call.ended"]
    assert story.outcome.call_alive is False


def test_a_failure_after_the_end_of_the_call_is_not_held():
    story = submitted()
    story.hear(*ENDED)
    story.hear(*FAILED, call_alive=None)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.failed", False)


@pytest.mark.parametrize("signals", [FAILED, SUCCEEDED, STARTED])
def test_nothing_changes_a_held_failure(signals):
    story = held()
    (event,) = story.hear(*signals, **OWN_CONTEXT).events
    assert (event.kind, event.transfer_id) == ("provider.other", "t1")
    story.inspect(Presence.CONNECTED, inspection_round=1)
    assert (story.outcome.kind, story.outcome.reason) == ("transfer.failed", FailureReason.BUSY)


@pytest.mark.parametrize("answer", [Submitted(), NO_CALL, LOST])
def test_an_answer_does_not_change_a_held_failure(answer):
    story = asked()
    story.hear(*FAILED, call_alive=None, result=BUSY)
    due = story.due
    assert words(story.answer(answer, finds=None)) == []
    assert story.due == due


def test_a_held_failure_survives_a_store():
    state = held().state
    assert decode(CallState, encode(state)) == state


def test_a_disputed_failure_survives_a_store():
    state = disputed_failure().state
    assert decode(CallState, encode(state)) == state


# --- repeated deliveries ----------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("signals", [STARTED, ENDED, RETURNED, SUCCEEDED, ()])
def test_a_repeated_delivery_changes_nothing(exact, signals):
    story = started()
    delivery = Delivery("d", exact=exact)
    story.hear(*signals, delivery=delivery)
    before, due = story.state, story.due
    decision = story.hear(*signals, delivery=delivery)
    assert decision.duplicate
    assert (decision.events, decision.due, decision.mark) == ((), (), None)
    assert (story.state, story.due) == (before, due)


def test_a_first_delivery_is_no_duplicate():
    decision = started().hear(*STARTED)
    assert not decision.duplicate
    assert decision.mark == "t1"


def test_a_fact_without_a_delivery_is_never_a_duplicate():
    story = started()
    event = ProviderOther(time=START, provider="fake", call_id="leg")
    for _ in range(2):
        assert not story.happens(Observed(at=START, fact=Fact(event=event))).duplicate


def two_in_a_row(exact):
    """The second transfer of a call, after the first one failed with a body that may come again."""
    story = started()
    story.hear(*FAILED, delivery=Delivery("body", exact=exact), call_alive=True)
    story.wait(30)
    story.request("t2")
    story.answer(Submitted())
    return story


def test_a_numbered_delivery_of_the_transfer_before_is_a_duplicate():
    story = two_in_a_row(exact=True)
    assert story.hear(*FAILED, delivery=Delivery("body")).duplicate
    assert story.due == {Work.DEADLINE: 30 + DEADLINE}


def test_the_very_words_of_the_transfer_before_only_make_us_ask():
    story = two_in_a_row(exact=False)
    decision = story.hear(*FAILED, repeatable_key="body")
    assert not decision.duplicate
    assert words(decision) == ["provider.other"]
    assert story.due == {Work.DEADLINE: 30 + DEADLINE, Work.INSPECT: 30}
    assert story.state.open.id == "t2"


def test_the_very_words_are_this_transfers_from_then_on():
    story = two_in_a_row(exact=False)
    assert story.hear(*FAILED, repeatable_key="body").mark == "t2"
    assert story.hear(*FAILED, repeatable_key="body").duplicate


def test_the_very_words_make_us_ask_in_every_further_transfer():
    story = two_in_a_row(exact=False)
    story.hear(*FAILED, repeatable_key="body")
    story.hear(*FAILED, repeatable_key="another body")
    story.request("t3")
    story.hear(*FAILED, repeatable_key="body")
    assert story.state.open.id == "t3"
    assert Work.INSPECT in story.due


def test_the_very_words_with_no_transfer_open_are_a_duplicate():
    story = started()
    story.hear(*FAILED, repeatable_key="body")
    assert story.hear(*FAILED, repeatable_key="body").duplicate


def test_words_first_heard_before_the_transfer_only_make_us_ask_too():
    story = Story()
    assert story.hear(*FAILED, repeatable_key="body").mark == "-"
    story.request()
    story.hear(*FAILED, repeatable_key="body")
    assert story.state.open
    assert Work.INSPECT in story.due


@pytest.mark.parametrize(("proof", "expected"), [(SUCCEEDED, "completed"), (FAILED, "failed")])
def test_new_words_that_could_repeat_count_as_any(proof, expected):
    story = two_in_a_row(exact=False)
    story.hear(*proof, repeatable_key="new body")
    assert words(story)[-1] == expected


# --- what is on the stream --------------------------------------------------------------------------


def test_a_call_connects_once_and_then_only_says_so():
    story = Story()
    story.hear(event=CallConnected)
    story.hear(event=CallConnected)
    assert words(story) == ["call.connected", "provider.other"]
    assert story.last.name == "call.connected"


def test_a_call_ends_once_and_then_only_says_so():
    story = Story()
    story.hear(*ENDED)
    story.hear(*ENDED)
    assert words(story) == ["call.ended", "provider.other"]
    assert story.last.name == "call.ended"


def test_a_call_does_not_connect_after_its_end():
    story = Story()
    story.hear(*ENDED)
    story.hear(event=CallConnected)
    assert words(story) == ["call.ended", "provider.other"]


def test_a_late_connected_proves_nothing():
    story = started()
    story.hear(*RETURNED, event=CallConnected)
    assert words(story)[-1] == "call.connected"
    assert story.state.open


def test_what_became_provider_other_is_whole():
    story = Story()
    for _ in range(2):
        story.hear(event=CallConnected, said={"a": 1}, context="case 42")
    event = story.last
    assert (event.raw, event.correlation_id) == ({"a": 1}, "chain")
    assert (event.operation_context, event.time) == ("case 42", START - seconds(1))


def test_what_means_nothing_to_a_life_is_told_as_it_is():
    story = submitted()
    story.hear(event=CallParticipants)
    story.hear(event=ProviderOther, said={"type": "PlayCompleted"})
    assert words(story)[-2:] == ["call.participants", "provider.other"]
    assert story.last.transfer_id is None


@pytest.mark.parametrize("about", [{}, {"transfer_id": "t1"}, {"transfer_id": "somebody's"}], ids=str)
@pytest.mark.parametrize("signals", [(), *[(signal,) for signal in Signal], ACS_SUCCESS, GRAPH_SUCCESS])
@pytest.mark.parametrize("make", [Story, asked, submitted, started, redirecting, lambda: concluded("failed")])
def test_nothing_that_was_delivered_disappears(make, signals, about):
    story = make()
    for number in range(3):
        body = {"number": number}
        decision = story.hear(*signals, said=body, **about)
        assert body in [event.raw for event in decision.events]


def test_sequences_count_the_calls_events_without_a_gap():
    story = started()
    story.hear(*ACS_SUCCESS)
    story.hear(*ENDED)
    story.request("t2")
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))


def test_an_events_id_depends_on_its_call_its_place_its_kind_and_its_time():
    first, again, other = (Story(call=CallKey("fake", name)) for name in ("leg", "leg", "other leg"))
    for story in (first, again, other):
        story.request()
        story.answer(Submitted())
    assert [event.id for event in first.events] == [event.id for event in again.events]
    assert len({event.id for event in [*first.events, *other.events]}) == 4
    for _ in range(50):
        first.hear()
    for number, event in enumerate(first.events, 1):
        name = f"transferkit:fake\nleg\n{number}\n{event.kind}\n{event.time.isoformat()}"
        assert event.id == str(uuid5(NAMESPACE_URL, name))


def test_what_takes_the_place_of_what_was_forgotten_has_an_id_of_its_own():
    """As when the process of a store in memory is started again in the middle of a call."""
    before, after = started(), Story()
    after.wait(60)
    after.request("t2")
    after.answer(NO_CALL)
    assert {event.id for event in before.events}.isdisjoint(event.id for event in after.events)


def test_an_event_of_a_call_whose_id_is_half_a_character_has_an_id_of_its_own():
    one, other = (Story(call=CallKey("fake", half)) for half in ("\ud800", "\ud801"))
    for story in (one, other):
        story.hear()
    assert one.last.id != other.last.id


# --- asking about the call --------------------------------------------------------------------------


@pytest.mark.parametrize("presence", [Presence.CONNECTED, Presence.GONE, Presence.UNKNOWN])
def test_asking_decides_nothing_before_the_deadline(presence):
    story = started()
    story.hear(*RETURNED)
    decision = story.inspect(presence)
    assert decision.events == ()
    assert story.due == {Work.DEADLINE: DEADLINE}


@pytest.mark.parametrize(
    ("make", "expected"),
    [(asked, ["submitted", "started"]), (submitted, ["started"]), (started, [])],
)
def test_a_call_that_is_being_transferred_was_submitted_and_started(make, expected):
    story = make()
    story.wait(9)
    decision = story.inspect(Presence.TRANSFERRING)
    assert words(decision) == expected
    assert all(event.time == START + seconds(9) for event in decision.events)
    assert story.state.open


def test_a_call_that_is_still_being_transferred_does_not_start_after_accepted():
    story = submitted()
    story.hear(*ACCEPTED)
    assert story.inspect(Presence.TRANSFERRING).events == ()


def test_started_by_inspection_is_not_told_twice():
    story = submitted()
    story.inspect(Presence.TRANSFERRING)
    story.hear(*STARTED)
    assert words(story).count("started") == 1


def test_questions_keep_their_distance():
    story = started()
    story.wait(10)
    story.inspect(Presence.CONNECTED)
    story.wait(2)
    story.hear(*RETURNED)
    assert story.due[Work.INSPECT] == 10 + GAP
    story.wait(10)
    story.hear(*RETURNED)
    assert story.due[Work.INSPECT] == 22


def test_a_clock_that_was_set_back_delays_no_question():
    story = started()
    story.wait(3600)
    story.inspect(Presence.CONNECTED)
    story.wait_until(20)
    story.hear(*RETURNED)
    assert story.due[Work.INSPECT] == 20 + GAP


def test_the_question_at_the_deadline_keeps_its_distance_too():
    story = started()
    story.wait_until(DEADLINE - 1)
    story.inspect(Presence.CONNECTED)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    assert story.due == {Work.INSPECT: DEADLINE - 1 + GAP}


# --- redirects --------------------------------------------------------------------------------------


def test_where_the_202_is_the_whole_story_the_redirect_is_handed_over():
    story = redirecting(HANDED_OVER)
    story.wait(1)
    story.answer(Submitted())
    assert words(story) == ["redirect.requested", "redirect.submitted", "redirect.completed"]
    assert isinstance(story.outcome, RedirectCompleted)
    assert (story.outcome.basis, story.outcome.target) == (Basis.INFERRED, AGENT)
    assert story.outcome.elapsed == seconds(1)
    assert story.due == {}


def test_for_a_transfer_the_202_never_is_the_whole_story():
    story = submitted(HANDED_OVER)
    assert words(story) == ["requested", "submitted"]


def test_elsewhere_the_202_hands_nothing_over():
    story = redirecting()
    story.answer(Submitted())
    assert words(story) == ["redirect.requested", "redirect.submitted"]


def test_of_several_targets_nobody_knows_who_received_the_call():
    story = redirecting(HANDED_OVER, to=[AGENT, VOICEMAIL])
    story.answer(Submitted())
    assert story.outcome.target is None


def test_a_redirect_that_somebody_answered_was_handed_over():
    story = redirecting()
    story.answer(Submitted())
    story.hear(*GRAPH_SUCCESS, target=VOICEMAIL)
    assert words(story)[-2:] == ["redirect.completed", "call.ended"]
    assert (story.outcome.basis, story.outcome.target) == (Basis.STATED, VOICEMAIL)


def test_a_success_that_is_a_redirects_proves_a_redirect():
    story = redirecting()
    story.answer(Submitted())
    story.hear(*GRAPH_SUCCESS, operation=RequestKind.REDIRECT)
    assert story.outcome.kind == "redirect.completed"


def test_a_success_that_is_a_redirects_proves_no_transfer():
    story = started()
    decision = story.hear(*GRAPH_SUCCESS, operation=RequestKind.REDIRECT, ends_with_verdict=True)
    assert words(decision) == ["call.ended"]
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.reason is FailureReason.CALL_ENDED


@pytest.mark.parametrize("ended_before", [False, True])
@pytest.mark.parametrize("ending", ["failed", "expired"])
def test_a_success_that_is_a_redirects_is_no_late_verdict_about_a_transfer(ending, ended_before):
    story = concluded(ending)
    if ended_before:
        story.hear(*ENDED)
    (event,) = story.hear(*GRAPH_SUCCESS, operation=RequestKind.REDIRECT).events
    assert getattr(event, "late_verdict", None) is None


def test_a_success_that_is_a_redirects_may_come_too_late_for_it():
    story = redirecting()
    story.answer(NO_CALL)
    event = story.hear(*SUCCEEDED, operation=RequestKind.REDIRECT).events[-1]
    assert (event.transfer_id, event.late_verdict) == ("t1", Verdict.SUCCEEDED)


@pytest.mark.parametrize("result", [None, HUNG_UP])
def test_a_redirected_call_that_just_ends_was_handed_over_or_hung_up(result):
    story = redirecting()
    story.answer(Submitted())
    story.hear(*ENDED, result=result)
    assert story.outcome is None
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert isinstance(story.outcome, RedirectExpired)
    assert (story.outcome.evidence, story.outcome.basis) == (Evidence.CALL_GONE, Basis.INFERRED)


@pytest.mark.parametrize("reason", FailureReason)
def test_a_redirected_call_that_ends_because_nobody_took_it_failed(reason):
    story = redirecting()
    story.hear(*ENDED, result=Result(code=486, reason=reason))
    story.wait(GRACE)
    story.reach(Work.GRACE)
    outcome = story.outcome
    if reason in NOBODY_TOOK_IT:
        assert isinstance(outcome, RedirectFailed)
        assert (outcome.reason, outcome.basis) == (reason, Basis.STATED)
        assert (outcome.code, outcome.call_alive) == (486, False)
    else:
        assert isinstance(outcome, RedirectExpired)


@pytest.mark.parametrize("presence", Presence)
def test_no_answer_to_a_question_takes_back_the_calls_end(presence):
    story = redirecting()
    story.hear(*ENDED)
    story.inspect(presence)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert story.outcome.evidence is Evidence.CALL_GONE


def test_a_redirect_may_fail():
    story = redirecting()
    story.hear(*FAILED, result=BUSY)
    assert words(story) == ["redirect.requested", "redirect.submitted", "redirect.failed"]
    assert isinstance(story.outcome, RedirectFailed)
    assert story.outcome.reason is FailureReason.BUSY


def test_a_redirect_may_be_refused():
    story = redirecting()
    story.answer(NO_CALL)
    assert words(story) == ["redirect.requested", "redirect.failed"]


@pytest.mark.parametrize("signals", [STARTED, ACCEPTED])
def test_a_redirect_neither_starts_nor_is_accepted_but_both_prove_its_submission(signals):
    story = redirecting()
    assert words(story.hear(*signals)) == ["redirect.submitted"]
    assert Work.SUBMIT not in story.due
    assert words(story.hear(*signals)) == ["provider.other"]


def test_a_question_about_a_redirected_call_proves_nothing():
    story = redirecting()
    assert story.inspect(Presence.TRANSFERRING).events == ()


def test_a_redirect_expires_as_a_transfer_does():
    story = redirecting()
    story.answer(Submitted())
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    story.inspect(Presence.GONE)
    assert isinstance(story.outcome, RedirectExpired)
    assert story.outcome.evidence is Evidence.CALL_GONE


@pytest.mark.parametrize(
    ("rules", "before", "proof", "late"),
    [
        (HANDED_OVER, [Submitted()], FAILED, Verdict.FAILED),
        (HANDED_OVER, [Submitted()], SUCCEEDED, Verdict.SUCCEEDED),
        (ONCE_ONLY, [NO_CALL], SUCCEEDED, Verdict.SUCCEEDED),
        (ONCE_ONLY, [SUCCEEDED], SUCCEEDED, None),
    ],
)
def test_a_verdict_about_a_redirect_may_come_too_late(rules, before, proof, late):
    story = redirecting(rules)
    story.play(*before)
    (event,) = story.hear(*proof).events
    assert (event.transfer_id, event.late_verdict) == ("t1", late)


# --- the machine itself -----------------------------------------------------------------------------

HAPPENINGS = {
    "an attempt": Attempted(at=START, transfer_id="t1", attempt=2),
    "taken": Answered(at=START, transfer_id="t1", attempt=1, answer=Submitted()),
    "refused": Answered(at=START, transfer_id="t1", attempt=1, answer=NO_CALL),
    "lost": Answered(at=START, transfer_id="t1", attempt=1, answer=LOST),
    "not sent": Answered(at=START, transfer_id="t1", attempt=1, answer=TOO_MANY),
    "a question": Inspected(at=START, transfer_id="t1", presence=Presence.TRANSFERRING),
    "the deadline": DueReached(at=START + seconds(DEADLINE), transfer_id="t1", work=Work.DEADLINE),
    "a fact": Observed(
        at=START,
        fact=Fact(event=CallEnded(time=START, provider="fake", call_id="leg"), signals=FAILED_AND_ENDED),
    ),
}


@pytest.mark.parametrize("happened", HAPPENINGS.values(), ids=HAPPENINGS)
@pytest.mark.parametrize("make", [Story, asked, started, redirecting])
def test_the_same_input_gives_the_same_decision_and_changes_no_argument(make, happened):
    state = make().state
    before = encode(state)
    assert step(CALL, state, happened) == step(CALL, state, happened)
    assert encode(state) == before


@pytest.mark.parametrize("make", [Story, asked, started, redirecting, lambda: concluded("expired")])
def test_the_state_survives_a_store(make):
    state = make().state
    assert decode(CallState, encode(state)) == state


def test_the_words_that_are_stored_and_logged_stay_as_they_are():
    assert [*Work] == ["submit", "inspect", "grace", "deadline"]
    assert [*RequestKind] == ["transfer", "redirect"]
    assert [*Presence] == ["connected", "transferring", "gone", "unknown"]


def test_what_the_provider_calls_its_answer_makes_it_no_other_answer():
    assert Submitted(status=202, request_id="r-1") == Submitted()
    assert Submitted(correlation_id="chain") != Submitted()


def test_the_rules_are_those_of_a_configuration_that_says_nothing():
    timing = LifecycleConfig()
    same = Rules(grace=timing.grace, inspect_gap=timing.inspect_gap, max_attempts=timing.max_attempts)
    assert Rules() == same


def test_the_context_is_redacted_wherever_a_state_is_shown():
    story = asked(operation_context="for +14255550123")
    opened = repr(story.state)
    story.hear(*SUCCEEDED)
    assert "4255550123" not in opened + repr(story.state)


def test_a_decision_cannot_be_changed():
    decision = Story().request()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        decision.state.sequence = 7
