"""The JetStream sink, on a real server."""

import asyncio
from datetime import timedelta

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from support.nats import BINARY, NatsServer

from transferkit import Secret
from transferkit.config import ContentMode
from transferkit.relay import Confirmed, Refused, SinkError, Unconfirmed
from transferkit.relay.sinks.nats import NatsSettings, NatsSink
from transferkit.testing import SinkContract
from transferkit.testing.contracts.sink import sample_message

pytestmark = pytest.mark.skipif(BINARY is None, reason="nats-server is not installed")

SHORT = timedelta(milliseconds=300)


@pytest.fixture
async def server(tmp_path, monkeypatch):
    monkeypatch.setattr("transferkit.relay.sinks.nats._RECONNECT_SECONDS", 0.05)
    server = NatsServer(tmp_path / "jetstream")
    await server.start()
    yield server
    await server.kill()


def settings(server, **options):
    return NatsSettings(**{"servers": (server.url,), "stream": "EVENTS"} | options)


@pytest.fixture
async def sink(server):
    await server.add_stream()
    sink = NatsSink(settings(server))
    await sink.open()
    yield sink
    await sink.close()


class TestNatsSink(SinkContract):
    deduplicates = True
    refused_size = 1_100_000

    @pytest.fixture(autouse=True)
    def with_server(self, server):
        self.server = server

    @pytest.fixture
    async def sink(self, server):
        await server.add_stream()
        return NatsSink(settings(server))

    async def received(self, number):
        found = await self.server.messages(number)
        return [
            http.from_http(http.HTTPMessage(message.headers, message.data), JSONFormat()) for message in found
        ]


async def test_a_message_is_published_on_the_subject_of_its_kind_with_its_id(sink, server):
    message = sample_message(content_mode=ContentMode.BINARY)
    await sink.send([message])
    (found,) = await server.messages(1)
    assert found.subject == "transferkit.fake.transfer.completed"
    assert found.headers["Nats-Msg-Id"] == found.headers["ce-id"] == message.id
    assert found.headers["content-type"] == "application/json"


async def test_a_second_copy_within_the_window_is_confirmed_as_a_duplicate(sink, server):
    message = sample_message()
    assert await sink.send([message]) == [Confirmed()]
    assert await sink.send([message]) == [Confirmed(duplicate=True)]
    assert len(await server.messages(1)) == 1


async def test_a_message_larger_than_the_stream_allows_is_refused(server):
    await server.add_stream(max_msg_size=2000)
    sink = NatsSink(settings(server))
    await sink.open()
    (result,) = await sink.send([sample_message(size=3000)])
    assert isinstance(result, Refused)
    assert "max_msg_size" in result.reason
    await sink.close()


async def test_a_full_stream_that_takes_no_more_does_not_refuse_a_message(server):
    await server.add_stream(max_msgs=1, discard="new")
    sink = NatsSink(settings(server))
    await sink.open()
    assert await sink.send([sample_message()]) == [Confirmed()]
    (result,) = await sink.send([sample_message(sequence=2)])
    assert isinstance(result, Unconfirmed)
    assert "maximum messages exceeded" in result.reason
    await sink.close()


async def test_a_killed_server_leaves_messages_unconfirmed_until_it_is_back(sink, server):
    assert await sink.send([sample_message()]) == [Confirmed()]
    await server.kill()
    message = sample_message(sequence=2)
    async with asyncio.timeout(20):
        while not isinstance((await sink.send([message]))[0], Unconfirmed):  # noqa: ASYNC110 - of a server
            await asyncio.sleep(0.01)
        await server.start()
        while not isinstance((await sink.send([message]))[0], Confirmed):  # noqa: ASYNC110 - of a server
            await asyncio.sleep(0.05)
    assert len(await server.messages(2)) == 2


async def test_a_stream_that_does_not_exist_is_an_error_that_says_what_to_create(server):
    with pytest.raises(SinkError, match=r"no stream 'EVENTS': create it with the subjects transferkit\.>"):
        await NatsSink(settings(server)).open()


@pytest.mark.parametrize("subjects", [["other.>"], ["transferkit.fake.*"], ["transferkit"]])
async def test_a_stream_that_does_not_store_the_subjects_is_an_error(server, subjects):
    await server.add_stream(subjects=subjects)
    with pytest.raises(SinkError, match="does not store"):
        await NatsSink(settings(server)).open()


@pytest.mark.parametrize("subjects", [["transferkit.>"], ["*.*.*.*"], ["x", "transferkit.*.transfer.>"]])
async def test_a_stream_may_use_any_wildcards_that_cover_the_subjects(server, subjects):
    await server.add_stream(subjects=subjects)
    sink = NatsSink(settings(server))
    await sink.open()
    await sink.close()


async def test_a_server_that_cannot_be_reached_is_an_error(server):
    await server.kill()
    with pytest.raises(SinkError, match="NATS cannot be used"):
        await NatsSink(settings(server, timeout=SHORT)).open()


async def test_a_wrong_token_is_an_error_that_does_not_show_it(tmp_path, planted):
    server = NatsServer(tmp_path / "jetstream", "--auth", "right")
    await server.start()
    secret = Secret(value=planted.client_secret)
    sink = NatsSink(settings(server, token=secret, timeout=SHORT))
    with pytest.raises(SinkError, match=r"(?i)authorization") as raised:
        await sink.open()
    assert not planted.shown_in(raised.value)
    await server.kill()
