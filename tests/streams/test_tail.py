"""A live tail: where it starts and ends, also after the store lost its last commits."""

import asyncio
import logging

import pytest
from support.streams import LossyStore, client_of, until

from transferkit import MemoryStore
from transferkit.testing import FakeAdapter, scenario
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import new_call

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
async def client(store):
    async with client_of(store, FakeAdapter()) as client:
        yield client


@pytest.fixture
def call():
    return new_call()


async def test_a_stream_without_a_group_is_a_live_tail(client, store, call):
    await record(store, call)
    async with client.events() as stream:
        recorded = await record(store, call)
        assert [await anext(stream)] == recorded
        await stream.ack()
    assert await client.groups() == ()


async def test_a_live_tail_may_start_at_the_oldest_event_and_end_at_the_last(client, store, call):
    recorded = await record(store, call, call)
    async with client.events(start="beginning", follow=False) as stream:
        assert [event async for event in stream] == recorded
    async with client.events(follow=False) as stream:
        assert [event async for event in stream] == []


async def test_a_live_tail_must_be_entered_before_it_is_read(client):
    stream = client.events()
    with pytest.raises(RuntimeError, match="enter the stream first"):
        await anext(stream)


async def test_a_live_tail_beyond_the_end_of_the_log_continues_at_the_end(caplog):
    store, fake = LossyStore(), FakeAdapter()
    async with client_of(store, fake) as client:
        store.ahead = 1000
        async with client.events() as stream:
            store.ahead = 0
            with caplog.at_level(logging.WARNING, "transferkit.streams"):
                waiting = asyncio.create_task(anext(stream))
                await until(lambda: "events_lost" in [getattr(one, "event", None) for one in caplog.records])
            await client.transfer(CALL, to=scenario("silent").number)
            assert (await asyncio.wait_for(waiting, 5)).kind == "transfer.requested"
