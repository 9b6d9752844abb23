"""A store that lost its last commits, as a fail-over to a server without them does."""

import asyncio
import logging
from functools import partial

import pytest

from transferkit import AsyncClient, Config, MemoryStore
from transferkit.stores import Position
from transferkit.stores.contract import within
from transferkit.testing import FakeAdapter, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
OTHER = "411f0b00-dc73-4528-a9e6-968ba983d2a2"
THIRD = "411f0b00-dc73-4528-a9e6-968ba983d2a3"


class Failing(MemoryStore):
    """A store that reports places beyond its end, and counts what is read of it."""

    ahead = 0
    reads = 0
    lookups = 0

    async def end_of_log(self):
        return Position(str(int(await super().end_of_log()) + self.ahead))

    async def read(self, after, *, limit=100):
        self.reads += 1
        return await super().read(after, limit=limit)

    async def outcomes(self, transfer_ids):
        self.lookups += 1
        return await super().outcomes(transfer_ids)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any step of the client may bring it about
            await asyncio.sleep(0)


def client_of(store, fake):
    return AsyncClient(Config(source="test", provider="fake"), store=store, adapters={"fake": fake})


@pytest.mark.parametrize(
    ("position", "end", "kept"),
    [("7", "9", "7"), ("9", "7", "7"), ("3-9-4", "5-7-4", "3-7-4"), ("0", "0", "0")],
)
def test_a_place_beyond_the_end_is_the_end(position, end, kept):
    assert within(Position(position), Position(end)) == kept


async def test_a_live_tail_beyond_the_end_goes_on_at_the_end(caplog):
    store, fake = Failing(), FakeAdapter()
    async with client_of(store, fake) as client:
        store.ahead = 1000
        async with client.events() as stream:
            store.ahead = 0
            with caplog.at_level(logging.WARNING, "transferkit.streams"):
                waiting = asyncio.create_task(anext(stream))
                await until(lambda: "events_lost" in [getattr(one, "event", None) for one in caplog.records])
            await client.transfer(CALL, to=scenario("silent").number)
            assert (await asyncio.wait_for(waiting, 5)).kind == "transfer.requested"


async def test_a_waiter_beyond_the_end_is_found_by_looking_up_the_transfer(monkeypatch):
    monkeypatch.setattr("transferkit.streams.outcomes._RECHECK_SECONDS", 0.0)
    monkeypatch.setattr("transferkit.streams.outcomes._POLL_SECONDS", 0.01)
    store, fake = Failing(), FakeAdapter()
    async with client_of(store, fake) as client:
        transfer = await client.transfer(CALL, to=scenario("manual").number)
        store.ahead = 1000
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        await until(lambda: store.reads)
        store.ahead = 0
        await until(lambda: fake.answer_target(CALL))
        assert (await waiting).kind == "transfer.completed"


async def test_a_store_that_failed_is_looked_at_anew(monkeypatch):
    store, fake = Failing(), FakeAdapter()
    async with client_of(store, fake) as client:
        transfer = await client.transfer(CALL, to=scenario("manual").number)
        store.ahead = 1000
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        await until(lambda: store.reads)
        store.ahead = 0
        failed = asyncio.Event()

        async def fails_once(after, *, limit=100):
            monkeypatch.undo()
            failed.set()
            raise ConnectionError

        monkeypatch.setattr(store, "read", fails_once)
        await until(lambda: fake.answer_target(CALL))
        await asyncio.wait_for(failed.wait(), 5)
        assert (await waiting).kind == "transfer.completed"


async def test_many_waiters_are_looked_up_together():
    store, fake = Failing(), FakeAdapter()
    async with client_of(store, fake) as client:
        transfers = [
            await client.transfer(call, to=scenario("manual").number) for call in (CALL, OTHER, THIRD)
        ]
        waiting = [
            asyncio.create_task(transfer.outcome(timeout=5)) for transfer in transfers for _ in range(500)
        ]
        await until(lambda: len(client._watch._waiters) == 3 and store.reads)
        waiting.pop().cancel()
        for call in (CALL, OTHER, THIRD):
            await until(partial(fake.answer_target, call))
        outcomes = await asyncio.gather(*waiting)
        assert {outcome.kind for outcome in outcomes} == {"transfer.completed"}
        assert store.lookups <= 6
