"""Every promise about a transfer's life, against a provider and a network that do their worst.

The machine under test runs inside the memory store. The model around it is a provider that executes or not,
answers or not, and says what the two real providers say; a network that repeats, reorders, delays and drops
it, also ahead of the answer; processes that die between two steps; and time.
"""

import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    FailureReason,
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
from transferkit.provider.facts import Delivery, Fact, Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit.requests import Call, Redirect, Transfer
from transferkit.stores import LegOccupied, MemoryStore

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=90)
WINDOW = timedelta(seconds=285)
REMEMBERED = timedelta(minutes=5)  # by a provider that executes once
CALLS = (CallKey("fake", "leg-a"), CallKey("fake", "leg-b"))
ORDER = ("requested", "submitted", "started", "accepted")
COMPLETED = TransferCompleted | RedirectCompleted
FAILED = TransferFailed | RedirectFailed
EXPIRED = TransferExpired | RedirectExpired


@frozen
class Word:
    """What one callback says."""

    signals: tuple[Signal, ...]
    result: Result | None = None

    @property
    def event(self):
        if Signal.CALL_ENDED in self.signals:
            return CallEnded
        return CallConnected if Signal.RETURNED in self.signals else ProviderOther

    @property
    def verdict(self):
        """What it states about the transfer, if anything."""
        verdicts = {Signal.SUCCEEDED: Verdict.SUCCEEDED, Signal.FAILED: Verdict.FAILED}
        return next((verdicts[signal] for signal in self.signals if signal in verdicts), None)


def says(*signals, reason=None):
    return Word(signals, reason and Result(code=1, reason=reason))


BEGINS = says(Signal.STARTED)
ACCEPTS = says(Signal.ACCEPTED)
SUCCEEDS = says(Signal.SUCCEEDED)
SUCCEEDS_AND_ENDS = says(Signal.SUCCEEDED, Signal.CALL_ENDED)
FAILS = says(Signal.FAILED, reason=FailureReason.BUSY)
FAILS_AND_ENDS = says(Signal.FAILED, Signal.CALL_ENDED, reason=FailureReason.BUSY)
RETURNS = says(Signal.RETURNED)
ENDS = says(Signal.CALL_ENDED)
NOBODY_ANSWERS = says(Signal.CALL_ENDED, reason=FailureReason.NO_ANSWER)
CALLER_LEAVES = says(Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT)
ACS_SUCCEEDS = says(Signal.ACCEPTED, Signal.SUCCEEDED)

GRAPH_STORIES = {
    "completed": (BEGINS, ACCEPTS, SUCCEEDS_AND_ENDS),
    "completed, ended told twice": (BEGINS, ACCEPTS, SUCCEEDS_AND_ENDS, ENDS),
    "each word twice": (BEGINS, BEGINS, ACCEPTS, ACCEPTS, BEGINS, SUCCEEDS, SUCCEEDS),
    "failed": (BEGINS, ACCEPTS, FAILS, RETURNS),
    "failed without a word": (BEGINS, RETURNS),
    "failed, and the call ended": (BEGINS, FAILS_AND_ENDS),
    "caller left": (BEGINS, CALLER_LEAVES),
    "ended in the middle": (BEGINS, ACCEPTS, ENDS),
    "nobody answered": (BEGINS, NOBODY_ANSWERS),
    "group, the leg stays": (BEGINS, ACCEPTS, SUCCEEDS),
    "silent": (),
}
ACS_STORIES = {
    "completed": (ACS_SUCCEEDS, ENDS),
    "completed, ended by the service": (ACS_SUCCEEDS, SUCCEEDS_AND_ENDS),
    "failed": (FAILS, RETURNS),
    "failed, then ended": (FAILS, CALLER_LEAVES),
    "caller left": (CALLER_LEAVES,),
    "group, the leg stays": (ACS_SUCCEEDS,),
    "silent": (),
}

LOST = MaybeSent(result=Result(reason=FailureReason.TIMEOUT))
REFUSED = Rejected(result=Result(code=404, reason=FailureReason.CALL_NOT_FOUND))
NO_CONNECTION = NotSent(result=Result(reason=FailureReason.UNREACHABLE))
TOO_MANY = NotSent(result=Result(code=429, reason=FailureReason.THROTTLED), retry_after=timedelta(seconds=40))


@frozen
class Fate:
    """What becomes of one attempt: whether the provider executes it, and what its sender learns."""

    executes: bool
    answer: SubmitResult | None


TAKEN = Fate(executes=True, answer=Submitted())
NEVER_LEFT = Fate(executes=False, answer=None)
FATES = st.sampled_from(
    [
        TAKEN,
        TAKEN,
        TAKEN,
        Fate(executes=True, answer=LOST),
        Fate(executes=True, answer=None),
        Fate(executes=True, answer=REFUSED),  # by a gateway that should have known better
        Fate(executes=False, answer=LOST),
        Fate(executes=False, answer=REFUSED),
        Fate(executes=False, answer=NO_CONNECTION),
        Fate(executes=False, answer=TOO_MANY),
        NEVER_LEFT,
    ]
)
RARELY = st.sampled_from([False, False, False, True])
MOSTLY = RARELY.map(lambda rarely: not rarely)
FIRST_OF_ALL = st.sampled_from([0, 0, 0, 1, 2, 5])
ASKING = {
    "redirect": RARELY,
    "replaces": RARELY,
    "deadline": st.sampled_from([20, 150, 150, 600]),
    "story": st.integers(0, 20),
    "fate": FATES,
    "promptly": MOSTLY,
}


@define
class Truth:
    """What really happened to one request, and what the application's side was told of it."""

    opened: Opened
    story: tuple[Word, ...]
    executions: int = 0
    executed_at: datetime | None = None
    executed_as: datetime | None = None
    """The first-sent time that the executed attempt carried."""
    first_sent_at: datetime | None = None
    answers: list[SubmitResult | None] = field(factory=list)
    """Of each attempt, None until it came."""
    heard: set[Signal] = field(factory=set)
    """Signals that came while the transfer was open."""
    ended_at: datetime | None = None
    inspected_at: datetime | None = None
    late_verdict: Verdict | None = None
    """The verdict that was heard after its outcome."""

    @property
    def id(self):
        return self.opened.id

    @property
    def noun(self):
        return "redirect" if self.opened.is_redirect else "transfer"

    @property
    def deadline_at(self):
        return self.opened.at + self.opened.request.deadline

    @property
    def cannot_have_executed(self):
        """Each attempt was turned away: that is all that the application's side can know."""
        return all(isinstance(answer, NotSent | Rejected) for answer in self.answers)


@frozen
class Message:
    """One callback on its way."""

    truth: Truth
    word: Word
    fact: Fact

    @property
    def call(self):
        return self.truth.opened.call


def now(coroutine):
    """The result of a coroutine that awaits nothing, as the memory store's are."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory store should never wait here")


class TransferLife(RuleBasedStateMachine):
    """One application, two calls, a provider, a bad network and a clock."""

    @initialize(
        stories=st.sampled_from([GRAPH_STORIES, ACS_STORIES]),
        attribution=st.sampled_from(["address", "context"]),
        repeatable=st.booleans(),
        handed_over=st.booleans(),
        max_attempts=st.sampled_from([2, 6]),
    )
    def begin(self, stories, attribution, repeatable, handed_over, max_attempts):
        self.store = MemoryStore()
        self.at = START
        self.stories = stories
        self.attribution = attribution
        self.rules = Rules(
            repeatable_for=WINDOW if repeatable else None,
            redirect_completes_on_acceptance=handed_over,
            max_attempts=max_attempts,
        )
        self.truths = {}
        self.network = []
        self.answers = []
        self.eras = {}  # of each call and delivery key: whose time it was when it last came

    # --- helpers ------------------------------------------------------------------------------------

    def apply(self, call, happened, key=None):
        """Into the store; on the way, the machine is pure and its state survives being written."""
        state, seen = self.state(call), self.eras.get((call, key))
        assert step(call, state, happened, seen) == step(call, state, happened, seen)
        applied = now(self.store.apply(call, happened, step))
        assert decode(CallState, encode(applied.state)) == applied.state
        return applied

    def state(self, call):
        return now(self.store.state(call))

    def progress(self, truth):
        """The state of a transfer while it is open."""
        progress = self.state(truth.opened.call).open
        return progress if progress and progress.id == truth.id else None

    def outcome(self, truth):
        return now(self.store.transfer(truth.id)).outcome

    def life(self, truth):
        """The events of a transfer, leftovers aside."""
        events = now(self.store.call_events(truth.opened.call))
        return [e for e in events if e.transfer_id == truth.id and not isinstance(e, ProviderOther)]

    def told(self, truth):
        """The steps of a transfer before its outcome."""
        return [e.kind.partition(".")[2] for e in self.life(truth) if not isinstance(e, Outcome)]

    def due(self, transfer_id):
        """The due work of a transfer."""
        return {due.work: due for due in self.all_due() if due.transfer_id == transfer_id}

    def all_due(self):
        return [row.due for row in self.store._tables.due.values() if row]

    # --- what the application does ------------------------------------------------------------------

    @rule(call=st.sampled_from(CALLS), **ASKING)
    def ask(self, call, redirect, replaces, deadline, story, fate, promptly):
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
        asked = Requested(at=self.at, opened=opened, rules=self.rules, sender=sender)
        if self.occupied() & set(opened.legs):
            with pytest.raises(LegOccupied):
                self.apply(call, asked)
            return
        self.apply(call, asked)
        stories = list(self.stories.values())
        truth = Truth(opened, stories[story % len(stories)])
        self.truths[truth.id] = truth
        self.send(truth, self.at, fate, promptly=promptly)

    @rule(**ASKING)
    @precondition(lambda self: set(CALLS) - self.occupied())
    def ask_where_nothing_is_open(self, **asking):
        self.ask(min(set(CALLS) - self.occupied()), **asking)

    def occupied(self):
        open_ones = (truth for truth in self.truths.values() if self.outcome(truth) is None)
        return {leg for truth in open_ones for leg in truth.opened.legs}

    def send(self, truth, first_sent_at, fate, *, promptly):
        """An attempt leaves; what the provider will say about it is on its way from here on."""
        assert self.at < truth.deadline_at, "sent after the deadline"
        truth.first_sent_at = first_sent_at
        truth.answers.append(None)
        if fate.executes:
            self.execute(truth)
        if fate.answer is not None:
            self.answers.append((truth, len(truth.answers), fate.answer))
            if promptly:
                self.hear_answer(*self.answers.pop())

    def execute(self, truth):
        repeated = (
            self.rules.repeatable_for is not None
            and truth.executed_at is not None
            and truth.executed_as == truth.first_sent_at
            and self.at - truth.executed_at < REMEMBERED
        )
        if repeated:
            return
        truth.executions += 1
        truth.executed_at, truth.executed_as = self.at, truth.first_sent_at
        self.network += [self.message(truth, index, word) for index, word in enumerate(truth.story)]

    def message(self, truth, index, word):
        call, request = truth.opened.call, truth.opened.request
        echoes = self.attribution == "context"
        event = word.event(
            time=self.at,
            provider=call.provider,
            call_id=call.id,
            operation_context=request.operation_context if echoes else None,
            raw={"said": [*word.signals], "index": index},
        )
        key = f"{truth.id} {index}"
        fact = Fact(
            event=event,
            signals=word.signals,
            result=word.result,
            delivery=Delivery(key),
            transfer_id=truth.id if self.attribution == "address" else None,
            echoes_context=echoes,
            call_alive=True,
        )
        return Message(truth, word, fact)

    @rule(which=FIRST_OF_ALL, again=RARELY)
    @precondition(lambda self: self.answers)
    def answer_arrives(self, which, again):
        """Answers come in any order, some long after the callbacks that they announce."""
        answer = self.answers.pop(which % len(self.answers))
        self.hear_answer(*answer)
        if again:
            self.hear_answer(*answer)

    def hear_answer(self, truth, attempt, answer):
        before = self.progress(truth)
        answered = Answered(at=self.at, transfer_id=truth.id, attempt=attempt, answer=answer)
        applied = self.apply(truth.opened.call, answered)
        if before is None:
            assert applied.events == (), "an answer after the outcome is no news"
            return
        truth.answers[attempt - 1] = answer
        outcome = self.outcome(truth)
        if isinstance(answer, Submitted):
            assert "submitted" in self.told(truth)
            assert not isinstance(outcome, FAILED | EXPIRED)
        elif attempt < before.attempts:
            assert self.progress(truth) == before, "an older attempt's answer counts no more"
        elif outcome is not None:
            assert isinstance(outcome, FAILED)
            assert not before.submitted, "called failed, and the provider has spoken of it"
            assert truth.cannot_have_executed, "called failed, but it may have been executed"

    # --- what the network does ----------------------------------------------------------------------

    @rule()
    @precondition(lambda self: self.network)
    def deliver(self):
        self.receive(self.pick(0, keep=False))

    @rule(which=FIRST_OF_ALL)
    @precondition(lambda self: self.network)
    def deliver_and_keep_for_later(self, which):
        self.receive(self.pick(which, keep=True))

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: len(self.network) > 1)
    def deliver_out_of_order(self, which):
        self.receive(self.pick(which, keep=False))

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: len(self.network) > 2)
    def lose(self, which):
        self.pick(which, keep=False)

    def pick(self, which, *, keep):
        index = which % len(self.network)
        return self.network[index] if keep else self.network.pop(index)

    def receive(self, message):
        call, key = message.call, message.fact.delivery.key
        before = self.state(call).open
        earlier = self.eras.get((call, key))
        applied = self.apply(call, Observed(at=self.at, fact=message.fact), key)
        if earlier is not None:
            assert applied.duplicate
            assert applied.events == ()
            return
        assert not applied.duplicate
        assert message.fact.event.raw in [event.raw for event in applied.events], "a delivery disappeared"
        self.eras[call, key] = before.id if before else "-"
        if before is not None and Signal.CALL_ENDED in message.word.signals:
            self.truths[before.id].heard.add(Signal.CALL_ENDED)
            self.truths[before.id].ended_at = self.truths[before.id].ended_at or self.at
        if before is not None and before.id == message.truth.id:
            self.heard_in_time(message, before)
        else:
            self.heard_too_late(message, applied, before)

    def heard_in_time(self, message, before):
        """It is the open transfer's: a verdict decides, and nothing else does."""
        truth, signals = message.truth, message.word.signals
        truth.heard |= {*signals}
        outcome, due = self.outcome(truth), self.due(truth.id)
        match message.word.verdict:
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
            assert "submitted" in self.told(truth), "what the provider speaks of, it has"
        if outcome is None and Signal.CALL_ENDED in signals:
            assert Work.GRACE in due
        if Signal.RETURNED in signals and (before.started or before.accepted):
            assert Work.INSPECT in due

    def heard_too_late(self, message, applied, before):
        """Its transfer has its outcome: a verdict that does not agree is flagged, and moves nobody."""
        truth, word = message.truth, message.word
        outcome = self.outcome(truth)
        assert outcome not in applied.events
        stated = truth.late_verdict
        if outcome.basis is Basis.STATED:
            stated = Verdict.SUCCEEDED if isinstance(outcome, COMPLETED) else Verdict.FAILED
        flagged = [
            (event.transfer_id, event.late_verdict)
            for event in applied.events
            if isinstance(event, ProviderOther) and event.late_verdict
        ]
        expected = [(truth.id, word.verdict)] if word.verdict and word.verdict != stated else []
        assert flagged == expected
        truth.late_verdict = word.verdict or truth.late_verdict
        if not {Signal.CALL_ENDED, Signal.RETURNED} & {*word.signals}:
            assert self.state(message.call).open == before

    @rule(
        call=st.sampled_from(CALLS),
        addressed=st.booleans(),
        signal=st.sampled_from([Signal.STARTED, Signal.ACCEPTED, Signal.SUCCEEDED, Signal.FAILED]),
    )
    @precondition(lambda self: self.occupied())
    def a_stranger_is_told_of(self, call, addressed, signal):
        """A transfer that somebody else asked for, on a call of ours."""
        before = self.state(call).open
        event = ProviderOther(
            time=self.at, provider=call.provider, call_id=call.id, operation_context="a stranger's"
        )
        fact = Fact(
            event=event,
            signals=(signal,),
            transfer_id="a stranger's" if addressed else None,
            echoes_context=not addressed,
        )
        (told,) = self.apply(call, Observed(at=self.at, fact=fact)).events
        assert (told.kind, told.transfer_id) == ("provider.other", None)
        after = self.state(call).open
        assert after is before or after == evolve(before, unattributed_verdict=after.unattributed_verdict)

    @rule(call=st.sampled_from(CALLS), cls=st.sampled_from([CallConnected, CallParticipants, ProviderOther]))
    @precondition(lambda self: self.occupied() and not self.network)
    def something_else_happens(self, call, cls):
        before = self.state(call).open
        event = cls(time=self.at, provider=call.provider, call_id=call.id)
        (told,) = self.apply(call, Observed(at=self.at, fact=Fact(event=event))).events
        assert told.transfer_id is None
        assert self.state(call).open == before

    # --- what time does -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1, 1, 2, 3, 5, 6, 30, 95, 160, 300]))
    @precondition(lambda self: self.truths)
    def time_passes(self, seconds):
        self.at += timedelta(seconds=seconds)

    @rule(wait=st.booleans(), dies=RARELY, presence=st.sampled_from(Presence), fate=FATES, promptly=MOSTLY)
    @precondition(lambda self: self.occupied())
    def somebody_does_what_is_due(self, wait, dies, presence, fate, promptly):
        if wait:
            self.at = max(self.at, now(self.store.next_due()) or self.at)
        lease = Lease(uuid4().hex, self.at + LEASE)
        for due in now(self.store.lease_due(now=self.at, lease=lease, limit=10)):
            if dies:
                continue  # the lease runs out, and somebody else does it
            truth = self.truths[due.transfer_id]
            match due.work:
                case Work.SUBMIT:
                    self.resume(truth, fate, promptly=promptly)
                case Work.INSPECT:
                    self.inspect(truth, presence)
                case Work.GRACE | Work.DEADLINE:
                    self.run_out(truth, due.work)

    def resume(self, truth, fate, *, promptly):
        call, progress = truth.opened.call, self.progress(truth)
        number = progress.attempts + 1 if progress else 1
        attempted = Attempted(at=self.at, transfer_id=truth.id, attempt=number)
        applied = self.apply(call, attempted)
        if not applied.proceed:
            return
        assert not self.apply(call, attempted).proceed, "two may send the same attempt"
        first_sent_at = applied.state.open.first_sent_at
        if not truth.cannot_have_executed:
            assert self.rules.repeatable_for is not None, "sent again, and it may have been executed"
            assert first_sent_at == truth.first_sent_at, "the provider would take it for another request"
            assert self.at - first_sent_at < WINDOW, "the provider may have forgotten the first one"
        self.send(truth, first_sent_at, fate, promptly=promptly)

    def inspect(self, truth, presence):
        before = self.progress(truth)
        query = before.inspection_round if before else 0
        self.apply(
            truth.opened.call,
            Inspected(at=self.at, transfer_id=truth.id, presence=presence, inspection_round=query),
        )
        if before is None:
            return
        if before.pending_failure is not None:
            assert isinstance(self.outcome(truth), FAILED)
            return
        if truth.inspected_at is not None:
            assert self.at - truth.inspected_at >= self.rules.inspect_gap, "asked too often"
        truth.inspected_at = self.at
        outcome = self.outcome(truth)
        assert outcome is None or isinstance(outcome, EXPIRED), "asking decided"

    def run_out(self, truth, work):
        before = self.progress(truth)
        self.apply(truth.opened.call, DueReached(at=self.at, transfer_id=truth.id, work=work))
        outcome = self.outcome(truth)
        if before is None or outcome is None:
            return
        if before.pending_failure is not None:
            assert isinstance(outcome, FAILED)
            assert outcome.call_alive is None
        elif work is Work.GRACE:
            assert self.at - truth.ended_at >= self.rules.grace
            assert isinstance(outcome, FAILED | EXPIRED)
        else:
            assert isinstance(outcome, FAILED)
            assert truth.cannot_have_executed, "called failed, but it may have been executed"

    # --- what must hold at every moment -------------------------------------------------------------

    @invariant()
    def sequences_have_no_gap_and_ids_no_double(self):
        for call in CALLS:
            events = now(self.store.call_events(call))
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert len({event.id for event in events}) == len(events)

    @invariant()
    def a_call_connects_and_ends_once(self):
        for call in CALLS:
            events = now(self.store.call_events(call))
            for cls in (CallConnected, CallEnded):
                assert sum(isinstance(event, cls) for event in events) <= 1

    @invariant()
    def each_life_is_told_in_order_and_ends_once(self):
        for truth in self.truths.values():
            events, told = self.life(truth), self.told(truth)
            outcomes = [event for event in events if isinstance(event, Outcome)]
            assert {event.kind.partition(".")[0] for event in events} == {truth.noun}
            assert told[0] == "requested"
            assert told == sorted(set(told), key=ORDER.index)
            outcome = self.outcome(truth)
            assert outcomes == ([outcome] if outcome else [])
            assert events[-1] == (outcome or events[-1])

    @invariant()
    def nothing_is_executed_twice(self):
        assert all(truth.executions <= 1 for truth in self.truths.values())

    @invariant()
    def every_outcome_has_its_reason(self):
        for truth in self.truths.values():
            outcome = self.outcome(truth)
            ended = Signal.CALL_ENDED in truth.heard
            match outcome:
                case TransferCompleted() | RedirectCompleted(basis=Basis.STATED):
                    assert outcome.basis is Basis.STATED
                    assert Signal.SUCCEEDED in truth.heard
                    assert truth.executions == 1
                case RedirectCompleted():
                    assert self.rules.redirect_completes_on_acceptance
                    assert truth.executions == 1
                case TransferFailed() | RedirectFailed():
                    assert Signal.FAILED in truth.heard or ended or truth.cannot_have_executed
                case TransferExpired():
                    assert ended or outcome.elapsed >= truth.opened.request.deadline
                case RedirectExpired():
                    assert ended or outcome.elapsed >= truth.opened.request.deadline

    @invariant()
    def an_outcome_frees_the_legs_and_leaves_no_work(self):
        held = {
            leg: truth.id
            for truth in self.truths.values()
            if self.outcome(truth) is None
            for leg in truth.opened.legs
        }
        assert self.store._tables.legs == held
        assert {due.transfer_id for due in self.all_due()} <= {*held.values()}

    @invariant()
    def what_is_open_will_end(self):
        for truth in self.truths.values():
            progress, due = self.progress(truth), self.due(truth.id)
            assert (progress is None) is (self.outcome(truth) is not None)
            if progress is None:
                continue
            assert not (progress.submitted and Work.SUBMIT in due), "it has left, and somebody will send it"
            if progress.call_end is not None or progress.pending_failure is not None:
                assert Work.GRACE in due
            elif progress.deadline_passed:
                assert Work.INSPECT in due
            else:
                assert due[Work.DEADLINE].at == truth.deadline_at
                assert Work.SUBMIT in due or progress.submitted or not progress.in_flight

    def teardown(self):
        """Left alone, with a provider that says nothing more, everything ends."""
        for _ in range(60):
            if now(self.store.next_due()) is None:
                break
            self.somebody_does_what_is_due(
                wait=True, dies=False, presence=Presence.UNKNOWN, fate=NEVER_LEFT, promptly=True
            )
        assert now(self.store.next_due()) is None
        assert all(self.outcome(truth) is not None for truth in self.truths.values())
        self.an_outcome_frees_the_legs_and_leaves_no_work()
        self.every_outcome_has_its_reason()


TransferLife.TestCase.settings = settings(
    # Forty lives in every run; `.ci/run` plays four hundred.
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_LIVES", "40")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTransferLife = TransferLife.TestCase
