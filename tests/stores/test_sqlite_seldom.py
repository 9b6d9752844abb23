"""Ways through the SQLite store that a healthy disk and a recent SQLite never take."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from transferkit._lifecycle import step
from transferkit.errors import StoreError
from transferkit.stores.sqlite import SqliteStore, schema
from transferkit.stores.sqlite.session import Session
from transferkit.testing.contracts.store_inputs import fact, new_call


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.db"


@pytest.fixture
async def store(path):
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("runs", [1, 2])
async def test_where_sqlite_undid_everything_everybody_is_told(store, runs):
    left = [runs]

    def undo(session):  # as SQLite itself may, of its own accord, when a disk fails
        left[0] -= 1
        if left[0]:
            raise ZeroDivisionError
        session.run("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    writer, call = store._engine.writer, new_call()
    writer.hold()
    try:
        waiting = [
            asyncio.ensure_future(store.apply(call, fact(call), step)),
            asyncio.ensure_future(writer.ask(undo)),
        ]
        await asyncio.sleep(0)
    finally:
        writer.resume()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StoreError] * 2
    assert left == [0]
    assert await store.call_events(call) == ()
    await store.apply(call, fact(call), step)
    assert len(await store.call_events(call)) == 1


async def test_a_reading_that_sqlite_refuses_is_an_error_and_the_next_is_none(store):
    call = new_call()
    await store.apply(call, fact(call), step)
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=10))
    async with asyncio.timeout(10):
        while not store._engine.waiters:  # noqa: ASYNC110 - it asks the reader's thread first
            await asyncio.sleep(0.01)
    with pytest.raises(StoreError):
        await store._engine.reader.ask(lambda session: session.rows("SELECT nothing FROM nowhere"))
    await asyncio.sleep(0.3)  # it looks whether others wrote: first with no connection, then with a new one
    assert len(await store.call_events(call)) == 1
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await store.apply(call, fact(call), step)
    await waiting


async def test_a_look_that_fails_is_made_up_for(store, monkeypatch):
    reader, looks = store._engine.reader, []
    look = reader.look

    def fails(connection):
        looks.append(connection)
        if len(looks) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        look(connection)

    monkeypatch.setattr(reader, "look", fails)
    call = new_call()
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=10))
    async with asyncio.timeout(10):
        while not looks:  # noqa: ASYNC110 - the reader's thread looks
            await asyncio.sleep(0.01)
        await store.apply(call, fact(call), step)
        await waiting
        assert len(await store.call_events(call)) == 1


async def test_a_sqlite_that_is_too_old_is_told(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreError, match="too old for the store"):
        await SqliteStore(path).open()


def test_the_write_ahead_log_waits_for_other_processes_and_not_for_ever(path):
    with (
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as locking,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection,
    ):
        locking.execute("CREATE TABLE one (two)")
        locking.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            schema._use_wal(Session(connection), path, until=schema.time.monotonic() + 0.05)
        locking.execute("ROLLBACK")
        schema._use_wal(Session(connection), path, until=schema.time.monotonic())
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_that_can_have_no_write_ahead_log_is_refused(path):
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StoreError, match="journal mode stays 'memory'"),
    ):
        schema._use_wal(Session(connection), path, until=0)


async def test_what_is_locked_while_it_is_opened_is_opened_later(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        store = SqliteStore(path, busy_timeout=timedelta(milliseconds=20))
        with pytest.raises(StoreError):
            await store.open()
        locking.execute("ROLLBACK")
    await store.open()
    await store.close()
