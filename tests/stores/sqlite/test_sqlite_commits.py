"""SQLite: grouped commits, locks of other processes, and transactions that fail."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
from attrs import evolve
from support.sqlite import on_writer
from support.waiting import until

from transferkit._lifecycle import CallState, Lease, step
from transferkit._util.frozenmap import freeze
from transferkit.errors import StoreError
from transferkit.events import ProviderOther
from transferkit.provider.facts import Delivery, Fact
from transferkit.stores import CommitUnknown
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sql.statements import Statement
from transferkit.stores.sqlite import SqliteStore
from transferkit.stores.sqlite.connection import Session
from transferkit.stores.sqlite.errors import CommitError
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call, opened, requested

TIME_LIMIT = 60


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


async def test_connections_write_ahead_and_sync_fully(store):
    def settings(session):
        return [
            session.one(f"PRAGMA {name}")[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "foreign_keys", "query_only")
        ]

    assert await store._opened().writer.run(settings) == ["wal", 2, 1, 1, 0]
    assert await store._opened().reader.run(settings) == ["wal", 2, 1, 1, 1]


async def test_only_what_a_consumer_received_and_acknowledged_is_not_synced(store):
    async def level():
        return await store._opened().writer.run(lambda session: session.one("PRAGMA synchronous")[0])

    call = new_call()
    full, normal = 2, 1
    await store.open_group("crm", start=GroupStart.NOW)
    await store.apply(call, fact(call), step)
    assert await level() == full
    await store.hold("crm", Lease("me", AT + LEASE), now=AT)
    begun = await store.begin_next("crm", "me", done=None, now=AT, max_attempts=3)
    assert await level() == normal
    assert await store.acknowledge(begun.delivery, "me")
    assert await level() == normal
    await store.apply(call, fact(call), step)
    assert await level() == full
    await queue_up(store, store.leave("crm", "me"), store.apply(call, fact(call), step))
    assert await level() == full


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


async def test_a_file_locked_between_the_commits_of_single_jobs_fails_only_the_jobs_after_it(
    path, monkeypatch
):
    store = SqliteStore(path, busy_timeout=timedelta(milliseconds=20))
    await store.open()
    commit, begins = Session.commit, []

    def breaks_off():
        yield [Statement("write_legs", {"provider": "fake", "call_id": "c", "transfer_id": "t"})]
        raise ZeroDivisionError

    def commit_and_lock(session):
        commit(session)
        monkeypatch.setattr(Session, "commit", commit)
        locking.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(Session, "begin", begin_counted)

    def begin_counted(session, **options):
        begins.append(session)
        begin(session, **options)

    begin = Session.begin
    calls = [new_call() for _ in range(3)]
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as locking:
        monkeypatch.setattr(Session, "commit", commit_and_lock)
        recorded, *failed = await queue_up(
            store,
            store.apply(calls[0], fact(calls[0]), step),
            store._write(breaks_off),
            *(store.apply(call, fact(call), step) for call in calls[1:]),
        )
    assert await store.call_events(calls[0]) == recorded.events != ()
    assert [type(error) for error in failed] == [StoreError] * 3
    assert len(begins) == 1
    assert [await store.call_events(call) for call in calls[1:]] == [(), ()]
    await store.close()


async def test_a_commit_does_not_wait_for_a_slow_reader_while_a_task_waits_for_the_log(store):
    over = threading.Event()
    waiting = asyncio.ensure_future(store.wait(await store.end_of_log(), timeout=TIME_LIMIT))
    await until(lambda: store._watch.is_waited_for)
    await asyncio.sleep(0.1)  # its first look has ended
    slow = asyncio.ensure_future(store._opened().reader.run(lambda _: over.wait(TIME_LIMIT)))
    async with asyncio.timeout(TIME_LIMIT / 2):
        call = new_call()
        await store.apply(call, fact(call), step)
        await waiting
    over.set()
    await slow


async def test_leaving_a_group_while_the_store_closes_is_recorded_without_an_error(store):
    await store.open_group("crm", start=GroupStart.NOW)
    tasks = [
        asyncio.ensure_future(store.leave("crm", "me")),
        asyncio.ensure_future(store.release("crm", "e")),
    ]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*tasks) == [None, False]


def test_the_end_of_the_event_loop_ends_every_commit(path):
    async def leaves(store):
        try:
            await asyncio.sleep(TIME_LIMIT)
        finally:
            await store.leave("crm", "me")

    async def commits(store):
        while True:
            call = new_call()
            await store.apply(call, fact(call), step)

    async def main():
        store = SqliteStore(path)
        await store.open()
        stores.append(store)
        tasks = [asyncio.create_task(leaves(store)), asyncio.create_task(commits(store))]
        await asyncio.sleep(0.02)
        return tasks

    stores = []
    for _ in range(20):
        asyncio.run(main())
        asyncio.run(stores.pop().close())


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

    def begin_counted(session, **options):
        waits.append(session)
        assert queued.wait(TIME_LIMIT)
        begin(session, **options)

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

    def begin_late(session, **options):
        monkeypatch.undo()
        writing = asyncio.run_coroutine_threadsafe(record(other, meanwhile), loop)
        writing.result(TIME_LIMIT)
        begin(session, **options)

    monkeypatch.setattr(Session, "begin", begin_late)
    (event,) = (await store.apply(call, fact(call), counted)).events
    assert runs == ([1, 2] if concerned else [1])
    assert [one.sequence for one in await other.call_events(call)] == [*range(1, event.sequence + 1)]


async def test_what_another_process_commits_between_two_reads_of_a_commit_is_noticed(
    store, other, monkeypatch
):
    call, loop, named = new_call(), asyncio.get_running_loop(), Session.named
    await record(store, call)

    def named_slowly(session, statement):
        rows = named(session, statement)
        if statement.name == "read_call":  # reads of the delivery and of other rows follow
            monkeypatch.undo()
            asyncio.run_coroutine_threadsafe(record(other, call), loop).result(TIME_LIMIT)
        return rows

    monkeypatch.setattr(Session, "named", named_slowly)
    await store.apply(call, fact(call), step)
    assert [event.sequence for event in await other.call_events(call)] == [1, 2, 3]
