"""The Service Bus sink: Microsoft's SDK against a stand-in that speaks AMQP 1.0."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings import amqp
from cloudevents.core.formats.json import JSONFormat
from support.service_bus import ServiceBus

from transferkit import ConfigError, Secret
from transferkit.config import ContentMode
from transferkit.relay import Confirmed, SinkError, Unconfirmed
from transferkit.relay.sinks.servicebus import ServiceBusSettings, ServiceBusSink
from transferkit.testing import SinkContract
from transferkit.testing.contracts.sink import sample_message

SECONDS = timedelta(seconds=2)

# The SDK does not close the socket of a connection that the other side ended.
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def bus():
    bus = ServiceBus()
    bus.start()
    yield bus
    bus.stop()
    gc.collect()  # warns about the SDK's sockets here, where these warnings are ignored


def settings(bus, **options):
    secret = Secret(value=bus.connection_string)
    entity = {} if "topic" in options else {"queue": "calls"}
    return ServiceBusSettings(connection_string=secret, timeout=SECONDS, **entity | options)


@pytest.fixture
async def sink(bus):
    sink = ServiceBusSink(settings(bus))
    async with asyncio.timeout(60):
        await sink.open()
        yield sink
        await sink.close()


class TestServiceBusSink(SinkContract):
    deduplicates = True
    refused_size = 300_000

    @pytest.fixture(autouse=True)
    def with_bus(self, bus):
        self.bus = bus

    @pytest.fixture
    def sink(self, bus):
        return ServiceBusSink(settings(bus))

    async def received(self, number):
        assert len(self.bus.stored) >= number
        return [cloud_event(message) for message in self.bus.stored]


def cloud_event(message):
    """The event of a message, as a consumer with the official library reads it."""
    return amqp.from_amqp(
        amqp.AMQPMessage(
            properties={"content-type": str(message.content_type)},
            application_properties={
                name: datetime.fromtimestamp(value / 1000, UTC).isoformat()
                if name == "cloudEvents_time"
                else value
                for name, value in (message.properties or {}).items()
            },
            application_data=bytes(message.body),
        ),
        JSONFormat(),
    )


async def test_the_event_is_the_message_id_and_the_call_the_session(sink, bus):
    message = sample_message("call-7", content_mode=ContentMode.BINARY)
    await sink.send([message])
    (stored,) = bus.stored
    assert (stored.id, stored.group_id) == (message.id, "fake:call-7")
    assert stored.subject == "transfer.completed"
    assert type(stored.properties["cloudEvents_time"]).__name__ == "timestamp"


async def test_messages_of_several_calls_are_one_batch(sink, bus):
    await sink.send([sample_message(f"call-{number}") for number in range(10)])
    assert (len(bus.stored), bus.deliveries) == (10, 1)


async def test_a_partitioned_entity_gets_a_batch_for_each_call(bus):
    sink = ServiceBusSink(settings(bus, partitioned=True))
    await sink.open()
    await sink.send([sample_message(f"call-{number}") for number in range(3)])
    assert (len(bus.stored), bus.deliveries) == (3, 3)
    await sink.close()


async def test_messages_that_do_not_fit_into_one_batch_are_several(sink, bus):
    messages = [sample_message(f"call-{number}", size=100_000) for number in range(5)]
    assert await sink.send(messages) == [Confirmed()] * 5
    assert len(bus.stored) == 5
    assert bus.deliveries == 3


async def test_a_long_call_id_becomes_a_session_id_that_is_allowed(sink, bus):
    await sink.send([sample_message("x" * 300), sample_message("x" * 299)])
    first, second = (message.group_id for message in bus.stored)
    assert max(len(first), len(second)) <= 128
    assert first != second


async def test_a_lost_connection_leaves_messages_unconfirmed_until_it_is_back(sink, bus):
    assert await sink.send([sample_message()]) == [Confirmed()]
    bus.stop()
    message = sample_message(sequence=2)
    (result,) = await sink.send([message])
    assert isinstance(result, Unconfirmed)
    bus.start()
    while not isinstance((await sink.send([message]))[0], Confirmed):  # noqa: ASYNC110 - of a server
        await asyncio.sleep(0.05)
    assert [stored.id for stored in bus.stored][1:] == [message.id]


async def test_a_message_without_a_confirmation_is_not_confirmed_and_its_second_copy_is_dropped(sink, bus):
    bus.confirms = False
    message = sample_message()
    (result,) = await sink.send([message])
    assert isinstance(result, Unconfirmed)
    bus.confirms = True
    while not isinstance((await sink.send([message]))[0], Confirmed):  # noqa: ASYNC110 - of a server
        await asyncio.sleep(0.05)
    assert len(bus.stored) == 1
    assert bus.copies >= 1


async def test_an_entity_that_does_not_exist_confirms_nothing(bus):
    sink = ServiceBusSink(settings(bus, topic="nowhere"))
    await sink.open()
    (result,) = await sink.send([sample_message()])
    assert isinstance(result, Unconfirmed)
    assert bus.stored == []
    await sink.close()


async def test_a_namespace_that_cannot_be_reached_is_an_error(bus):
    bus.stop()
    with pytest.raises(SinkError, match="Service Bus 'calls' cannot be used"):
        await ServiceBusSink(settings(bus)).open()


async def test_a_connection_string_of_another_form_is_an_error_that_does_not_show_it(planted):
    secret = Secret(key="relay.servicebus.connection_string", value=planted.connection_string)
    with pytest.raises(ConfigError, match=r"relay\.servicebus\.connection_string: is not") as raised:
        await ServiceBusSink(ServiceBusSettings(queue="calls", connection_string=secret)).open()
    assert not planted.shown_in(raised.value)


@pytest.mark.parametrize(
    "options",
    [
        {"connection_string": Secret(value="x")},
        {"queue": "a", "topic": "b", "connection_string": Secret(value="x")},
        {"queue": "a"},
        {"queue": "a", "namespace": "x.servicebus.windows.net"},
    ],
)
def test_settings_name_one_entity_and_one_way_to_authenticate(options):
    with pytest.raises(ValueError, match=r"exactly one of|is needed"):
        ServiceBusSettings(**options)
