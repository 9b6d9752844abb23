"""A blocking client on the fake provider: fixtures and helpers. Import the fixtures in a `conftest.py`."""

import asyncio
import signal
import threading
from concurrent.futures import Future
from contextlib import contextmanager

import attrs
import pytest

from transferkit import (
    Client,
    Config,
    MemoryStore,
    StoreError,
)
from transferkit._lifecycle import CallKey
from transferkit.config import GroupConfig
from transferkit.testing import FakeAdapter, ManualClock, Say, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
SILENT = scenario("silent").number
ANSWERS = scenario("answers").number
CONFIG = Config(source="test", provider="fake")
FAKE = {"provider": "fake", "store": "memory:"}


class Counting(MemoryStore):
    """Counts how often it was opened and closed. While it is `broken`, it cannot be opened or read."""

    def __init__(self):
        super().__init__()
        self.opened = self.closed = 0
        self.broken = False

    async def open(self):
        self.check()
        self.opened += 1
        await asyncio.sleep(0)
        await super().open()

    async def close(self):
        self.closed += 1
        await super().close()

    async def open_group(self, group, *, start):
        self.check()
        await super().open_group(group, start=start)

    async def end_of_log(self):
        self.check()
        return await super().end_of_log()

    def check(self):
        if self.broken:
            raise StoreError("the disk is gone")


def our_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("transferkit")]


def in_loop(client, work):
    """Run a coroutine where the client lives."""
    return client._loop_thread().run(work)


def say(client, fake, *signals, call=CALL):
    return in_loop(client, lambda: fake.say(call, Say(signals)))


@contextmanager
def thread(work):
    """A thread that must end within ten seconds; gives what `work` returned or raised."""
    result = begun(work)
    yield result
    result.exception(10)


def begun(work):
    result = Future()

    def run():
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


def waiting(client):
    """Wait until a thread waits for something that has begun in the client."""
    until(lambda: client._loop is not None and any(wait._task for wait in list(client._loop._waits)))


def until(condition):
    done = threading.Event()
    for _ in range(2000):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it did not come about within ten seconds")


def first(client):
    """The first event that the group has not dealt with; it is given back."""
    with client.events("crm") as stream:
        return next(stream).kind


class Interrupted(Exception):
    """What the test's signal handler raises."""


@contextmanager
def interruption(client):
    """Interrupt this thread as soon as it waits in the client."""

    def strike():
        waiting(client)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def handler(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with thread(strike), pytest.raises(Interrupted):
            yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def store():
    return Counting()


@pytest.fixture
def client(fake, store, clock):
    client = Client(CONFIG, store=store, adapters={"fake": fake}, clock=clock)
    limit = threading.Timer(20, client.close)  # a call that never returns raises ClientClosed then
    limit.start()
    yield client
    client.close()
    limit.cancel()
    limit.join()
    assert our_threads() == []


@pytest.fixture
def crm(fake, store, clock):
    """A client whose groups set an event aside after one failure, and a call with two events."""
    config = attrs.evolve(CONFIG, groups=GroupConfig(max_attempts=1))
    with Client(config, store=store, adapters={"fake": fake}, clock=clock) as client:
        limit = threading.Timer(20, client.close)
        limit.start()
        client.transfer(CALL, to=SILENT)
        until(lambda: len(asyncio.run(store.call_events(CallKey("fake", CALL)))) == 2)
        yield client
        limit.cancel()
        limit.join()


@pytest.fixture
def overtake(monkeypatch):
    """Interrupts the wait for a stream's next event, but the event is faster than the cancellation."""

    def overtake(client, stream):
        waits = []
        with monkeypatch.context() as patch:
            patch.setattr(client._loop, "cancel", waits.append)
            with interruption(client):
                next(stream)
        client.transfer("another", to=SILENT)
        until(waits[0].future.done)

    return overtake


@pytest.fixture
def make(store):
    made = []

    def make(adapter=FakeAdapter):
        clock = ManualClock()
        client = Client(CONFIG, store=store, adapters={"fake": adapter(clock=clock)}, clock=clock)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
