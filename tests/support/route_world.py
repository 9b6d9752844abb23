"""A model of the parties and the provider for the random routes of `tests/lifecycle`.

It performs blind transfers, and the steps of consultations with several agents. It records who really
received the caller, which the checks compare with what transferkit published.
"""

from collections import Counter, deque
from datetime import timedelta
from uuid import uuid4

from attrs import define, field

from support.engine import CALLERS_CALL, ModelAdapter
from transferkit.events import CallConnected, CallEnded, FailureReason, ProviderOther
from transferkit.identifiers import Identifier
from transferkit.provider.capabilities import Capabilities, Support
from transferkit.provider.facts import Delivery, Fact, Result, Signal
from transferkit.provider.limits import Anything
from transferkit.provider.results import Presence, Rejected, Submitted
from transferkit.requests import HangUp, Hold, Join, JoinSide, PlaceCall, RequestKind, Resume, Transfer

GONE = Rejected(result=Result(code=404, reason=FailureReason.CALL_NOT_FOUND))
BUSY_CALL = Rejected(result=Result(code=409, reason=FailureReason.CONFLICT))


@define(eq=False)
class Agent:
    """A target that was called by a step."""

    call_id: str
    step_id: str
    target: Identifier
    state: str = "ringing"


@define
class World:
    """The caller, the targets, and the provider's callbacks that are not delivered yet."""

    clock: object
    side: JoinSide
    names_transfers: bool
    """Whether verdicts about transfers name their transfer."""
    caller: str = "with us"
    handed_to: list = field(factory=list)
    """The targets that received the caller."""
    transfer: tuple | None = None
    """The blind transfer in progress: its id and its target."""
    agents: list = field(factory=list)
    executed: Counter = field(factory=Counter)
    answers: dict = field(factory=dict)
    network: list = field(factory=list)
    attempts: deque = field(factory=deque)
    queries_answered: bool = True

    # --- the parties --------------------------------------------------------------------------------

    def caller_hangs_up(self):
        if self.caller == "with us":
            self.caller, self.transfer = "gone", None
            self.tell(CALLERS_CALL.id, Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT)

    def target_answers(self):
        if self.transfer is not None and self.caller == "with us":
            (transfer_id, target), self.transfer = self.transfer, None
            self.hand_over(target)
            self.verdict(transfer_id, RequestKind.TRANSFER, Signal.SUCCEEDED, Signal.CALL_ENDED)
        for agent in self.agents:
            if agent.state == "ringing":
                agent.state = "talking"
                self.tell(agent.call_id, cls=CallConnected, placed_by=agent.step_id)

    def target_declines(self, reason):
        if self.transfer is not None:
            (transfer_id, _), self.transfer = self.transfer, None
            self.verdict(transfer_id, RequestKind.TRANSFER, Signal.FAILED, reason=reason)
        for agent in self.agents:
            if agent.state in {"ringing", "talking"}:
                self.end(agent, reason)

    def end(self, agent, reason=FailureReason.UNKNOWN):
        agent.state = "gone"
        self.tell(agent.call_id, Signal.CALL_ENDED, reason=reason, placed_by=agent.step_id)

    def hand_over(self, target):
        assert self.caller == "with us"
        self.caller = "handed over"
        self.handed_to.append(target)

    # --- the provider -------------------------------------------------------------------------------

    def perform(self, id_, request):
        """Execute a request once; returns the provider's answer, the same for a repetition."""
        if id_ not in self.answers:
            self.executed[id_] += 1
            self.answers[id_] = self._perform(id_, request)
        return self.answers[id_]

    def _perform(self, id_, request):
        with_us = self.caller == "with us"
        answer = GONE
        match request:
            case Transfer() if with_us and self.transfer is not None:
                answer = BUSY_CALL
            case Transfer() if with_us:
                self.transfer = (id_, request.to)
                answer = Submitted()
            case Hold() | Resume() if with_us:
                answer = Submitted(done=True)
            case PlaceCall():
                agent = Agent(f"agent-{uuid4()}", id_, request.to)
                self.agents.append(agent)
                answer = Submitted(call_id=agent.call_id)
            case HangUp():
                answer = self._hang_up(self.agent(request.call.id))
            case Join() if with_us:
                answer = self._join(id_, self.agent(request.other) or self.agent(request.call.id))
        return answer

    def _hang_up(self, agent):
        if agent is None or agent.state not in {"ringing", "talking"}:
            return GONE
        self.end(agent)
        return Submitted()

    def agent(self, call_id):
        return next((agent for agent in self.agents if agent.call_id == call_id), None)

    def _join(self, id_, agent):
        if agent is None or agent.state != "talking":
            return GONE
        self.hand_over(agent.target)
        agent.state = "joined"
        caller_side = self.side is JoinSide.CALLER
        ours, other = (CALLERS_CALL.id, agent.call_id) if caller_side else (agent.call_id, CALLERS_CALL.id)
        signals = (Signal.SUCCEEDED, Signal.CALL_ENDED) if caller_side else (Signal.SUCCEEDED,)
        self.tell(ours, *signals, transfer_id=id_, operation=RequestKind.JOIN, placed_by=self._placed(ours))
        self.tell(other, Signal.CALL_ENDED, placed_by=self._placed(other))
        return Submitted()

    def _placed(self, call_id):
        agent = self.agent(call_id)
        return agent and agent.step_id

    def presence(self, call_id):
        if not self.queries_answered:
            return Presence.UNKNOWN
        if call_id == CALLERS_CALL.id:
            if self.caller != "with us":
                return Presence.GONE
            return Presence.TRANSFERRING if self.transfer else Presence.CONNECTED
        agent = self.agent(call_id)
        if agent is None or agent.state == "ringing":
            return Presence.UNKNOWN
        return Presence.CONNECTED if agent.state == "talking" else Presence.GONE

    def verdict(self, transfer_id, operation, *signals, reason=FailureReason.UNKNOWN):
        named = transfer_id if self.names_transfers else None
        self.tell(CALLERS_CALL.id, *signals, reason=reason, transfer_id=named, operation=operation)

    def tell(self, call_id, *signals, cls=None, reason=FailureReason.UNKNOWN, **fact):
        """Put a callback on the network."""
        if Signal.CALL_ENDED in signals:
            cls = CallEnded
        event = (cls or ProviderOther)(
            time=self.clock.now(), provider=CALLERS_CALL.provider, call_id=call_id, raw={"id": str(uuid4())}
        )
        self.network.append(
            Fact(
                event=event,
                signals=signals,
                result=Result(reason=reason),
                delivery=Delivery(event.raw["id"]),
                ends_with_verdict=True,
                **fact,
            )
        )


class WorldAdapter(ModelAdapter):
    """The adapter of the model."""

    refusal = Rejected(result=Result(code=486, reason=FailureReason.BUSY))

    def __init__(self, world, *, repeatable):
        window = timedelta(minutes=5) if repeatable else None
        any_field = dict.fromkeys(("to", "other", "ring_timeout"), Anything())
        self.world = world
        self._capabilities = Capabilities(
            transfer=any_field,
            repeatable_for=window,
            steps={
                kind: Support(fields=any_field, repeatable_for=window) for kind in RequestKind if kind.is_step
            },
            join_side=world.side,
        )
