"""Random routes: the parties hang up, the network and the processes fail at every moment.

What is published is compared with what really happened: nobody is handed to two targets, no caller is left
without an outcome, and no attempt is repeated or skipped.
"""

import asyncio
import os
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.engine import Died, Engine, inputs_of
from support.route_world import ATTEMPTS, CALLERS_CALL, World, WorldAdapter

from transferkit._lifecycle import RouteCancelled, RouteOver
from transferkit._lifecycle.consultation.machine import AlreadyDecided
from transferkit._lifecycle.consultation_inputs import CancellationDecided
from transferkit.errors import TransferInProgress
from transferkit.events import (
    Basis,
    ConsultationExpired,
    ConsultationFailed,
    FailureReason,
    Outcome,
    ProviderOther,
    RouteAttempt,
    RouteCompleted,
    RouteFailed,
    RouteReturned,
    TransferExpired,
    TransferFailed,
)
from transferkit.identifiers import PhoneNumber
from transferkit.requests import Attempt, Call, JoinSide, Route, Transfer
from transferkit.requests.routes import MOVES_ON
from transferkit.testing import ManualClock

LEASE = timedelta(seconds=90)
TARGETS = [PhoneNumber(f"+1425555010{number}") for number in range(4)]
RARELY = st.sampled_from([False, False, False, True])
INDEXES = st.sampled_from([0, 0, 0, 1, 2])
REASONS = st.sampled_from([FailureReason.BUSY, FailureReason.DECLINED, FailureReason.FORBIDDEN])


class RandomRoutes(RuleBasedStateMachine):
    """One route, its parties, a provider, a bad network, dying processes and a clock."""

    @initialize(
        side=st.sampled_from(JoinSide),
        names_transfers=st.booleans(),
        repeatable=st.booleans(),
        rings=st.lists(st.booleans(), min_size=1, max_size=4),
        delivers_late=st.booleans(),
        queries_answered=st.booleans(),
    )
    def begin(self, side, names_transfers, repeatable, rings, delivers_late, queries_answered):
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.delivers_late = delivers_late
        self.world = World(self.clock, side, names_transfers)
        self.engine = Engine(WorldAdapter(self.world, repeatable=repeatable), self.clock)
        self.outcome_seen = None
        self.world.queries_answered = queries_answered
        self.attempts = [
            Attempt(target, ring_timeout=20 if limited else None)
            for target, limited in zip(TARGETS, rings, strict=False)
        ]
        route = Route(Call("world", CALLERS_CALL.id), self.attempts, deadline=60)
        self.opened = self.run(self.engine.record(route))

    # --- helpers ------------------------------------------------------------------------------------

    def run(self, coroutine):
        """Run a coroutine; returns None if its process dies."""
        try:
            return self.loop.run_until_complete(coroutine)
        except Died:
            return None
        finally:
            self.engine.store.commits_left = None

    def outcome(self):
        return self.run(self.engine.store.transfer(self.opened.id)).outcome

    def events(self):
        events = self.run(self.engine.store.call_events(CALLERS_CALL))
        return [e for e in events if e.transfer_id == self.opened.id and not isinstance(e, ProviderOther)]

    def commit(self, fact):
        self.run(self.engine.ledger.commit(inputs_of(fact, self.clock.now())))

    # --- the parties and the application --------------------------------------------------------------

    @rule()
    def caller_hangs_up(self):
        self.world.caller_hangs_up()

    @rule()
    def target_answers(self):
        self.world.target_answers()

    @rule(reason=REASONS)
    def target_declines(self, reason):
        self.world.target_declines(reason)

    @rule(really=RARELY)
    def the_application_cancels(self, really):
        if not really:
            return
        cancelled = RouteCancelled(at=self.clock.now(), route_id=self.opened.id)
        try:
            self.run(self.engine.ledger.commit([(CALLERS_CALL, cancelled)]))
        except RouteOver:
            assert self.outcome() is not None

    @rule(really=RARELY)
    def the_consultation_is_cancelled_by_its_own_id(self, really):
        consultation = self.run(self.engine.store.state(CALLERS_CALL)).consultation
        if really and consultation is not None:
            cancelled = CancellationDecided(at=self.clock.now(), consultation_id=consultation.id)
            with suppress(AlreadyDecided):
                self.run(self.engine.ledger.commit([(CALLERS_CALL, cancelled)]))

    @rule()
    def the_application_asks_for_something_else(self):
        if self.outcome() is None:
            with pytest.raises(TransferInProgress):
                self.run(self.engine.record(Transfer(Call("world", CALLERS_CALL.id), to=TARGETS[0])))

    # --- the network ----------------------------------------------------------------------------------

    @rule(which=INDEXES, keep=RARELY)
    @precondition(lambda self: self.world.network)
    def deliver(self, which, keep):
        index = which % len(self.world.network)
        self.commit(self.world.network[index] if keep else self.world.network.pop(index))

    @rule(which=INDEXES)
    @precondition(lambda self: self.world.network)
    def lose(self, which):
        self.world.network.pop(which % len(self.world.network))

    # --- processes and time ---------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1, 5, 30, 100]))
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
        due_at = self.run(self.engine.store.next_due())
        if due_at is not None and due_at > self.clock.now():
            self.clock.advance((due_at - self.clock.now()).total_seconds())

    def do_due_work(self, dies_before=None):
        for due in self.run(self.engine.lease_due(LEASE)):
            self.engine.store.commits_left = dies_before
            self.run(self.engine.do(due))

    @rule(attempt=st.sampled_from(ATTEMPTS), which=INDEXES, dies=RARELY)
    @precondition(lambda self: self.engine.sends)
    def a_request_is_sent(self, attempt, which, dies):
        send = self.engine.sends.pop(which % len(self.engine.sends))
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
    def nothing_is_executed_twice_and_nobody_is_handed_to_two_targets(self):
        assert all(count == 1 for count in self.world.executed.values())
        assert len(self.world.handed_to) <= 1

    @invariant()
    def attempts_are_in_order_and_there_is_one_outcome(self):
        events = self.events()
        made = [event for event in events if isinstance(event, RouteAttempt)]
        assert [one.number for one in made] == list(range(1, len(made) + 1))
        assert [one.target for one in made] == TARGETS[: len(made)]
        outcomes = [event for event in events if isinstance(event, Outcome)]
        outcome = self.outcome()
        assert outcomes == ([outcome] if outcome else [])
        if outcome is not None:
            assert events[-1] == outcome
            assert outcome.number == len(made)

    @invariant()
    def the_route_continues_only_if_the_caller_is_proven_to_be_there(self):
        proven = True
        for event in self.run(self.engine.store.call_events(CALLERS_CALL)):
            match event:
                case RouteAttempt() | RouteReturned(cancelled=False):
                    assert proven
                case TransferFailed() | ConsultationFailed():
                    proven = event.call_alive is True and event.reason in MOVES_ON
                case ConsultationExpired() | TransferExpired():
                    proven = False

    @invariant()
    def the_outcome_is_true(self):
        outcome, world = self.outcome(), self.world
        if outcome is None or self.outcome_seen is not None:
            assert outcome == self.outcome_seen
            return
        self.outcome_seen = outcome
        note(f"{outcome} while {world.caller=} {world.handed_to=}")
        state = self.run(self.engine.store.state(CALLERS_CALL))
        assert (state.route, state.consultation, state.open) == (None, None, None)
        left = {*outcome.left}
        for agent in world.agents:
            exists = agent.state in {"ringing", "talking"}
            assert not exists or {agent.call_id, agent.step_id} & left, "a leg is left behind"
        match outcome:
            case RouteCompleted():
                assert world.handed_to == [outcome.target]
            case RouteReturned():
                assert world.handed_to == []
                assert outcome.cancelled or len(outcome.failures) == len(self.attempts)
            case RouteFailed(basis=Basis.STATED):
                assert world.handed_to == []
                assert outcome.call_alive is not False or world.caller != "with us"
            case RouteFailed():
                assert outcome.call_alive is not False or world.caller != "with us"

    def teardown(self):
        """Whatever happened, the route ends, at the latest when all time limits have passed."""
        if not hasattr(self, "opened"):
            return
        try:
            for _ in range(400):
                while self.engine.sends:
                    self.run(self.engine.sends.pop())
                while self.delivers_late and self.world.network:
                    self.commit(self.world.network.pop(0))
                if self.run(self.engine.store.next_due()) is None:
                    break
                self.wait_for_work()
                self.do_due_work()
                self.nothing_is_executed_twice_and_nobody_is_handed_to_two_targets()
                self.the_outcome_is_true()
            assert self.outcome() is not None, "the route never ended"
            self.the_outcome_is_true()
            assert not self.engine.store._tables.legs, "a leg stays occupied"
            assert self.run(self.engine.store.next_due()) is None, "work is due for ever"
        finally:
            for send in self.engine.sends:
                send.close()
            self.loop.close()


RandomRoutes.TestCase.settings = settings(
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRandomRoutes = RandomRoutes.TestCase
