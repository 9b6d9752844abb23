"""The Kafka sink, against two brokers: librdkafka's mock cluster and (heavy) Tansu."""

import asyncio
from datetime import timedelta

import pytest
from cloudevents.core.bindings import kafka
from support.kafka import PARTITIONS, TOPIC, MockCluster, create_topic, records, tansu

from transferkit import Secret
from transferkit.config import ContentMode
from transferkit.relay import Confirmed, SinkError, Unconfirmed
from transferkit.relay.sinks.kafka import KafkaSettings, KafkaSink
from transferkit.testing import SinkContract
from transferkit.testing.contracts.sink import sample_message


def settings(address, **options):
    return KafkaSettings(**{"servers": (address,), "topic": TOPIC, "tls": False} | options)


@pytest.fixture
def address():
    cluster = MockCluster()
    yield cluster.address
    cluster.stop()


@pytest.fixture
async def sink(address):
    sink = KafkaSink(settings(address, timeout=timedelta(seconds=5)))
    async with asyncio.timeout(60):
        await sink.open()
        yield sink
        await sink.close()


class KafkaContract(SinkContract):
    refused_size = 1_100_000

    @pytest.fixture(autouse=True)
    def with_address(self, address):
        self.address = address

    @pytest.fixture
    def sink(self, address):
        return KafkaSink(settings(address))

    async def received(self, number):
        return [event_of(record) for record in await asyncio.to_thread(records, self.address, number)]


def event_of(record):
    """The event of a record, as a consumer with the official library reads it."""
    message = kafka.KafkaMessage(dict(record.headers()), record.key(), record.value())
    return kafka.from_kafka_event(message)


class TestKafkaSink(KafkaContract):
    """On librdkafka's mock cluster."""


@pytest.mark.heavy
class TestKafkaSinkOnTansu(KafkaContract):
    """On a broker that shares no code with the client."""

    @pytest.fixture
    async def address(self):
        async with tansu() as address:
            await asyncio.to_thread(create_topic, address)
            yield address


async def test_the_events_of_a_call_have_its_key_and_one_partition(sink, address):
    messages = [
        sample_message(f"call-{call}", sequence, content_mode=ContentMode.BINARY)
        for sequence in range(1, 4)
        for call in range(12)
    ]
    for start in range(0, len(messages), 12):
        assert await sink.send(messages[start : start + 12]) == [Confirmed()] * 12
    found = await asyncio.to_thread(records, address, len(messages))
    partitions = {}
    for record in found:
        partitions.setdefault(record.key(), set()).add(record.partition())
    assert set(partitions) == {f"fake:call-{call}".encode() for call in range(12)}
    assert all(len(used) == 1 for used in partitions.values())
    assert len({partition for used in partitions.values() for partition in used}) == PARTITIONS


async def test_a_broker_that_cannot_be_reached_is_an_error(address):
    unreachable = KafkaSink(settings("127.0.0.1:1", timeout=timedelta(milliseconds=300)))
    with pytest.raises(SinkError, match="Kafka cannot be used"):
        await unreachable.open()
    await unreachable.close()


async def test_a_wrong_certificate_authority_is_an_error(address, tmp_path):
    missing = KafkaSink(settings(address, tls=True, ca_file=tmp_path / "missing.pem"))
    with pytest.raises(SinkError, match=r"ssl\.ca\.location"):
        await missing.open()


async def test_a_broker_that_went_away_confirms_nothing_within_the_time_out():
    cluster = MockCluster()
    sink = KafkaSink(settings(cluster.address, timeout=timedelta(seconds=1)))
    await sink.open()
    async with asyncio.timeout(20):
        while await sink.send([sample_message()]) != [Confirmed()]:
            pass  # an idempotent producer needs up to a second to be ready
    cluster.stop()
    (result,) = await sink.send([sample_message(sequence=2)])
    assert isinstance(result, Unconfirmed)
    await sink.close()


def test_credentials_are_sent_by_sasl_and_are_not_in_any_repr(planted):
    chosen = settings(
        "contoso.servicebus.windows.net:9093",
        tls=True,
        user="$ConnectionString",
        password=Secret(value=planted.client_secret),
    )
    configuration = KafkaSink(chosen)._configuration()
    assert configuration["security.protocol"] == "SASL_SSL"
    assert configuration["sasl.username"] == "$ConnectionString"
    assert configuration["sasl.password"] == planted.client_secret
    assert configuration["enable.idempotence"] is True
    assert not planted.shown_in(chosen)


def test_options_of_librdkafka_replace_those_of_the_sink(address):
    sink = KafkaSink(settings(address), options={"linger.ms": 20, "compression.type": "zstd"})
    configuration = sink._configuration()
    assert (configuration["linger.ms"], configuration["compression.type"]) == (20, "zstd")
