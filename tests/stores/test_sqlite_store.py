"""The SQLite store: the one contract, and what only a file and several processes can show."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from textwrap import dedent
from uuid import uuid4

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from transferkit._lifecycle import CallKey, CallState, DueReached, Lease, Observed, Work, step
from transferkit._util.frozenmap import freeze
from transferkit.errors import StoreError
from transferkit.events import ProviderOther
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.stores import CommitUnknown, KeyUsed, LegOccupied, MemoryStore
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sql import calls
from transferkit.stores.sql.statements import Statement
from transferkit.stores.sqlite import SqliteStore, on_network_file_system
from transferkit.stores.sqlite.columns import COLUMNS, text, value
from transferkit.stores.sqlite.connection import Session
from transferkit.stores.sqlite.errors import CommitError
from transferkit.testing import StoreContract
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call, opened, requested

TIME_LIMIT = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "odd name #1 %41 é.db"


@pytest.fixture
async def store(path):
    store = SqliteStore(path, busy_timeout=timedelta(seconds=20))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(path, store):
    """Another store on the same file, with connections of its own."""
    other = SqliteStore(path)
    await other.open()
    yield other
    await other.close()


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


async def on_writer(store, run):
    """Run a function in a transaction of the store's writer."""

    def in_transaction(session):
        session.begin()
        try:
            result = run(session)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        return result

    return await store._opened().writer.run(in_transaction)


def select_from_nowhere(session):
    return session.rows("SELECT 1 FROM nowhere")


async def queue_up(store, *jobs):
    """Let these jobs wait together, as while a commit is running, and return their results."""
    writer = store._opened().writer
    running, over = threading.Event(), threading.Event()

    def occupy(session):
        running.set()
        over.wait(TIME_LIMIT)

    occupied = asyncio.ensure_future(writer.run(occupy))
    await asyncio.to_thread(running.wait, TIME_LIMIT)
    try:
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await asyncio.sleep(0)
    finally:
        over.set()
    async with asyncio.timeout(TIME_LIMIT):
        await occupied
        return await asyncio.gather(*tasks, return_exceptions=True)


def breaks(call, state, happened, seen):
    raise ZeroDivisionError


# --- places in the log ------------------------------------------------------------------------------


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


# --- commits ----------------------------------------------------------------------------------------


async def test_connections_write_ahead_and_sync_fully(store):
    def settings(session):
        return [
            session.one(f"PRAGMA {name}")[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "foreign_keys", "query_only")
        ]

    assert await store._opened().writer.run(settings) == ["wal", 2, 1, 1, 0]
    assert await store._opened().reader.run(settings) == ["wal", 2, 1, 1, 1]


async def test_inputs_that_wait_together_are_committed_together(store):
    before = store._opened().commits
    calls = [new_call() for _ in range(50)]
    await queue_up(store, *(store.apply(call, fact(call), step) for call in calls))
    assert store._opened().commits - before <= 2
    for call in calls:
        assert len(await store.call_events(call)) == 1


async def test_an_input_that_raises_in_a_batch_undoes_only_itself(store):
    first, second, third = opened(new_call(), key="one"), opened(new_call(), key="one"), new_call()
    results = await queue_up(
        store,
        store.apply(first.call, requested(first), step),
        store.apply(second.call, requested(second), step),
        store.apply(first.call, requested(opened(first.call)), step),
        store.apply_all([(third, fact(third)), (new_call(), fact(third))], breaks_on_second()),
        store.apply(third, fact(third), step),
    )
    assert [type(result).__name__ for result in results] == [
        "Applied",
        "KeyUsed",
        "LegOccupied",
        "ZeroDivisionError",
        "Applied",
    ]
    assert results[1].stored.opened == first
    assert results[2].transfer_id == first.id
    assert await store.transfer(second.id) is None
    assert len(await store.call_events(third)) == 1


async def test_an_operation_that_raises_among_others_undoes_only_itself(store):
    def count():
        yield [Statement("write_legs", {"provider": "fake", "call_id": str(uuid4()), "transfer_id": "t"})]

    def breaks_off():
        yield from count()
        raise ZeroDivisionError

    call = new_call()
    results = await queue_up(
        store,
        store._write(count),
        store._write(breaks_off),
        store.apply(call, fact(call), step),
        store._write(count),
    )
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["NoneType", "ZeroDivisionError", "Applied", "NoneType"]
    (legs,) = await on_writer(store, lambda session: session.one("SELECT count(*) FROM legs"))
    assert legs == 2
    assert len(await store.call_events(call)) == 1


def breaks_on_second():
    calls = []

    def once(call, state, happened, seen):
        calls.append(call)
        return (step if len(calls) == 1 else breaks)(call, state, happened, seen)

    return once


async def test_an_operation_whose_transaction_sqlite_undoes_takes_nothing_with_it(store, monkeypatch):
    named = Session.named

    def undoing(session, statement):
        if statement.name != "undone":
            return named(session, statement)
        session.rollback()  # as SQLite does by itself when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    def undone():
        yield [Statement("undone")]

    monkeypatch.setattr(Session, "named", undoing)
    call = new_call()
    result, applied = await queue_up(store, store._write(undone), store.apply(call, fact(call), step))
    assert isinstance(result, StoreError)
    assert await store.call_events(call) == applied.events != ()


async def test_a_commit_that_fails_raises_commit_unknown_for_all_and_records_nothing(store, monkeypatch):
    commit = Session.commit

    def fails(session):
        monkeypatch.setattr(Session, "commit", commit)
        raise CommitError(sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(Session, "commit", fails)
    calls = [new_call() for _ in range(5)]
    applies = [store.apply(call, fact(call), step) for call in calls]
    results = await queue_up(store, *applies)
    assert [type(result) for result in results] == [CommitUnknown] * 5
    assert len({id(result) for result in results}) == 5
    assert [await store.state(call) for call in calls] == [CallState()] * 5
    assert await store.read(None) == ()
    await store.apply(calls[0], fact(calls[0]), step)
    assert len(await store.call_events(calls[0])) == 1


async def test_a_full_disk_loses_nothing_that_was_acknowledged(store):
    await store._opened().writer.run(lambda session: session.one("PRAGMA max_page_count = 60"))
    calls = [new_call() for _ in range(60)]
    results = []
    for start in range(0, 60, 6):
        some = calls[start : start + 6]
        with_much = (store.apply(call, evolve(fact(call), fact=big_fact(call)), step) for call in some)
        results += await asyncio.gather(*with_much, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused
    assert all(isinstance(error, StoreError) and "disk is full" in str(error) for error in refused)
    for call, result in zip(calls, results, strict=True):
        kept = await store.call_events(call)
        assert kept == (() if isinstance(result, StoreError) else result.events)
    await store.apply(calls[-1], fact(calls[-1]), step)  # the connection is a new one, without the limit


def big_fact(call):
    raw = freeze({"said": "x" * 6000})
    event = ProviderOther(time=AT, provider=call.provider, call_id=call.id, raw=raw)
    return Fact(event=event, delivery=Delivery(str(uuid4())))


async def test_a_locked_file_blocks_neither_the_event_loop_nor_readers(path, store):
    call = new_call()
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        applying = asyncio.create_task(store.apply(call, fact(call), step))
        async with asyncio.timeout(TIME_LIMIT):
            assert await store.state(call) == CallState()
            assert await store.read(None) == ()
        assert not applying.done()
        locking.execute("ROLLBACK")
        async with asyncio.timeout(TIME_LIMIT):
            await applying


async def test_a_locked_file_raises_store_error_and_can_be_written_later(path, store):
    await store.close()
    impatient = SqliteStore(path, busy_timeout=timedelta(milliseconds=20))
    await impatient.open()
    calls = [new_call() for _ in range(3)]
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            results = await asyncio.gather(
                *(impatient.apply(call, fact(call), step) for call in calls), return_exceptions=True
            )
        assert all(isinstance(result, StoreError) for result in results)
        assert all("another process keeps the file locked" in str(result) for result in results)
        assert await impatient.read(None) == ()
        await impatient.apply(calls[0], fact(calls[0]), step)
    finally:
        await impatient.close()


async def test_a_locked_file_can_be_opened_and_read(path, store):
    events = await record(store, new_call())
    late = SqliteStore(path, busy_timeout=timedelta())
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        await late.open()
        assert [event for _, event in await late.read(None)] == events
        assert await late.apply_all([], step) == ()
    await late.close()


async def test_inputs_queued_during_a_lock_timeout_do_not_wait_for_another_one(path, store, monkeypatch):
    await store.close()
    impatient = SqliteStore(path, busy_timeout=timedelta(milliseconds=20))
    await impatient.open()
    waits, queued, begin = [], threading.Event(), Session.begin

    def begin_counted(session):
        waits.append(session)
        assert queued.wait(TIME_LIMIT)
        begin(session)

    monkeypatch.setattr(Session, "begin", begin_counted)
    call = new_call()
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        asked = [asyncio.ensure_future(impatient.apply(call, fact(call), step))]
        async with asyncio.timeout(TIME_LIMIT):
            while not waits:  # noqa: ASYNC110 - the writer's thread begins
                await asyncio.sleep(0.001)
            asked += [asyncio.ensure_future(impatient.apply(call, fact(call), step)) for _ in range(3)]
            closed = asyncio.ensure_future(impatient.close())
            await asyncio.sleep(0)
            queued.set()
            results = await asyncio.gather(*asked, return_exceptions=True)
            await closed
    assert [type(result) for result in results] == [StoreError] * 4
    assert len({id(result) for result in results}) == 4
    assert len(waits) == 1


async def test_the_inputs_of_a_cancelled_caller_are_committed_completely_or_not_at_all(store):
    call = new_call()
    for turn in range(20):
        applying = asyncio.create_task(store.apply_all([(call, fact(call)), (call, fact(call))], step))
        for _ in range(turn % 4):
            await asyncio.sleep(0)
        applying.cancel()
        await asyncio.gather(applying, return_exceptions=True)
    await store.apply(call, fact(call), step)
    sequences = [event.sequence for event in await store.call_events(call)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) % 2 == 1  # none by halves


# --- opening and closing ----------------------------------------------------------------------------


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


def call_events_of_nobody():
    return calls.call_events(COLUMNS, new_call())


async def test_a_closed_store_raises_store_error_for_late_jobs(store):
    opened = store._opened()
    await store.close()
    async with asyncio.timeout(TIME_LIMIT):
        for use in (opened.read(call_events_of_nobody), opened.queue.add(call_events_of_nobody)):
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


# --- what the file is -------------------------------------------------------------------------------


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


async def test_a_file_of_a_newer_version_is_refused_and_not_changed(path, store):
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    assert "schema version 99" in await refusal(path)
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


# --- reading ---------------------------------------------------------------------------------------


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


# --- the schema -------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(3))
async def test_many_stores_may_create_the_file_at_once(path, turn):
    stores = [SqliteStore(path, partitions=partitions) for partitions in (4, 5, 6, 7)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({store.partitions for store in stores}) == 1
    call = new_call()
    await asyncio.gather(*(record(store, call) for store in stores))
    assert len(await stores[0].call_events(call)) == len(stores)
    await asyncio.gather(*(store.close() for store in stores))


# --- several on one file ----------------------------------------------------------------------------


async def test_the_file_is_not_locked_while_a_step_runs(path, store):
    def writes_meanwhile(call, state, happened, seen):
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as db:
            db.execute("UPDATE meta SET pruned = pruned")
        return step(call, state, happened, seen)

    call = new_call()
    await store.apply(call, fact(call), writes_meanwhile)
    assert len(await store.call_events(call)) == 1


@pytest.mark.parametrize("concerned", [True, False], ids=["which the step was given", "of another call"])
async def test_a_step_runs_again_if_another_process_changed_a_row_that_it_read(
    store, other, monkeypatch, concerned
):
    call, loop, runs, begin = new_call(), asyncio.get_running_loop(), [], Session.begin
    meanwhile = call if concerned else new_call()
    await record(store, call)

    def counted(call, state, happened, seen):
        runs.append(state.sequence)
        return step(call, state, happened, seen)

    def begin_late(session):
        monkeypatch.undo()
        writing = asyncio.run_coroutine_threadsafe(record(other, meanwhile), loop)
        writing.result(TIME_LIMIT)
        begin(session)

    monkeypatch.setattr(Session, "begin", begin_late)
    (event,) = (await store.apply(call, fact(call), counted)).events
    assert runs == ([1, 2] if concerned else [1])
    assert [one.sequence for one in await other.call_events(call)] == [*range(1, event.sequence + 1)]


async def test_each_process_sees_what_the_other_writes(store, other):
    call = new_call()
    await store.apply(call, fact(call, delivery="d1"), step)
    assert (await other.apply(call, fact(call, delivery="d1"), step)).duplicate
    await other.apply(call, fact(call), step)
    assert [event.sequence for event in await store.call_events(call)] == [1, 2]
    assert (await store.apply(call, fact(call), step)).state.sequence == 3


async def test_keys_legs_and_leases_apply_to_all_processes(store, other):
    first = opened(new_call(), key="case-1")
    await store.apply(first.call, requested(first), step)
    with pytest.raises(KeyUsed):
        await other.apply(new_call(), requested(opened(new_call(), key="case-1")), step)
    with pytest.raises(LegOccupied):
        await other.apply(first.call, requested(opened(first.call)), step)
    late = AT + timedelta(days=1)
    leased = await asyncio.gather(
        *(
            one.lease_due(now=late, lease=Lease(str(uuid4()), late + LEASE), limit=1)
            for one in (store, other) * 4
        )
    )
    assert sorted(due.work for some in leased for due in some) == [Work.DEADLINE, Work.SUBMIT]


async def test_a_wait_ends_when_another_process_writes(store, other):
    place = await store.end_of_log()
    waiting = [asyncio.create_task(store.wait(place, timeout=60)) for _ in range(3)]
    await asyncio.sleep(0)
    call = new_call()
    await other.apply(call, fact(call), step)
    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.gather(*waiting)
    assert len(await store.read(place)) == 1


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


# --- what callbacks may bring -----------------------------------------------------------------------


async def test_any_text_can_be_stored_in_every_column(store):
    odd = "a\0b\ud800\U0001f600é"
    call = CallKey("fake", "a\0\U0001f600é")
    event = ProviderOther(time=AT, provider="fake", call_id=call.id, raw=freeze({odd: [odd]}))
    happened = Observed(at=AT, fact=Fact(event=event, delivery=Delivery(odd), tenant_id=odd))
    await store.apply(call, happened, step)
    assert (await store.apply(call, happened, step)).duplicate
    assert not (await store.apply(CallKey("fake", "a"), happened, step)).duplicate
    asked = opened(call, key=odd)
    await store.apply(call, requested(asked), step)
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
    first, second = value("call_id", one), value("call_id", two)
    assert text(first) == one
    assert (first == second) is (one == two)
    with closing(sqlite3.connect(":memory:")) as db:
        assert db.execute("SELECT ?, ? = ?", (first, first, second)).fetchone() == (first, one == two)


# --- the same as in memory --------------------------------------------------------------------------


class Happenings:
    """Random things done to a store; each method tells what came of it, as a value to compare."""

    def __init__(self, store, seed):
        self.store = store
        self.random = random.Random(seed)  # noqa: S311 - the same for both stores
        self.now = AT
        self.asked = 0

    async def one(self):
        self.now += timedelta(seconds=self.random.randrange(1, 30))
        kinds = [self.ask, self.say, self.due, self.hold, self.next, self.leave, self.keep_house]
        try:
            return await self.random.choices(kinds, weights=[3, 5, 2, 2, 4, 1, 1])[0]()
        except KeyUsed as error:
            return "key", error.stored
        except LegOccupied as error:
            return "leg", error.leg, error.transfer_id

    def call(self):
        return CallKey("fake", f"c{self.random.randrange(8)}")

    def group(self):
        return self.random.choice(("crm", "wallboard"))

    def lease(self):
        return Lease(self.random.choice("abc"), self.now + timedelta(seconds=self.random.choice((20, 90))))

    async def ask(self):
        self.asked += 1
        idempotency_key = self.random.choice((None, f"key-{self.random.randrange(6)}"))
        asked = opened(self.call(), key=idempotency_key, transfer_id=f"t{self.asked}")
        return await self.store.apply(asked.call, evolve(requested(asked), at=self.now), step)

    async def say(self):
        signals = self.random.choice(((), (Signal.STARTED,), (Signal.SUCCEEDED,), (Signal.FAILED,)))
        call, delivery = self.call(), f"d{self.random.randrange(40)}"
        return await self.store.apply(call, fact(call, *signals, delivery=delivery, at=self.now), step)

    async def due(self):
        providers = self.random.choice((None, None, ("fake", "other"), ("other",), ()))
        leased = await self.store.lease_due(now=self.now, lease=self.lease(), limit=100, providers=providers)
        in_order = sorted(leased, key=lambda due: (due.at, due.transfer_id, due.work))
        for due in in_order:
            call = (await self.store.transfer(due.transfer_id)).opened.call
            reached = DueReached(at=self.now, transfer_id=due.transfer_id, work=due.work)
            await self.store.apply(call, reached, step)
        return in_order, await self.store.next_due(), await self.store.next_due(providers=providers)

    async def hold(self):
        group = self.group()
        await self.store.open_group(group, start=self.random.choice(list(GroupStart)))
        return await self.store.hold(group, self.lease(), now=self.now, busy={self.random.randrange(16)})

    async def next(self):
        group, owner, done = self.group(), self.lease().owner, None
        told = []
        for _ in range(self.random.randrange(1, 4)):
            begun = await self.store.begin_next(group, owner, done=done, now=self.now, max_attempts=2)
            done = begun.delivery
            told.append(begun)
        if done and self.random.random() < 0.5:
            told.append(await self.store.acknowledge(done, owner))
        return told

    async def leave(self):
        group, owner = self.group(), self.lease().owner
        begun = await self.store.begin_next(group, owner, done=None, now=self.now, max_attempts=2)
        unused = self.random.choice((None, begun.delivery))
        return begun, await self.store.leave(group, owner, unused=unused)

    async def keep_house(self):
        group = self.group()
        aside = await self.store.parked(group)
        released = [await self.store.release(group, one.event.id) for one in aside[:1]]
        pruned = await self.store.prune(
            before=self.now - timedelta(minutes=5), idle_since=self.now - timedelta(minutes=10), limit=1000
        )
        removed = self.random.random() < 0.1 and await self.store.remove_group(group)
        return aside, released, pruned, removed, await self.store.groups()

    async def end(self):
        calls = [CallKey("fake", f"c{number}") for number in range(8)]
        return (
            [event for _, event in await self.store.read(None, limit=10_000)],
            [await self.store.call_events(call) for call in calls],
            [await self.store.state(call) for call in calls],
            [await self.store.transfer(f"t{number + 1}") for number in range(self.asked)],
        )


@pytest.mark.parametrize("seed", range(6))
async def test_random_inputs_have_the_same_results_as_in_the_memory_store(store, seed):
    memory, file = Happenings(MemoryStore(), seed), Happenings(store, seed)
    for _ in range(150):
        assert await file.one() == await memory.one()
    assert await file.end() == await memory.end()


# --- network file systems ---------------------------------------------------------------------------

MOUNTS = r"""
23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 23 0:45 / {root}/net rw,relatime shared:22 - nfs4 server:/export rw,vers=4.2
41 40 8:2 / {root}/net/local rw - xfs /dev/sdb rw
42 23 0:46 / {root}/with\040space rw master:3 - fuse.sshfs host: rw
43 23 0:47 / {root}/over rw - ext4 /dev/sdc rw
44 43 0:48 / {root}/over rw - cifs //host/share rw
not a mount
"""


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.db", None),
        ("net/a.db", "nfs4"),
        ("net/deep/er/a.db", "nfs4"),
        ("network/a.db", None),
        ("net/local/a.db", None),
        ("with space/a.db", "fuse.sshfs"),
        ("over/a.db", "cifs"),
    ],
)
def test_the_type_of_a_network_file_system_is_returned(tmp_path, file, kind):
    root = tmp_path.resolve()
    mounts = root / "mountinfo"
    mounts.write_text(MOUNTS.replace("{root}", str(root)))
    assert on_network_file_system(root / file, mounts=mounts) == kind


def test_no_network_file_system_is_returned_without_a_mount_table(tmp_path):
    assert on_network_file_system(tmp_path / "a.db", mounts=tmp_path / "missing") is None
    assert on_network_file_system(str(tmp_path / "a.db")) in {None, "9p", "virtiofs"}
