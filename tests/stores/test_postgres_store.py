"""The PostgreSQL store: the contract, and what only a server and several processes can show."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from uuid import uuid4

import pytest
from attrs import evolve

from transferkit import StoreError
from transferkit._lifecycle import Attempted, CallKey, Lease, step
from transferkit.provider.facts import Signal
from transferkit.stores import KeyUsed, LegOccupied, Store
from transferkit.stores.consumer_groups import GroupStart, partition_of
from transferkit.testing import StoreContract
from transferkit.testing.contracts.store_groups import Consumer, record
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call, opened, requested

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")

from psycopg.conninfo import conninfo_to_dict  # noqa: E402 - needs the driver

from transferkit.stores.postgres import (  # noqa: E402 - needs the driver
    PostgresStore,
    grants,
    read_address,
)
from transferkit.stores.postgres import database as database_module  # noqa: E402
from transferkit.stores.postgres import schema as schema_module  # noqa: E402
from transferkit.stores.postgres.columns import text, value  # noqa: E402
from transferkit.stores.postgres.connection import Session  # noqa: E402

pytestmark = pytest.mark.heavy  # a stranger has no server; CI makes sure of one

SECONDS = 20


@pytest.fixture
def sql(database):
    """Run a statement as the owner of everything."""
    with psycopg.connect(database, autocommit=True) as db:
        yield lambda statement, values=None: db.execute(statement, values)


def with_options(address, **options):
    parts = urlsplit(address)
    asked = "&".join(filter(None, [parts.query, *(f"{name}={value}" for name, value in options.items())]))
    return urlunsplit(parts._replace(query=asked))


@pytest.fixture(scope="session")
def tables(database):
    """The URL of the schema that most tests share."""

    async def make():
        store = PostgresStore(database)
        await store.open()
        await store.close()

    asyncio.run(make())
    return database


EMPTY = """
    DELETE FROM transferkit.calls; DELETE FROM transferkit.events; DELETE FROM transferkit.marks;
    DELETE FROM transferkit.requests; DELETE FROM transferkit.legs; DELETE FROM transferkit.due;
    DELETE FROM transferkit.consumer_groups;
    UPDATE transferkit.partitions SET position = 0;
"""


@pytest.fixture
def address(tables, sql):
    """The shared schema, empty."""
    sql(EMPTY)
    return tables


@pytest.fixture
def fresh(database, sql):
    """A schema that nobody has made yet."""
    name = f"t{uuid4().hex[:12]}"
    yield with_options(database, schema=name)
    sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@asynccontextmanager
async def opened_store(address, **options):
    store = PostgresStore(address, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(address):
    async with opened_store(address) as store:
        yield store


@pytest.fixture
async def other(address):
    """The same tables, as another process has them."""
    async with opened_store(address) as store:
        yield store


@pytest.fixture
def call():
    return new_call()


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


# --- the address --------------------------------------------------------------------------------------


def test_an_address_separates_the_stores_parameters_from_those_of_libpq():
    address = read_address("postgresql://app@db/calls?schema=tk_1&sslmode=require&listen=off&connections=3")
    assert (address.schema, address.listen, address.migrate, address.connections) == ("tk_1", False, True, 3)
    assert address.dsn == "postgresql://app@db/calls?sslmode=require"


def test_spaces_and_plus_signs_in_a_parameter_reach_libpq():
    address = read_address("postgresql://app@db/calls?options=-c%20a%3Db&password=x+y")
    assert conninfo_to_dict(address.dsn)["options"] == "-c a=b"
    assert conninfo_to_dict(address.dsn)["password"] == "x+y"


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql:app:{secret}@db/calls",
        "mysql://app:{secret}@db/calls",
        "postgresql://app:{secret}#1@db/calls",
        "postgresql://app:{secret}@db/calls?schema=Tk",
        "postgresql://app:{secret}@db/calls?listen=maybe",
        "postgresql://app:{secret}@db/calls?connections=1",
        "postgresql://app:{secret}@[db/calls",
    ],
)
def test_the_error_for_an_address_does_not_show_the_address(wrong, planted):
    with pytest.raises(ValueError, match=r"\w") as raised:
        read_address(wrong.format(secret=planted.client_secret))
    assert not planted.shown_in(raised.value)


async def test_a_password_is_in_no_text(planted, database):
    host = urlsplit(database).hostname or "127.0.0.1"
    for broken in (f"{host}:1/calls", "calls.invalid/calls", f"{host}/calls?connect_timeout=x"):
        store = PostgresStore(f"postgresql://nobody:{planted.client_secret}@{broken}")
        with pytest.raises(StoreError) as raised:
            await store.open()
        for shown in (repr(store), repr(store.address), str(store.address), raised.value, repr(raised.value)):
            assert not planted.shown_in(shown)


async def test_the_error_for_an_unreachable_server_says_what_to_do():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/calls.*What to do: check that the server runs"):
        await PostgresStore("postgresql://app@127.0.0.1:1/calls").open()


async def test_the_error_for_a_missing_database_says_what_to_do(database):
    with pytest.raises(StoreError, match="create the database first"):
        await PostgresStore(urlunsplit(urlsplit(database)._replace(path="/no_such_database"))).open()


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


# --- text of every kind -------------------------------------------------------------------------------

ODD = ["plain", "", '"quoted"', "#", "nul \0 inside", "lone \udc80", "ünïcode", "\\0", "{,}", 'a"b\\c']


@pytest.mark.parametrize("odd", ODD)
def test_any_text_is_read_as_it_was_written(odd):
    assert text(value("mark", odd)) == odd


def test_different_texts_are_stored_differently():
    long = ["x" * 5000, "x" * 5001]
    odd = [*ODD, *long, value("key", long[0])]
    stored = [value("key", one) for one in odd]
    assert len(set(stored)) == len(odd)
    assert max(map(len, stored)) < 1100


@pytest.mark.parametrize("odd", [*filter(None, ODD), "x" * 5000])
async def test_any_text_may_name_a_call_a_delivery_and_a_key(store, odd):
    call = CallKey("fake", odd if is_unicode(odd) else "plain")
    transfer = opened(new_call(), key=odd)
    await store.apply(transfer.call, requested(transfer), step)
    await store.apply(call, fact(call, delivery=odd), step)
    assert (await store.apply(call, fact(call, delivery=odd), step)).duplicate
    assert [event.call_id for event in await store.call_events(call)] == [call.id]
    with pytest.raises(KeyUsed):
        await store.apply(call, requested(opened(call, key=odd)), step)


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


# --- several processes --------------------------------------------------------------------------------


async def test_two_processes_number_the_events_of_a_call_without_a_gap(store, other, call):
    await asyncio.gather(
        *(process.apply(call, fact(call), step) for _ in range(30) for process in (store, other))
    )
    assert [event.sequence for event in await store.call_events(call)] == [*range(1, 61)]


async def test_a_delivery_that_reaches_two_processes_counts_once(store, other, call):
    both = (
        process.apply(call, fact(call, delivery="d1"), step) for process in (store, other) for _ in range(5)
    )
    assert [one.duplicate for one in await asyncio.gather(*both)].count(False) == 1
    assert len(await store.call_events(call)) == 1


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


async def calls_in_two_partitions(store):
    """Two calls whose inputs one process does not commit together."""
    one = two = new_call()
    while partition_of(one, store.partitions) == partition_of(two, store.partitions):
        two = new_call()
    return one, two


def calls_in_one_partition(store):
    one = two = new_call()
    while one == two or partition_of(one, store.partitions) != partition_of(two, store.partitions):
        two = new_call()
    return one, two


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)


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


async def test_due_work_is_leased_once_across_the_fleet(store, other):
    transfers = [opened(new_call()) for _ in range(20)]
    for transfer in transfers:
        await store.apply(transfer.call, requested(transfer), step)
    late = AT + timedelta(days=1)
    rounds = await asyncio.gather(
        *(
            process.lease_due(now=late, lease=Lease(name, late + LEASE), limit=7)
            for name, process in (("one", store), ("two", other))
            for _ in range(6)
        )
    )
    leased = [(due.transfer_id, due.work) for found in rounds for due in found]
    assert len(leased) == len(set(leased)) == len(transfers) * 2


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


async def until_listening(store):
    await until(lambda: store._watch._listening)


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


def cut(sql, which="true"):
    """Cut the stores' connections to this database."""
    sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608 - our own words
        f" WHERE datname = current_database() AND application_name = 'transferkit' AND {which}"
    )


# --- committing together ------------------------------------------------------------------------------


async def test_inputs_that_arrive_together_share_commits(store, sql):
    await asyncio.gather(*(record(store, new_call()) for _ in range(100)))
    transactions = sql("SELECT count(DISTINCT xmin::text) FROM transferkit.events").fetchone()[0]
    assert transactions < 20


async def test_an_input_that_raises_fails_alone(store):
    class Broken(Exception):
        pass

    def breaks(*_):
        raise Broken

    calls = [new_call() for _ in range(20)]
    results = await asyncio.gather(
        *(store.apply(call, fact(call), breaks if number % 2 else step) for number, call in enumerate(calls)),
        return_exceptions=True,
    )
    assert [isinstance(result, Broken) for result in results] == [bool(number % 2) for number in range(20)]
    for number, call in enumerate(calls):
        assert len(await store.call_events(call)) == (number + 1) % 2


async def test_an_input_that_postgres_refuses_fails_alone(store, sql):
    sql(
        "ALTER TABLE transferkit.events ADD CONSTRAINT refused"
        " CHECK (event NOT LIKE '%%refuse-this%%') NOT VALID"
    )
    try:
        calls = [new_call() for _ in range(6)]
        bad = CallKey("fake", "refuse-this")
        results = await asyncio.gather(
            *(store.apply(call, fact(call), step) for call in [*calls, bad]), return_exceptions=True
        )
    finally:
        sql("ALTER TABLE transferkit.events DROP CONSTRAINT refused")
    assert isinstance(results.pop(), StoreError)
    assert not [result for result in results if isinstance(result, Exception)]
    assert await store.call_events(bad) == ()


async def test_the_inputs_of_a_cancelled_caller_are_committed(store, call):
    applying = asyncio.create_task(store.apply(call, fact(call), step))
    await asyncio.sleep(0)
    applying.cancel()
    await asyncio.wait([applying])
    await store.apply(call, fact(call), step)
    assert [event.sequence for event in await store.call_events(call)] == [1, 2]


async def test_a_process_that_stops_between_reading_and_writing_blocks_no_other_process(
    store, other, call, monkeypatch
):
    stopped, thawed, write = asyncio.Event(), asyncio.Event(), Session.write

    async def stops_once(self, query, values):
        if not stopped.is_set():
            stopped.set()
            await thawed.wait()
        return await write(self, query, values)

    monkeypatch.setattr(Session, "write", stops_once)
    late = asyncio.create_task(other.apply(call, fact(call), step))
    await stopped.wait()
    assert [event.sequence for event in await record(store, call)] == [1]
    thawed.set()
    assert [event.sequence for event in (await late).events] == [2]


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


async def test_a_leg_is_freed_and_occupied_in_one_commit(store, call):
    first, second = opened(call), opened(call)
    await store.apply(call, requested(first), step)
    await store.apply_all([(call, fact(call, Signal.FAILED)), (call, requested(second))], step)
    assert (await store.state(call)).open.id == second.id
    with pytest.raises(LegOccupied):
        await store.apply(call, requested(opened(call)), step)


async def test_the_servers_list_of_activity_shows_no_data_of_a_call(store, call, sql):
    transfer = opened(call, key="case-+14255550177")
    await store.apply(call, requested(transfer), step)
    await store.apply(call, fact(call, Signal.SUCCEEDED), step)
    queries = sql("SELECT query FROM pg_stat_activity WHERE application_name = 'transferkit'").fetchall()
    assert queries
    assert not [query for (query,) in queries if "+1425" in query or call.id in query]


async def test_a_role_whose_transactions_are_serializable_may_use_it(address, call):
    serializable = with_options(address, options="-c%20default_transaction_isolation%3Dserializable")
    async with opened_store(serializable) as store, opened_store(serializable) as other:
        await asyncio.gather(
            *(process.apply(call, fact(call), step) for _ in range(20) for process in (store, other))
        )
        assert [event.sequence for event in await store.call_events(call)] == [*range(1, 41)]


# --- connections that break ---------------------------------------------------------------------------


async def test_connections_that_were_cut_while_idle_cause_no_error(store, sql, call):
    await record(store, call)
    cut(sql)
    assert len(await record(store, call)) == 1
    cut(sql)
    assert len(await store.call_events(call)) == 2


@pytest.fixture
def commit_lost(monkeypatch):
    """Cut the connection at the next commit of a call: once it is done, or before it is."""

    def arm(*, done):
        write = Session.write
        armed = [True]

        async def cutting(self, query, values):
            if not armed:
                return await write(self, query, values)
            armed.clear()
            if done:
                await write(self, query, values)
            self.committing = True
            self.connection.pgconn.finish()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(Session, "write", cutting)

    return arm


@pytest.mark.parametrize("done", [True, False])
async def test_a_commit_without_a_reply_is_looked_up(store, call, commit_lost, done):
    commit_lost(done=done)
    applied = await store.apply(call, fact(call, delivery="d1"), step)
    assert not applied.duplicate
    assert await store.call_events(call) == applied.events
    assert [event.sequence for event in applied.events] == [1]


@pytest.mark.parametrize("done", [True, False])
async def test_a_request_whose_commit_got_no_reply_is_recorded_once(store, call, commit_lost, done):
    transfer = opened(call, key="case-1")
    commit_lost(done=done)
    applied = await store.apply(call, requested(transfer), step)
    assert [event.kind for event in applied.events] == ["transfer.requested"]
    assert await store.call_events(call) == applied.events
    stored = await store.transfer(transfer.id)
    assert stored is not None
    assert stored.opened == transfer


@pytest.mark.parametrize("done", [True, False])
async def test_inputs_of_one_commit_without_a_reply_are_recorded_once(store, commit_lost, done):
    calls = [new_call() for _ in range(10)]
    commit_lost(done=done)
    applied = await asyncio.gather(*(store.apply(call, fact(call), step) for call in calls))
    for call, one in zip(calls, applied, strict=True):
        assert await store.call_events(call) == one.events


async def test_an_equal_event_of_another_process_does_not_prove_a_commit_without_a_reply(
    store, other, monkeypatch
):
    """A provider may deliver one callback to two processes: both record the same event."""
    shared, own = calls_in_one_partition(store)
    inputs = [(shared, fact(shared, delivery="d1")), (own, fact(own))]
    write = Session.write

    async def lost(self, _query, _values):
        monkeypatch.setattr(Session, "write", write)
        await other.apply(*inputs[0], step)
        self.committing = True
        self.connection.pgconn.finish()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Session, "write", lost)
    await asyncio.gather(*(store.apply(call, happened, step) for call, happened in inputs))
    assert len(await store.call_events(shared)) == 1
    assert len(await store.call_events(own)) == 1


async def test_a_commit_without_a_reply_that_cannot_be_looked_up_raises_commit_unknown(
    store, call, commit_lost
):
    """Beginning an attempt leaves no event to look for: the caller gets an error, and may not send."""
    transfer = opened(call)
    request = requested(transfer)
    rules = evolve(request.rules, repeatable_for=timedelta(minutes=5))
    await store.apply(call, evolve(request, rules=rules), step)
    commit_lost(done=True)
    with pytest.raises(StoreError, match="may or may not be recorded"):
        await store.apply(call, Attempted(at=AT, transfer_id=transfer.id, attempt=2), step)


async def test_cut_connections_neither_lose_nor_repeat_an_event(store, other, sql):
    """Backends are terminated again and again while two processes write."""
    calls = [new_call() for _ in range(10)]
    stores = (store, other)
    told = dict.fromkeys(calls, 0)

    async def write(number):
        call = calls[number % len(calls)]
        while True:
            try:
                applied = await stores[number % 2].apply(call, fact(call, delivery=str(number)), step)
            except StoreError:
                continue
            told[call] += not applied.duplicate
            return

    writing = [asyncio.create_task(write(number)) for number in range(300)]
    async with asyncio.timeout(SECONDS):
        for _ in range(8):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(cut, sql)
        await asyncio.gather(*writing)
    for call in calls:
        assert [event.sequence for event in await store.call_events(call)] == [*range(1, 31)]


# --- the schema ---------------------------------------------------------------------------------------


async def test_many_processes_may_create_the_tables_at_once(fresh):
    stores = [PostgresStore(fresh, partitions=partitions) for partitions in (4, 5, 6, 7, 8)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({store.partitions for store in stores}) == 1
    call = new_call()
    await asyncio.gather(*(record(store, call) for store in stores))
    assert len(await stores[0].call_events(call)) == len(stores)
    await asyncio.gather(*(store.close() for store in stores))


async def test_tables_of_a_newer_transferkit_are_refused(fresh, sql):
    async with opened_store(fresh):
        pass
    sql(f"UPDATE {read_address(fresh).schema}.meta SET version = 2")  # noqa: S608 - our own words
    with pytest.raises(StoreError, match=r"schema version 2.*upgrade transferkit in this process"):
        await PostgresStore(fresh).open()


async def test_a_schema_that_cannot_be_created_is_not_created_in_part(fresh, sql, monkeypatch):
    monkeypatch.setattr(
        schema_module, "schema_statements", lambda _: ["CREATE TABLE tk.meta ()", "SELECT 1 / 0"]
    )
    with pytest.raises(StoreError):
        await PostgresStore(fresh).open()
    monkeypatch.undo()
    async with opened_store(fresh) as store:
        assert len(await record(store, new_call())) == 1


async def test_an_address_can_forbid_creating_the_tables(fresh):
    with pytest.raises(StoreError, match=r"migrate=off.*transferkit store migrate"):
        await PostgresStore(with_options(fresh, migrate="off")).open()


@pytest.fixture
def role(database, sql):
    """A role that may do nothing yet."""
    name = f"transferkit_{uuid4().hex[:12]}"
    sql(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up'")
    yield name
    sql(f"DROP OWNED BY {name}")
    sql(f"DROP ROLE {name}")


def as_role(address, role):
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:made-up@{place}"))


async def test_the_error_for_a_role_without_rights_says_what_to_do(fresh, role):
    with pytest.raises(
        StoreError, match=rf"role {role} may not create them.*transferkit store grants {role}"
    ):
        await PostgresStore(as_role(fresh, role)).open()


async def test_a_role_needs_no_more_than_its_grants(fresh, role, sql, call):
    async with opened_store(fresh):
        pass
    with pytest.raises(StoreError, match="transferkit store grants"):
        await PostgresStore(as_role(fresh, role)).open()
    for statement in grants(read_address(fresh).schema, role):
        sql(statement)
    async with opened_store(as_role(fresh, role)) as store:
        transfer = opened(call, key="case-1")
        await store.apply(call, requested(transfer), step)
        await store.lease_due(now=AT + LEASE, lease=Lease("one", AT + 2 * LEASE), limit=1)
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        consumer = Consumer(store)
        await consumer.hold()
        assert len(await consumer.read_all()) == 3
        await consumer.leave()
        assert await store.prune(before=AT + timedelta(days=1), idle_since=AT, limit=10) == 1
        assert await store.remove_group("crm")


async def test_a_clock_that_differs_from_the_servers_is_logged(address, monkeypatch, caplog):
    class Ahead(database_module.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(seconds=90)

    monkeypatch.setattr(database_module, "datetime", Ahead)
    async with opened_store(address):
        assert re.search(r"(89|90)\.\d s ahead of the server's", caplog.text)


# --- retention ----------------------------------------------------------------------------------------


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


# --- behind a proxy that pools transactions -----------------------------------------------------------


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


@pytest.mark.heavy
class TestBehindProxy(PostgresContract):
    @pytest.fixture
    async def store(self, proxied) -> Store:
        await until_reachable(proxied)
        async with opened_store(proxied) as store:
            yield store
