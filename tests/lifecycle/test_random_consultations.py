"""Random consultations: both parties and the application hang up and decide at every moment.

The engine runs on the memory store. The provider executes a request or not and answers it or not; the network
repeats, reorders, delays and loses callbacks; processes die between any two commits, and another one takes
over. What is published is compared with what really happened.
"""

import asyncio
import os
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.consultation_world import (
    ATTEMPTS,
    CALLERS_CALL,
    World,
    WorldAdapter,
)
from support.engine import Died, Engine, inputs_of

from transferkit._lifecycle.consultation.machine import AlreadyDecided, NotAnswered
from transferkit._lifecycle.consultation_inputs import CancellationDecided, CompletionDecided
from transferkit.events import (
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    Outcome,
    ProviderOther,
)
from transferkit.identifiers import PhoneNumber
from transferkit.requests import Call, Consultation, JoinSide
from transferkit.testing import ManualClock

LEASE = timedelta(seconds=90)
ORDER = ("requested", "ringing", "answered", "completing")
RARELY = st.sampled_from([False, False, False, True])
INDEXES = st.sampled_from([0, 0, 0, 1, 2])


class RandomConsultations(RuleBasedStateMachine):
    """One consultation, its parties, a provider, a bad network, dying processes and a clock."""

    @initialize(
        side=st.sampled_from(JoinSide),
        hold=st.booleans(),
        states_why=st.booleans(),
        repeatable=st.booleans(),
        completes_on_acceptance=st.booleans(),
        starts=st.sampled_from(["requested", "ringing", "answered", "completing", "joined"]),
        delivers_late=st.booleans(),
    )
    def begin(self, side, hold, states_why, repeatable, completes_on_acceptance, starts, delivers_late):
        self.delivers_late = delivers_late
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.world = World(self.clock, side, states_why)
        self.outcome_seen = None
        adapter = WorldAdapter(
            self.world,
            repeatable_for=timedelta(minutes=5) if repeatable else None,
            completes_on_acceptance=completes_on_acceptance,
        )
        self.engine = engine = Engine(adapter, self.clock)
        self.store, self.sends, self.ledger = engine.store, engine.sends, engine.ledger
        consultation = Consultation(
            Call("world", CALLERS_CALL.id), to=PhoneNumber("+14255550100"), ring_timeout=25, hold=hold
        )
        self.opened = self.run(engine.record(consultation))
        if starts != "joined":
            self.reach(starts)
        else:
            self.reach("completing")
            self.do_due_work()
            while self.sends:
                self.run(self.sends.pop())

    # --- helpers ------------------------------------------------------------------------------------

    def run(self, coroutine):
        """Run a coroutine; returns None if its process dies."""
        try:
            return self.loop.run_until_complete(coroutine)
        except Died:
            return None
        finally:
            self.store.commits_left = None

    def reach(self, phase):
        """Let everything go well until the consultation is in this phase."""
        while self.state().consultation.phase != phase:
            self.do_due_work()
            while self.sends:
                self.run(self.sends.pop())
            if phase in {"answered", "completing"}:
                self.world.agent_answers()
            while self.world.network:
                self.run(self.ledger.commit(inputs_of(self.world.network.pop(0), self.clock.now())))
            if phase == "completing" and self.state().consultation.phase == "answered":
                self.the_application_decides(CompletionDecided)

    def state(self, call=CALLERS_CALL):
        return self.run(self.store.state(call))

    def outcome(self):
        return self.run(self.store.transfer(self.opened.id)).outcome

    def events(self):
        events = self.run(self.store.call_events(CALLERS_CALL))
        return [e for e in events if e.transfer_id == self.opened.id and not isinstance(e, ProviderOther)]

    @property
    def over(self):
        return self.outcome_seen is not None

    # --- the parties and the application --------------------------------------------------------------

    @rule()
    def caller_hangs_up(self):
        self.world.caller_hangs_up()

    @rule()
    def agent_answers(self):
        self.world.agent_answers()

    @rule()
    def agent_hangs_up(self):
        self.world.agent_hangs_up()

    @rule(cls=st.sampled_from([CompletionDecided, CancellationDecided]))
    def the_application_decides(self, cls):
        answered = any(isinstance(event, ConsultationAnswered) for event in self.events())
        decision = cls(at=self.clock.now(), consultation_id=self.opened.id)
        try:
            self.run(self.ledger.commit([(CALLERS_CALL, decision)]))
        except NotAnswered:
            assert not answered
        except AlreadyDecided:
            assert answered or self.over or self.state().consultation.ending is not None

    @rule(fails=st.booleans())
    def the_next_join_fails(self, fails):
        self.world.join_fails = fails

    # --- the network ----------------------------------------------------------------------------------

    @rule(which=INDEXES, keep=RARELY)
    @precondition(lambda self: self.world.network)
    def deliver(self, which, keep):
        index = which % len(self.world.network)
        fact = self.world.network[index] if keep else self.world.network.pop(index)
        self.run(self.ledger.commit(inputs_of(fact, self.clock.now())))

    @rule(which=INDEXES)
    @precondition(lambda self: self.world.network)
    def lose(self, which):
        self.world.network.pop(which % len(self.world.network))

    # --- processes and time ---------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1, 5, 30, 100, 700]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(
        attempts=st.lists(st.sampled_from(ATTEMPTS), max_size=2),
        dies_before=st.sampled_from([None, None, None, 0, 1, 2, 3]),
        wait=st.booleans(),
    )
    def a_process_does_due_work(self, attempts, dies_before, wait):
        self.world.attempts.extend(attempts)
        if wait:
            self.wait_for_work()
        self.do_due_work(dies_before)
        self.world.attempts.clear()

    def wait_for_work(self):
        due_at = self.run(self.store.next_due())
        if due_at is not None and due_at > self.clock.now():
            self.clock.advance((due_at - self.clock.now()).total_seconds())

    def do_due_work(self, dies_before=None):
        for due in self.run(self.engine.lease_due(LEASE)):
            self.store.commits_left = dies_before
            self.run(self.engine.do(due))

    @rule(attempt=st.sampled_from(ATTEMPTS), which=INDEXES, dies=RARELY)
    @precondition(lambda self: self.sends)
    def a_request_is_sent(self, attempt, which, dies):
        send = self.sends.pop(which % len(self.sends))
        if dies:
            send.close()
            return
        self.world.attempts.append(attempt)
        self.run(send)
        self.world.attempts.clear()

    @rule(answered=st.booleans())
    def queries_are_answered(self, answered):
        self.world.queries_answered = answered

    # --- checks ---------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_executed_twice(self):
        assert all(count == 1 for count in self.world.executed.values())

    @invariant()
    def events_are_in_order_and_there_is_one_outcome(self):
        events = self.events()
        outcomes = [event for event in events if isinstance(event, Outcome)]
        progress = [e.kind.partition(".")[2] for e in events if not isinstance(e, Outcome)]
        assert progress[0] == "requested"
        assert progress == sorted(set(progress), key=ORDER.index)
        outcome = self.outcome()
        assert outcomes == ([outcome] if outcome else [])
        if outcome:
            assert events[-1] == outcome

    @invariant()
    def the_outcome_is_true(self):
        outcome, world = self.outcome(), self.world
        if outcome is None or self.over:
            assert outcome == self.outcome_seen
            return
        self.outcome_seen = outcome
        note(f"{outcome} while {world.caller=} {world.held=} {world.agent=}")
        state = self.state()
        assert state.consultation is None
        assert state.open is None, "a step of the caller's call is still open"
        agent_exists = world.agent in {"ringing", "talking"}
        names_agent = bool({world.agent_call, world.placed_by} & {*outcome.left})
        match outcome:
            case ConsultationCompleted():
                assert world.joined
            case ConsultationCancelled():
                assert not agent_exists
                assert not world.joined
                assert not world.held
                assert outcome.left == ()
            case ConsultationFailed():
                assert not world.joined
                assert names_agent or not agent_exists
                assert outcome.caller_held is not False or not world.held
                assert outcome.caller_held is not True or world.held or world.caller == "gone"
                assert outcome.call_alive is not False or world.caller == "gone"
            case ConsultationExpired():
                assert names_agent or not agent_exists or world.joined
                assert outcome.caller_held is not False or not world.held
                assert outcome.call_alive is not False or world.caller != "with us"

    def teardown(self):
        """Whatever happened, the consultation ends, at the latest when all time limits have passed."""
        if not hasattr(self, "opened"):
            return
        try:
            for _ in range(200):
                while self.sends:
                    self.run(self.sends.pop())
                while self.delivers_late and self.world.network:
                    self.deliver(0, keep=False)
                if self.run(self.store.next_due()) is None:
                    break
                self.wait_for_work()
                self.do_due_work()
                self.the_outcome_is_true()
            assert self.outcome() is not None, "the consultation never ended"
            self.the_outcome_is_true()
            assert not self.store._tables.legs, "a leg stays occupied"
            assert self.run(self.store.next_due()) is None, "work is due for ever"
            assert Counter(e.kind for e in self.events()).most_common(1)[0][1] == 1
        finally:
            for send in self.sends:
                send.close()
            self.loop.close()


RandomConsultations.TestCase.settings = settings(
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRandomConsultations = RandomConsultations.TestCase
