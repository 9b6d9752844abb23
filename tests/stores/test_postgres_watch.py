"""PostgreSQL: waiting for the log to grow."""

import asyncio

import pytest
from support.postgres import SECONDS, cut, opened_store, until, until_listening, with_options

from transferkit import StoreError
from transferkit._lifecycle import step
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import fact, new_call

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")


from transferkit.stores.postgres import watch as watch_module  # noqa: E402 - needs the driver

pytestmark = pytest.mark.heavy  # these tests need a server


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_a_waiting_process_is_woken_by_another(address, store, call, listen):
    async with opened_store(with_options(address, listen=listen)) as reader, asyncio.timeout(SECONDS):
        waiting = asyncio.create_task(reader.wait(await reader.end_of_log(), timeout=60))
        await asyncio.sleep(0)
        await store.apply(call, fact(call), step)
        await waiting


async def test_a_notification_wakes_a_reader_before_the_next_poll(address, store, call, monkeypatch):
    monkeypatch.setattr("transferkit.stores.postgres.watch._POLL_SECONDS_WHILE_LISTENING", 60)
    async with opened_store(address) as reader, asyncio.timeout(SECONDS):
        waiting = asyncio.create_task(reader.wait(await reader.end_of_log(), timeout=60))
        await until_listening(reader)
        await store.apply(call, fact(call), step)
        await waiting


async def test_a_listener_whose_connection_is_cut_reconnects(address, store, sql, call, monkeypatch):
    monkeypatch.setattr("transferkit.stores.postgres.watch._RECONNECT_SECONDS", 0.05)
    async with opened_store(address) as reader, asyncio.timeout(SECONDS):
        waiting = asyncio.create_task(reader.wait(await reader.end_of_log(), timeout=60))
        await until_listening(reader)
        cut(sql, "query LIKE 'LISTEN%%'")
        await until(lambda: not reader._watch._listening)
        await until_listening(reader)
        await store.apply(call, fact(call), step)
        await waiting


async def test_closing_wakes_waiting_readers(address):
    async with opened_store(address) as store:
        waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
        await until(lambda: store._watch._waiters)
    async with asyncio.timeout(10):
        await waiting


async def test_a_waiter_is_woken_when_the_server_is_unreachable(store, monkeypatch):
    monkeypatch.setattr(watch_module, "_POLL_SECONDS_WHILE_LISTENING", 0.01)
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
    await until(lambda: "poll" in store._watch._tasks)

    async def fails():
        raise StoreError("the server is gone")

    monkeypatch.setattr(store._watch, "look", fails)
    async with asyncio.timeout(10):
        await waiting


async def test_a_waiter_that_was_cancelled_while_the_log_grows_causes_no_error(store):
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
    await until(lambda: "poll" in store._watch._tasks)
    (waiter,) = store._watch._waiters
    waiter.cancel()
    store._watch.wake()
    async with asyncio.timeout(10):
        await waiting


async def test_a_store_that_does_not_listen_sends_no_notification(address):
    async with opened_store(with_options(address, listen="off")) as store:
        (event,) = await record(store, new_call())
        store._watch.wake()
        assert event.sequence == 1
        assert not store._watch._tasks


async def test_another_process_can_wake_every_waiter(store, address):
    async with opened_store(address) as other:
        waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
        await until(lambda: store._watch._listening)
        other._watch.wake()
        async with asyncio.timeout(10):
            await waiting


async def test_a_notification_of_another_process_does_not_prove_that_one_s_own_arrive(store, monkeypatch):
    watch, sent = store._watch, []
    notify = watch._notify_once

    async def notify_twice(message):
        if not sent:
            sent.append("from another process")
            await notify("")
        await notify(message)

    monkeypatch.setattr(watch, "_notify_once", notify_twice)
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
    await until(lambda: watch._listening)
    assert sent
    await record(store, new_call())
    await waiting
