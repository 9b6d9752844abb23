"""One row that cannot be read affects only its own reader: seen by an application, on a SQLite file."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest

from transferkit import (
    AsyncClient,
    Config,
    LifecycleConfig,
    SqliteStore,
    StoreError,
    TransferCompleted,
    TransferExpired,
)
from transferkit._util.log_events import LogEvent
from transferkit.config import GroupConfig
from transferkit.stores.unreadable import UnreadableEvent, UnreadableRow
from transferkit.testing import FakeAdapter, ManualClock, scenario

ANSWERS = scenario("answers").number
SILENT = scenario("silent").number
COMPLETED = [f"transfer.{word}" for word in ("requested", "submitted", "started", "accepted", "completed")]
GROUP_ATTEMPTS = 2


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "calls.db")
    await store.open()
    async with asyncio.timeout(30):
        yield store
    await store.close()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def client(make):
    async with make() as client:
        yield client


@pytest.fixture
async def idle(make):
    """A client that does due work only on request."""
    async with make(background=False) as client:
        yield client


@pytest.fixture
def make(store, clock):
    config = Config(
        source="test",
        provider="fake",
        groups=GroupConfig(max_attempts=GROUP_ATTEMPTS),
        lifecycle=LifecycleConfig(lease=timedelta(seconds=60)),
    )
    adapters = {"fake": FakeAdapter(clock=clock)}
    return partial(AsyncClient, config, store=store, adapters=adapters, clock=clock)


@pytest.fixture
def sql(store):
    """Run a statement on the file, as nothing of transferkit would."""

    def run(statement):
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            return db.execute(statement).fetchall()

    return run


def newer(table, column, condition):
    """From now on rows of that table are written as by a version that has more kinds and fields."""
    return (
        f"CREATE TRIGGER newer_{table} AFTER INSERT ON {table} WHEN {condition} BEGIN"  # noqa: S608 - our own
        f" UPDATE {table} SET {column} = json_set({column}, '$.kind', 'call.held', '$.held', 1)"
        " WHERE rowid = new.rowid; END"
    )


def of(call, kind="%"):
    said = "json_extract(new.event, '$.call_id') = '{}' AND json_extract(new.event, '$.kind') LIKE '{}'"
    return newer("events", "event", said.format(call, kind))


def records(caplog, name):
    return [record for record in caplog.records if getattr(record, "event", None) == name]


async def completed(client, call):
    transfer = await client.transfer(call, to=ANSWERS)
    assert isinstance(await transfer.outcome(), TransferCompleted)
    return transfer


# --- the stream -----------------------------------------------------------------------------------------


async def test_a_group_parks_an_unreadable_event_and_continues(client, sql, caplog):
    sql(of("call-a", "transfer.started"))
    transfer = await completed(client, "call-a")
    await completed(client, "call-b")
    async with client.events(group="crm", follow=False) as stream:
        events = [event async for event in stream]
    kinds = {
        call: [event.kind for event in events if event.call_id == call and event.transfer_id]
        for call in ("call-a", "call-b")
    }
    assert kinds == {"call-a": [k for k in COMPLETED if "started" not in k], "call-b": COMPLETED}
    (parked,) = await client.parked("crm")
    assert isinstance(parked.event, UnreadableEvent)
    assert (parked.event.kind, parked.event.transfer_id) == ("call.held", transfer.id)
    assert parked.attempts == GROUP_ATTEMPTS
    (unreadable,) = [
        record
        for record in records(caplog, LogEvent.EVENT_UNREADABLE)
        if record.getMessage().startswith("group crm cannot deliver an event: ")
    ]
    assert (unreadable.levelno, unreadable.call_id, unreadable.sequence) == (logging.ERROR, "call-a", 3)
    (set_aside,) = records(caplog, LogEvent.GROUP_EVENT_PARKED)
    assert set_aside.release == f"transferkit groups release crm {parked.id}"
    assert "no kind 'call.held'" in set_aside.getMessage()


async def test_a_released_event_is_delivered_once_it_can_be_read(client, sql):
    sql(of("call-a", "transfer.started"))
    await completed(client, "call-a")
    (before,) = sql("SELECT event FROM events WHERE position = 3")
    async with client.events(group="crm", follow=False) as stream:
        assert [event async for event in stream]
    sql("DROP TRIGGER newer_events")
    sql("UPDATE events SET event = json_remove(json_set(event, '$.kind', 'transfer.started'), '$.held')")
    assert before != sql("SELECT event FROM events WHERE position = 3")
    (parked,) = await client.parked("crm")
    assert await client.release("crm", parked.id)
    async with client.events(group="crm", follow=False) as stream:
        assert [event.kind async for event in stream] == ["transfer.started"]
    assert await client.parked("crm") == ()


async def test_events_of_a_call_whose_row_is_missing_are_delivered(client, store, sql):
    first, second = await completed(client, "call-1"), await completed(client, "call-2")
    sql("DELETE FROM calls WHERE id = 'call-1'")  # as in a damaged file: their events stay
    ids = [event.transfer_id for _, event in await store.read(None) if event.kind == "transfer.completed"]
    assert ids == [first.id, second.id]
    async with client.events("crm", start="beginning", follow=False) as stream:
        delivered = [event.transfer_id async for event in stream if event.kind == "transfer.completed"]
    assert sorted(delivered) == sorted(ids)


async def test_live_tails_and_outcomes_skip_an_unreadable_event(client, sql, caplog):
    waiting = await client.transfer("call-w", to=SILENT)
    outcome = asyncio.create_task(waiting.outcome())
    sql(of("call-a"))
    async with client.events() as tail:
        await client.transfer("call-a", to=ANSWERS)
        await completed(client, "call-b")
        kinds = []
        while len(kinds) < len(COMPLETED):
            event = await anext(tail)
            assert event.call_id != "call-a"
            kinds += [event.kind] if event.call_id == "call-b" else []
    assert kinds == COMPLETED
    assert not outcome.done()
    outcome.cancel()
    by_reader = {}
    for record in records(caplog, LogEvent.EVENT_UNREADABLE):
        by_reader.setdefault(record.getMessage().partition(":")[0], []).append(record.sequence)
    assert len(by_reader) == 2
    for sequences in by_reader.values():
        assert len(sequences) == len(set(sequences))  # once for each event


async def test_an_outcome_whose_event_is_unreadable_is_read_from_its_request(client, sql):
    for garbage in ("call.held", None):
        call = f"call-{garbage}"
        replaced = "'{'" if garbage is None else "json_set(event, '$.kind', 'call.held')"
        sql(
            f"CREATE TRIGGER t AFTER INSERT ON events WHEN json_extract(new.event, '$.call_id') = '{call}'"  # noqa: S608
            f" BEGIN UPDATE events SET event = {replaced} WHERE position = new.position; END"
        )
        await completed(client, call)
        sql("DROP TRIGGER t")


@pytest.mark.parametrize("waits", [True, False], ids=["while it is awaited", "before it is asked for"])
async def test_an_unreadable_outcome_is_an_error_that_names_its_transfer(client, sql, waits):
    sql(
        "CREATE TRIGGER t AFTER UPDATE OF outcome ON requests BEGIN"
        " UPDATE requests SET outcome = json_set(outcome, '$.held', 1) WHERE rowid = new.rowid; END"
    )
    sql(of("call-a", "transfer.completed"))
    transfer = await client.transfer("call-a", to=ANSWERS)
    if not waits:
        with pytest.raises(UnreadableRow):
            await transfer.outcome()
    with pytest.raises(StoreError, match=rf"outcome of transfer {transfer.id} \(call fake:call-a\)"):
        await transfer.outcome()
    sql("DROP TRIGGER t")
    await completed(client, "call-b")


async def test_the_history_of_a_call_with_an_unreadable_event_is_an_error_that_names_it(client, sql):
    sql(of("call-a", "transfer.submitted"))
    broken, whole = await completed(client, "call-a"), await completed(client, "call-b")
    with pytest.raises(StoreError, match=r"event 2 of call fake:call-a cannot be read \(position 2 "):
        await client.history(broken.id)
    events = await client.history(whole.id)
    assert [event.kind for event in events if event.transfer_id] == COMPLETED


# --- due work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE requests SET opened = '[' WHERE id = '{}'", "the request of transfer {}"),
        ("UPDATE calls SET state = '[' WHERE id = 'call-a'", "the state of call fake:call-a"),
    ],
    ids=["request", "state"],
)
async def test_due_work_of_an_unreadable_row_waits_for_its_next_lease_and_all_other_work_is_done(
    idle, clock, sql, caplog, statement, named
):
    broken, whole = [await idle.transfer(call, to=SILENT, deadline=30) for call in ("call-a", "call-b")]
    sql(statement.format(broken.id))
    caplog.clear()
    clock.advance(40)
    for leases in range(1, 4):
        assert await idle.run_due() >= 1
        assert await idle.run_due() == 0  # until the lease ends
        failed = records(caplog, LogEvent.WORK_FAILED)
        assert [record.transfer_id for record in failed] == [broken.id] * leases
        assert named.format(broken.id) in failed[-1].getMessage()
        clock.advance(61)
    assert isinstance(await whole.outcome(), TransferExpired)


async def test_the_background_task_does_not_spin_on_work_of_an_unreadable_row(
    client, store, clock, sql, caplog
):
    began, transfer = clock.now(), await client.transfer("call-a", to=SILENT, deadline=30)
    sql("UPDATE requests SET opened = '['")
    other = await client.transfer("call-b", to=SILENT, deadline=30)
    clock.advance(40)
    outcome = asyncio.create_task(other.outcome())
    while not outcome.done():
        clock.advance(1)
        await asyncio.sleep(0.01)
    assert isinstance(outcome.result(), TransferExpired)
    assert {record.transfer_id for record in records(caplog, LogEvent.WORK_FAILED)} == {transfer.id}
    assert len(records(caplog, LogEvent.WORK_FAILED)) <= 1 + (clock.now() - began).total_seconds() / 60
