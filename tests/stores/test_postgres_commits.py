"""PostgreSQL: grouped commits, and connections that break during them."""

import asyncio
from datetime import timedelta

import pytest
from attrs import evolve
from support.postgres import SECONDS, calls_in_one_partition, cut

from transferkit import FailureReason, StoreError
from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    Decision,
    Due,
    Lease,
    Peeked,
    Work,
    step,
)
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Rejected
from transferkit.stores import LegOccupied
from transferkit.stores.consumer_groups import GroupStart
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

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")


from transferkit.stores.postgres.connection import Session  # noqa: E402 - needs the driver

pytestmark = pytest.mark.heavy  # these tests need a server


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


async def test_a_leg_is_freed_and_occupied_in_one_commit(store, call):
    first, second = opened(call), opened(call)
    await store.apply(call, requested(first), step)
    await store.apply_all([(call, fact(call, Signal.FAILED)), (call, requested(second))], step)
    assert (await store.state(call)).open.id == second.id
    with pytest.raises(LegOccupied):
        await open_transfer(store, call)


@pytest.fixture
def slow_due(sql):
    """Each statement that changes `due` takes a moment, so that two commits are in it together."""
    sql(
        "CREATE FUNCTION transferkit.slow() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$"
    )
    sql(
        "CREATE TRIGGER slow AFTER INSERT OR UPDATE OR DELETE ON transferkit.due"
        " FOR EACH STATEMENT EXECUTE FUNCTION transferkit.slow()"
    )
    yield
    sql("DROP TRIGGER slow ON transferkit.due")
    sql("DROP FUNCTION transferkit.slow()")


async def test_commits_that_clear_and_set_the_same_due_work_do_not_deadlock(
    store, other, slow_due, monkeypatch
):
    """Of two requests, each commit ends one and sets work of the other: their steps are other calls."""
    first, second = (Due(transfer_id=name, work=Work.ADVANCE, at=AT) for name in ("one", "two"))
    failures, write = [], Session.write

    async def noting(self, query, values):
        try:
            return await write(self, query, values)
        except psycopg.Error as error:
            failures.append(error)
            raise

    monkeypatch.setattr(Session, "write", noting)

    async def commit(process, *, cleared, due):
        def decide(call, state, happened, mark):
            keys = tuple((one.transfer_id, one.work) for one in cleared)
            return Decision(state=state or CallState(), cleared=keys, due=due)

        await process.apply_all([(new_call(), Peeked(at=AT))], decide)

    await commit(store, cleared=(), due=(first, second))
    await asyncio.gather(
        commit(store, cleared=(first,), due=(second,)), commit(other, cleared=(second,), due=(first,))
    )
    assert not failures


async def test_the_servers_list_of_activity_shows_no_data_of_a_call(store, call, sql):
    await open_transfer(store, call, key="case-+14255550177")
    await store.apply(call, fact(call, Signal.SUCCEEDED), step)
    queries = sql("SELECT query FROM pg_stat_activity WHERE application_name = 'transferkit'").fetchall()
    assert queries
    assert not [query for (query,) in queries if "+1425" in query or call.id in query]


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
    recorded = dict.fromkeys(calls, 0)

    async def write(number):
        call = calls[number % len(calls)]
        while True:
            try:
                applied = await stores[number % 2].apply(call, fact(call, delivery=str(number)), step)
            except StoreError:
                continue
            recorded[call] += not applied.duplicate
            return

    writing = [asyncio.create_task(write(number)) for number in range(300)]
    async with asyncio.timeout(SECONDS):
        for _ in range(8):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(cut, sql)
        await asyncio.gather(*writing)
    for call in calls:
        assert [event.sequence for event in await store.call_events(call)] == [*range(1, 31)]


async def test_an_empty_list_of_inputs_is_not_committed(store):
    assert await store.apply_all([], step) == ()


async def test_a_transfer_that_ends_in_the_transaction_of_its_request_occupies_no_leg(store):
    call, other = new_call(), opened(new_call())
    transfer = opened(call)
    refusal = Rejected(result=Result(code=400, reason=FailureReason.CALL_NOT_FOUND))
    answered = Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=refusal)
    inputs = [(other.call, requested(other)), (call, requested(transfer)), (call, answered)]
    *_, ended = await store.apply_all(inputs, step)
    assert [event.kind for event in ended.events] == ["transfer.failed"]
    again = await open_transfer(store, call)
    assert (await store.state(call)).open.id == again.id


async def test_only_what_a_consumer_received_and_acknowledged_is_not_flushed(store, call, monkeypatch):
    durable, levels = [], []
    sent = Session.send

    async def send(session, statements):
        found = await sent(session, statements)
        if statements[0].name == "begin":
            durable.append(statements[1].values["durable"])
            levels.append(await session.connection.execute("SHOW synchronous_commit"))
        return found

    monkeypatch.setattr(Session, "send", send)
    await store.open_group("crm", start=GroupStart.NOW)
    await store.hold("crm", Lease("me", AT + LEASE), now=AT)
    await store.release("crm", "an event")
    await store.leave("crm", "me")
    assert durable == [True, False, True, False]
    assert await levels[1].fetchone() == ("off",), "in the transaction of hold"
