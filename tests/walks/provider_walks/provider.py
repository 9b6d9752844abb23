"""What both provider models share: calls, what is executed on them, and how a request can go wrong.

Truth is kept here: each `Execution` knows whose request caused it, when it began and how it ended.
"""

import asyncio
from enum import StrEnum
from uuid import UUID

from attrs import Factory, define

ANSWER_TIMEOUT = 30.0
"""How long the adapters wait for an answer, in seconds."""


class Fate(StrEnum):
    """What becomes of one HTTP request."""

    UNCONNECTED = "no connection: never sent"
    LOST = "sent, never arrives, never answered"
    THROTTLED = "429, not executed"
    UNAVAILABLE = "503 with Retry-After, not executed"
    BROKEN_BEFORE = "5xx, not executed"
    REFUSED = "4xx, not executed"
    ANSWERED = "executed and answered"
    ANSWERED_LATE = "executed, answered late or too late"
    BROKEN_AFTER = "executed, 5xx answered"
    UNANSWERED = "executed, never answered"


CALM = {Fate.ANSWERED: 88, Fate.REFUSED: 6, Fate.THROTTLED: 4, Fate.UNAVAILABLE: 2}
ROUGH = {
    Fate.UNCONNECTED: 5,
    Fate.LOST: 5,
    Fate.THROTTLED: 6,
    Fate.UNAVAILABLE: 3,
    Fate.BROKEN_BEFORE: 4,
    Fate.REFUSED: 7,
    Fate.ANSWERED: 42,
    Fate.ANSWERED_LATE: 15,
    Fate.BROKEN_AFTER: 5,
    Fate.UNANSWERED: 8,
}


class Unconnected(Exception):
    """No connection was made."""


class Unanswered(Exception):
    """The request left; the connection broke before an answer came."""


@define(eq=False)
class Leg:
    """A call as the provider has it."""

    id: str
    address: str
    group: bool
    context: str | None = None
    parties: list = Factory(list)
    ended_at: float | None = None
    end_delivered_at: float | None = None
    """When the application first accepted a callback that says that it has ended."""
    unsettled_until: float = 0.0
    """Until when it is not established again after a failed transfer."""


@define(eq=False, kw_only=True)
class Order:
    """A request for a transfer as it is on the wire, and the id of transferkit's transfer that sent it."""

    owner: str | None
    leg: Leg
    replaced: Leg | None = None
    transferee: str | None = None
    address: str
    context: str | None = None
    repeat_id: str | None = None
    first_sent: float = 0.0


@define(eq=False)
class Execution:
    """A transfer that the provider carries out."""

    order: Order
    started_at: float
    accepted: bool = False
    ended_at: float | None = None
    succeeded: bool | None = None
    words: tuple | None = None
    """The codes of its failure, as the provider states them."""


@define(eq=False)
class Sending:
    """One HTTP request of transferkit."""

    order: Order
    fate: Fate
    at: float
    executed: bool = False
    decided_at: float | None = None
    """When the provider decided on its answer."""
    answered_at: float | None = None
    status: int | None = None


@define(eq=False)
class Inspection:
    """One answered query of a call."""

    leg: Leg
    at: float


class Provider:
    """The part of a provider's behaviour that does not depend on its wire."""

    def __init__(self, walk, mode):
        self.walk = walk
        self.chance = walk.chance
        self.mode = mode
        self.legs = {}
        self.executions = []
        self.sendings = []
        self.inspections = []
        self.refuses_second = self.chance.random() < 0.9
        """Whether a transfer is refused while another one of the same party is running."""
        self.parallel = self.chance.random() < 0.5
        """Whether two parties of a group call can be transferred at the same time."""

    # --- what a provider's own module adds -----------------------------------------------------------

    def refusal(self, why):
        """The answer to a request that is refused: status, headers, JSON."""
        raise NotImplementedError

    def refused_replaced(self, order):
        """Whether the order names a consult call that has ended, which is found out before execution."""
        return False

    def tell_started(self, execution):
        """Post what says that a transfer has begun."""

    def tell_accepted(self, execution):
        """Post what says that the target is being connected."""

    def tell_succeeded(self, execution):
        """Post what says that a transfer succeeded, and change the calls."""
        raise NotImplementedError

    def tell_failed(self, execution):
        """Post what says that a transfer failed."""
        raise NotImplementedError

    def tell_ended(self, leg):
        """Post that the call has ended because somebody hung up."""
        raise NotImplementedError

    def draw_failure(self, execution):
        """Why a transfer fails: what the provider will state."""
        raise NotImplementedError

    def write(self, elements):
        """The headers and the body of a callback."""
        raise NotImplementedError

    def rewrite(self, letter):
        """The same callback as it may be delivered again."""
        return letter.headers, letter.body

    def noise(self, leg):
        """Post something about the call that is not about a transfer."""
        raise NotImplementedError

    # --- ids ------------------------------------------------------------------------------------------

    def new_id(self):
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def place_call(self, *, group):
        leg = Leg(self.new_id(), self.mode.call_address, group)
        leg.parties = [self.new_id() for _ in range(4 if group else 1)]
        self.legs[leg.id] = leg
        return leg

    # --- requests --------------------------------------------------------------------------------------

    async def exchange(self, order):
        """Carry one request to the provider: its answer (status, headers, JSON), or what broke."""
        chance, walk = self.chance, self.walk
        weights = CALM if walk.conditions.calm else ROUGH
        fate = chance.choices(list(weights), weights.values())[0]
        sending = Sending(order, fate, walk.now)
        self.sendings.append(sending)
        walk.note("sent", sending)
        if fate is Fate.UNCONNECTED:
            await asyncio.sleep(chance.uniform(0.01, 1))
            raise Unconnected
        answer = walk.loop.create_future()
        up = chance.uniform(0.02, 0.3)
        if not walk.conditions.calm and chance.random() < 0.04:
            up = chance.uniform(1, 40)  # held up in a proxy, also beyond the client's patience
        if fate is not Fate.LOST:
            walk.later(up, self._arrive, sending, answer)
        if fate in {Fate.LOST, Fate.UNANSWERED} and chance.random() < 0.5:
            walk.later(chance.uniform(0.5, 20), _break, answer)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                reply = await answer
        except asyncio.CancelledError:
            walk.note("abandoned", sending)
            raise
        sending.answered_at, sending.status = walk.now, reply[0]
        walk.note("answered", sending)
        return reply

    def _arrive(self, sending, answer):
        chance, fate = self.chance, sending.fate
        sending.decided_at = self.walk.now
        down = chance.uniform(0.02, 0.4)
        if fate is Fate.THROTTLED:
            seconds = chance.choice(["1", "2.128", "5", None])
            reply = (429, {} if seconds is None else {"retry-after": seconds}, _error("TooManyRequests"))
        elif fate is Fate.UNAVAILABLE:
            reply = (503, {"retry-after": chance.choice(["1", "3"])}, _error("ServiceUnavailable"))
        elif fate is Fate.BROKEN_BEFORE:
            reply = (chance.choice([500, 502, 503, 504]), {}, _error("9999"))
        else:
            reply = self.decide(sending.order, refuse=fate is Fate.REFUSED, sending=sending)
            if fate is Fate.BROKEN_AFTER:
                reply = (chance.choice([500, 502, 503, 504]), {}, _error("9999"))
            elif fate is Fate.ANSWERED_LATE:
                down = chance.choice([chance.uniform(0.5, 5), chance.uniform(5, 45)])
        if fate is not Fate.UNANSWERED:
            self.walk.later(down, _settle, answer, reply)

    def decide(self, order, *, refuse=False, sending=None):
        """What the provider does with a request that reached it: executes it, or refuses it."""
        if order.leg.ended_at is not None:
            return self.refusal("gone")
        if self.walk.now < order.leg.unsettled_until:
            return self.refusal("not established")
        if self._conflicts(order):
            return self.refusal("conflict")
        if refuse:
            return self.refusal("other")
        if sending is not None:
            sending.executed = True
        self.execute(order)
        return 202, {}, {}

    def _conflicts(self, order):
        for execution in self.running(order.leg):
            other = execution.order
            if order.leg.group and other.transferee != order.transferee:
                if not self.parallel:
                    return True
            elif self.refuses_second:
                return True
        return False

    # --- executions --------------------------------------------------------------------------------------

    def running(self, leg):
        return [
            one
            for one in self.executions
            if one.ended_at is None and leg in (one.order.leg, one.order.replaced)
        ]

    def execute(self, order):
        chance = self.chance
        execution = Execution(order, self.walk.now)
        self.executions.append(execution)
        self.walk.note("executing", execution)
        if self.walk.conditions.calm:
            rings = chance.uniform(0.3, 8)
        else:
            rings = chance.choice([chance.uniform(0.02, 2), chance.uniform(1, 20), chance.uniform(10, 220)])
        self.tell_started(execution)
        if chance.random() < 0.5:
            self.walk.later(rings * chance.random(), self._accept, execution)
        self.walk.later(rings, self._finish, execution, chance.random() < 0.4)

    def _accept(self, execution):
        if execution.ended_at is None:
            execution.accepted = True
            self.tell_accepted(execution)

    def _finish(self, execution, succeeds):
        if execution.ended_at is not None:
            return
        order = execution.order
        possible = not order.leg.group or order.transferee in order.leg.parties
        if order.replaced is not None and order.replaced.ended_at is not None:
            possible = False
        execution.ended_at, execution.succeeded = self.walk.now, succeeds and possible
        if not execution.succeeded:
            execution.words = self.draw_failure(execution)
        self.walk.note("executed", execution)
        if execution.succeeded:
            self.tell_succeeded(execution)
        else:
            self.tell_failed(execution)

    def end(self, leg):
        """The call ends: with it whatever transfer is running on it."""
        leg.ended_at = self.walk.now
        self.walk.note("ended", leg)
        for execution in self.running(leg):
            if execution.order.leg is leg:
                execution.ended_at, execution.succeeded = self.walk.now, False

    def hang_up(self, leg):
        """Somebody hangs up, and the application's call ends."""
        if leg.ended_at is None:
            self.end(leg)
            self.tell_ended(leg)

    # --- queries ------------------------------------------------------------------------------------------

    async def query(self, call_id):
        """The answer to a query of a call: status and JSON, or what broke."""
        chance = self.chance
        await asyncio.sleep(
            chance.uniform(0.02, 0.3) if self.walk.conditions.calm else chance.uniform(0.02, 3)
        )
        if chance.random() < (0.02 if self.walk.conditions.calm else 0.2):
            if chance.random() < 0.5:
                raise Unanswered
            return chance.choice([500, 503, 429]), _error("9999")
        leg = self.legs[call_id]
        self.inspections.append(Inspection(leg, self.walk.now))
        answer = self.answer_query(leg)
        self.walk.note("queried", answer[0])
        await asyncio.sleep(chance.uniform(0.02, 0.3))
        return answer

    def answer_query(self, leg):
        raise NotImplementedError


def _error(code):
    return {"error": {"code": code, "message": "made up"}}


def _settle(answer, reply):
    if not answer.done():
        answer.set_result(reply)


def _break(answer):
    if not answer.done():
        answer.set_exception(Unanswered())
