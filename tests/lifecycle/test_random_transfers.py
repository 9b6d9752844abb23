"""Random transfers against a provider, a network and workers that fail in every way.

The machine runs inside the memory store. The provider executes an attempt or not and answers it or not; the
network repeats, reorders, delays and loses callbacks, also before the answer; workers die between two steps;
time passes. After every step, the published events are compared with what really happened.
"""

import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.provider_model import (
    ACS_SEQUENCES,
    EXECUTED,
    GRAPH_SEQUENCES,
    NO_ANSWER,
    NO_CONNECTION,
    PROCESS_DIED,
    REJECTED,
    THROTTLED,
    AttemptResult,
    Provider,
    TransferRecord,
)

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
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.codec import decode, encode
from transferkit.events import (
    Basis,
    CallConnected,
    CallEnded,
    CallParticipants,
    Outcome,
    ProviderOther,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    Verdict,
)
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Fact, Signal
from transferkit.provider.results import Presence, Submitted
from transferkit.requests import Call, Redirect, Transfer
from transferkit.stores import LegOccupied, MemoryStore

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=90)
WINDOW = timedelta(seconds=285)
CALLS = (CallKey("fake", "leg-a"), CallKey("fake", "leg-b"))
ORDER = ("requested", "submitted", "started", "accepted")
COMPLETED = TransferCompleted | RedirectCompleted
FAILED = TransferFailed | RedirectFailed
EXPIRED = TransferExpired | RedirectExpired


ATTEMPT_RESULTS = st.sampled_from(
    [
        EXECUTED,
        EXECUTED,
        EXECUTED,
        AttemptResult(executes=True, answer=NO_ANSWER),
        AttemptResult(executes=True, answer=None),
        AttemptResult(executes=True, answer=REJECTED),  # by a gateway, after the provider received it
        AttemptResult(executes=False, answer=NO_ANSWER),
        AttemptResult(executes=False, answer=REJECTED),
        AttemptResult(executes=False, answer=NO_CONNECTION),
        AttemptResult(executes=False, answer=THROTTLED),
        PROCESS_DIED,
    ]
)
RARELY = st.sampled_from([False, False, False, True])
MOSTLY = RARELY.map(lambda rarely: not rarely)
INDEXES = st.sampled_from([0, 0, 0, 1, 2, 5])
REQUEST_OPTIONS = {
    "redirect": RARELY,
    "replaces": RARELY,
    "deadline": st.sampled_from([20, 150, 150, 600]),
    "statements": st.integers(0, 20),
    "result": ATTEMPT_RESULTS,
    "answers_immediately": MOSTLY,
}


def run(coroutine):
    """Return the result of a coroutine of the memory store, which never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory store must not wait here")


class RandomTransfers(RuleBasedStateMachine):
    """One application, two calls, a provider, a bad network and a clock."""

    @initialize(
        sequences=st.sampled_from([GRAPH_SEQUENCES, ACS_SEQUENCES]),
        attribution=st.sampled_from(["address", "context"]),
        repeatable=st.booleans(),
        completes_on_acceptance=st.booleans(),
        max_attempts=st.sampled_from([2, 6]),
    )
    def begin(self, sequences, attribution, repeatable, completes_on_acceptance, max_attempts):
        self.store = MemoryStore()
        self.at = START
        self.sequences = sequences
        self.provider = Provider(attribution, recognizes_repetitions=repeatable)
        self.rules = Rules(
            repeatable_for=WINDOW if repeatable else None,
            max_attempts=max_attempts,
        )
        self.redirect_rules = evolve(self.rules, completes_on_acceptance=completes_on_acceptance)
        self.records = {}
        self.answers = []
        self.marks = {}  # by call and delivery key: the mark of the last delivery

    # --- helpers ------------------------------------------------------------------------------------

    def apply(self, call, input_, key=None):
        """Apply an input in the store. Check that `step` is pure and that the state survives encoding."""
        state, mark = self.state(call), self.marks.get((call, key))
        assert step(call, state, input_, mark) == step(call, state, input_, mark)
        applied = run(self.store.apply(call, input_, step))
        assert decode(CallState, encode(applied.state)) == applied.state
        return applied

    def state(self, call):
        return run(self.store.state(call))

    def open_transfer(self, record):
        """The state of a transfer; None if it is finished."""
        progress = self.state(record.opened.call).open
        return progress if progress and progress.id == record.id else None

    def outcome(self, record):
        return run(self.store.transfer(record.id)).outcome

    def events_of(self, record):
        """The events of a transfer without `provider.other`."""
        events = run(self.store.call_events(record.opened.call))
        return [e for e in events if e.transfer_id == record.id and not isinstance(e, ProviderOther)]

    def progress_events(self, record):
        """The kinds of the events of a transfer before its outcome."""
        return [e.kind.partition(".")[2] for e in self.events_of(record) if not isinstance(e, Outcome)]

    def due(self, transfer_id):
        """The due work of a transfer."""
        return {due.work: due for due in self.all_due() if due.transfer_id == transfer_id}

    def all_due(self):
        return [due for _, due in self.store._tables.due.values()]

    # --- the application ------------------------------------------------------------------

    @rule(call=st.sampled_from(CALLS), **REQUEST_OPTIONS)
    def request_on_a_call(self, call, redirect, replaces, deadline, statements, result, answers_immediately):
        other = CALLS[1 - CALLS.index(call)]
        common = {
            "call": Call(call.provider, call.id),
            "to": PhoneNumber("+14255550100"),
            "deadline": deadline,
            "operation_context": uuid4().hex,
        }
        consult = None if redirect or not replaces else other.id
        request = Redirect(**common) if redirect else Transfer(**common, replaces=consult)
        opened = Opened(
            id=str(uuid4()),
            call=call,
            request=request,
            fingerprint="",
            at=self.at,
            legs=(call, other) if consult else (call,),
        )
        sender = Lease("me", self.at + LEASE)
        rules = self.redirect_rules if opened.request.kind == "redirect" else self.rules
        requested = Requested(at=self.at, opened=opened, rules=rules, sender=sender)
        if self.occupied_legs() & set(opened.legs):
            with pytest.raises(LegOccupied):
                self.apply(call, requested)
            return
        self.apply(call, requested)
        sequences = list(self.sequences.values())
        record = TransferRecord(opened, sequences[statements % len(sequences)])
        self.records[record.id] = record
        self.send(record, self.at, result, answers_immediately=answers_immediately)

    @rule(**REQUEST_OPTIONS)
    @precondition(lambda self: set(CALLS) - self.occupied_legs())
    def request_on_a_free_call(self, **options):
        self.request_on_a_call(min(set(CALLS) - self.occupied_legs()), **options)

    def occupied_legs(self):
        open_records = (record for record in self.records.values() if self.outcome(record) is None)
        return {leg for record in open_records for leg in record.opened.legs}

    def send(self, record, first_sent_at, result, *, answers_immediately):
        """Send an attempt."""
        assert self.at < record.deadline_at, "sent after the deadline"
        record.first_sent_at = first_sent_at
        record.answers.append(None)
        if result.executes:
            self.provider.execute(record, self.at)
        if result.answer is not None:
            self.answers.append((record, len(record.answers), result.answer))
            if answers_immediately:
                self.apply_answer(*self.answers.pop())

    @rule(which=INDEXES, again=RARELY)
    @precondition(lambda self: self.answers)
    def answer_arrives(self, which, again):
        """Answers arrive in any order, also after the callbacks."""
        answer = self.answers.pop(which % len(self.answers))
        self.apply_answer(*answer)
        if again:
            self.apply_answer(*answer)

    def apply_answer(self, record, attempt, answer):
        before = self.open_transfer(record)
        answered = Answered(at=self.at, transfer_id=record.id, attempt=attempt, answer=answer)
        applied = self.apply(record.opened.call, answered)
        if before is None:
            assert applied.events == (), "an answer after the outcome published an event"
            return
        record.answers[attempt - 1] = answer
        outcome = self.outcome(record)
        if isinstance(answer, Submitted):
            assert "submitted" in self.progress_events(record)
            assert not isinstance(outcome, FAILED | EXPIRED)
        elif attempt < before.attempts:
            assert self.open_transfer(record) == before, "the answer of an older attempt changed the state"
        elif outcome is not None:
            assert isinstance(outcome, FAILED)
            assert not before.submitted, "failed, although a callback proved the submission"
            assert record.cannot_have_executed, "failed, although it may have been executed"

    # --- the network ----------------------------------------------------------------------

    @rule()
    @precondition(lambda self: self.provider.network)
    def deliver(self):
        self.receive(self.take(0, keep=False))

    @rule(which=INDEXES)
    @precondition(lambda self: self.provider.network)
    def deliver_and_keep_for_later(self, which):
        self.receive(self.take(which, keep=True))

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: len(self.provider.network) > 1)
    def deliver_out_of_order(self, which):
        self.receive(self.take(which, keep=False))

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: len(self.provider.network) > 2)
    def lose(self, which):
        self.take(which, keep=False)

    def take(self, which, *, keep):
        index = which % len(self.provider.network)
        return self.provider.network[index] if keep else self.provider.network.pop(index)

    def receive(self, message):
        call, key = message.call, message.fact.delivery.key
        before = self.state(call).open
        earlier = self.marks.get((call, key))
        applied = self.apply(call, Observed(at=self.at, fact=message.fact), key)
        if earlier is not None:
            assert applied.duplicate
            assert applied.events == ()
            return
        assert not applied.duplicate
        assert message.fact.event.raw in [event.raw for event in applied.events], (
            "a delivery was not published"
        )
        self.marks[call, key] = before.id if before else "-"
        if before is not None and Signal.CALL_ENDED in message.statement.signals:
            self.records[before.id].received.add(Signal.CALL_ENDED)
            self.records[before.id].ended_at = self.records[before.id].ended_at or self.at
        if before is not None and before.id == message.record.id:
            self.check_open_transfer(message, before)
        else:
            self.check_other_transfer(message, applied, before)

    def check_open_transfer(self, message, before):
        """Check a callback about the open transfer: a verdict decides, and nothing else does."""
        record, signals = message.record, message.statement.signals
        record.received |= {*signals}
        outcome, due = self.outcome(record), self.due(record.id)
        if before.pending_failure is not None and Signal.CALL_ENDED in signals:
            assert isinstance(outcome, FAILED)
            assert outcome.call_alive is False
            return
        if before.pending_failure is not None:
            assert outcome is None, "the failure waits for a query of the call"
            return
        match message.statement.verdict:
            case Verdict.SUCCEEDED:
                assert isinstance(outcome, COMPLETED)
                assert outcome.basis is Basis.STATED
            case Verdict.FAILED:
                assert isinstance(outcome, FAILED)
                assert outcome.basis is Basis.STATED
                gone = Signal.CALL_ENDED in signals or self.state(message.call).ended
                assert outcome.call_alive is not gone
            case None:
                assert outcome is None, "decided without a verdict"
        if {*signals} - {Signal.CALL_ENDED, Signal.RETURNED}:
            assert "submitted" in self.progress_events(record), (
                "a callback about a transfer proves its submission"
            )
        if outcome is None and Signal.CALL_ENDED in signals:
            assert Work.GRACE in due
        if Signal.RETURNED in signals and (before.started or before.accepted):
            assert Work.INSPECT in due

    def check_other_transfer(self, message, applied, before):
        """Check a callback about a finished transfer: a new verdict is marked as late, nothing else."""
        record, statement = message.record, message.statement
        outcome = self.outcome(record)
        assert outcome not in applied.events
        stated = record.late_verdict
        if outcome.basis is Basis.STATED:
            stated = Verdict.SUCCEEDED if isinstance(outcome, COMPLETED) else Verdict.FAILED
        late = [
            (event.transfer_id, event.late_verdict)
            for event in applied.events
            if isinstance(event, ProviderOther) and event.late_verdict
        ]
        expected = (
            [(record.id, statement.verdict)] if statement.verdict and statement.verdict != stated else []
        )
        assert late == expected
        record.late_verdict = statement.verdict or record.late_verdict
        if not {Signal.CALL_ENDED, Signal.RETURNED} & {*statement.signals}:
            assert self.state(message.call).open == before

    @rule(
        call=st.sampled_from(CALLS),
        addressed=st.booleans(),
        signal=st.sampled_from([Signal.STARTED, Signal.ACCEPTED, Signal.SUCCEEDED, Signal.FAILED]),
    )
    @precondition(lambda self: self.occupied_legs())
    def a_verdict_of_an_unknown_transfer_arrives(self, call, addressed, signal):
        """Other software transfers the same call."""
        before = self.state(call).open
        event = ProviderOther(
            time=self.at, provider=call.provider, call_id=call.id, operation_context="unknown"
        )
        fact = Fact(
            event=event,
            signals=(signal,),
            transfer_id="unknown" if addressed else None,
            echoes_context=not addressed,
        )
        (event,) = self.apply(call, Observed(at=self.at, fact=fact)).events
        assert (event.kind, event.transfer_id) == ("provider.other", None)
        after = self.state(call).open
        assert after is before or after == evolve(before, unattributed_verdict=after.unattributed_verdict)

    @rule(call=st.sampled_from(CALLS), cls=st.sampled_from([CallConnected, CallParticipants, ProviderOther]))
    @precondition(lambda self: self.occupied_legs() and not self.provider.network)
    def an_unrelated_callback_arrives(self, call, cls):
        before = self.state(call).open
        event = cls(time=self.at, provider=call.provider, call_id=call.id)
        (event,) = self.apply(call, Observed(at=self.at, fact=Fact(event=event))).events
        assert event.transfer_id is None
        assert self.state(call).open == before

    # --- time and workers -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1, 1, 2, 3, 5, 6, 30, 95, 160, 300]))
    @precondition(lambda self: self.records)
    def time_passes(self, seconds):
        self.at += timedelta(seconds=seconds)

    @rule(
        wait=st.booleans(),
        dies=RARELY,
        presence=st.sampled_from(Presence),
        result=ATTEMPT_RESULTS,
        answers_immediately=MOSTLY,
    )
    @precondition(lambda self: self.occupied_legs())
    def a_worker_does_due_work(self, wait, dies, presence, result, answers_immediately):
        if wait:
            self.at = max(self.at, run(self.store.next_due()) or self.at)
        lease = Lease(uuid4().hex, self.at + LEASE)
        for due in run(self.store.lease_due(now=self.at, lease=lease, limit=10)):
            if dies:
                continue  # the lease expires, and another worker does it
            record = self.records[due.transfer_id]
            match due.work:
                case Work.SUBMIT:
                    self.send_again(record, result, answers_immediately=answers_immediately)
                case Work.INSPECT:
                    self.inspect(record, presence)
                case Work.GRACE | Work.DEADLINE:
                    self.reach_due(record, due.work)

    def send_again(self, record, result, *, answers_immediately):
        call, progress = record.opened.call, self.open_transfer(record)
        number = progress.attempts + 1 if progress else 1
        attempted = Attempted(at=self.at, transfer_id=record.id, attempt=number)
        applied = self.apply(call, attempted)
        if not applied.proceed:
            return
        assert not self.apply(call, attempted).proceed, "the same attempt may be sent twice"
        first_sent_at = applied.state.open.first_sent_at
        if not record.cannot_have_executed:
            assert self.rules.repeatable_for is not None, "sent again, although it may have been executed"
            assert first_sent_at == record.first_sent_at, "the provider would execute it as a new request"
            assert self.at - first_sent_at < WINDOW, "sent again after the repetition window"
        self.send(record, first_sent_at, result, answers_immediately=answers_immediately)

    def inspect(self, record, presence):
        before = self.open_transfer(record)
        query = before.inspection_round if before else 0
        self.apply(
            record.opened.call,
            Inspected(at=self.at, transfer_id=record.id, presence=presence, inspection_round=query),
        )
        if before is None:
            return
        if before.pending_failure is not None:
            assert isinstance(self.outcome(record), FAILED)
            return
        if record.inspected_at is not None:
            assert self.at - record.inspected_at >= self.rules.inspect_gap, "queried too often"
        record.inspected_at = self.at
        outcome = self.outcome(record)
        assert outcome is None or isinstance(outcome, EXPIRED), "a query decided"

    def reach_due(self, record, work):
        before = self.open_transfer(record)
        self.apply(record.opened.call, DueReached(at=self.at, transfer_id=record.id, work=work))
        outcome = self.outcome(record)
        if before is None or outcome is None:
            return
        if before.pending_failure is not None:
            assert isinstance(outcome, FAILED)
            assert outcome.call_alive is None
        elif work is Work.GRACE:
            assert self.at - record.ended_at >= self.rules.grace
            assert isinstance(outcome, FAILED | EXPIRED)
        else:
            assert isinstance(outcome, FAILED)
            assert record.cannot_have_executed, "failed, although it may have been executed"

    # --- invariants -------------------------------------------------------------

    @invariant()
    def sequence_numbers_have_no_gap_and_ids_are_unique(self):
        for call in CALLS:
            events = run(self.store.call_events(call))
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert len({event.id for event in events}) == len(events)

    @invariant()
    def a_call_connects_and_ends_once(self):
        for call in CALLS:
            events = run(self.store.call_events(call))
            for cls in (CallConnected, CallEnded):
                assert sum(isinstance(event, cls) for event in events) <= 1

    @invariant()
    def events_are_in_order_and_each_transfer_ends_once(self):
        for record in self.records.values():
            events, progress = self.events_of(record), self.progress_events(record)
            outcomes = [event for event in events if isinstance(event, Outcome)]
            assert {event.kind.partition(".")[0] for event in events} == {record.noun}
            assert progress[0] == "requested"
            assert progress == sorted(set(progress), key=ORDER.index)
            outcome = self.outcome(record)
            assert outcomes == ([outcome] if outcome else [])
            assert events[-1] == (outcome or events[-1])

    @invariant()
    def nothing_is_executed_twice(self):
        assert all(record.executions <= 1 for record in self.records.values())

    @invariant()
    def every_outcome_has_its_reason(self):
        for record in self.records.values():
            outcome = self.outcome(record)
            ended = Signal.CALL_ENDED in record.received
            match outcome:
                case TransferCompleted() | RedirectCompleted(basis=Basis.STATED):
                    assert outcome.basis is Basis.STATED
                    assert Signal.SUCCEEDED in record.received
                    assert record.executions == 1
                case RedirectCompleted():
                    assert self.redirect_rules.completes_on_acceptance
                    assert record.executions == 1
                case TransferFailed() | RedirectFailed():
                    assert Signal.FAILED in record.received or ended or record.cannot_have_executed
                case TransferExpired():
                    assert ended or outcome.elapsed >= record.opened.request.deadline
                case RedirectExpired():
                    assert ended or outcome.elapsed >= record.opened.request.deadline

    @invariant()
    def an_outcome_frees_the_legs_and_clears_due_work(self):
        occupied = {
            leg: record.id
            for record in self.records.values()
            if self.outcome(record) is None
            for leg in record.opened.legs
        }
        assert self.store._tables.legs == occupied
        assert {due.transfer_id for due in self.all_due()} <= {*occupied.values()}

    @invariant()
    def every_open_transfer_has_due_work(self):
        for record in self.records.values():
            progress, due = self.open_transfer(record), self.due(record.id)
            assert (progress is None) is (self.outcome(record) is not None)
            if progress is None:
                continue
            assert not (progress.submitted and Work.SUBMIT in due), "submitted, and due to be sent"
            if progress.call_end is not None or progress.pending_failure is not None:
                assert Work.GRACE in due
            elif progress.deadline_passed:
                assert Work.INSPECT in due
            else:
                assert due[Work.DEADLINE].at == record.deadline_at
                assert Work.SUBMIT in due or progress.submitted or not progress.in_flight

    def teardown(self):
        """Every transfer ends if the provider sends nothing more."""
        for _ in range(60):
            if run(self.store.next_due()) is None:
                break
            self.a_worker_does_due_work(
                wait=True,
                dies=False,
                presence=Presence.UNKNOWN,
                result=PROCESS_DIED,
                answers_immediately=True,
            )
        assert run(self.store.next_due()) is None
        assert all(self.outcome(record) is not None for record in self.records.values())
        self.an_outcome_frees_the_legs_and_clears_due_work()
        self.every_outcome_has_its_reason()


RandomTransfers.TestCase.settings = settings(
    # 40 examples in every run; `.ci/run` runs 400.
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_TRANSFERS", "40")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestRandomTransfers = RandomTransfers.TestCase
