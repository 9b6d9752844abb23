"""Closing a client while it is opened, closed or used: nothing is left behind."""

import asyncio
from contextlib import suppress

import pytest

from transferkit import AsyncClient, Config, MemoryStore, PhoneNumber, TransferCompleted
from transferkit._telemetry import Telemetry
from transferkit._telemetry.contract import Span
from transferkit.stores import CommitUnknown
from transferkit.testing import FakeAdapter, scenario

CALL, ANOTHER = "call-1", "call-2"
TARGET = PhoneNumber("+14255550100")
ANSWERS = scenario("answers").number


class Held(FakeAdapter):
    """An adapter whose requests wait for `gate`."""

    def __init__(self):
        super().__init__()
        self.gate, self.asked, self.closed = asyncio.Event(), asyncio.Event(), 0

    async def submit(self, submission):
        self.asked.set()
        await self.gate.wait()
        return await super().submit(submission)

    async def aclose(self):
        self.closed += 1
        await super().aclose()


class Store(MemoryStore):
    """Knows whether it is open. `gate` delays its commits."""

    def __init__(self):
        super().__init__()
        self.is_open, self.gate, self.asked = False, asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def open(self):
        await super().open()
        self.is_open = True

    async def close(self):
        self.is_open = False
        await super().close()

    async def apply_all(self, inputs, step):
        self.asked.set()
        await self.gate.wait()
        return await super().apply_all(inputs, step)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def soon(monkeypatch):
    """Make closing cancel submissions soon."""
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.05)


def client_of(adapter, store, **options):
    config = Config(source="test", provider="fake")
    return AsyncClient(config, store=store, adapters={"fake": adapter}, **options)


def left_behind():
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_closing_completes_when_its_caller_is_cancelled(store, soon):
    adapter = Held()
    client = client_of(adapter, store)
    async with asyncio.timeout(20):
        await client.__aenter__()
        await client.transfer(CALL, to=TARGET)
        await adapter.asked.wait()
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert (adapter.closed, store.is_open, left_behind()) == (1, False, set())


async def test_concurrent_calls_of_aclose_close_once(store, soon):
    adapter = Held()
    async with asyncio.timeout(20), client_of(adapter, store) as client:
        await client.transfer(CALL, to=TARGET)
        await asyncio.gather(client.aclose(), client.aclose())
    assert (adapter.closed, store.is_open, left_behind()) == (1, False, set())


async def test_closing_closes_everything_even_if_one_part_raises(store):
    class Stuck(FakeAdapter):
        async def aclose(self):
            raise RuntimeError("stuck")

    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="stuck"):
            async with client_of(Stuck(), store):
                pass
    assert (store.is_open, left_behind()) == (False, set())


async def test_a_client_can_be_opened_while_it_closes(store, soon):
    adapter = Held()
    client = client_of(adapter, store)
    async with asyncio.timeout(20):
        await client.__aenter__()
        await client.transfer(CALL, to=TARGET)
        await adapter.asked.wait()
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        async with client:
            await closing
            assert store.is_open
            adapter.gate.set()
            transfer = await client.transfer(ANOTHER, to=ANSWERS)
            assert isinstance(await transfer.outcome(), TransferCompleted)
    assert (store.is_open, left_behind()) == (False, set())


async def test_a_request_that_closing_interrupts_raises_commit_unknown(store, soon):
    client = client_of(FakeAdapter(), store)
    async with asyncio.timeout(20):
        await client.__aenter__()
        store.gate.clear()
        store.asked.clear()
        asking = asyncio.create_task(client.transfer(CALL, to=TARGET))
        await store.asked.wait()
        await client.aclose()
        with pytest.raises(CommitUnknown, match=r"closed while transfer .* was being recorded"):
            await asking


async def test_a_caller_that_is_cancelled_while_its_request_is_recorded_is_cancelled(store):
    async with asyncio.timeout(20), client_of(FakeAdapter(), store) as client:
        store.gate.clear()
        store.asked.clear()
        asking = asyncio.create_task(client.transfer(CALL, to=ANSWERS))
        await store.asked.wait()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert asking.cancelled()
        store.gate.set()


async def test_a_client_that_fails_to_open_closes_its_store(store):
    class Deaf(FakeAdapter):
        def listen(self, deliver):
            raise RuntimeError("no ears")

    with pytest.raises(RuntimeError, match="no ears"):
        async with client_of(Deaf(), store):
            pytest.fail("it was opened")
    assert (store.is_open, left_behind()) == (False, set())


async def test_a_meter_that_raises_does_not_stop_a_transfer(store):
    class Broken(Span):
        def recorded(self, transfer_id):
            raise RuntimeError(transfer_id)

    class Meter(Telemetry):
        def asking(self, request):
            return Broken()

    async with asyncio.timeout(20), client_of(FakeAdapter(), store, telemetry=Meter()) as client:
        transfer = await client.transfer(CALL, to=ANSWERS)
        assert isinstance(await transfer.outcome(), TransferCompleted)
