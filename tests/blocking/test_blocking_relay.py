"""Relays of the blocking client."""

import pytest
from support.blocking import ANSWERS, CALL, thread, waiting
from support.relay import RecordingSink

from transferkit import ConfigError
from transferkit.relay import RelayState, Unconfirmed


def test_a_relay_forwards_every_event_and_returns_its_health(client):
    client.transfer(CALL, to=ANSWERS).outcome(10)
    sink = RecordingSink()
    health = client.relay(sink, follow=False).run()
    assert health.state is RelayState.STOPPED
    assert health.confirmed == len(sink.stored) >= 5
    assert [group.lag for group in client.groups()] == [0]


def test_another_thread_stops_a_relay(client):
    relay = client.relay(RecordingSink())
    with thread(relay.run) as ended:
        waiting(client)
        relay.stop()
        assert ended.result(10).state is RelayState.STOPPED
    assert relay.health.state is RelayState.STOPPED


def test_closing_the_client_ends_a_relay_whose_broker_is_away(client):
    client.transfer(CALL, to=ANSWERS).outcome(10)
    sink = RecordingSink()

    async def answer(_):
        return Unconfirmed("away")

    sink.answer = answer
    relay = client.relay(sink)
    with thread(relay.run) as ended:
        waiting(client)
        client.close()
        assert ended.result(10).state is RelayState.STOPPED
    assert sink.closings == 1


def test_a_relay_without_a_configured_sink_names_the_key(client):
    with pytest.raises(ConfigError, match=r"relay\.sink"):
        client.relay()
