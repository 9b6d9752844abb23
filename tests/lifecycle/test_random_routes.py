"""Random routes: the parties hang up, the network and the processes fail at every moment.

What is published is compared with what really happened: nobody is handed to two targets, no caller is left
without an outcome, and no attempt is repeated or skipped.
"""

from contextlib import suppress

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from support.engine import CALLERS_CALL
from support.random_machine import RARELY, SETTINGS, RandomMachine
from support.route_world import World, WorldAdapter

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

TARGETS = [PhoneNumber(f"+1425555010{number}") for number in range(4)]
REASONS = st.sampled_from([FailureReason.BUSY, FailureReason.DECLINED, FailureReason.FORBIDDEN])


class RandomRoutes(RandomMachine):
    """One route."""

    @initialize(
        side=st.sampled_from(JoinSide),
        names_transfers=st.booleans(),
        repeatable=st.booleans(),
        rings=st.lists(st.booleans(), min_size=1, max_size=4),
        delivers_late=st.booleans(),
        queries_answered=st.booleans(),
    )
    def begin(self, side, names_transfers, repeatable, rings, delivers_late, queries_answered):
        self.delivers_late = delivers_late
        world = World(self.clock, side, names_transfers, queries_answered=queries_answered)
        self.open(world, WorldAdapter(world, repeatable=repeatable))
        self.attempts = [
            Attempt(target, ring_timeout=20 if limited else None)
            for target, limited in zip(TARGETS, rings, strict=False)
        ]
        route = Route(Call("world", CALLERS_CALL.id), self.attempts, deadline=60)
        self.opened = self.run(self.engine.record(route))

    # --- the parties and the application --------------------------------------------------------------

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
            self.run(self.ledger.commit([(CALLERS_CALL, cancelled)]))
        except RouteOver:
            assert self.outcome() is not None

    @rule(really=RARELY)
    def the_consultation_is_cancelled_by_its_own_id(self, really):
        consultation = self.state().consultation
        if really and consultation is not None:
            cancelled = CancellationDecided(at=self.clock.now(), consultation_id=consultation.id)
            with suppress(AlreadyDecided):
                self.run(self.ledger.commit([(CALLERS_CALL, cancelled)]))

    @rule()
    def the_application_asks_for_something_else(self):
        if self.outcome() is None:
            with pytest.raises(TransferInProgress):
                self.run(self.engine.record(Transfer(Call("world", CALLERS_CALL.id), to=TARGETS[0])))

    # --- checks ---------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_handed_to_two_targets(self):
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
        for event in self.run(self.store.call_events(CALLERS_CALL)):
            match event:
                case RouteAttempt() | RouteReturned(cancelled=False):
                    assert proven
                case TransferFailed() | ConsultationFailed():
                    proven = event.call_alive is True and event.reason in MOVES_ON
                case ConsultationExpired() | TransferExpired():
                    proven = False

    def check_outcome(self, outcome):
        world = self.world
        note(f"{outcome} while {world.caller=} {world.handed_to=}")
        state = self.state()
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


RandomRoutes.TestCase.settings = SETTINGS
TestRandomRoutes = RandomRoutes.TestCase
