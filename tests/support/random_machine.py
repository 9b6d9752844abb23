"""What the random consultations and the random routes share: the network, processes that die, and time."""

import asyncio
import os
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.engine import ATTEMPTS, CALLERS_CALL, Died, Engine, inputs_of
from transferkit.events import ProviderOther
from transferkit.testing import ManualClock

INDEXES = st.sampled_from([0, 0, 0, 1, 2])
RARELY = st.sampled_from([False, False, False, True])
SETTINGS = settings(
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
_LEASE = timedelta(seconds=90)


class RandomMachine(RuleBasedStateMachine):
    """One request about one call, its parties, a provider, a bad network, dying processes and a clock."""

    opened = None
    delivers_late: bool
    """Whether callbacks that are still on the network arrive at the end."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.outcome_seen = None

    def teardown(self):
        """Whatever happened, there is an outcome, at the latest when all time limits have passed."""
        try:
            if self.opened is not None:
                self.end()
        finally:
            for send in self.sends if self.opened is not None else ():
                send.close()
            self.loop.close()

    def end(self):
        """Do all work that is due."""
        for _ in range(400):
            self.send_all()
            while self.delivers_late and self.world.network:
                self.commit(self.world.network.pop(0))
            if self.run(self.store.next_due()) is None:
                break
            self.wait_for_work()
            self.do_due_work()
            self.nothing_is_executed_twice()
            self.the_outcome_is_true()
        assert self.outcome() is not None, "it never ended"
        self.the_outcome_is_true()
        assert not self.store._tables.legs, "a leg stays occupied"
        assert self.run(self.store.next_due()) is None, "work is due for ever"

    def open(self, world, adapter):
        """Begin with this model of the parties and the provider."""
        self.world = world
        self.engine = Engine(adapter, self.clock)
        self.store, self.sends, self.ledger = self.engine.store, self.engine.sends, self.engine.ledger

    # --- helpers ------------------------------------------------------------------------------------

    def run(self, coroutine):
        """Run a coroutine; returns None if its process dies."""
        try:
            return self.loop.run_until_complete(coroutine)
        except Died:
            return None
        finally:
            self.store.commits_left = None

    def commit(self, fact):
        self.run(self.ledger.commit(inputs_of(fact, self.clock.now())))

    def state(self, call=CALLERS_CALL):
        return self.run(self.store.state(call))

    def outcome(self):
        return self.run(self.store.transfer(self.opened.id)).outcome

    def events(self):
        events = self.run(self.store.call_events(CALLERS_CALL))
        return [e for e in events if e.transfer_id == self.opened.id and not isinstance(e, ProviderOther)]

    def send_all(self):
        while self.sends:
            self.run(self.sends.pop())

    def wait_for_work(self):
        due_at = self.run(self.store.next_due())
        if due_at is not None and due_at > self.clock.now():
            self.clock.advance((due_at - self.clock.now()).total_seconds())

    def do_due_work(self, dies_before=None):
        for due in self.run(self.engine.lease_due(_LEASE)):
            self.store.commits_left = dies_before
            self.run(self.engine.do(due))

    # --- rules --------------------------------------------------------------------------------------

    @rule()
    def caller_hangs_up(self):
        self.world.caller_hangs_up()

    @rule(which=INDEXES, keep=RARELY)
    @precondition(lambda self: self.world.network)
    def deliver(self, which, keep):
        index = which % len(self.world.network)
        self.commit(self.world.network[index] if keep else self.world.network.pop(index))

    @rule(which=INDEXES)
    @precondition(lambda self: self.world.network)
    def lose(self, which):
        self.world.network.pop(which % len(self.world.network))

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

    # --- checks -------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_executed_twice(self):
        assert all(count == 1 for count in self.world.executed.values())

    @invariant()
    def the_outcome_is_true(self):
        outcome = self.outcome()
        if outcome is None or self.outcome_seen is not None:
            assert outcome == self.outcome_seen
            return
        self.outcome_seen = outcome
        self.check_outcome(outcome)

    def check_outcome(self, outcome):
        """Compare the outcome with what really happened."""
        raise NotImplementedError("each kind of request has its own truth: override this")
