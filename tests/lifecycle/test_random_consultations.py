"""Random consultations: both parties and the application hang up and decide at every moment.

The engine runs on the memory store. The provider executes a request or not and answers it or not; the network
repeats, reorders, delays and loses callbacks; processes die between any two commits, and another one takes
over. What is published is compared with what really happened.
"""

from collections import Counter
from datetime import timedelta

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from support.consultation_world import World, WorldAdapter
from support.engine import CALLERS_CALL
from support.random_machine import SETTINGS, RandomMachine

from transferkit._lifecycle.consultation.machine import AlreadyDecided, NotAnswered
from transferkit._lifecycle.consultation_inputs import CancellationDecided, CompletionDecided
from transferkit.events import (
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    Outcome,
)
from transferkit.identifiers import PhoneNumber
from transferkit.requests import Call, Consultation, JoinSide

ORDER = ("requested", "ringing", "answered", "completing")


class RandomConsultations(RandomMachine):
    """One consultation."""

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
        world = World(self.clock, side, states_why)
        adapter = WorldAdapter(
            world,
            repeatable_for=timedelta(minutes=5) if repeatable else None,
            completes_on_acceptance=completes_on_acceptance,
        )
        self.open(world, adapter)
        consultation = Consultation(
            Call("world", CALLERS_CALL.id), to=PhoneNumber("+14255550100"), ring_timeout=25, hold=hold
        )
        self.opened = self.run(self.engine.record(consultation))
        if starts != "joined":
            self.reach(starts)
        else:
            self.reach("completing")
            self.do_due_work()
            self.send_all()

    # --- helpers ------------------------------------------------------------------------------------

    def reach(self, phase):
        """Let everything go well until the consultation is in this phase."""
        while self.state().consultation.phase != phase:
            self.do_due_work()
            self.send_all()
            if phase in {"answered", "completing"}:
                self.world.agent_answers()
            while self.world.network:
                self.commit(self.world.network.pop(0))
            if phase == "completing" and self.state().consultation.phase == "answered":
                self.the_application_decides(CompletionDecided)

    # --- the parties and the application --------------------------------------------------------------

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
            assert answered or self.outcome_seen is not None or self.state().consultation.ending is not None

    @rule(fails=st.booleans())
    def the_next_join_fails(self, fails):
        self.world.join_fails = fails

    # --- checks ---------------------------------------------------------------------------------------

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

    def check_outcome(self, outcome):
        world = self.world
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

    def end(self):
        super().end()
        assert Counter(e.kind for e in self.events()).most_common(1)[0][1] == 1


RandomConsultations.TestCase.settings = SETTINGS
TestRandomConsultations = RandomConsultations.TestCase
