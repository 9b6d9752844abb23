"""Ways through the PostgreSQL store that a healthy server never takes."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from transferkit import FailureReason, StoreError
from transferkit._lifecycle import Answered, step
from transferkit.provider.facts import Result
from transferkit.provider.results import Rejected
from transferkit.stores import CommitUnknown
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import AT, fact, new_call, opened, requested

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")

from transferkit.stores.postgres import PostgresStore, read_address  # noqa: E402 - needs the driver
from transferkit.stores.postgres import database as database_module  # noqa: E402
from transferkit.stores.postgres import watch as watch_module  # noqa: E402
from transferkit.stores.postgres.connection import Session, statements_of  # noqa: E402
from transferkit.stores.postgres.errors import failure  # noqa: E402

pytestmark = pytest.mark.heavy  # as in test_postgres_store.py


@asynccontextmanager
async def opened_store(address):
    store = PostgresStore(address)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def address(database):
    """A schema of this file's own."""
    return f"{database}{'&' if '?' in database else '?'}schema=seldom"


@pytest.fixture
async def store(address):
    async with opened_store(address) as store:
        yield store


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any step of anybody may bring it about
            await asyncio.sleep(0.01)


async def test_an_address_that_libpq_does_not_accept_raises_store_error():
    with pytest.raises(StoreError, match="libpq does not accept the address"):
        await PostgresStore("postgresql://app@db.invalid/calls?nonsense=1").open()


async def test_a_server_that_is_too_old_is_refused(address, monkeypatch):
    monkeypatch.setattr(database_module, "_OLDEST_SERVER", 9_999_999)
    with pytest.raises(StoreError, match="too old"):
        await PostgresStore(address).open()


@pytest.mark.parametrize("place", ["nowhere", "1-2", "-"])
async def test_a_position_of_another_store_raises_store_error(store, place):
    with pytest.raises(StoreError, match="not a position in this store's log"):
        await store.read(place)


async def test_an_empty_list_of_inputs_is_not_committed(store):
    assert await store.apply_all([], step) == ()


async def test_two_tasks_that_open_a_store_at_once_open_it_once(address):
    before = asyncio.all_tasks()
    store = PostgresStore(address)
    await asyncio.gather(store.open(), store.open())
    assert len(await record(store, new_call())) == 1
    await store.close()
    assert asyncio.all_tasks() == before


async def test_closing_waits_for_the_running_commit(address):
    call = new_call()
    async with opened_store(address) as store:
        applying = asyncio.create_task(store.apply(call, fact(call), step))
        await asyncio.sleep(0)
    assert (await applying).state.sequence == 1


async def test_a_transfer_that_ends_in_the_transaction_of_its_request_occupies_no_leg(store):
    call, other = new_call(), opened(new_call())
    transfer = opened(call)
    refusal = Rejected(result=Result(code=400, reason=FailureReason.CALL_NOT_FOUND))
    answered = Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=refusal)
    inputs = [(other.call, requested(other)), (call, requested(transfer)), (call, answered)]
    *_, ended = await store.apply_all(inputs, step)
    assert [event.kind for event in ended.events] == ["transfer.failed"]
    again = opened(call)
    await store.apply(call, requested(again), step)
    assert (await store.state(call)).open.id == again.id


async def test_a_transaction_that_postgres_rolls_back_instead_of_committing_is_an_error(store, monkeypatch):
    monkeypatch.setattr(
        store._opened().database, "statements", {**statements_of("seldom"), "commit": b"ROLLBACK"}
    )
    with pytest.raises(StoreError):
        await store.open_group("crm", start=GroupStart.BEGINNING)
    monkeypatch.undo()
    assert await store.groups() == ()


@pytest.mark.parametrize(("unknown", "works"), [(3, True), (4, False)])
async def test_a_repeatable_operation_whose_commit_got_no_reply_is_repeated_a_few_times(
    store, monkeypatch, unknown, works
):
    left, tried = [unknown], store._opened().database._tried

    async def unanswered(run):
        if left[0]:
            left[0] -= 1
            raise CommitUnknown("the commit got no reply")
        return await tried(run)

    monkeypatch.setattr(database_module, "_TRIES", 3)
    monkeypatch.setattr(store._opened().database, "_tried", unanswered)
    if works:
        assert not await store.release("crm", "unknown")
    else:
        with pytest.raises(CommitUnknown):
            await store.release("crm", "unknown")


def test_the_error_for_an_exhausted_pool_says_that_no_connection_became_free(address):
    error = failure(psycopg_pool.PoolTimeout(), read_address(address))
    assert "no connection became free in time" in str(error)


async def test_a_reader_for_which_no_connection_becomes_free_gets_an_error(address, monkeypatch):
    async with opened_store(f"{address}&connections=2") as store:
        monkeypatch.setattr(database_module, "_CONNECTION_SECONDS", 0.01)
        reading, go = asyncio.Event(), asyncio.Event()

        async def stop(*_):
            reading.set()
            await go.wait()
            return (0,)

        monkeypatch.setattr(Session, "read", stop)
        first = asyncio.create_task(store.end_of_log())
        try:
            await reading.wait()
            with pytest.raises(StoreError, match="no connection became free in time"):
                await store.end_of_log()
        finally:
            go.set()
            await first
        monkeypatch.undo()
        assert await store.end_of_log()


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
    async with opened_store(f"{address}&listen=off") as store:
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


def test_the_info_command_prints_the_size_of_the_tables(address, monkeypatch):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from transferkit.cli.app import app

    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_STORE", address)
    assert CliRunner().invoke(app, ["store", "migrate"]).exit_code == 0
    found = json.loads(CliRunner().invoke(app, ["store", "info", "--json"]).stdout)
    assert {"calls", "events", "requests", "due"} <= {table["name"] for table in found["tables"]}
    assert "dead rows" in CliRunner().invoke(app, ["store", "info"]).stdout
