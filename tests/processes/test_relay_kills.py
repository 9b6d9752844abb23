"""Relays and their broker are killed at random times: no event is lost, and each call stays in order.

Duplicates are dropped by JetStream, because the duplicate window is longer than the test.
"""

import asyncio
import json
import logging
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from random import Random

import pytest
from support.command_line import PROGRAM
from support.kafka import TOPIC, create_topic, records, tansu
from support.nats import BINARY, NatsServer

from transferkit.stores.sqlite import SqliteStore
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import new_call

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(BINARY is None, reason="nats-server is not installed"),
]

KILLS = int(os.environ.get("TRANSFERKIT_TEST_RELAY_KILLS", "12"))
CALLS = 40
SECONDS = 60 + 10 * KILLS


class RelayProcess:
    """`transferkit relay` in a process that is killed and started again."""

    def __init__(self, config):
        self.config = config
        self.process = None

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "relay",
            f"--config={self.config}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return await self.process.wait()


@pytest.fixture
def config(tmp_path):
    def config(name, sink):
        file = tmp_path / "transferkit.toml"
        # A kill counts as an attempt at the event that was being sent.
        file.write_text(
            f"""
            provider = "fake"
            store = "sqlite:///kept.db"
            [groups]
            lease = 1
            max_attempts = {10 * KILLS}
            [relay]
            sink = "{name}"
            retry_pause = 0.5
            [relay.{name}]
            timeout = 1
            """
            + sink
        )
        return file

    return config


async def write_events(store, stop):
    """Record facts of many calls, one transaction after the other, until `stop`; returns the events."""
    calls, events, random = [new_call() for _ in range(CALLS)], [], Random(18)  # noqa: S311 - repeatable
    while not stop.is_set():
        events += await record(store, *random.choices(calls, k=5))
        await asyncio.sleep(0.02)
    return events


async def until_forwarded(store):
    while True:
        groups = {group.name: group for group in await store.groups()}
        if groups and groups["relay"].lag == 0:
            return groups["relay"]
        await asyncio.sleep(0.2)


async def test_no_event_is_lost_repeated_or_reordered_by_kills_of_relays_and_the_broker(tmp_path, config):
    server = NatsServer(tmp_path / "jetstream")
    store = SqliteStore(tmp_path / "kept.db")
    stop, random = asyncio.Event(), Random(7)  # noqa: S311 - repeatable
    async with asyncio.timeout(SECONDS), AsyncExitStack() as cleanup:
        await server.start()
        cleanup.push_async_callback(server.kill)
        await server.add_stream(window=3600)
        await store.open()
        cleanup.push_async_callback(store.close)
        sink = f'servers = ["{server.url}"]\nstream = "EVENTS"'
        relays = [RelayProcess(config("nats", sink)) for _ in range(2)]
        for relay in relays:
            await relay.start()
            cleanup.push_async_callback(end_if_running, relay)
        writing = asyncio.create_task(write_events(store, stop))
        for number in range(KILLS):
            await asyncio.sleep(random.uniform(0.5, 2.5))
            if number % 3 == 2:
                await server.kill()
                await asyncio.sleep(random.uniform(0, 1.5))
                await server.start()
            else:
                relay = random.choice(relays)
                await relay.end()
                await relay.start()
        stop.set()
        events = await writing
        group = await until_forwarded(store)
        for relay in relays:
            assert await relay.end(signal.SIGTERM) == 0
        messages = [json.loads(message.data) for message in await server.messages(len(events))]
    assert group.parked == 0
    ids = [message["id"] for message in messages]
    assert len(ids) == len(set(ids)), "JetStream dropped every second copy"
    assert set(ids) == {event.id for event in events}
    by_call = {}
    for message in messages:
        by_call.setdefault(message["subject"], []).append(int(message["sequence"]))
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in by_call.values())
    assert len(events) > 100
    logging.getLogger(__name__).info("%d events, %d kills", len(events), KILLS)


async def test_every_event_reaches_kafka_in_order_while_relays_are_killed(tmp_path, config):
    """The broker keeps its data in memory, so only relays are killed. It drops no second copies."""
    store = SqliteStore(tmp_path / "kept.db")
    stop, random = asyncio.Event(), Random(7)  # noqa: S311 - repeatable
    async with asyncio.timeout(SECONDS), tansu() as address, AsyncExitStack() as cleanup:
        await asyncio.to_thread(create_topic, address)
        await store.open()
        cleanup.push_async_callback(store.close)
        sink = f'servers = ["{address}"]\ntopic = "{TOPIC}"\ntls = false'
        relays = [RelayProcess(config("kafka", sink)) for _ in range(2)]
        for relay in relays:
            await relay.start()
            cleanup.push_async_callback(end_if_running, relay)
        writing = asyncio.create_task(write_events(store, stop))
        for _ in range(KILLS // 2):
            await asyncio.sleep(random.uniform(0.5, 2.5))
            relay = random.choice(relays)
            await relay.end()
            await relay.start()
        stop.set()
        events = await writing
        group = await until_forwarded(store)
        for relay in relays:
            assert await relay.end(signal.SIGTERM) == 0
        found = await asyncio.to_thread(records, address, len(events), quiet=5)
    assert group.parked == 0
    assert {json.loads(each.value())["id"] for each in found} == {event.id for event in events}
    highest = Counter()
    for each in found:
        sequence = int(json.loads(each.value())["sequence"])
        assert sequence <= highest[each.key()] + 1, "no event arrived before the one before it"
        highest[each.key()] = max(highest[each.key()], sequence)
    logging.getLogger(__name__).info("%d events, %d records", len(events), len(found))


async def end_if_running(relay):
    if relay.process.returncode is None:
        await relay.end()
