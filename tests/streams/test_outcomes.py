"""Waiting for outcomes, also after the store lost its last commits, as in a fail-over."""

import asyncio
from functools import partial

import pytest
from support.streams import LossyStore, client_of, until

from transferkit.stores import Position
from transferkit.stores.contract import within
from transferkit.testing import FakeAdapter, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
OTHER = "411f0b00-dc73-4528-a9e6-968ba983d2a2"
THIRD = "411f0b00-dc73-4528-a9e6-968ba983d2a3"


@pytest.mark.parametrize(
    ("position", "end", "kept"),
    [("7", "9", "7"), ("9", "7", "7"), ("3-9-4", "5-7-4", "3-7-4"), ("0", "0", "0")],
)
def test_a_position_beyond_the_end_of_the_log_becomes_the_end(position, end, kept):
    assert within(Position(position), Position(end)) == kept


async def test_an_outcome_at_a_position_that_was_read_before_is_looked_up(monkeypatch):
    monkeypatch.setattr("transferkit.streams.outcomes._RECHECK_SECONDS", 0.0)
    monkeypatch.setattr("transferkit.streams.outcomes._POLL_SECONDS", 0.01)
    store, fake = LossyStore(), FakeAdapter()
    async with client_of(store, fake) as client:
        transfer = await client.transfer(CALL, to=scenario("manual").number)
        store.ahead = 1000
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        await until(lambda: store.reads)
        store.ahead = 0
        await until(lambda: fake.answer_target(CALL))
        assert (await waiting).kind == "transfer.completed"


async def test_the_log_is_read_from_its_end_after_the_store_failed(monkeypatch):
    store, fake = LossyStore(), FakeAdapter()
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


async def test_the_outcomes_of_many_waiters_are_looked_up_together():
    store, fake = LossyStore(), FakeAdapter()
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
