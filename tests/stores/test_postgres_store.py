"""The PostgreSQL store: the contract, several processes, pruning, and a proxy."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.postgres import SECONDS, calls_in_two_partitions, opened_store, until, with_options

from transferkit import StoreError
from transferkit._lifecycle import CallKey, Work, step
from transferkit.stores import CommitUnknown, KeyUsed, Store
from transferkit.stores.consumer_groups import GroupStart, partition_of
from transferkit.testing import StoreContract
from transferkit.testing.contracts.store_groups import Consumer, record
from transferkit.testing.contracts.store_inputs import (
    AT,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")


from transferkit.stores.postgres import PostgresStore, read_address  # noqa: E402 - needs the driver
from transferkit.stores.postgres import database as database_module  # noqa: E402 - needs the driver
from transferkit.stores.postgres.connection import Session, statements_of  # noqa: E402 - needs the driver
from transferkit.stores.postgres.errors import failure  # noqa: E402 - needs the driver

pytestmark = pytest.mark.heavy  # these tests need a server


ODD = ["plain", '"quoted"', "#", "nul \0 inside", "lone \udc80", "ünïcode", "\\0", "{,}", 'a"b\\c']


psycopg = pytest.importorskip("psycopg")


class PostgresContract(StoreContract):
    """The contract, with hooks that change the shared schema."""

    @pytest.fixture(autouse=True)
    def _changes(self, sql):
        self.sql = sql

    def change(self, statement, *values):
        assert self.sql(statement, values).rowcount

    async def damage_event(self, store, event, stored):
        statement = (
            "UPDATE transferkit.events SET event = %s WHERE sequence = %s"
            " AND call = (SELECT number FROM transferkit.calls WHERE id = %s)"
        )
        self.change(statement, stored, event.sequence, event.call_id)

    async def damage_state(self, store, call):
        self.change("UPDATE transferkit.calls SET state = '{}}' WHERE id = %s", call.id)

    async def damage_request(self, store, transfer_id):
        self.change("UPDATE transferkit.requests SET opened = '[' WHERE id = %s", transfer_id)

    async def rename_work(self, store, transfer_id, work):
        statement = "UPDATE transferkit.due SET work = work || %s WHERE transfer_id = %s"
        self.change(statement, work, transfer_id)


class TestPostgresStore(PostgresContract):
    @pytest.fixture
    async def store(self, address):
        async with opened_store(address) as store:
            yield store


async def test_a_store_that_is_not_open_raises_store_error(database):
    with pytest.raises(StoreError, match="not open in this process"):
        await PostgresStore(database).end_of_log()


async def test_a_store_can_be_opened_twice_and_again_after_closing(store, call):
    await store.open()
    events = await record(store, call)
    await store.close()
    await store.close()
    await store.open()
    assert [*await store.call_events(call)] == events


@pytest.mark.parametrize("odd", [*filter(None, ODD), "x" * 5000])
async def test_any_text_may_name_a_call_a_delivery_and_a_key(store, odd):
    call = CallKey("fake", odd if is_unicode(odd) else "plain")
    await open_transfer(store, new_call(), key=odd)
    await store.apply(call, fact(call, delivery=odd), step)
    assert (await store.apply(call, fact(call, delivery=odd), step)).duplicate
    assert [event.call_id for event in await store.call_events(call)] == [call.id]
    with pytest.raises(KeyUsed):
        await open_transfer(store, call, key=odd)


def is_unicode(value):
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("odd", [name for name in ODD if name])
async def test_any_text_may_name_a_group_and_its_consumers(store, call, odd):
    (event,) = await record(store, call)
    await store.open_group(odd, start=GroupStart.BEGINNING)
    consumer = Consumer(store, owner=odd, group=odd)
    await consumer.hold()
    assert await consumer.read_all() == [event]
    assert [group.name for group in await store.groups()] == [odd]


async def test_requests_that_conflict_across_partitions_do_not_deadlock(store, other):
    """Each occupies two calls in two partitions, in either order, under keys that are used twice."""
    one, two = new_call(), new_call()
    tries = []
    for number in range(10):
        first, second = (one, two) if number % 2 else (two, one)
        transfer = opened(first, legs=(second,), key=f"case-{number // 2}")
        tries += [process.apply(first, requested(transfer), step) for process in (store, other)]
    async with asyncio.timeout(SECONDS):
        results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert not [result for result in results if isinstance(result, StoreError)]


async def test_a_reader_does_not_skip_an_event_that_is_committed_late(store, other, sql, database):
    """A transaction that began first and commits last must still be seen by who read in between."""
    slow, quick = await calls_in_two_partitions(store)
    place = await store.end_of_log()
    with psycopg.connect(database) as late:
        locks = "SELECT 1 FROM transferkit.partitions WHERE partition = %s FOR UPDATE"
        late.execute(locks, (partition_of(slow, store.partitions),))
        waiting = asyncio.create_task(other.apply(slow, fact(slow), step))
        await until(lambda: sql("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] > 0)
        await store.apply(quick, fact(quick), step)
        ((between, event),) = await store.read(place)
        assert event.call_id == quick.id
        late.rollback()
    await waiting
    assert [event.call_id for _, event in await store.read(between)] == [slow.id]


async def test_a_reader_sees_everything_while_two_processes_write(store, other, address):
    calls = [new_call() for _ in range(8)]
    seen = []
    async with opened_store(address) as reader, asyncio.timeout(SECONDS):
        place = await reader.end_of_log()
        writing = [
            asyncio.create_task(process.apply(call, fact(call), step))
            for _ in range(15)
            for call in calls
            for process in (store, other)
        ]
        while len(seen) < len(writing):
            page = await reader.read(place, limit=7)
            seen += [event for _, event in page]
            place = page[-1][0] if page else place
            await reader.wait(place, timeout=0.1)
        await asyncio.gather(*writing)
    for call in calls:
        assert [event.sequence for event in seen if event.call_id == call.id] == [*range(1, 31)]


@pytest.mark.parametrize("name", ["lease_due", "next_due"])
async def test_due_work_is_read_in_the_order_of_its_index_without_statistics(database, store, name):
    names = ("owner", "until", "now", "works", "any_provider", "providers", "limit")
    values = {
        **dict.fromkeys(names),
        "now": AT,
        "works": [*Work],
        "any_provider": False,
        "providers": ["graph"],
        "limit": 1,
    }
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(
            "INSERT INTO transferkit.due (transfer_id, work, at)"
            " SELECT n, %s, %s FROM generate_series(1, 5000) AS n",
            (Work.SUBMIT, AT),
        )
        explain = b"EXPLAIN " + statements_of("transferkit")[name]
        plan = await (await psycopg.AsyncClientCursor(connection).execute(explain, values)).fetchall()
        await connection.rollback()
    assert any("Index Scan using due_free" in line for (line,) in plan)
    assert not any("Sort" in line for (line,) in plan)


async def test_a_process_stopped_in_a_transaction_blocks_the_others_for_two_seconds_at_most(
    store, other, call, monkeypatch
):
    """`hold` waits for its process between two messages, with locks."""
    stopped, thawed, send = asyncio.Event(), asyncio.Event(), Session.send

    async def stops_once(self, statements):
        rows = await send(self, statements)
        if not stopped.is_set():
            stopped.set()
            await thawed.wait()
        return rows

    await store.open_group("crm", start=GroupStart.BEGINNING)
    monkeypatch.setattr(Session, "send", stops_once)
    late = asyncio.create_task(Consumer(other, "late").hold())
    await stopped.wait()
    since = time.monotonic()
    assert await Consumer(store).hold()
    assert time.monotonic() - since < 4  # the limit is 1.5 s; the rest is for a busy machine
    thawed.set()
    assert await late == frozenset()  # the other consumer took every partition


async def test_commits_go_on_while_readers_have_every_other_connection(address, call, monkeypatch):
    async with opened_store(with_options(address, connections=3)) as store, asyncio.timeout(SECONDS):
        reading, go = asyncio.Semaphore(0), asyncio.Event()

        async def stop(*_):
            reading.release()
            await go.wait()
            return []

        monkeypatch.setattr(Session, "read", stop)
        readers = [asyncio.create_task(store.end_of_log()) for _ in range(10)]
        for _ in range(2):
            await reading.acquire()
        assert len(await record(store, call)) == 1
        go.set()
        await asyncio.gather(*readers)


async def test_events_are_numbered_in_the_order_of_their_positions(store, other, sql):
    """Readers of several partitions go by the number, and must not pass over a position."""
    calls = [new_call() for _ in range(20)]
    await asyncio.gather(*(record(process, *calls) for _ in range(10) for process in (store, other)))
    wrong = sql(
        "SELECT count(*) FROM (SELECT number < lag(number) OVER (PARTITION BY partition ORDER BY position)"
        " AS wrong FROM transferkit.events) numbered WHERE wrong"
    )
    assert wrong.fetchone() == (0,)


async def test_a_role_whose_transactions_are_serializable_may_use_it(address, call):
    serializable = with_options(address, options="-c%20default_transaction_isolation%3Dserializable")
    async with opened_store(serializable) as store, opened_store(serializable) as other:
        await asyncio.gather(
            *(process.apply(call, fact(call), step) for _ in range(20) for process in (store, other))
        )
        assert [event.sequence for event in await store.call_events(call)] == [*range(1, 41)]


async def test_pruning_skips_locked_calls(store, database):
    busy, free = new_call(), new_call()
    await record(store, busy, free)
    with psycopg.connect(database) as writer:
        writer.execute("SELECT 1 FROM transferkit.partitions FOR UPDATE")
        writer.execute("SELECT 1 FROM transferkit.calls WHERE id = %s FOR UPDATE", (busy.id,))
        async with asyncio.timeout(SECONDS):
            assert await store.prune(before=AT + timedelta(days=1), idle_since=AT, limit=10) == 1
        assert await store.call_events(free) == ()
        assert len(await store.call_events(busy)) == 1


async def test_callbacks_that_arrive_during_pruning_are_recorded(store, other):
    calls = [new_call() for _ in range(40)]
    await record(store, *calls)
    before = AT + timedelta(days=1)
    late = [other.apply(call, fact(call, at=before), step) for call in calls]
    pruning = [store.prune(before=before, idle_since=AT, limit=5) for _ in range(8)]
    applied = await asyncio.gather(*late, *pruning)
    for call, one in zip(calls, applied[: len(calls)], strict=True):
        kept = await store.call_events(call)
        assert kept[-1:] == one.events
        assert [event.sequence for event in kept] == [*range(1, len(kept) + 1)]


@pytest.fixture
def proxied(address, tmp_path):
    """The shared schema behind PgBouncer in transaction mode, with few server connections."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        pytest.skip("PgBouncer is not installed")
    parts = urlsplit(address)
    host = parts.hostname or dict(parse_qsl(parts.query)).get("host", "/var/run/postgresql")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "pgbouncer.ini"
    target = (
        f"host={host} port={parts.port or 5432} dbname={parts.path[1:]} user={parts.username or 'postgres'}"
    )
    if parts.password:
        target += f" password={parts.password}"
    config.write_text(
        f"[databases]\ntest = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nunix_socket_dir =\n"
    )
    tmp_path.chmod(0o755)
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([binary, "-q", *as_nobody, str(config)], stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    try:
        yield f"postgresql://any@127.0.0.1:{port}/test"
    finally:
        process.terminate()
        process.wait(SECONDS)


async def until_reachable(address):
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await (await psycopg.AsyncConnection.connect(address)).close()
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_the_store_works_behind_a_proxy_that_pools_transactions(proxied, call, caplog, monkeypatch):
    monkeypatch.setattr("transferkit.stores.postgres.watch._PROOF_SECONDS", 0.5)
    await until_reachable(proxied)
    caplog.set_level("INFO", "transferkit.stores.postgres")
    async with opened_store(proxied) as store, opened_store(proxied) as other, asyncio.timeout(SECONDS):
        await asyncio.gather(
            *(process.apply(call, fact(call), step) for _ in range(20) for process in (store, other))
        )
        assert [event.sequence for event in await store.call_events(call)] == [*range(1, 41)]
        await store.open_group("crm", start=GroupStart.BEGINNING)
        consumer = Consumer(other)
        await consumer.hold()
        assert len(await consumer.read_all()) == 40
        waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
        await until(lambda: "notifications do not arrive" in caplog.text)
        await other.apply(call, fact(call), step)
        await waiting


async def test_statements_are_prepared_only_without_a_proxy(address, proxied, call):
    await until_reachable(proxied)
    prepared = {}
    for url in (address, proxied):
        async with opened_store(url) as store:
            await store.apply(call, fact(call), step)
            async with store._open.database._for_commits.connection() as connection:
                rows = await connection.execute(
                    "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%write_changes%'"
                )
                prepared[url] = await rows.fetchone()
    assert prepared == {address: (1,), proxied: (0,)}


@pytest.mark.heavy
class TestBehindProxy(PostgresContract):
    @pytest.fixture
    async def store(self, proxied) -> Store:
        await until_reachable(proxied)
        async with opened_store(proxied) as store:
            yield store


psycopg_pool = pytest.importorskip("psycopg_pool")


@pytest.mark.parametrize("place", ["nowhere", "1-2", "-"])
async def test_a_position_of_another_store_raises_store_error(store, place):
    with pytest.raises(StoreError, match="not a position in this store's log"):
        await store.read(place)


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


async def test_a_transaction_that_postgres_rolls_back_instead_of_committing_is_an_error(store, monkeypatch):
    monkeypatch.setattr(
        store._opened().database, "statements", {**statements_of("transferkit"), "commit": b"ROLLBACK"}
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

    async def unanswered(run, pool):
        if left[0]:
            left[0] -= 1
            raise CommitUnknown("the commit got no reply")
        return await tried(run, pool)

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
    async with opened_store(with_options(address, connections=2)) as store:
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
