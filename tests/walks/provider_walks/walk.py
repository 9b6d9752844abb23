"""One walk: an application transfers one call several times. A seed determines everything that happens."""

import asyncio
from contextlib import contextmanager
from random import Random

from attrs import Factory, define, evolve

from provider_walks.clock import VirtualClock, VirtualLoop
from provider_walks.network import Conditions, Network
from transferkit import (
    AsyncClient,
    Call,
    CommunicationUser,
    MemoryStore,
    TeamsUser,
    Transfer,
    TransferCompleted,
    TransferFailed,
)
from transferkit._callbacks import CallbackRequest
from transferkit._telemetry import Telemetry
from transferkit.events import Outcome

CALM_DEADLINES = (30, 60, 150)
ROUGH_DEADLINES = (3, 3, 8, 20, 60, 150)
OUTCOME_LIMIT = 900.0
"""Every transfer must have its outcome within this many seconds after its deadline."""


@define(eq=False)
class RequestedTransfer:
    """A transfer that the application requested, and its outcomes."""

    id: str
    number: int
    leg: object
    at: float
    deadline_at: float
    outcomes: list = Factory(list)
    """Pairs of the time of publication and the event."""

    @property
    def outcome(self):
        return self.outcomes[0][1] if self.outcomes else None


class WatchedStore(MemoryStore):
    """A memory store that reports each outcome when it is committed."""

    def __init__(self, report):
        super().__init__()
        self._report = report

    async def apply_all(self, inputs, step):
        applied = await super().apply_all(inputs, step)
        for one in applied:
            for event in one.events:
                if isinstance(event, Outcome):
                    self._report(event)
        return applied


class Walk:
    """The calls, the provider, the network and the client of one seed, and what happened to them."""

    def __init__(self, mode, seed, *, tracing=False, trusts_all_verdicts=False):
        """`trusts_all_verdicts`: attribute each verdict to the open transfer, so that outcomes are wrong."""
        self.mode = mode
        self.seed = seed
        self.random = Random(f"{mode} {seed}")  # noqa: S311 - repeatable, not secret
        self.trace = [] if tracing else None
        self.conditions = Conditions.draw(self.random)
        self.transfers = {}
        self.wire_orders = []
        """The orders that transferkit sent, in the order of their first attempt."""
        self.problems = []
        self.open_id = None
        self._trusts_all_verdicts = trusts_all_verdicts
        self._client = None
        self._last = 0.0
        self._tasks = set()
        self._outcomes = {}

    # --- what the models use --------------------------------------------------------------------------

    @property
    def now(self):
        return self.loop.time()

    def later(self, seconds, call, *arguments, **named):
        """Schedule a call of a function."""
        self._last = max(self._last, self.now + seconds)
        if named:
            self.loop.call_later(seconds, lambda: call(*arguments, **named))
        else:
            self.loop.call_later(seconds, call, *arguments)

    def spawn(self, work):
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note(self, what, about):
        if self.trace is not None:
            self.trace.append((self.now, what, about))

    def sends(self, order):
        """Record a request that transferkit sends."""
        if all(known.owner != order.owner for known in self.wire_orders):
            self.wire_orders.append(order)
        return order

    @contextmanager
    def guard(self):
        """Record exceptions of the model itself, which the client treats as failures of the provider."""
        try:
            yield
        except Exception as error:
            self.problems.append(f"the model failed: {error!r}")
            raise

    def decoded(self, facts):
        """Return the facts of a callback as the client receives them."""
        if not self._trusts_all_verdicts or self.open_id is None:
            return facts
        return tuple(evolve(fact, transfer_id=self.open_id, delivery=None) for fact in facts)

    async def receive(self, delivery):
        """Receive a callback in the application's HTTP server. Return whether it was accepted."""
        if self._client is None:
            return False
        request = CallbackRequest(
            method="POST", url=delivery.url, headers=delivery.headers, body=delivery.body
        )
        self.note("delivered", delivery)
        response = await self._client.receive(request)
        return 200 <= response.status < 300

    def _published(self, outcome):
        transfer = self.transfers[outcome.transfer_id]
        transfer.outcomes.append((self.now, outcome))
        self.open_id = None
        self.note("outcome", outcome)
        if not self._outcomes[transfer.id].done():
            self._outcomes[transfer.id].set_result(outcome)

    # --- playing ------------------------------------------------------------------------------------------

    def play(self):
        """Run the walk to its end in virtual time."""
        self.loop = VirtualLoop()
        try:
            self.clock = VirtualClock(self.loop)
            self.network = Network(self)
            self.store = WatchedStore(self._published)
            model, walker = _model_of(self.mode)
            self.provider = model(self, self.mode)
            self.adapter = walker(self.provider, self.clock)
            self.loop.run_until_complete(self._play())
        finally:
            self.loop.close()
        return self

    async def _play(self):
        random = self.random
        self.leg = self.provider.place_call(group=random.random() < self.mode.group)
        self.consult = self.provider.place_call(group=False) if self.mode.consult else None
        await self._open()
        self._schedule()
        for number in range(random.randint(2, 4)):
            if number:
                await asyncio.sleep(self._pause())
            if not await self._transfer(number):
                break
        while self._last > self.now or self._tasks:  # noqa: ASYNC110 - late callbacks must change nothing
            await asyncio.sleep(max(self._last - self.now, 0.0) + 0.01)
        await self._close()

    def _schedule(self):
        """Schedule what happens to the call besides the transfers."""
        random, provider = self.random, self.provider
        for leg in provider.legs.values():
            if random.random() < 0.25:
                self.later(
                    random.choice([random.uniform(0, 20), random.uniform(0, 300)]), provider.hang_up, leg
                )
            for _ in range(random.choice([0, 0, 1, 2, 3, 5])):
                self.later(random.uniform(0, random.choice([20, 200])), provider.post_unrelated, leg)
        if self.mode.other_code:
            for _ in range(random.choice([0, 1, 1, 2])):
                self.later(random.uniform(0, random.choice([20, 200])), self._other_code_transfers)
        if self.conditions.restarts:
            self.later(random.uniform(0, random.choice([10, 100])), lambda: self.spawn(self._restart()))

    def _other_code_transfers(self):
        self.provider.decide(self.provider.other_code_order(self.leg))

    def _pause(self):
        random = self.random
        if self.conditions.calm:
            return random.choice([0, random.uniform(0, 2), random.uniform(0, 10)])
        return random.choice([0, 0, random.uniform(0, 1), random.uniform(1, 10), random.uniform(10, 60)])

    async def _transfer(self, number):
        """Request one transfer and wait for its outcome. Return whether to request another one."""
        random = self.random
        request = self._request(number)
        deadline = request.deadline.total_seconds()
        while self._client is None:  # noqa: ASYNC110 - the process restarts
            await asyncio.sleep(0.5)
        handle = await self._client.submit(request)
        leg = self.provider.legs[request.call.id]
        self.transfers[handle.id] = RequestedTransfer(handle.id, number, leg, self.now, self.now + deadline)
        self.open_id = handle.id
        waiting = self._outcomes[handle.id] = self.loop.create_future()
        self.note("requested", self.transfers[handle.id])
        try:
            async with asyncio.timeout(deadline + OUTCOME_LIMIT):
                outcome = await waiting
        except TimeoutError:
            self.problems.append(
                f"transfer {number + 1} has no outcome {OUTCOME_LIMIT:g} s after its deadline"
            )
            return False
        if isinstance(outcome, TransferCompleted) and not leg.group:
            return random.random() < 0.2
        if isinstance(outcome, TransferFailed) and outcome.call_alive is False:
            return random.random() < 0.2
        return True

    def _request(self, number):
        random, call = self.random, self.leg
        more = {}
        if self.consult is not None:
            drawn = random.random()
            if drawn < 0.55:
                more["replaces"] = self.consult.id
            elif drawn < 0.7:
                call = self.consult
        if call.group and (self.mode.provider == "acs" or call.parties):
            someone = random.choice(call.parties) if call.parties else "8:acs:nobody"
            more["transferee"] = self._person(someone)
        return Transfer(
            call=Call(self.mode.provider, call.id),
            to=self._person(self.provider.new_id()),
            operation_context=self._context(number),
            deadline=random.choice(CALM_DEADLINES if self.conditions.calm else ROUGH_DEADLINES),
            **more,
        )

    def _person(self, name):
        if self.mode.provider == "graph":
            return TeamsUser(name)
        return CommunicationUser(name if name.startswith("8:") else f"8:acs:{name}")

    def _context(self, number):
        match self.mode.context if self.mode.provider == "acs" else "unique":
            case "unique":
                return f"case 7/{number} "  # with a trailing space, which a gateway may trim
            case "shared":
                return self.mode.shared_context
            case "mixed":
                earlier = list(self.transfers)[-1:]  # an application may use the id of the previous transfer
                return self.random.choice([None, None, "case 7", "case 7", f"case 7/{number}", *earlier])
        return None

    async def _open(self):
        client = AsyncClient(
            self.mode.config,
            store=self.store,
            adapters={self.mode.provider: self.adapter},
            clock=self.clock,
            telemetry=Telemetry(),
        )
        self._client = await client.__aenter__()

    async def _close(self):
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _restart(self):
        """Stop the process and start another one on the same store."""
        self.note("restart", None)
        await self._close()
        await asyncio.sleep(self.random.uniform(0.1, 60))
        await self._open()
        self.note("restarted", None)


def _model_of(mode):
    if mode.provider == "acs":
        from provider_walks.acs import AcsModel, AcsWalker

        return AcsModel, AcsWalker
    from provider_walks.graph import GraphModel, GraphWalker

    return GraphModel, GraphWalker
