"""Event streams and waits for outcomes while the store fails or the client closes."""

import asyncio

import pytest
from support import failing_store
from support.failing_store import CALL, SILENT, TARGET
from support.waiting import logged, until

from transferkit import (
    ClientClosed,
    StoreError,
    TransferCompleted,
)
from transferkit.events import Basis
from transferkit.provider.facts import Signal
from transferkit.streams.outcomes import OutcomeWatch
from transferkit.testing import Say
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import AT, new_call

clock, fake, make, store = (failing_store.clock, failing_store.fake, failing_store.make, failing_store.store)


async def test_a_live_tail_continues_after_an_error_of_the_store(make, store):
    async with make() as client, client.events() as stream:
        store.fails["end_of_log"] = 1
        with pytest.raises(StoreError):
            await anext(stream)
        recorded = await record(store, new_call())
        assert [await anext(stream)] == recorded


async def test_a_live_tail_ends_when_its_store_fails_after_the_client_closed(make, store):
    async with make() as client:
        stream = await client.events().__aenter__()
    store.fails["end_of_log"] = 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.__aexit__(None, None, None)


async def test_a_group_stream_ends_when_its_store_fails_while_the_client_closes(make, store, caplog):
    gate = store.hold_up("wait")
    store.fails["wait"] = 1
    async with make() as client, client.events(group="crm") as stream:
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        await client.aclose()
        gate.set()
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert not logged(caplog, "store_failed")


async def test_a_group_stream_returns_an_event_whose_delivery_begins_while_it_closes(make, store):
    recorded = await record(store, new_call())
    gate = store.hold_up("begin_next")
    async with make() as client, client.events(group="crm") as stream:
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        closing = asyncio.create_task(client.aclose())
        await until(stream._ending.is_set)
        gate.set()
        await closing
        with pytest.raises(StopAsyncIteration):
            await waiting
    async with make() as client, client.events(group="crm") as stream:
        assert [await anext(stream)] == recorded


async def test_a_reader_that_is_cancelled_while_it_leaves_the_group_still_leaves(make, store):
    async with make() as client:
        gate = store.hold_up("leave")

        async def look():
            async with client.events(group="crm"):
                pass

        looking = asyncio.create_task(look())
        await store.reached.wait()
        looking.cancel()
        await asyncio.sleep(0.01)
        assert not looking.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert [group.members for group in await client.groups()] == [0]


async def test_a_cancelled_store_call_does_not_break_a_group_stream(make, store):
    async with make() as client, client.events(group="crm") as stream:
        gate = store.hold_up("begin_next")
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        (begun,) = stream._store_calls
        begun.cancel()  # as `asyncio.run` does with all that is left
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        recorded = await record(store, new_call())
        assert [await anext(stream)] == recorded


@pytest.mark.parametrize("verb", ["transfer", "end_of_log"])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_lookup_of_an_outcome_while_the_client_closes_raises_client_closed(make, store, verb, fails):
    before = asyncio.all_tasks()
    client = make()
    async with client:
        transfer = await client.transfer(CALL, to=SILENT)
        gate = store.hold_up(verb)
        asking = asyncio.create_task(transfer.outcome())
        await store.reached.wait()
    store.fails[verb] = fails
    gate.set()
    with pytest.raises(ClientClosed):
        await asking
    assert asyncio.all_tasks() == before


async def test_outcome_raises_the_error_of_the_store(make, store):
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        store.fails["transfer"] = 1
        with pytest.raises(StoreError, match="the disk is full"):
            await transfer.outcome()


async def test_a_wait_on_an_unreadable_store_ends_when_the_client_closes(make, store):
    store.fails["end_of_log"] = 10**6
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        asking = asyncio.create_task(transfer.outcome())
        await until(lambda: store.fails["end_of_log"] < 10**6)
    with pytest.raises(ClientClosed):
        await asking


async def test_a_wait_does_not_continue_in_the_next_opening(make, store):
    client = make()
    async with client:
        transfer = await client.transfer(CALL, to=SILENT)
        gate = store.hold_up("transfer")
        asking = asyncio.create_task(transfer.outcome())
        await store.reached.wait()
    store.gates.clear()
    async with client:
        gate.set()
        with pytest.raises(ClientClosed):
            await asking


@pytest.mark.parametrize("error", [StoreError("down"), ZeroDivisionError()])
async def test_an_outcome_is_returned_after_any_exception_of_the_store(make, store, fake, error, caplog):
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        store.error = error
        store.fails["wait"] = 2
        asking = asyncio.create_task(transfer.outcome(timeout=10))
        await until(lambda: logged(caplog, "store_failed"))
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await asking, TransferCompleted)


OUTCOME = TransferCompleted(
    time=AT, provider="fake", call_id=CALL, transfer_id="t-1", basis=Basis.STATED, target=TARGET
)


async def test_a_waiter_that_gives_up_does_not_disturb_the_others(store):
    watch = OutcomeWatch(store)
    gives_up, waits = (asyncio.create_task(watch.outcome("t-1")) for _ in range(2))
    await until(lambda: watch._following.is_set())  # noqa: PLW0108 - it is another one soon
    await asyncio.sleep(0.01)
    gives_up.cancel()
    watch._resolve("t-1", OUTCOME)
    assert await waits == OUTCOME
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    await watch.close()


async def test_a_waiter_that_gives_up_does_not_disturb_closing(store):
    watch = OutcomeWatch(store)
    waits = asyncio.create_task(watch.outcome("t-1"))
    loop = asyncio.get_running_loop()

    async def wait(after, *, timeout):
        try:
            await loop.create_future()
        finally:  # once `close` goes on, and before the waiter can
            loop.call_soon(loop.call_soon, waits.cancel)

    store.wait = wait
    await until(lambda: watch._following.is_set())  # noqa: PLW0108 - it is another one soon
    await asyncio.sleep(0.01)
    await watch.close()
    with pytest.raises(asyncio.CancelledError):
        await waits
