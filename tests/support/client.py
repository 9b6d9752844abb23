"""A client on the fake provider, a store in memory and a manual clock: fixtures and helpers.

Import the fixtures in a `conftest.py`.
"""

import asyncio

import attrs
import pytest

from support.waiting import until
from transferkit import (
    AsyncClient,
    Config,
    MemoryStore,
    PhoneNumber,
    TeamsUser,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.limits import Identifiers
from transferkit.testing import FakeAdapter, ManualClock, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
AGENT = TeamsUser("agent")
SILENT = scenario("silent").number
ANSWERS = scenario("answers").number


class OneShot(FakeAdapter):
    """A fake whose requests must not be sent again, as on Graph."""

    @property
    def capabilities(self):
        return attrs.evolve(super().capabilities, repeatable_for=None)


class Narrow(FakeAdapter):
    """A fake that carries little."""

    @property
    def capabilities(self):
        return Capabilities(transfer={"to": Identifiers(kinds=(PhoneNumber,))}, redirect=None)


class Slow(FakeAdapter):
    """A fake whose submission takes until the test says so."""

    def __init__(self, *, clock):
        super().__init__(clock=clock)
        self.sending = asyncio.Event()
        self.go_on = asyncio.Event()

    async def submit(self, submission):
        self.sending.set()
        await self.go_on.wait()
        return await super().submit(submission)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(clock, store):
    """Makes a client on the test's clock and store; the first adapter is the default provider."""

    def make(*adapters, store=store, **config):
        names = {adapter.name: adapter for adapter in adapters}
        config = {"source": "test", "provider": adapters[0].name, **config}
        return AsyncClient(Config(**config), store=store, adapters=names, clock=clock)

    return make


@pytest.fixture
async def client(make, fake):
    async with asyncio.timeout(20), make(fake) as client:
        yield client


async def kinds(store, call=CALL):
    return [event.kind for event in await store.call_events(CallKey("fake", call))]


async def pass_time_until(condition, clock, *, steps=5):
    """Let time pass, a few seconds at a time, until something is so."""
    async with asyncio.timeout(5):
        while not await condition():
            clock.advance(steps)
            for _ in range(20):
                await asyncio.sleep(0)


async def until_kind(store, kind, call=CALL):
    async def there():
        return kind in await kinds(store, call)

    await until(there)


async def until_sent(fake, store, count):
    """The answer to attempt number `count` is recorded."""

    async def answered():
        progress = (await store.state(CallKey("fake", CALL))).open
        return len(fake.submissions) == count and (progress is None or not progress.in_flight)

    await until(answered)


def our_tasks():
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def nothing_happened(store, fake):
    return await kinds(store) == [] and fake.submissions == [] and await store.next_due() is None
