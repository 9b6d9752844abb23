"""The SQLite store: the contract, the file, reading, and several processes."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from textwrap import dedent
from unittest.mock import Mock
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sqlite import on_writer
from support.waiting import until

from transferkit._lifecycle import CallKey, Lease, Observed, Work, step
from transferkit._util.frozenmap import freeze
from transferkit.errors import StoreError
from transferkit.events import ProviderOther
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.stores import KeyUsed
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sql import calls
from transferkit.stores.sql.statements import named_statements
from transferkit.stores.sqlite import SqliteStore, inotify, schema, watch
from transferkit.stores.sqlite.columns import COLUMNS, stored
from transferkit.stores.sqlite.connection import Session
from transferkit.testing import StoreContract
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)

TIME_LIMIT = 60

needs_inotify = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path):
        store = SqliteStore(tmp_path / "transferkit.db")
        await store.open()
        yield store
        await store.close()

    def change(self, store, statement, *values):
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            assert db.execute(statement, values).rowcount

    async def damage_event(self, store, event, stored):
        at = "SELECT number FROM calls WHERE id = ?"
        statement = f"UPDATE events SET event = ? WHERE sequence = ? AND call = ({at})"  # noqa: S608 - our own
        self.change(store, statement, stored, event.sequence, event.call_id)

    async def damage_state(self, store, call):
        self.change(store, "UPDATE calls SET state = '{}}' WHERE id = ?", call.id)

    async def damage_request(self, store, transfer_id):
        self.change(store, "UPDATE requests SET opened = '[' WHERE id = ?", transfer_id)

    async def rename_work(self, store, transfer_id, work):
        statement = "UPDATE due SET work = work || ? WHERE transfer_id = ?"
        self.change(store, statement, work, transfer_id)


def select_from_nowhere(session):
    return session.rows("SELECT 1 FROM nowhere")


async def test_a_position_is_never_used_again_after_the_newest_events_were_pruned(path, store):
    await record(store, new_call(), at=AT + timedelta(days=2))
    await record(store, *(new_call() for _ in range(3)), at=AT)
    end = await store.end_of_log()
    for before in (AT + timedelta(days=1), AT + timedelta(days=3)):  # the newer ones first
        assert await store.prune(before=before, idle_since=AT, limit=10)
        assert await store.end_of_log() == end
    await store.close()
    await store.open()
    assert await store.end_of_log() == end
    later = await record(store, new_call())
    assert [event for _, event in await store.read(end)] == later


async def test_several_events_of_one_commit_have_consecutive_positions_after_pruning(store):
    call = new_call()
    await record(store, new_call(), at=AT)
    end = await store.end_of_log()
    assert await store.prune(before=AT + timedelta(days=1), idle_since=AT, limit=10) == 1
    await store.apply_all([(call, requested(opened(call))), (call, fact(call, Signal.STARTED))], step)
    places = [int(place) for place, _ in await store.read(end)]
    assert places == [int(end) + number for number in (1, 2, 3)]


async def test_closing_commits_queued_inputs(path, store):
    calls = [new_call() for _ in range(300)]
    applying = [asyncio.create_task(store.apply(call, fact(call), step)) for call in calls]
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
    await asyncio.sleep(0)
    async with asyncio.timeout(TIME_LIMIT):
        await store.close()
        await asyncio.gather(*applying, waiting)
    with pytest.raises(StoreError, match="not open in this process"):
        await store.state(calls[0])
    await store.open()
    assert len(await store.read(None, limit=1000)) == len(calls)


def test_a_closed_store_can_be_opened_in_another_event_loop_and_leaves_no_thread(path):
    store = SqliteStore(path)
    call = new_call()

    async def use():
        await store.open()
        await store.open()
        await store.apply(call, fact(call), step)
        await store.close()
        await store.close()

    before = set(threading.enumerate())
    for _ in range(3):
        asyncio.run(use())
    assert set(threading.enumerate()) <= before
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (3,)


async def test_two_tasks_that_open_a_store_at_once_open_it_once(path):
    store = SqliteStore(path)
    before = threading.active_count()
    await asyncio.gather(store.open(), store.open())
    assert threading.active_count() == before + 2
    await store.close()
    assert threading.active_count() == before


def events_of_an_unknown_call():
    return calls.call_events(COLUMNS, new_call())


async def test_a_closed_store_raises_store_error_for_late_jobs(store):
    opened = store._opened()
    await store.close()
    async with asyncio.timeout(TIME_LIMIT):
        for use in (opened.read(events_of_an_unknown_call), opened.queue.add(events_of_an_unknown_call)):
            with pytest.raises(StoreError, match="closed"):
                await use


async def test_an_existing_file_keeps_its_number_of_partitions(path):
    for asked in (4, 7):
        store = SqliteStore(path, partitions=asked)
        await store.open()
        assert store.partitions == 4
        await store.open_group("crm", start=GroupStart.BEGINNING)
        assert await store.hold("crm", Lease("one", AT + LEASE), now=AT) == frozenset(range(4))
        await store.close()


def test_a_relative_path_does_not_move_with_the_process(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    store = SqliteStore(path.name)
    monkeypatch.chdir("/")
    assert store.path == path


async def refusal(path):
    before = threading.active_count()
    with pytest.raises(StoreError) as raised:
        await SqliteStore(path).open()
    assert threading.active_count() == before
    return str(raised.value)


async def test_a_missing_folder_is_an_error(path):
    assert "folder exists" in await refusal(path / "missing" / "a.db")


async def test_a_file_of_another_kind_is_refused(path):
    path.write_bytes(b"not a database at all" * 100)
    assert "not a SQLite database" in await refusal(path)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
)
async def test_another_applications_database_is_refused_and_not_changed(path, statement):
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
    before = path.read_bytes()
    assert "another application's database" in await refusal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "advice"), [(1, "give the store a new file"), (99, "upgrade transferkit in this process")]
)
async def test_a_file_of_another_version_is_refused_and_not_changed(path, store, version, advice):
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    message = await refusal(path)
    assert f"schema version {version}" in message
    assert advice in message
    assert path.read_bytes() == before


async def test_a_file_that_a_newer_version_updates_while_it_is_open_is_not_written(path, store):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 99")
    call = new_call()
    with pytest.raises(StoreError, match="upgrade transferkit"):
        await store.apply(call, fact(call), step)


async def test_a_file_that_was_removed_while_open_is_not_written(path, store):
    call = new_call()
    await store.apply(call, fact(call), step)
    for file in path.parent.iterdir():
        file.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match="removed"):
            await store.apply(call, fact(call), step)
        with pytest.raises(StoreError, match="removed"):
            await store.state(call)
    assert not path.exists()


async def test_errors_contain_no_stored_data(path, store, planted):
    call = new_call()
    await store.apply(call, fact(call), step)
    broken = json.dumps({"kind": "provider.other", "time": planted.number, planted.token: 1})
    await on_writer(store, lambda session: session.rows("UPDATE events SET event = ?", (broken,)))
    with pytest.raises(StoreError, match=r"event 1 of call .* cannot be read") as raised:
        await store.call_events(call)
    assert raised.value.__cause__ is None
    assert not planted.shown_in(raised.value)


async def test_a_failed_read_keeps_no_snapshot(path, store):
    call, other = new_call(), new_call()
    await record(store, call, call, call)
    await on_writer(store, lambda session: session.rows("UPDATE events SET event = '['"))
    for read in (store.call_events(call), store._opened().reader.run(select_from_nowhere)):
        with pytest.raises(StoreError) as raised:  # and its traceback keeps whatever the reading had open
            await read
        (later,) = await record(store, other)
        assert (await store.call_events(other))[-1] == later
        assert raised.traceback
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


async def test_text_that_is_not_utf_8_affects_only_its_own_row(store):
    call, other = new_call(), new_call()
    first, second = await record(store, call, other)
    damaged = "UPDATE events SET event = CAST(x'7bff7d' AS TEXT) WHERE position = 1"
    await on_writer(store, lambda session: session.rows(damaged))
    (_, marker), (_, event) = await store.read(None)
    assert (marker.call_id, marker.problem) == (first.call_id, "it is not a JSON object")
    assert event == second


async def test_a_failed_read_does_not_affect_other_queued_reads(store):
    call = new_call()
    events = await record(store, call)
    reader = store._opened().reader
    reader.suspend()
    readings = [
        asyncio.ensure_future(one)
        for one in (
            store.call_events(call),
            reader.run(select_from_nowhere),
            store.call_events(call),
        )
    ]
    await asyncio.sleep(0)
    reader.resume()
    async with asyncio.timeout(TIME_LIMIT):
        before, failed, after = await asyncio.gather(*readings, return_exceptions=True)
    assert (before, after) == (tuple(events), tuple(events))
    assert isinstance(failed, StoreError)
    assert await store.call_events(call) == tuple(events)


async def test_a_schema_that_cannot_be_created_is_not_created_in_part(path, monkeypatch):
    broken = ["CREATE TABLE meta (a INTEGER) STRICT", "CREATE TABLE extra (a) STRICT"]  # no type
    monkeypatch.setattr(schema, "schema_statements", lambda _: broken)
    with pytest.raises(StoreError):
        await SqliteStore(path).open()
    monkeypatch.undo()
    store = SqliteStore(path)
    await store.open()
    assert len(await record(store, new_call())) == 1
    await store.close()


@pytest.mark.parametrize("turn", range(3))
async def test_many_stores_may_create_the_file_at_once(path, turn):
    stores = [SqliteStore(path, partitions=partitions) for partitions in (4, 5, 6, 7)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({store.partitions for store in stores}) == 1
    call = new_call()
    await asyncio.gather(*(record(store, call) for store in stores))
    assert len(await stores[0].call_events(call)) == len(stores)
    await asyncio.gather(*(store.close() for store in stores))


WRITES_FOR_EVER = """
    import asyncio, sys
    from datetime import timedelta
    from transferkit._lifecycle import CallKey, step
    from transferkit.stores.sqlite import SqliteStore
    from transferkit.testing.contracts.store_inputs import fact, opened, requested

    async def main(path, name):
        store = SqliteStore(path, busy_timeout=timedelta(seconds=50))
        await store.open()
        async def write(task):
            number = 0
            while True:
                call = CallKey("fake", f"{name}-{task}-{number // 3}")
                happened = fact(call) if number % 3 else requested(opened(call, key=f"{call}"))
                applied = await store.apply(call, happened, step)
                print(call.id, applied.state.sequence, flush=True)
                number += 1
        await asyncio.gather(*(write(task) for task in range(4)))

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.heavy
async def test_acknowledged_inputs_survive_a_kill(path, store):
    """Ten processes at once on one file, each killed in the middle of its writing."""
    place = await store.end_of_log()
    waiting = asyncio.create_task(store.wait(place, timeout=60))
    script = dedent(WRITES_FOR_EVER)
    acknowledged = []

    async def one(name):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(path), name, stdout=subprocess.PIPE
        )
        lines = [await process.stdout.readline() for _ in range(20 + int(name))]
        process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
        acknowledged.extend(lines + rest.splitlines(keepends=True))
        assert process.returncode == -signal.SIGKILL

    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.gather(*(one(str(number)) for number in range(10)))
        await waiting
    lines = [line.split() for line in acknowledged if line.endswith(b"\n")]
    assert len(lines) >= 200
    for call_id, sequence in lines:
        call = CallKey("fake", call_id.decode())
        sequences = [event.sequence for event in await store.call_events(call)]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) == (await store.state(call)).sequence >= int(sequence)
    assert await on_writer(store, lambda session: session.rows("PRAGMA integrity_check")) == [("ok",)]
    assert await on_writer(store, lambda session: session.rows("PRAGMA foreign_key_check")) == []


async def test_any_text_can_be_stored_in_every_column(store):
    odd = "a\0b\ud800\U0001f600é"
    call = CallKey("fake", "a\0\U0001f600é")
    event = ProviderOther(time=AT, provider="fake", call_id=call.id, raw=freeze({odd: [odd]}))
    happened = Observed(at=AT, fact=Fact(event=event, delivery=Delivery(odd), tenant_id=odd))
    await store.apply(call, happened, step)
    assert (await store.apply(call, happened, step)).duplicate
    assert not (await store.apply(CallKey("fake", "a"), happened, step)).duplicate
    asked = await open_transfer(store, call, key=odd)
    with pytest.raises(KeyUsed):
        await store.apply(call, requested(asked), step)
    assert (await store.state(call)).tenant_id == odd
    (first, *_) = await store.call_events(call)
    assert first.raw == {odd: (odd,)}
    await store.open_group(odd, start=GroupStart.BEGINNING)
    await store.hold(odd, Lease(odd, AT + LEASE), now=AT)
    begun = await store.begin_next(odd, odd, done=None, now=AT, max_attempts=1)
    assert begun.delivery.event == first
    assert [group.name for group in await store.groups()] == [odd]


ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_read_as_it_was_written_and_equal_only_to_itself(one, two):
    first, second = stored(one), stored(two)
    assert COLUMNS.text(first) == one
    assert (first == second) is (one == two)
    with closing(sqlite3.connect(":memory:")) as db:
        assert db.execute("SELECT ?, ? = ?", (first, first, second)).fetchone() == (first, one == two)


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


def test_leasing_due_work_reads_the_index_in_order_and_sorts_nothing(path, store):
    sql = named_statements("transferkit.stores.sqlite")["lease_due"].replace("tk.", "")
    names = ("owner", "until", "now", "works", "any_provider", "providers", "limit")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, 0)).fetchall()
    plan = [detail for *_, detail in rows]
    assert any("USING INDEX due_free (free_at<?)" in detail for detail in plan)
    assert not any("ORDER BY" in detail for detail in plan)


@needs_inotify
async def test_a_file_that_was_deleted_and_created_again_is_watched_from_the_next_wait_on(path):
    events = inotify.FileEvents(path)
    try:
        with pytest.raises(OSError, match="inotify_add_watch"):
            await events.wait(0)
        for _ in range(2):
            path.touch()
            while await events.wait(0.01):  # also the end of the file before
                pass
            path.write_text("changed", encoding="utf-8")
            assert await events.wait(TIME_LIMIT)
            path.unlink()
    finally:
        events.close()


@needs_inotify
def test_inotify_that_is_used_up_raises_an_error(path, monkeypatch):
    monkeypatch.setattr(inotify.ctypes, "CDLL", Mock(return_value=Mock(inotify_init1=lambda _: -1)))
    with pytest.raises(OSError, match="inotify_init1"):
        inotify.FileEvents(path)


async def test_a_lease_changes_few_pages_however_much_is_due(path, store):
    leased = 100
    due = ((str(uuid4()), Work.SUBMIT, moment) for moment in range(20_000))
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO due (transfer_id, work, at) VALUES (?, ?, ?)", due)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    assert len(await store.lease_due(now=AT, lease=Lease("me", AT + LEASE), limit=leased)) == leased
    assert path.with_name(f"{path.name}-wal").stat().st_size < leased / 4 * page


def no_notifications(monkeypatch):
    monkeypatch.setattr(watch, "FileEvents", Mock(side_effect=OSError))
    monkeypatch.setattr(watch, "_POLL_SECONDS", 3600)


def lost_notifications(monkeypatch):
    async def wait(_, seconds):
        await asyncio.sleep(seconds)
        return False

    monkeypatch.setattr(inotify.FileEvents, "wait", wait)


def only_notifications(monkeypatch):
    monkeypatch.setattr(watch, "_POLL_SECONDS", 3600)
    monkeypatch.setattr(watch.WriteAheadLogWatch, "_size_and_time", lambda _: (0, 0))


@pytest.mark.parametrize(
    "condition",
    [
        no_notifications,
        pytest.param(lost_notifications, marks=needs_inotify),
        pytest.param(only_notifications, marks=needs_inotify),
    ],
)
async def test_a_change_of_the_write_ahead_log_wakes_the_waiters_of_another_process(
    path, monkeypatch, condition
):
    condition(monkeypatch)
    path.touch()
    link = path.with_name("link.db")
    link.symlink_to(path)
    waiting, committing = SqliteStore(link), SqliteStore(path)
    await waiting.open()
    await committing.open()
    try:
        woken = asyncio.create_task(waiting.wait(await waiting.end_of_log(), timeout=3600))
        await until(lambda: waiting._watch.is_waited_for)
        await open_transfer(committing, new_call())
        await asyncio.wait_for(woken, timeout=30)
    finally:
        await committing.close()
        await waiting.close()
