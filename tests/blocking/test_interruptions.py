"""Waits that a signal handler interrupts."""

import pytest
from support.blocking import CALL, SILENT, first, interruption, say, until

from transferkit import (
    TransferCompleted,
)
from transferkit.provider.facts import Signal


def test_an_interrupted_wait_cancels_its_coroutine_and_not_the_transfer(client, fake):
    transfer = client.transfer(CALL, to=SILENT)
    with interruption(client):
        transfer.outcome()
    until(lambda: not client._loop._waits)
    say(client, fake, Signal.SUCCEEDED)
    assert isinstance(transfer.outcome(10), TransferCompleted)


def test_an_interrupted_stream_loses_no_event(client):
    with client.events() as stream:
        with interruption(client):
            next(stream)
        client.transfer(CALL, to=SILENT)
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]


def test_an_event_that_arrives_in_an_interrupted_wait_is_the_next_event(client, overtake):
    with client.events() as stream:
        overtake(client, stream)
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]


def test_ack_does_not_acknowledge_an_event_of_an_interrupted_wait(crm, overtake):
    with crm.events("crm") as stream:
        assert [next(stream).call_id for _ in range(2)] == [CALL, CALL]
        overtake(crm, stream)
        stream.ack()
    assert first(crm) == "transfer.requested"


def test_an_error_does_not_count_against_an_event_of_an_interrupted_wait(crm, overtake):
    def fail():
        with crm.events("crm") as stream:
            assert [next(stream).call_id for _ in range(2)] == [CALL, CALL]
            overtake(crm, stream)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert crm.parked("crm") == ()
    assert first(crm) == "transfer.requested"
