"""An engine whose tasks and processes a test controls: nothing runs in the background."""

from uuid import uuid4

from attrs import define, field

from transferkit._engine.consultations import Consultations
from transferkit._engine.inspector import Inspector
from transferkit._engine.ledger import Ledger
from transferkit._engine.planning import plan_request
from transferkit._engine.scheduler import Scheduler
from transferkit._engine.sender import Sender
from transferkit._engine.unrecorded import UnrecordedAnswers
from transferkit._lifecycle import CallKey, CallState, Lease, Observed, PlacedCallObserved
from transferkit._telemetry import Telemetry
from transferkit._util.frozenmap import EMPTY
from transferkit.codec import decode, encode
from transferkit.config import LifecycleConfig, RetentionConfig
from transferkit.events import FailureReason
from transferkit.provider.adapter import Adapter, Inspection
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit.stores import MemoryStore


class Died(BaseException):
    """The process died here."""


class DyingStore(MemoryStore):
    """A store whose process dies before one of the next commits."""

    commits_left = None

    async def apply_all(self, inputs, step):
        if self.commits_left is not None:
            if self.commits_left == 0:
                raise Died
            self.commits_left -= 1
        applied = await super().apply_all(inputs, step)
        for one in applied:
            assert decode(CallState, encode(one.state)) == one.state
        return applied


def inputs_of(fact, at):
    """The inputs that the receiver makes of a fact."""
    call = CallKey(fact.event.provider, fact.event.call_id)
    inputs = [(call, Observed(at=at, fact=fact))]
    if fact.placed_by is not None:
        inputs.append((CallKey(call.provider, fact.placed_by), PlacedCallObserved(at=at, fact=fact)))
    return inputs


CALLERS_CALL = CallKey("world", "caller")
EXECUTES = (True, "its answer")
ATTEMPTS = (
    *[EXECUTES] * 5,
    (True, MaybeSent(result=Result(reason=FailureReason.TIMEOUT))),
    (True, None),
    (False, "its refusal"),
    (False, MaybeSent(result=Result(reason=FailureReason.TIMEOUT))),
    (False, NotSent(result=Result(reason=FailureReason.UNREACHABLE))),
    (False, None),
)
"""Whether the provider executes an attempt, and what its sender receives: None if the process dies."""


class ModelAdapter(Adapter):
    """What the adapters of models have in common: the facts are delivered without callbacks."""

    name = "world"
    settings_class = object
    refusal: Rejected

    async def submit(self, submission):
        submission.deadline.check()
        attempts = self.world.attempts
        executes, answer = attempts.popleft() if attempts else EXECUTES
        if executes:
            performed = self.world.perform(submission.id, submission.request)
            answer = performed if answer == "its answer" else answer
        if answer is None:
            raise Died
        return self.refusal if answer == "its refusal" else answer

    @property
    def capabilities(self):
        return self._capabilities

    async def wire(self, submission):
        raise NotImplementedError("a model has no wire")

    async def inspect(self, call, *, tenant_id=None):
        return Inspection(presence=self.world.presence(call.id))

    def route(self, path):
        return None

    @classmethod
    def decode(cls, callback):
        raise NotImplementedError("a model delivers facts, not callbacks")


@define(slots=False)
class Engine:
    """The parts of a client that send and continue requests. `sends` are the tasks that it started."""

    adapter: object
    clock: object
    store: DyingStore = field(factory=DyingStore)
    sends: list = field(factory=list)

    def __attrs_post_init__(self):
        adapters, telemetry, timing = {self.adapter.name: self.adapter}, Telemetry(), LifecycleConfig()
        self.ledger = ledger = Ledger(self.store, telemetry)
        common = {"store": self.store, "ledger": ledger, "clock": self.clock}
        unrecorded = UnrecordedAnswers(**common, spawn=self.sends.append, telemetry=telemetry)
        self.sender = sender = Sender(
            **common,
            unrecorded=unrecorded,
            adapters=adapters,
            timing=timing,
            telemetry=telemetry,
            spawn=self.sends.append,
        )
        inspector = Inspector(**common, adapters=adapters, telemetry=telemetry)
        self.scheduler = Scheduler(
            **common,
            sender=sender,
            inspector=inspector,
            consultations=Consultations(
                **common, sender=sender, inspector=inspector, adapters=adapters, public_url=None
            ),
            unrecorded=unrecorded,
            providers=frozenset(adapters),
            timing=timing,
            retention=RetentionConfig(),
            spawn=self.sends.append,
        )

    async def record(self, request):
        planned = plan_request(
            request,
            adapters={self.adapter.name: self.adapter},
            provider=self.adapter.name,
            public_url=None,
            at=self.clock.now(),
            trace=EMPTY,
        )
        return await self.sender.record(planned)

    async def lease_due(self, lease):
        now = self.clock.now()
        return await self.store.lease_due(now=now, lease=Lease(uuid4().hex, now + lease), limit=5)

    async def do(self, due):
        await self.scheduler._do(due)
