"""A relay: acknowledged only after the broker confirmed, in order per call, whatever the sink does."""

import asyncio
import logging
import sys
from datetime import timedelta
from itertools import pairwise

import pytest
from support.relay import RecordingSink, assert_in_order
from support.streams import until

from transferkit import AsyncClient, Config, ConfigError, MemoryStore, RelayConfig
from transferkit.config import GroupConfig
from transferkit.relay import Confirmed, Refused, RelayState, SinkError, Unconfirmed
from transferkit.relay.sinks.nats import NatsSettings, NatsSink
from transferkit.testing import FakeAdapter, ManualClock
from transferkit.testing.contracts.store_groups import calls_together, record
from transferkit.testing.contracts.store_inputs import new_call

MAX_ATTEMPTS = 3


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def store():
    return MemoryStore()


@pytest.fixture
def connect(store, clock):
    """Makes a client, not yet open."""

    def connect(**relay):
        config = Config(
            source="test",
            provider="fake",
            groups=GroupConfig(max_attempts=MAX_ATTEMPTS),
            relay=RelayConfig(**relay),
        )
        adapters = {"fake": FakeAdapter(clock=clock)}
        return AsyncClient(config, store=store, adapters=adapters, clock=clock, background=False)

    return connect


@pytest.fixture
async def client(connect):
    async with asyncio.timeout(20), connect() as client:
        yield client


@pytest.fixture
def sink():
    return RecordingSink()


def logged(caplog, name):
    return [entry for entry in caplog.records if getattr(entry, "event", None) == name]


async def advance(clock, task):
    """Let time pass until a task ends."""
    while not task.done():
        clock.advance(1)
        await asyncio.sleep(0)
    return await task


async def test_every_event_is_sent_once_and_acknowledged(client, store, sink):
    calls = [new_call() for _ in range(5)]
    events = await record(store, *calls, *calls)
    health = await client.relay(sink, follow=False).run()
    assert sorted(sink.ids) == sorted(event.id for event in events)
    assert_in_order(sink.stored)
    assert (health.state, health.confirmed, health.problem) == (RelayState.STOPPED, 10, None)
    (group,) = await client.groups()
    assert (group.name, group.lag, group.parked) == ("relay", 0, 0)
    assert (sink.openings, sink.closings) == (1, 1)


async def test_a_second_run_sends_nothing_again(client, store, sink):
    await record(store, new_call())
    await client.relay(sink, follow=False).run()
    again = RecordingSink()
    await client.relay(again, follow=False).run()
    assert again.stored == []


async def test_an_event_is_not_acknowledged_before_the_broker_confirmed_it(client, store, sink):
    call = new_call()
    await record(store, call, call)
    confirm = asyncio.Event()

    async def answer(message):
        sink.stored.append(message)
        await confirm.wait()
        return Confirmed()

    sink.answer = answer
    relay = client.relay(sink)
    task = asyncio.create_task(relay.run())
    await until(lambda: sink.stored)
    (group,) = await client.groups()
    assert group.lag == 2
    assert len(sink.stored) == 1  # the next event of the call waits for this one
    confirm.set()
    await until(lambda: relay.health.confirmed == 2)
    await relay.aclose()
    await task
    (group,) = await client.groups()
    assert group.lag == 0


async def test_a_message_that_is_not_confirmed_is_sent_again_until_it_is(client, store, sink, clock, caplog):
    call = new_call()
    await record(store, call, call)
    failures = iter(["timed out", "timed out", "no quorum"])

    async def answer(message):
        sink.stored.append(message)
        problem = next(failures, None)
        return Confirmed(duplicate=False) if problem is None else Unconfirmed(problem)

    sink.answer = answer
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(client.relay(sink, follow=False).run())
    health = await advance(clock, task)
    first, second = dict.fromkeys(sink.ids)
    assert sink.ids == [first] * 4 + [second]
    assert health.confirmed == 2
    assert len(logged(caplog, "relay_sink_failed")) == 2  # each problem once
    assert len(logged(caplog, "relay_recovered")) == 1


async def test_a_broker_that_is_away_for_long_parks_no_event(client, store, sink, clock):
    await record(store, new_call())
    failures = iter(range(50))

    async def answer(message):
        if next(failures, None) is not None:
            raise ConnectionError("the broker is away")
        return await RecordingSink.answer(sink, message)

    sink.answer = answer
    health = await advance(clock, asyncio.create_task(client.relay(sink, follow=False).run()))
    assert (health.confirmed, health.refused) == (1, 0)
    assert await client.parked("relay") == ()


async def test_the_pauses_between_attempts_grow_to_the_configured_limit(connect, store, sink, clock):
    await record(store, new_call())
    times = []

    async def answer(_):
        times.append(clock.now())
        return Confirmed() if len(times) == 8 else Unconfirmed("away")

    sink.answer = answer
    async with asyncio.timeout(20), connect(retry_pause=timedelta(seconds=2)) as client:
        task = asyncio.create_task(client.relay(sink, follow=False).run())
        while not task.done():
            clock.advance(0.1)
            for _ in range(20):
                await asyncio.sleep(0)
        await task
    pauses = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert 2 <= pauses[-1] < 2.5


async def test_a_refused_message_is_parked_and_the_events_behind_it_are_sent(client, store, sink, caplog):
    call, other = calls_together(store, 2)
    events = await record(store, call, call, other)

    async def answer(message):
        if message.id == events[0].id:
            return Refused("too large")
        return await RecordingSink.answer(sink, message)

    sink.answer = answer
    health = await client.relay(sink, follow=False).run()
    (parked,) = await client.parked("relay")
    assert parked.event.id == events[0].id
    assert set(sink.ids) == {events[1].id, events[2].id}
    assert sink.ids.count(events[1].id) == 1
    assert health.refused == MAX_ATTEMPTS
    (entry,) = logged(caplog, "relay_event_refused")
    assert "too large" in entry.getMessage()


async def test_the_events_before_a_refused_one_are_acknowledged_and_not_sent_again(client, store, sink):
    calls = calls_together(store, 5)
    events = await record(store, *calls)

    async def answer(message):
        if message.id == events[2].id:
            return Refused("too large")
        return await RecordingSink.answer(sink, message)

    sink.answer = answer
    await client.relay(sink, follow=False).run()
    assert [sink.ids.count(event.id) for event in events[:3]] == [1, 1, 0]
    assert set(sink.ids) == {event.id for event in events} - {events[2].id}
    (parked,) = await client.parked("relay")
    assert (parked.event.id, parked.attempts) == (events[2].id, MAX_ATTEMPTS)


async def test_an_event_behind_a_refused_one_waits_until_that_is_parked(client, store, sink):
    call = new_call()
    first, second = await record(store, call, call)
    refusals = iter(range(MAX_ATTEMPTS - 1))

    async def answer(message):
        if message.id == first.id and next(refusals, None) is not None:
            return Refused("the topic allows less")  # until someone raises its limit
        return await RecordingSink.answer(sink, message)

    sink.answer = answer
    await client.relay(sink, follow=False).run()
    assert sink.ids == [first.id, second.id]
    assert await client.parked("relay") == ()


async def test_events_are_read_and_sent_in_batches(connect, store, sink):
    calls = calls_together(store, 40)
    await record(store, *calls, *calls)
    async with asyncio.timeout(20), connect(batch=30) as client:
        await client.relay(sink, follow=False).run()
    assert [len(batch) for batch in sink.batches] == [30, 30, 20]
    assert_in_order(sink.stored)


async def test_only_the_messages_that_are_not_confirmed_are_sent_again(client, store, sink, clock):
    calls = calls_together(store, 10)
    events = await record(store, *calls)
    failing = {events[3].id, events[7].id}

    async def answer(message):
        if message.id in failing:
            failing.discard(message.id)
            return Unconfirmed("timed out")
        return await RecordingSink.answer(sink, message)

    sink.answer = answer
    await advance(clock, asyncio.create_task(client.relay(sink, follow=False).run()))
    assert sink.batches[1] == [events[3].id, events[7].id]
    assert sorted(sink.ids) == sorted(event.id for event in events)


async def test_a_parked_event_that_is_released_is_sent(client, store, sink):
    (event,) = await record(store, new_call())
    refusing = RecordingSink()

    async def refuse(_):
        return Refused("too large")

    refusing.answer = refuse
    await client.relay(refusing, follow=False).run()
    assert await client.release("relay", event.id)
    await client.relay(sink, follow=False).run()
    assert sink.ids == [event.id]
    assert await client.parked("relay") == ()


async def test_a_stop_gives_back_the_event_that_is_not_confirmed_without_an_attempt(client, store, sink):
    (event,) = await record(store, new_call())

    async def answer(_):
        return Unconfirmed("away")

    sink.answer = answer
    for _ in range(MAX_ATTEMPTS + 1):
        relay = client.relay(sink)
        task = asyncio.create_task(relay.run())
        await until(lambda relay=relay: relay.health.state is RelayState.RETRYING)
        await relay.aclose()
        assert (await task).state is RelayState.STOPPED
    assert await client.parked("relay") == ()
    working = RecordingSink()
    await client.relay(working, follow=False).run()
    assert working.ids == [event.id]


async def test_a_stop_waits_for_the_confirmation_of_what_is_being_sent(client, store, sink):
    await record(store, new_call())
    confirm = asyncio.Event()

    async def answer(message):
        sink.stored.append(message)
        await confirm.wait()
        return Confirmed()

    sink.answer = answer
    relay = client.relay(sink)
    task = asyncio.create_task(relay.run())
    await until(lambda: sink.stored)
    relay.stop()
    await asyncio.sleep(0)
    confirm.set()
    await task
    (group,) = await client.groups()
    assert group.lag == 0


async def test_closing_the_client_ends_its_relays(connect, store, sink):
    await record(store, new_call())

    async def answer(_):
        return Unconfirmed("away")

    sink.answer = answer
    async with asyncio.timeout(20):
        async with connect() as client:
            relay = client.relay(sink)
            task = asyncio.create_task(relay.run())
            await until(lambda: relay.health.problem)
        await task
    assert sink.closings == 1


async def test_cancelling_a_relay_closes_its_sink_and_gives_back_its_event(client, store, sink):
    (event,) = await record(store, new_call())
    waiting = asyncio.Event()

    async def answer(_):
        waiting.set()
        await asyncio.Event().wait()

    sink.answer = answer
    task = asyncio.create_task(client.relay(sink).run())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.closings == 1
    working = RecordingSink()
    await client.relay(working, follow=False).run()
    assert working.ids == [event.id]


async def test_a_relay_waits_for_a_broker_that_cannot_be_reached_at_the_start(client, store, sink, clock):
    await record(store, new_call())
    opening = sink.open

    async def fail_twice():
        await opening()
        if sink.openings < 3:
            raise SinkError("cannot be reached")

    sink.open = fail_twice
    relay = client.relay(sink, follow=False)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.health.problem)
    assert not relay.health.ready
    health = await advance(clock, task)
    assert (sink.openings, health.confirmed) == (3, 1)


async def test_a_sink_that_returns_too_few_results_confirms_nothing(client, store, sink):
    await record(store, new_call())

    async def send(messages):
        return []

    sink.send = send
    relay = client.relay(sink)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.health.problem)
    assert "0 results for 1" in relay.health.problem
    await relay.aclose()
    await task


async def test_the_problem_of_a_sink_shows_no_number_and_no_secret(client, store, sink, planted):
    await record(store, new_call())

    async def answer(_):
        raise ConnectionError(f"{planted.number} Endpoint=sb://x;SharedAccessKey={planted.access_key}")

    sink.answer = answer
    relay = client.relay(sink)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.health.problem)
    assert not planted.shown_in(relay.health)
    await relay.aclose()
    await task


async def test_two_relays_of_a_group_send_each_event_once(connect, store):
    calls = [new_call() for _ in range(30)]
    events = await record(store, *calls)
    sinks = [RecordingSink(), RecordingSink()]
    async with asyncio.timeout(20), connect() as one, connect() as two:
        relays = [client.relay(sink) for client, sink in zip((one, two), sinks, strict=True)]
        tasks = [asyncio.create_task(relay.run()) for relay in relays]
        await until(lambda: sum(relay.health.confirmed for relay in relays) == len(events))
        for relay in relays:
            await relay.aclose()
        await asyncio.gather(*tasks)
    sent = [message_id for sink in sinks for message_id in sink.ids]
    assert sorted(sent) == sorted(event.id for event in events)


async def test_a_relay_without_a_configured_sink_names_the_key(client):
    with pytest.raises(ConfigError, match=r"relay\.sink: is missing"):
        client.relay()


async def test_a_relay_runs_once(client, sink):
    relay = client.relay(sink, follow=False)
    await relay.run()
    with pytest.raises(RuntimeError, match="runs once"):
        await relay.run()


@pytest.mark.parametrize(
    ("module", "problem"),
    [("nats", "nats-py is not installed"), ("cloudevents", "cloudevents is not installed")],
)
async def test_a_missing_client_is_an_error_that_names_the_extra(client, monkeypatch, module, problem):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    sink = NatsSink(NatsSettings(servers=("nats://127.0.0.1:1",), stream="EVENTS"))
    with pytest.raises(ConfigError, match=rf"{problem}.*transferkit\[nats\]"):
        await client.relay(sink).run()
