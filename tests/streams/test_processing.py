"""`client.process`: no event is lost or out of order if handlers fail, hang, block or are cancelled."""

import asyncio
import functools
import threading
import time
from collections import defaultdict

import pytest
from support.streams import until

from transferkit import AsyncClient, Config, MemoryStore, StoreError
from transferkit.config import GroupConfig
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter, ManualClock
from transferkit.testing.contracts.store_groups import calls_apart, record
from transferkit.testing.contracts.store_inputs import new_call

MAX_ATTEMPTS = 3


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
async def connect(clock, store):
    def connect():
        config = Config(source="test", provider="fake", groups=GroupConfig(max_attempts=MAX_ATTEMPTS))
        adapters = {"fake": FakeAdapter(clock=clock)}
        return AsyncClient(config, store=store, adapters=adapters, clock=clock, background=False)

    return connect


@pytest.fixture
async def client(connect):
    async with connect() as client:
        yield client


async def pass_pauses(clock, done):
    """Let time pass until a condition holds: failed handlers are waiting for their next attempt."""
    async with asyncio.timeout(15):
        while not done():
            clock.advance(1)
            await asyncio.sleep(0.002)


async def lag(client, group="crm"):
    return next((status.lag for status in await client.groups() if status.name == group), None)


async def test_every_event_is_handled_once_and_acknowledged(client, store):
    recorded = await record(store, *[new_call() for _ in range(20)])
    handled = []

    async def handle(event):
        handled.append(event)

    await client.process("crm", handle, concurrency=3, follow=False)
    assert sorted(event.id for event in handled) == sorted(event.id for event in recorded)
    assert await lag(client) == 0


async def test_the_events_of_a_call_are_handled_in_order_and_never_at_once(client, store):
    calls = calls_apart(store, 6)
    await record(store, *calls * 5)
    running, orders = set(), defaultdict(list)

    async def handle(event):
        assert event.call_id not in running
        running.add(event.call_id)
        await asyncio.sleep(0)
        orders[event.call_id].append(event.sequence)
        running.discard(event.call_id)

    await client.process("crm", handle, concurrency=4, follow=False)
    assert len(orders) == 6
    assert all(order == sorted(set(order)) and len(order) == 5 for order in orders.values())


async def test_the_events_of_several_calls_are_handled_at_once(client, store):
    await record(store, *calls_apart(store, 3))
    together = asyncio.Barrier(3)  # each handler waits for the two others

    async def handle(_):
        await together.wait()

    await client.process("crm", handle, concurrency=store.partitions, follow=False)
    assert await lag(client) == 0


async def test_an_event_is_not_acknowledged_before_its_handler_has_returned(client, connect, store):
    (recorded,) = await record(store, new_call())
    started = asyncio.Event()

    async def hang(_):
        started.set()
        await asyncio.Event().wait()

    processing = asyncio.create_task(client.process("crm", hang))
    await started.wait()
    assert await lag(client) == 1
    processing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await processing
    seen = []

    async def handle(event):
        seen.append(event)

    await client.process("crm", handle, follow=False)
    assert seen == [recorded]


@pytest.mark.parametrize("error", [ValueError("password=pl4nted"), asyncio.CancelledError(), TimeoutError()])
async def test_an_event_whose_handler_fails_is_delivered_again(client, store, clock, caplog, error):
    first, second = await record(store, *[new_call()] * 2)
    attempts = []

    async def handle(event):
        attempts.append(event)
        if len(attempts) < MAX_ATTEMPTS:
            raise error

    processing = asyncio.create_task(client.process("crm", handle, follow=False))
    await pass_pauses(clock, processing.done)
    await processing
    assert attempts == [first] * MAX_ATTEMPTS + [second]
    assert (await client.parked("crm")) == ()
    failures = [entry for entry in caplog.records if getattr(entry, "event", None) == "handler_failed"]
    assert [entry.event_id for entry in failures] == [first.id] * 2
    assert [entry.pause for entry in failures] == [0.5, 1]
    assert "pl4nted" not in caplog.text


async def test_an_event_whose_handler_always_fails_is_parked_and_the_next_are_handled(client, store, clock):
    first, second = await record(store, *[new_call()] * 2)
    handled = []

    async def handle(event):
        if event.id == first.id:
            raise ValueError
        handled.append(event)

    processing = asyncio.create_task(client.process("crm", handle, follow=False))
    await pass_pauses(clock, processing.done)
    await processing
    assert handled == [second]
    assert [parked.event.id for parked in await client.parked("crm")] == [first.id]


async def test_a_failing_handler_is_not_called_again_before_the_pause_has_passed(client, store, clock):
    await record(store, new_call())
    attempts = []

    async def handle(event):
        attempts.append(event)
        raise ValueError

    processing = asyncio.create_task(client.process("crm", handle, concurrency=2))
    await until(lambda: attempts)
    clock.advance(0.4)
    await asyncio.sleep(0.05)
    assert len(attempts) == 1
    clock.advance(0.2)
    await until(lambda: len(attempts) == 2)
    processing.cancel()
    await asyncio.gather(processing, return_exceptions=True)


async def test_a_failure_does_not_delay_the_events_of_other_workers(client, store):
    bad, good = calls_apart(store, 2)
    await record(store, bad)
    failed, handled = asyncio.Event(), asyncio.Event()

    async def handle(event):
        if event.call_id == bad.id:
            failed.set()
            raise ValueError
        handled.set()

    processing = asyncio.create_task(client.process("crm", handle, concurrency=store.partitions))
    await failed.wait()
    await record(store, good)
    await handled.wait()  # the clock stands still: the failed worker still waits
    processing.cancel()
    await asyncio.gather(processing, return_exceptions=True)


@pytest.mark.parametrize("kind", ["function", "partial", "instance"])
async def test_a_handler_that_blocks_runs_in_a_thread(client, store, kind):
    recorded = await record(store, *calls_apart(store, 2))
    threads, together = [], threading.Barrier(2, timeout=10)

    def handle(event):
        together.wait()
        threads.append((threading.current_thread().name, event.id))

    class Instance:
        def __call__(self, event):
            handle(event)

    handler = {"function": handle, "partial": functools.partial(handle), "instance": Instance()}[kind]
    await client.process("crm", handler, concurrency=store.partitions, follow=False)
    assert {name.rpartition("_")[0] for name, _ in threads} == {"transferkit-crm"}
    assert sorted(identifier for _, identifier in threads) == sorted(event.id for event in recorded)


async def test_an_instance_with_an_async_call_is_awaited_in_the_event_loop(client, store):
    await record(store, new_call())
    threads = []

    class Instance:
        async def __call__(self, event):
            threads.append(threading.current_thread())

    await client.process("crm", Instance(), follow=False)
    assert threads == [threading.current_thread()]


async def test_closing_the_client_lets_running_handlers_finish_and_acknowledges_them(connect, store):
    await record(store, new_call())
    started, handled = asyncio.Event(), []

    async def handle(event):
        started.set()
        await asyncio.sleep(0.05)
        handled.append(event)

    async with connect() as client:
        processing = asyncio.create_task(client.process("crm", handle, concurrency=2))
        await started.wait()
    assert await processing is None
    assert len(handled) == 1
    async with connect() as client:
        assert await lag(client) == 0


async def test_closing_the_client_cancels_a_handler_that_hangs_and_its_event_is_delivered_again(
    connect, store, monkeypatch
):
    monkeypatch.setattr("transferkit.streams.processor._STOP_SECONDS", 0.05)
    await record(store, new_call())
    started = asyncio.Event()

    async def hang(_):
        started.set()
        await asyncio.Event().wait()

    async with connect() as client:
        processing = asyncio.create_task(client.process("crm", hang))
        await started.wait()
    await processing
    async with connect() as client:
        assert await lag(client) == 1


async def test_closing_the_client_ends_the_wait_for_the_next_attempt(connect, store):
    await record(store, new_call())
    attempts = []

    async def handle(event):
        attempts.append(event)
        raise ValueError

    async with connect() as client:
        processing = asyncio.create_task(client.process("crm", handle))
        await until(lambda: attempts)
    await processing
    assert len(attempts) == 1


async def test_a_blocking_handler_ends_before_a_cancelled_process_does(client, store):
    await record(store, new_call())
    started, go_on, ended = threading.Event(), threading.Event(), []

    def handle(_):
        started.set()
        go_on.wait(10)
        ended.append(True)

    processing = asyncio.create_task(client.process("crm", handle))
    await until(started.is_set)
    processing.cancel()
    await asyncio.sleep(0.01)
    assert not processing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await processing
    assert ended == [True]


async def test_two_processes_of_one_group_share_the_calls(connect, store):
    recorded = await record(store, *calls_apart(store, 8))
    seen = defaultdict(list)

    async with connect() as first, connect() as second:
        work = [
            client.process("crm", handler(seen[name]), follow=True)
            for name, client in (("first", first), ("second", second))
        ]
        tasks = [asyncio.create_task(each) for each in work]
        await until(lambda: len(seen["first"]) + len(seen["second"]) >= 8)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    handled = {event.id for events in seen.values() for event in events}
    assert handled == {event.id for event in recorded}


def handler(seen):
    async def handle(event):
        seen.append(event)
        await asyncio.sleep(0.005)

    return handle


@pytest.mark.parametrize(
    ("group", "given", "options", "error"),
    [
        ("crm", "no function", {}, TypeError),
        ("crm", print, {"concurrency": 0}, ValueError),
        ("crm", print, {"concurrency": 1.5}, ValueError),
        ("", print, {}, ValueError),
        ("crm", print, {"start": "yesterday"}, ValueError),
    ],
)
async def test_a_wrong_argument_is_refused_by_name(client, group, given, options, error):
    name = next(iter(options), "handler" if group else "group")
    with pytest.raises(error, match=f"^{name}: "):
        await client.process(group, given, **options)


async def test_a_group_that_cannot_be_opened_raises_the_error_of_the_store(client, store, monkeypatch):
    async def fail(*_, **__):
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "open_group", fail)
    with pytest.raises(StoreError, match="disk is full"):
        await client.process("crm", print, concurrency=2)


async def test_a_short_outage_of_the_store_after_a_failed_handler_ends_and_cancels_nothing(
    client, store, clock, caplog, monkeypatch
):
    bad, good = calls_apart(store, 2)
    await record(store, bad, good)
    opened, attempts, handled, go_on = [], [], [], asyncio.Event()
    open_group = store.open_group

    async def fail_twice(*arguments, **options):
        opened.append(arguments)
        if len(opened) in {store.partitions + 1, store.partitions + 2}:
            raise StoreError("the server is away")
        await open_group(*arguments, **options)

    async def handle(event):
        if event.call_id == bad.id:
            attempts.append(event)
            if len(attempts) == 1:
                raise ValueError
        else:
            await go_on.wait()
            handled.append(event)

    monkeypatch.setattr(store, "open_group", fail_twice)
    processing = asyncio.create_task(client.process("crm", handle, concurrency=store.partitions))
    last = store.partitions + 3
    await pass_pauses(clock, lambda: processing.done() or (len(attempts) == 2 and len(opened) == last))
    go_on.set()
    await until(lambda: processing.done() or handled)
    assert not processing.done()
    failures = [entry for entry in caplog.records if getattr(entry, "event", None) == "store_failed"]
    assert [entry.pause for entry in failures] == [1, 2]
    processing.cancel()
    await asyncio.gather(processing, return_exceptions=True)


async def test_no_event_is_lost_or_out_of_order_whatever_handlers_do(client, store, clock):
    calls = calls_apart(store, 5)
    recorded = await record(store, *calls * 4)
    outcomes, failures = defaultdict(list), defaultdict(int)

    async def handle(event):
        failures[event.id] += 1
        if failures[event.id] <= hash(event.id) % MAX_ATTEMPTS:
            raise ValueError
        outcomes[event.call_id].append(event.sequence)

    processing = asyncio.create_task(client.process("crm", handle, concurrency=3, follow=False))
    start = time.monotonic()
    await pass_pauses(clock, processing.done)
    await processing
    assert time.monotonic() - start < 15
    assert sum(map(len, outcomes.values())) == len(recorded)
    assert all(order == sorted(order) for order in outcomes.values())
