"""Ways through the SQLite store that a healthy disk and a recent SQLite never take."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from transferkit._lifecycle import step
from transferkit.errors import StoreError
from transferkit.stores.sqlite import SqliteStore, schema
from transferkit.stores.sqlite.connection import Session
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


async def test_a_read_that_sqlite_refuses_raises_and_the_next_one_succeeds(store):
    call = new_call()
    await store.apply(call, fact(call), step)
    with pytest.raises(StoreError):
        await store._opened().reader.run(lambda session: session.rows("SELECT nothing FROM nowhere"))
    assert len(await store.call_events(call)) == 1


async def test_a_failed_look_at_the_log_wakes_the_waiter(store, monkeypatch):
    async def fails():
        raise StoreError("disk I/O error")

    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=10))
    async with asyncio.timeout(10):
        while not store._watch.is_waited_for:  # noqa: ASYNC110 - the task runs first
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        monkeypatch.setattr(store._watch, "look", fails)
        await waiting


async def test_a_sqlite_that_is_too_old_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreError, match="too old for the store"):
        await SqliteStore(path).open()


def test_enabling_the_write_ahead_log_waits_for_other_processes_up_to_a_limit(path):
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


def test_a_database_without_a_write_ahead_log_is_refused(path):
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StoreError, match="journal mode stays 'memory'"),
    ):
        schema._use_wal(Session(connection), path, until=0)


async def test_a_file_that_was_locked_during_open_can_be_opened_later(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        store = SqliteStore(path, busy_timeout=timedelta(milliseconds=20))
        with pytest.raises(StoreError):
            await store.open()
        locking.execute("ROLLBACK")
    await store.open()
    await store.close()
