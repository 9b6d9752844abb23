"""A store that fails when a test says so, with a client on it. Import the fixtures that a test uses."""

import asyncio
import logging
from collections import Counter

import pytest

from transferkit import (
    AsyncClient,
    Config,
    LifecycleConfig,
    MemoryStore,
    PhoneNumber,
    StoreError,
)
from transferkit.testing import FakeAdapter, ManualClock, scenario
from transferkit.testing.contracts.store_inputs import AT

CALL = "call-1"
TARGET = PhoneNumber("+14255550100")
SILENT = scenario("silent").number
LEASE = LifecycleConfig().lease


class FailingStore(MemoryStore):
    """Fails as often as `fails` says at a method or an input. `hold_up` keeps a method from ending."""

    def __init__(self):
        super().__init__()
        self.fails = Counter()
        self.gates = {}
        self.reached = asyncio.Event()
        self.error = StoreError("the disk is full")

    def hold_up(self, verb):
        gate = self.gates[verb] = asyncio.Event()
        self.reached.clear()
        return gate

    async def meet(self, what):
        if what in self.gates:
            self.reached.set()
            await self.gates[what].wait()
        if self.fails[what]:
            self.fails[what] -= 1
            raise self.error

    async def apply_all(self, inputs, step):
        for _, happened in inputs:
            await self.meet(type(happened).__name__)
        applied = await super().apply_all(inputs, step)
        for _, happened in inputs:
            await self.meet(f"after {type(happened).__name__}")
        return applied

    async def transfer(self, transfer_id):
        await self.meet("transfer")
        if self.fails["forgotten"]:
            self.fails["forgotten"] -= 1
            return None
        return await super().transfer(transfer_id)

    async def next_due(self, **which):
        await self.meet("next_due")
        return await super().next_due(**which)

    async def prune(self, **which):
        await self.meet("prune")
        return await super().prune(**which)

    async def end_of_log(self):
        await self.meet("end_of_log")
        return await super().end_of_log()

    async def wait(self, after, *, timeout):
        await self.meet("wait")
        await super().wait(after, timeout=timeout)

    async def begin_next(self, *arguments, **options):
        await self.meet("begin_next")
        return await super().begin_next(*arguments, **options)

    async def leave(self, *arguments, **options):
        await self.meet("leave")
        await super().leave(*arguments, **options)


@pytest.fixture
def clock():
    return ManualClock(AT)


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(clock, store, fake):
    def make(adapter=fake, *, background=True):
        config = Config(source="test", provider="fake")
        return AsyncClient(
            config, store=store, adapters={"fake": adapter}, clock=clock, background=background
        )

    return make


@pytest.fixture
def broken_filter():
    """An application's log filter that raises at every record."""

    class Broken(logging.Filter):
        def filter(self, record):
            raise KeyError("of the application's")

    broken, loggers = Broken(), [logging.getLogger(f"transferkit.{name}") for name in ("engine", "streams")]
    for logger in loggers:
        logger.addFilter(broken)
    yield
    for logger in loggers:
        logger.removeFilter(broken)


async def in_time(work, clock):
    """Let time pass, a few seconds at a time, until it is done."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        while not task.done():
            clock.advance(5)
            for _ in range(20):
                await asyncio.sleep(0)
    return await task
