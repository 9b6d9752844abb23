"""The part that both provider models share: calls, executions, and the ways in which a request can fail.

What really happens is recorded here: each `Execution` has the order that caused it, its start and its end.
"""

import asyncio
from abc import ABC, abstractmethod
from enum import StrEnum
from uuid import UUID

from attrs import Factory, define

ANSWER_TIMEOUT = 30.0
"""The seconds that the adapters wait for an answer."""


class Handling(StrEnum):
    """What happens to one HTTP request."""

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


CALM = {Handling.ANSWERED: 88, Handling.REFUSED: 6, Handling.THROTTLED: 4, Handling.UNAVAILABLE: 2}
ROUGH = {
    Handling.UNCONNECTED: 5,
    Handling.LOST: 5,
    Handling.THROTTLED: 6,
    Handling.UNAVAILABLE: 3,
    Handling.BROKEN_BEFORE: 4,
    Handling.REFUSED: 7,
    Handling.ANSWERED: 42,
    Handling.ANSWERED_LATE: 15,
    Handling.BROKEN_AFTER: 5,
    Handling.UNANSWERED: 8,
}


class Unconnected(Exception):
    """No connection was made."""


class Unanswered(Exception):
    """The request was sent, and the connection broke before the answer."""


@define(eq=False)
class Leg:
    """A call at the provider."""

    id: str
    address: str
    group: bool
    context: str | None = None
    parties: list = Factory(list)
    ended_at: float | None = None
    end_delivered_at: float | None = None
    """When the application first accepted a callback about its end."""
    unsettled_until: float = 0.0
    """Until when the call is not established again after a failed transfer."""


@define(eq=False, kw_only=True)
class Order:
    """A transfer request on the wire. `owner` is the id of transferkit's transfer, None for other code."""

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
    """A transfer that the provider executes."""

    order: Order
    started_at: float
    accepted: bool = False
    ended_at: float | None = None
    succeeded: bool | None = None
    codes: tuple | None = None
    """The codes of its failure in the callback."""


@define(eq=False)
class Sending:
    """One HTTP request of transferkit."""

    order: Order
    handling: Handling
    at: float
    executed: bool = False
    decided_at: float | None = None
    """When the provider decided its answer."""
    answered_at: float | None = None
    status: int | None = None


@define(eq=False)
class Inspection:
    """One answered query of a call."""

    leg: Leg
    at: float


class Provider(ABC):
    """The behaviour that does not depend on the wire."""

    def __init__(self, walk, mode):
        self.walk = walk
        self.random = walk.random
        self.mode = mode
        self.legs = {}
        self.executions = []
        self.sendings = []
        self.inspections = []
        self.refuses_second = self.random.random() < 0.9
        """Whether a transfer is rejected while another one of the same party is in progress."""
        self.parallel = self.random.random() < 0.5
        """Whether two parties of a group call can be transferred at the same time."""

    # --- implemented by each provider -----------------------------------------------------------

    @abstractmethod
    def refusal(self, why):
        """Return the response to a rejected request: status, headers, JSON."""

    def refused_replaced(self, order):
        """Whether the order names a consult call that has ended, which is found out before execution."""
        return False

    def post_started(self, execution):  # noqa: B027 - a provider may report no start
        """Post what says that a transfer has begun."""

    def post_accepted(self, execution):  # noqa: B027 - a provider may not report this
        """Post what says that the target is being connected."""

    @abstractmethod
    def post_succeeded(self, execution):
        """Post the callback of a success, and change the calls."""

    @abstractmethod
    def post_failed(self, execution):
        """Post the callback of a failure."""

    @abstractmethod
    def post_ended(self, leg):
        """Post the callback of a call that ended by a hang-up."""

    @abstractmethod
    def draw_failure(self, execution):
        """Choose the codes of a failure."""

    @abstractmethod
    def write(self, elements):
        """Return the headers and the body of a callback."""

    def rewrite(self, delivery):
        """Return the callback as it may be delivered again."""
        return delivery.headers, delivery.body

    @abstractmethod
    def post_unrelated(self, leg):
        """Post a callback about the call that is not about a transfer."""

    # --- ids ------------------------------------------------------------------------------------------

    def new_id(self):
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def place_call(self, *, group):
        leg = Leg(self.new_id(), self.mode.call_address, group)
        leg.parties = [self.new_id() for _ in range(4 if group else 1)]
        self.legs[leg.id] = leg
        return leg

    # --- requests --------------------------------------------------------------------------------------

    async def exchange(self, order):
        """Send one request to the provider. Return its response (status, headers, JSON), or raise."""
        random, walk = self.random, self.walk
        weights = CALM if walk.conditions.calm else ROUGH
        handling = random.choices(list(weights), weights.values())[0]
        sending = Sending(order, handling, walk.now)
        self.sendings.append(sending)
        walk.note("sent", sending)
        if handling is Handling.UNCONNECTED:
            await asyncio.sleep(random.uniform(0.01, 1))
            raise Unconnected
        answer = walk.loop.create_future()
        up = random.uniform(0.02, 0.3)
        if not walk.conditions.calm and random.random() < 0.04:
            up = random.uniform(1, 40)  # delayed by a proxy, possibly for longer than the client waits
        if handling is not Handling.LOST:
            walk.later(up, self._arrive, sending, answer)
        if handling in {Handling.LOST, Handling.UNANSWERED} and random.random() < 0.5:
            walk.later(random.uniform(0.5, 20), _break, answer)
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
        random, handling = self.random, sending.handling
        sending.decided_at = self.walk.now
        down = random.uniform(0.02, 0.4)
        if handling is Handling.THROTTLED:
            seconds = random.choice(["1", "2.128", "5", None])
            reply = (429, {} if seconds is None else {"retry-after": seconds}, _error("TooManyRequests"))
        elif handling is Handling.UNAVAILABLE:
            reply = (503, {"retry-after": random.choice(["1", "3"])}, _error("ServiceUnavailable"))
        elif handling is Handling.BROKEN_BEFORE:
            reply = (random.choice([500, 502, 503, 504]), {}, _error("9999"))
        else:
            reply = self.decide(sending.order, refuse=handling is Handling.REFUSED, sending=sending)
            if handling is Handling.BROKEN_AFTER:
                reply = (random.choice([500, 502, 503, 504]), {}, _error("9999"))
            elif handling is Handling.ANSWERED_LATE:
                down = random.choice([random.uniform(0.5, 5), random.uniform(5, 45)])
        if handling is not Handling.UNANSWERED:
            self.walk.later(down, _settle, answer, reply)

    def decide(self, order, *, refuse=False, sending=None):
        """Execute a request that reached the provider, or reject it. Return the response."""
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
        random = self.random
        execution = Execution(order, self.walk.now)
        self.executions.append(execution)
        self.walk.note("executing", execution)
        if self.walk.conditions.calm:
            rings = random.uniform(0.3, 8)
        else:
            rings = random.choice([random.uniform(0.02, 2), random.uniform(1, 20), random.uniform(10, 220)])
        self.post_started(execution)
        if random.random() < 0.5:
            self.walk.later(rings * random.random(), self._accept, execution)
        self.walk.later(rings, self._finish, execution, random.random() < 0.4)

    def _accept(self, execution):
        if execution.ended_at is None:
            execution.accepted = True
            self.post_accepted(execution)

    def _finish(self, execution, succeeds):
        if execution.ended_at is not None:
            return
        order = execution.order
        possible = not order.leg.group or order.transferee in order.leg.parties
        if order.replaced is not None and order.replaced.ended_at is not None:
            possible = False
        execution.ended_at, execution.succeeded = self.walk.now, succeeds and possible
        if not execution.succeeded:
            execution.codes = self.draw_failure(execution)
        self.walk.note("executed", execution)
        if execution.succeeded:
            self.post_succeeded(execution)
        else:
            self.post_failed(execution)

    def end(self, leg):
        """End the call and every transfer of it."""
        leg.ended_at = self.walk.now
        self.walk.note("ended", leg)
        for execution in self.running(leg):
            if execution.order.leg is leg:
                execution.ended_at, execution.succeeded = self.walk.now, False

    def hang_up(self, leg):
        """End the application's call by a hang-up."""
        if leg.ended_at is None:
            self.end(leg)
            self.post_ended(leg)

    # --- queries ------------------------------------------------------------------------------------------

    async def query(self, call_id):
        """Answer a query of a call with status and JSON, or raise."""
        random = self.random
        await asyncio.sleep(
            random.uniform(0.02, 0.3) if self.walk.conditions.calm else random.uniform(0.02, 3)
        )
        if random.random() < (0.02 if self.walk.conditions.calm else 0.2):
            if random.random() < 0.5:
                raise Unanswered
            return random.choice([500, 503, 429]), _error("9999")
        leg = self.legs[call_id]
        self.inspections.append(Inspection(leg, self.walk.now))
        answer = self.answer_query(leg)
        self.walk.note("queried", answer[0])
        await asyncio.sleep(random.uniform(0.02, 0.3))
        return answer

    @abstractmethod
    def answer_query(self, leg):
        """Return the response to a query of a call: status and JSON."""


def _error(code):
    return {"error": {"code": code, "message": "made up"}}


def _settle(answer, reply):
    if not answer.done():
        answer.set_result(reply)


def _break(answer):
    if not answer.done():
        answer.set_exception(Unanswered())
