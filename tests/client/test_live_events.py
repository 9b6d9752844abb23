"""The live tail of the event stream."""

import asyncio

import pytest
from support.client import ANSWERS, CALL

from transferkit.provider.facts import Signal
from transferkit.testing import Say, scenario


async def test_a_live_tail_starts_now_and_keeps_the_order(client, fake):
    await (await client.transfer("before", to=ANSWERS)).outcome()
    async with client.events() as stream:
        transfer = await client.transfer(CALL, to=ANSWERS)
        seen = []
        async for event in stream:
            seen.append(event)
            if event.kind == "call.ended" and event.call_id == CALL:
                break
    mine = [event for event in seen if event.call_id == CALL]
    assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
    assert {event.transfer_id for event in mine} == {transfer.id, None}
    assert not [event for event in seen if event.call_id == "before" and event.kind == "transfer.requested"]


async def test_each_of_several_readers_gets_every_event(client):
    async with client.events() as one, client.events() as two:
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
        assert [await anext(one) for _ in range(4)] == [await anext(two) for _ in range(4)]


async def test_a_reader_can_continue_after_a_break(client):
    async with client.events() as stream:
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
        async for event in stream:
            assert event.kind == "transfer.requested"
            break
        async for event in stream:
            assert event.kind == "transfer.submitted"
            break


@pytest.mark.parametrize("steps_before", range(3))
@pytest.mark.parametrize("steps_after", range(6))
async def test_cancelling_a_wait_loses_no_event(client, fake, steps_before, steps_after):
    async with client.events() as stream:
        waiting = asyncio.create_task(anext(stream))
        for _ in range(steps_before):
            await asyncio.sleep(0)
        await fake.say(CALL, Say(Signal.STARTED))
        for _ in range(steps_after):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        event = await anext(stream) if waiting.cancelled() else waiting.result()
        assert event.call_id == CALL


async def test_a_tail_ends_when_the_client_closes(make, fake):
    client = make(fake)
    async with client:
        stream = await client.events().__aenter__()

        async def read():
            return [event.kind async for event in stream]

        reading = asyncio.create_task(read())
        await (await client.transfer(CALL, to=scenario("busy").number)).outcome()
    async with asyncio.timeout(5):
        assert (await reading)[-1] == "transfer.failed"


async def test_a_stream_must_be_entered_before_it_is_read(client):
    with pytest.raises(RuntimeError, match="enter the stream"):
        await anext(client.events())
    async with client.events() as stream:
        pass
    with pytest.raises(RuntimeError, match="enter the stream"):
        await anext(stream)
