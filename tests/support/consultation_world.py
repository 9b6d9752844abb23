"""A model of the parties and the provider for the random consultations of `tests/lifecycle`.

The provider executes each request or not and answers it or not. It records what really happened to the caller
and the agent, which the checks compare with what transferkit published.
"""

from collections import Counter, deque
from uuid import uuid4

from attrs import define, field

from support.engine import CALLERS_CALL, ModelAdapter
from transferkit.events import CallConnected, CallEnded, FailureReason, ProviderOther
from transferkit.provider.capabilities import Capabilities, Support
from transferkit.provider.facts import Delivery, Fact, Result, Signal
from transferkit.provider.limits import Anything
from transferkit.provider.results import Presence, Rejected, Submitted
from transferkit.requests import HangUp, Hold, Join, JoinSide, PlaceCall, RequestKind, Resume

GONE = Rejected(result=Result(code=404, reason=FailureReason.CALL_NOT_FOUND))


@define
class World:
    """The caller, the agent, and the provider's callbacks that are not delivered yet."""

    clock: object
    side: JoinSide
    states_why: bool
    """Whether the end of the caller's call says that the caller left."""
    caller: str = "with us"
    held: bool = False
    agent: str = "idle"
    agent_call: str | None = None
    placed_by: str | None = None
    agent_answered: bool = False
    joined: bool = False
    join_fails: bool = False
    executed: Counter = field(factory=Counter)
    answers: dict = field(factory=dict)
    network: list = field(factory=list)
    attempts: deque = field(factory=deque)
    queries_answered: bool = True

    # --- the parties --------------------------------------------------------------------------------

    def caller_hangs_up(self):
        if self.caller == "with us":
            self.caller, self.held = "gone", False
            reason = FailureReason.CALLER_LEFT if self.states_why else FailureReason.UNKNOWN
            self.tell(CALLERS_CALL.id, Signal.CALL_ENDED, reason=reason)

    def agent_answers(self):
        if self.agent == "ringing":
            self.agent, self.agent_answered = "talking", True
            self.tell(self.agent_call, cls=CallConnected)

    def agent_hangs_up(self, reason=FailureReason.DECLINED):
        if self.joined and self.side is JoinSide.AGENT and self.agent == "talking":
            self.agent = "gone"  # after a talk; the provider reports it as it reports a caller who left
            self.tell(self.agent_call, Signal.CALL_ENDED, reason=FailureReason.CALLER_LEFT)
        elif self.agent in {"ringing", "talking"} and not self.joined:
            self.agent = "gone"
            self.tell(self.agent_call, Signal.CALL_ENDED, reason=reason)

    # --- the provider -------------------------------------------------------------------------------

    def perform(self, step_id, request):
        """Execute a request once; returns the provider's answer, the same for a repetition."""
        if step_id not in self.answers:
            self.executed[step_id] += 1
            self.answers[step_id] = self._perform(step_id, request)
        return self.answers[step_id]

    def _perform(self, step_id, request):
        match request:
            case Hold() | Resume() if self.caller == "with us":
                self.held = isinstance(request, Hold)
                return Submitted(done=True)
            case PlaceCall():
                self.agent, self.agent_call, self.placed_by = "ringing", f"agent-{uuid4()}", step_id
                return Submitted(call_id=self.agent_call)
            case HangUp() if self.agent in {"ringing", "talking"}:
                assert not self.joined, "a conversation was cut"
                self.agent = "gone"
                self.tell(self.agent_call, Signal.CALL_ENDED)
                return Submitted()
            case Join() if self.caller == "with us" and self.agent == "talking":
                self._join(step_id)
                return Submitted()
        return GONE

    def _join(self, step_id):
        ours = CALLERS_CALL.id if self.side is JoinSide.CALLER else self.agent_call
        if self.join_fails:
            self.tell(ours, Signal.FAILED, reason=FailureReason.CONFLICT, step_id=step_id)
            return
        self.joined, self.caller, self.held = True, "with the agent", False
        if self.side is JoinSide.CALLER:
            self.tell(ours, Signal.SUCCEEDED, Signal.CALL_ENDED, step_id=step_id)
            self.tell(self.agent_call, Signal.CALL_ENDED)
        else:
            self.tell(ours, Signal.SUCCEEDED, step_id=step_id)
            self.tell(CALLERS_CALL.id, Signal.CALL_ENDED)

    def presence(self, call_id):
        if not self.queries_answered:
            return Presence.UNKNOWN
        if call_id == CALLERS_CALL.id:
            return Presence.CONNECTED if self.caller == "with us" else Presence.GONE
        if self.agent == "talking" and not (self.joined and self.side is JoinSide.CALLER):
            return Presence.CONNECTED
        return Presence.UNKNOWN if self.agent == "ringing" else Presence.GONE

    def tell(self, call_id, *signals, cls=None, reason=FailureReason.UNKNOWN, step_id=None):
        """Put a callback on the network."""
        if Signal.CALL_ENDED in signals:
            cls = CallEnded
        event = (cls or ProviderOther)(
            time=self.clock.now(), provider=CALLERS_CALL.provider, call_id=call_id, raw={"id": str(uuid4())}
        )
        fact = Fact(
            event=event,
            signals=signals,
            result=Result(reason=reason),
            delivery=Delivery(event.raw["id"]),
            transfer_id=step_id,
            operation=RequestKind.JOIN if step_id else None,
            placed_by=None if call_id == CALLERS_CALL.id else self.placed_by,
            ends_with_verdict=self.side is JoinSide.CALLER,
        )
        self.network.append(fact)


class WorldAdapter(ModelAdapter):
    """The adapter of the model."""

    refusal = Rejected(result=Result(code=403, reason=FailureReason.FORBIDDEN))

    def __init__(self, world, *, repeatable_for, completes_on_acceptance):
        any_field = dict.fromkeys(("to", "other", "ring_timeout"), Anything())
        self.world = world
        self._capabilities = Capabilities(
            steps={
                kind: Support(
                    fields=any_field,
                    repeatable_for=repeatable_for,
                    completes_on_acceptance=completes_on_acceptance
                    and kind in {RequestKind.HOLD, RequestKind.RESUME},
                )
                for kind in RequestKind
                if kind.is_step
            },
            join_side=world.side,
        )
