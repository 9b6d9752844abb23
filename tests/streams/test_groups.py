"""Consumer groups: at-least-once delivery, in order per call, for readers and stores that fail."""

import asyncio
import inspect
import logging
from datetime import timedelta
from random import Random

import pytest
from support.streams import until

from transferkit import AsyncClient, ClientClosed, Config, MemoryStore, StoreError
from transferkit._lifecycle import CallKey
from transferkit.config import GroupConfig
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter, ManualClock
from transferkit.testing.contracts.store_groups import Consumer, calls_together, record
from transferkit.testing.contracts.store_inputs import new_call

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 3
EVERYTHING = {"open_group", "hold", "begin_next", "acknowledge", "leave", "end_of_log"}


class Connection:
    """A client's connection to a store: calls can fail, or be delayed after the store has acted."""

    def __init__(self, store):
        self.store = store
        self.broken = set()
        self.error = StoreError("the disk is full")
        self.delayed = set()
        self.go = asyncio.Event()
        self.calls = []

    def __getattr__(self, name):
        verb = getattr(self.store, name)
        if not inspect.iscoroutinefunction(verb):
            return verb

        async def call(*args, **kwargs):
            if name in self.broken:
                raise self.error
            result = await verb(*args, **kwargs)
            self.calls.append(name)
            if name in self.delayed:
                await self.go.wait()
            return result

        return call

    async def open(self):
        pass

    async def close(self):
        pass


class Boom(Exception):
    pass


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "events.db")
    await store.open()
    async with asyncio.timeout(20):
        yield store
    await store.close()


@pytest.fixture
def connect(clock):
    """Makes a client, not yet open, on a store or on a connection to one."""

    def connect(store, **groups):
        config = Config(
            source="test",
            provider="fake",
            groups=GroupConfig(**{"lease": LEASE, "max_attempts": MAX_ATTEMPTS} | groups),
        )
        adapters = {"fake": FakeAdapter(clock=clock)}
        return AsyncClient(config, store=store, adapters=adapters, clock=clock, background=False)

    return connect


@pytest.fixture
def wire(store):
    return Connection(store)


@pytest.fixture
async def client(connect, wire):
    async with connect(wire) as client:
        yield client


@pytest.fixture
def call():
    return new_call()


async def read(client, number, group="crm"):
    """Read and acknowledge this number of events."""
    events = []
    async with client.events(group=group) as stream:
        while len(events) < number:
            events.append(await anext(stream))
        await stream.ack()
    return events


async def fail(client, body=None):
    """Read as the group: run `body`, or take the next event, then raise."""
    async with client.events(group="crm") as stream:
        await (body(stream) if body else anext(stream))
        raise Boom


async def next_in_store(store, clock, group="crm"):
    """The event and attempt that the store would deliver to another consumer of the group now."""
    consumer = Consumer(store, "observer", group)
    await consumer.hold(at=clock.now())
    delivery = (await consumer.begin(at=clock.now())).delivery
    await consumer.leave(unused=delivery)
    return (delivery.event, delivery.attempt) if delivery else None


def logged(caplog, name):
    return [entry for entry in caplog.records if getattr(entry, "event", None) == name]


# --- reading ----------------------------------------------------------------------------------------


async def test_a_new_group_reads_from_the_beginning_by_default(client, store, call):
    recorded = await record(store, call, call)
    assert await read(client, 2) == recorded


@pytest.mark.parametrize("start", ["now", GroupStart.NOW])
async def test_a_new_group_may_start_at_the_end_of_the_log(client, store, call, start):
    await record(store, call)
    async with client.events(group="crm", start=start) as stream:
        recorded = await record(store, call)
        assert [await anext(stream)] == recorded


async def test_the_configuration_sets_where_new_groups_start(connect, store, call):
    await record(store, call)
    async with connect(store, start=GroupStart.NOW) as client:
        async with client.events(group="now", follow=False) as stream:
            assert [event async for event in stream] == []
        async with client.events(group="all", start="beginning", follow=False) as stream:
            assert len([event async for event in stream]) == 1


async def test_a_group_continues_after_the_last_acknowledged_event(client, store, call):
    first, second, third = await record(store, call, call, call)
    assert await read(client, 1) == [first]
    assert await read(client, 2) == [second, third]


async def test_each_group_reads_everything(client, store, call):
    recorded = await record(store, call, call)
    assert await read(client, 2, "crm") == recorded
    assert await read(client, 2, "billing") == recorded


async def test_events_are_delivered_as_they_are_recorded(client, store, call):
    async with client.events(group="crm") as stream:
        for _ in range(3):
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            (recorded,) = await record(store, call)
            assert await waiting == recorded


async def test_without_follow_the_stream_ends_after_everything_is_acknowledged(client, store, call):
    recorded = await record(store, call, call)
    async with client.events(group="crm", follow=False) as stream:
        assert [event async for event in stream] == recorded
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    (group,) = await client.groups()
    assert (group.lag, group.members) == (0, 0)


async def test_requesting_the_next_event_acknowledges_the_current_one(client, store, clock, call):
    _, second = await record(store, call, call)
    async with client.events(group="crm") as stream:
        await anext(stream)
        await anext(stream)
    assert await next_in_store(store, clock) == (second, 1)


async def test_waiting_events_are_begun_and_acknowledged_in_batches(client, store, wire, call):
    recorded = await record(store, *[call] * 40)
    assert await read(client, 40) == recorded
    assert wire.calls.count("begin_next") <= 4
    assert [group.lag for group in await client.groups()] == [0]


async def test_a_slow_reader_acknowledges_each_event_with_the_next_request(client, store, clock, call):
    await record(store, *[call] * 4)
    async with client.events(group="crm") as stream:
        for lag in (4, 3, 2, 1):
            await anext(stream)
            assert [group.lag for group in await client.groups()] == [lag]
            clock.advance(timedelta(milliseconds=100))


async def test_a_renewal_of_the_lease_acknowledges_what_was_handled(client, store, wire, clock, call):
    recorded = await record(store, *[call] * 4)
    async with client.events(group="crm") as stream:
        await anext(stream)
        await anext(stream)
        assert [group.lag for group in await client.groups()] == [4]
        clock.advance(LEASE / 3)
        await until(lambda: "acknowledge" in wire.calls)
        assert [group.lag for group in await client.groups()] == [3]
        assert [await anext(stream), await anext(stream)] == recorded[2:]
        await stream.ack()
    assert [group.lag for group in await client.groups()] == [0]


async def test_a_batch_is_not_delivered_after_another_consumer_took_over(
    connect, client, store, clock, call, caplog
):
    first, *_ = await record(store, *[call] * 4)
    async with client.events(group="crm") as stream:
        assert await anext(stream) == first
        other = Consumer(store, "other")
        await other.hold(at=clock.now() + LEASE)
        begun = await other.begin(at=clock.now() + LEASE)
        assert begun.delivery.event == first
        clock.advance(LEASE)
        waiting = asyncio.create_task(anext(stream))
        await until(lambda: logged(caplog, "group_event_stale"))
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("handled", range(4))
async def test_an_exception_counts_as_an_attempt_at_the_event_that_raised(
    client, store, clock, call, handled
):
    recorded = await record(store, *[call] * 4)

    async def handle_some(stream):
        for _ in range(handled + 1):
            await anext(stream)

    with pytest.raises(Boom):
        await fail(client, handle_some)
    assert await next_in_store(store, clock) == (recorded[handled], 2)


@pytest.mark.parametrize("handled", range(4))
async def test_break_gives_back_the_event_that_was_not_handled(client, store, clock, call, handled):
    recorded = await record(store, *[call] * 4)
    async with client.events(group="crm") as stream:
        for _ in range(handled + 1):
            await anext(stream)
    assert await next_in_store(store, clock) == (recorded[handled], 1)


async def test_an_event_that_was_acknowledged_early_is_not_delivered_again(client, store, clock, call):
    _, second = await record(store, call, call)

    async def acknowledge_early(stream):
        await anext(stream)
        await stream.ack()

    with pytest.raises(Boom):
        await fail(client, acknowledge_early)
    assert await next_in_store(store, clock) == (second, 1)


async def test_acknowledging_twice_or_without_an_event_does_nothing(client, store, call, caplog):
    first, second = await record(store, call, call)
    async with client.events(group="crm") as stream:
        await stream.ack()
        assert await anext(stream) == first
        await stream.ack()
        await stream.ack()
        assert await anext(stream) == second
    assert logged(caplog, "group_event_stale") == []


async def test_only_one_task_may_wait_for_an_event(client, store, call):
    async with client.events(group="crm") as stream:
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        recorded = await record(store, call)
        assert [await waiting] == recorded


async def test_a_stream_must_be_entered_exactly_once(client):
    stream = client.events(group="crm")
    with pytest.raises(RuntimeError, match="enter the stream first"):
        await anext(stream)
    await stream.aclose()
    async with stream:
        pass
    with pytest.raises(RuntimeError, match="entered only once"):
        await stream.__aenter__()


async def test_invalid_arguments_and_a_closed_client_are_refused(connect, store):
    client = connect(store)
    with pytest.raises(ClientClosed):
        client.events(group="crm")
    for ask in (client.groups(), client.parked("a"), client.release("a", "b"), client.remove_group("a")):
        with pytest.raises(ClientClosed):
            await ask
    async with client:
        with pytest.raises(ValueError, match="group: may not be empty"):
            client.events(group="")
        with pytest.raises(ValueError, match="start: expected one of beginning, now"):
            client.events(group="crm", start="end")


# --- giving back ------------------------------------------------------------------------------------


async def test_break_gives_the_event_back_without_counting_an_attempt(client, store, clock, call):
    first, _ = await record(store, call, call)
    for _ in range(MAX_ATTEMPTS * 2):
        async with client.events(group="crm") as stream:
            async for event in stream:
                assert event == first
                break
    assert await next_in_store(store, clock) == (first, 1)


async def test_an_exception_in_the_body_counts_as_an_attempt(client, store, clock, call):
    (event,) = await record(store, call)
    with pytest.raises(Boom):
        await fail(client)
    assert await next_in_store(store, clock) == (event, 2)


async def test_an_exception_between_two_events_counts_as_no_attempt(client, store, clock, call):
    await record(store, call)

    async def find_no_more(stream):
        await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)

    with pytest.raises(Boom):
        await fail(client, find_no_more)
    (later,) = await record(store, call)
    assert await next_in_store(store, clock) == (later, 1)


async def test_a_cancelled_loop_body_gives_its_event_back(client, store, clock, call):
    (event,) = await record(store, call)
    at_work = asyncio.Event()

    async def work():
        async with client.events(group="crm") as stream:
            async for _ in stream:
                at_work.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await at_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await next_in_store(store, clock) == (event, 1)
    (group,) = await client.groups()
    assert group.members == 0


async def test_a_cancelled_wait_begins_no_event(client, store, wire, call):
    async with client.events(group="crm") as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        await until(lambda: not stream._store_calls)
        begun = wire.calls.count("begin_next")
        recorded = await record(store, call)
        await asyncio.sleep(0.02)
        assert wire.calls.count("begin_next") == begun
        assert [await anext(stream)] == recorded


async def cancel_after_the_store_began(stream, wire):
    """Cancel a request for an event after the store has begun the event and before it returned."""
    wire.delayed = {"begin_next"}
    before = wire.calls.count("begin_next")
    waiting = asyncio.create_task(anext(stream))
    await until(lambda: wire.calls.count("begin_next") > before)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    wire.delayed = set()
    wire.go.set()


async def test_an_event_that_was_begun_for_a_cancelled_wait_is_delivered_next(
    client, store, wire, clock, call
):
    first, second = await record(store, call, call)
    async with client.events(group="crm") as stream:
        await cancel_after_the_store_began(stream, wire)
        assert await anext(stream) == first
        assert wire.calls.count("begin_next") == 1
        assert await anext(stream) == second
    assert await next_in_store(store, clock) == (second, 1)


async def test_an_event_that_was_begun_for_a_cancelled_wait_is_given_back_uncounted(
    client, store, wire, clock, call
):
    (event,) = await record(store, call)
    with pytest.raises(Boom):
        await fail(client, lambda stream: cancel_after_the_store_began(stream, wire))
    assert await next_in_store(store, clock) == (event, 1)


@pytest.mark.parametrize("steps", range(12))
async def test_a_wait_that_is_cancelled_at_any_point_loses_no_event(client, store, steps):
    recorded = await record(store, *(new_call() for _ in range(10)))
    seen = []
    async with client.events(group="crm", follow=False) as stream:
        while len(seen) < len(recorded):
            waiting = asyncio.create_task(anext(stream))
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            (event,) = await asyncio.gather(waiting, return_exceptions=True)
            seen.append(await anext(stream) if isinstance(event, asyncio.CancelledError) else event)
    assert sorted(event.id for event in seen) == sorted(event.id for event in recorded)


async def test_a_cancelled_entry_leaves_no_member_in_the_group(client, store, wire):
    wire.delayed = {"hold"}

    async def enter():
        async with client.events(group="crm"):
            pytest.fail("the call was not delayed")

    task = asyncio.create_task(enter())
    await until(lambda: "hold" in wire.calls)
    task.cancel()
    await asyncio.sleep(0)
    wire.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [group.members for group in await store.groups()] == [0]


@pytest.mark.parametrize("ending", ["break", "exception", "cancel"])
async def test_leaving_a_stream_leaves_no_task_running(client, store, call, ending):
    await record(store, call)
    before = asyncio.all_tasks()

    async def work():
        async with client.events(group="crm") as stream:
            await anext(stream)
            if ending == "exception":
                raise Boom
            if ending == "cancel":
                raise asyncio.CancelledError

    await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
    assert asyncio.all_tasks() == before


# --- closing the client -----------------------------------------------------------------------------


async def test_closing_the_client_ends_the_iteration_and_gives_back_the_lease(connect, store, call):
    client, seen = connect(store), []

    async def work():
        async with client.events(group="crm") as stream:
            seen.extend([event async for event in stream])

    async with client:
        task = asyncio.create_task(work())
        await until(lambda: client._group_streams)
        await until(lambda: any(stream._lease_task for stream in client._group_streams))
    async with asyncio.timeout(5):
        await task
    assert seen == []
    await store.open()
    assert [group.members for group in await store.groups()] == [0]


async def test_closing_the_client_gives_the_current_event_back(connect, store, wire, clock, call, caplog):
    (event,) = await record(store, call)
    async with connect(wire) as client:
        stream = client.events(group="crm")
        await stream.__aenter__()
        assert await anext(stream) == event
    assert await next_in_store(store, clock) == (event, 1)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.ack()
    await stream.__aexit__(None, None, None)
    (entry,) = logged(caplog, "group_event_stale")
    assert entry.event_id == event.id


# --- leases -----------------------------------------------------------------------------------------


async def renewed(wire, clock, span):
    """Advance the clock until the stream has renewed its lease."""
    before = wire.calls.count("hold")
    clock.advance(span)
    await until(lambda: wire.calls.count("hold") > before)


async def test_a_slow_loop_body_keeps_its_event(client, store, wire, clock, call, caplog):
    await record(store, call)
    async with client.events(group="crm") as stream:
        await anext(stream)
        for _ in range(9):
            await renewed(wire, clock, LEASE / 3)
            assert await next_in_store(store, clock) is None
        await stream.ack()
    assert logged(caplog, "group_event_stale") == []
    assert [group.lag for group in await store.groups()] == [0]


async def test_new_consumers_do_not_get_an_event_that_is_being_handled(
    client, store, wire, clock, call, caplog
):
    (event,) = await record(store, call)
    async with client.events(group="crm") as stream:
        assert await anext(stream) == event
        newcomers = [Consumer(store, str(number)) for number in range(store.partitions * 2)]
        for _ in range(2):
            for newcomer in newcomers:
                await newcomer.hold(at=clock.now())
            await renewed(wire, clock, LEASE / 3)
        assert [(await newcomer.begin(at=clock.now())).delivery for newcomer in newcomers] == [None] * len(
            newcomers
        )
        await stream.ack()
    assert logged(caplog, "group_event_stale") == []


async def test_a_lease_is_kept_after_a_renewal_raises_any_error(client, store, wire, clock, call, caplog):
    await record(store, call)
    async with client.events(group="crm") as stream:
        await anext(stream)
        wire.broken, wire.error = {"hold"}, RuntimeError("the driver's")
        clock.advance(LEASE / 3)
        await until(lambda: logged(caplog, "group_lease_failed"))
        wire.broken = set()
        for _ in range(4):
            await renewed(wire, clock, LEASE / 3)
        await stream.ack()
    assert logged(caplog, "group_event_stale") == []


async def test_an_acknowledgement_after_the_end_of_the_lease_is_stale(
    client, store, wire, clock, call, caplog
):
    (event,) = await record(store, call)
    async with client.events(group="crm") as stream:
        await anext(stream)
        wire.broken = {"hold"}
        clock.advance(LEASE)
        await until(lambda: logged(caplog, "group_lease_failed"))
        assert await next_in_store(store, clock) == (event, 2)
        wire.broken = set()
        await stream.ack()
        (entry,) = logged(caplog, "group_event_stale")
        assert entry.levelno == logging.WARNING
        assert (entry.event_id, entry.group, entry.call_id) == (event.id, "crm", call.id)
        assert await anext(stream) == event


async def test_another_consumer_takes_over_from_a_process_that_died(connect, client, store, clock, call):
    (event,) = await record(store, call)
    dead = Connection(store)
    async with connect(dead) as doomed, doomed.events(group="crm") as stream:
        await anext(stream)
        dead.broken = EVERYTHING
    async with client.events(group="crm", follow=False) as stream:
        assert [event async for event in stream] == []
    clock.advance(LEASE)
    assert await next_in_store(store, clock) == (event, 2)
    assert await read(client, 1) == [event]


# --- a store that fails -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["end_of_log", "begin_next", "wait"])
async def test_reading_continues_when_the_store_works_again(client, store, wire, call, caplog, verb):
    async with client.events(group="crm") as stream:
        wire.broken = {verb}
        waiting = asyncio.create_task(anext(stream))
        await until(lambda: logged(caplog, "store_failed"))
        assert not waiting.done()
        recorded = await record(store, call)
        wire.broken = set()
        assert [await waiting] == recorded


async def test_a_failed_acknowledgement_is_repeated_with_the_next_request(client, store, wire, call):
    first, second = await record(store, call, call)
    async with client.events(group="crm") as stream:
        assert await anext(stream) == first
        wire.broken = {"acknowledge"}
        with pytest.raises(StoreError):
            await stream.ack()
        assert await anext(stream) == second
        with pytest.raises(StoreError):
            await stream.ack()
        wire.broken = set()
    assert [group.lag for group in await store.groups()] == [0]


async def test_a_store_that_fails_on_leaving_does_not_replace_the_error_of_the_loop_body(
    client, store, wire, call, caplog
):
    await record(store, call)

    async def lose_the_store(stream):
        await anext(stream)
        wire.broken = EVERYTHING

    with pytest.raises(Boom):
        await fail(client, lose_the_store)
    assert len(logged(caplog, "group_leave_failed")) == 1


async def test_entering_a_stream_raises_the_error_of_the_store(client, store, wire):
    before = asyncio.all_tasks()
    wire.broken = {"hold"}
    with pytest.raises(StoreError):
        await client.events(group="crm").__aenter__()
    assert asyncio.all_tasks() == before
    assert [group.members for group in await store.groups()] == [0]


# --- parking -----------------------------------------------------------------------------------------


async def test_an_event_that_always_fails_is_parked_and_the_events_behind_it_are_delivered(
    client, store, call, caplog
):
    first, second = await record(store, call, call)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Boom):
            await fail(client)
    assert await read(client, 1) == [second]
    (parked,) = await client.parked("crm")
    assert (parked.event, parked.attempts, parked.released) == (first, MAX_ATTEMPTS, False)
    (entry,) = logged(caplog, "group_event_parked")
    assert entry.levelno == logging.ERROR
    assert entry.release == f"transferkit groups release crm {first.id}"
    assert entry.release in entry.getMessage()
    said = (entry.group, entry.event_id, entry.kind, entry.call_id, entry.attempts)
    assert said == ("crm", first.id, first.kind, call.id, MAX_ATTEMPTS)


async def test_a_released_event_is_delivered_once_more(client, store, call, caplog):
    (event,) = await record(store, call)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Boom):
            await fail(client)
    async with client.events(group="crm", follow=False) as stream:
        assert [event async for event in stream] == []
    assert await client.release("crm", event.id)
    with pytest.raises(Boom):
        await fail(client)
    async with client.events(group="crm", follow=False) as stream:
        assert [event async for event in stream] == []
    assert len(logged(caplog, "group_event_parked")) == 2
    assert await client.release("crm", event.id)
    assert await read(client, 1) == [event]
    assert await client.parked("crm") == ()
    assert not await client.release("crm", event.id)


async def test_a_group_can_be_inspected_and_removed(client, store, call):
    await record(store, call, call)
    await read(client, 1)
    (group,) = await client.groups()
    assert (group.name, group.lag, group.parked, group.members) == ("crm", 1, 0, 0)
    assert await client.remove_group("crm")
    assert not await client.remove_group("crm")
    assert await client.groups() == ()


# --- sharing ----------------------------------------------------------------------------------------


async def test_consumers_share_the_calls(client, store):
    calls = [new_call() for _ in range(20)]
    seen = {"one": [], "two": []}

    async def work(name):
        async with client.events(group="crm") as stream:
            async for event in stream:
                seen[name].append(event)
                if sum(map(len, seen.values())) == len(calls) * 3:
                    await stream.ack()
                    return

    tasks = [asyncio.create_task(work(name)) for name in seen]
    await until(lambda: sum(bool(stream._lease_task) for stream in client._group_streams) == 2)
    async with client.events(group="crm", follow=False):
        pass  # another consumer joins and leaves
    recorded = await record(store, *calls * 3)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    together = [*seen["one"], *seen["two"]]
    assert len(together) == len(recorded)
    assert {event.id for event in together} == {event.id for event in recorded}
    for call in calls:
        assert [event.sequence for event in together if event.call_id == call.id] == [1, 2, 3]


async def test_the_partitions_of_a_consumer_that_leaves_go_to_the_others(client, store):
    calls = [new_call() for _ in range(10)]
    async with client.events(group="crm") as stays:
        waiting = asyncio.create_task(anext(stays))
        async with client.events(group="crm"):
            pass
        recorded = await record(store, *calls)
        seen = [await waiting, *[await anext(stays) for _ in recorded[1:]]]
    assert {event.id for event in seen} == {event.id for event in recorded}


class Crowd:
    """Consumers that join, work, fail, are cancelled, crash and leave at random."""

    def __init__(self, connect, store, clock, random):
        self.connect, self.store, self.clock, self.random = connect, store, clock, random
        self.seen, self.finished = [], False

    async def consume(self):
        while not self.finished:
            wire = Connection(self.store)
            try:
                async with (
                    self.connect(wire, max_attempts=10_000) as client,
                    client.events(group="crm") as stream,
                ):
                    await self.work(stream, wire)
            except Boom:
                pass

    async def work(self, stream, wire):
        for _ in range(self.random.randint(1, 12)):
            event = await self.request(stream)
            if event is None:
                continue
            self.seen.append(event)
            await self.pause(3)
            match self.random.randint(1, 20):
                case 1:
                    raise Boom
                case 2:
                    return
                case 3:
                    wire.broken = EVERYTHING
                    return
                case 4 | 5 | 6:
                    await stream.ack()

    async def request(self, stream):
        waiting = asyncio.create_task(anext(stream))
        for _ in range(self.random.randint(0, 12)):
            await self.pause(1)
            if waiting.done():
                break
        waiting.cancel()
        (event,) = await asyncio.gather(waiting, return_exceptions=True)
        return None if isinstance(event, asyncio.CancelledError) else event

    async def pause(self, steps):
        for _ in range(self.random.randint(0, steps)):
            await asyncio.sleep(0 if isinstance(self.store, MemoryStore) else 0.001)

    async def produce(self, calls, number):
        recorded = []
        for _ in range(number):
            recorded += await record(self.store, *self.random.choices(calls, k=self.random.randint(1, 3)))
            await self.pause(40)
            self.clock.advance(LEASE * self.random.random())
        return recorded


@pytest.mark.parametrize("seed", range(4))
async def test_random_consumers_read_every_event_and_each_call_in_order(connect, store, clock, seed):
    crowd = Crowd(connect, store, clock, Random(seed))  # noqa: S311 - nothing secret
    consumers = [asyncio.create_task(crowd.consume()) for _ in range(4)]
    recorded = await crowd.produce([new_call() for _ in range(6)], 30)
    crowd.finished = True
    await asyncio.gather(*consumers)
    clock.advance(LEASE)
    async with connect(store, max_attempts=10_000) as last, last.events(group="crm", follow=False) as stream:
        async for event in stream:
            crowd.seen.append(event)
        assert await last.parked("crm") == ()
        assert [group.lag for group in await last.groups()] == [0]
    assert {event.id for event in crowd.seen} == {event.id for event in recorded}
    first_readings = {}
    for event in crowd.seen:
        sequences = first_readings.setdefault(CallKey(event.provider, event.call_id), [])
        if event.sequence not in sequences:
            sequences.append(event.sequence)
    for sequences in first_readings.values():
        assert sequences == list(range(1, len(sequences) + 1))


# --- batches ----------------------------------------------------------------------------------------


async def test_a_batch_has_the_next_events_of_one_partition(client, store):
    one, other = calls_together(store, 2)
    recorded = await record(store, one, other, one, other)
    async with client.events(group="crm") as stream:
        assert await stream.next_batch(3) == recorded[:3]
        assert await stream.next_batch(3) == recorded[3:]


async def test_requesting_the_next_batch_acknowledges_the_whole_batch_before(client, store, clock, call):
    recorded = await record(store, call, call, call, call)
    async with client.events(group="crm") as stream:
        await stream.next_batch(2)
        await stream.next_batch(1)
    event, _ = await next_in_store(store, clock)
    assert event == recorded[2]


async def test_a_batch_without_acknowledgement_is_given_back_uncounted(client, store, clock, call):
    recorded = await record(store, call, call)
    async with client.events(group="crm") as stream:
        await stream.next_batch(2)
    assert await next_in_store(store, clock) == (recorded[0], 1)


async def test_only_the_handled_events_of_a_batch_are_acknowledged(client, store, clock, call):
    recorded = await record(store, call, call, call)

    async def handle_one(stream):
        await stream.next_batch(3)
        stream.handled(1)

    with pytest.raises(Boom):
        await fail(client, handle_one)
    assert await next_in_store(store, clock) == (recorded[1], 2)


async def test_a_batch_whose_events_were_all_handled_leaves_no_attempt(client, store, clock, call):
    await record(store, call, call)

    async def handle_all(stream):
        await stream.next_batch(2)
        stream.handled(2)

    with pytest.raises(Boom):
        await fail(client, handle_all)
    assert await next_in_store(store, clock) is None
