"""Event streams of the blocking client."""

import threading

import pytest
from support.blocking import ANSWERS, CALL, SILENT, first, thread, waiting

from transferkit import (
    StoreError,
)
from transferkit.blocking.loop import Wait


def test_a_live_tail_starts_now(client):
    client.transfer("before", to=ANSWERS).outcome(10)
    with client.events() as stream:
        client.transfer(CALL, to=ANSWERS)
        kinds = [next(stream).kind for _ in range(5)]
    assert kinds == [
        f"transfer.{word}" for word in ("requested", "submitted", "started", "accepted", "completed")
    ]


def test_a_stream_must_be_entered(client):
    with pytest.raises(RuntimeError, match="enter the stream first"):
        next(client.events())


def test_a_second_thread_cannot_read_a_stream_at_the_same_time(client):
    with client.events() as stream, thread(lambda: next(stream)) as event:
        waiting(client)
        with pytest.raises(RuntimeError, match="another thread"):
            next(stream)
        client.transfer(CALL, to=SILENT)
        assert event.result(10).kind == "transfer.requested"


def test_leaving_a_stream_ends_it_in_the_thread_that_reads_it(client):
    with client.events() as stream, thread(lambda: list(stream)) as read:
        waiting(client)
        stream.__exit__(None, None, None)
        assert read.result(10) == []


def test_reading_the_next_event_acknowledges_the_one_before(crm):
    with crm.events("crm") as stream:
        assert [next(stream).kind for _ in range(2)] == ["transfer.requested", "transfer.submitted"]
    assert first(crm) == "transfer.submitted"
    assert first(crm) == "transfer.submitted"


def test_ack_acknowledges_an_event_before_the_next_is_read(crm):
    with crm.events("crm") as stream:
        next(stream)
        stream.ack()
        stream.ack()
    assert first(crm) == "transfer.submitted"


def test_an_error_of_the_loop_body_is_a_failed_attempt_at_the_event(crm):
    def fail():
        with crm.events("crm") as stream:
            raise LookupError(next(stream).kind)

    with pytest.raises(LookupError, match="requested"):
        fail()
    assert first(crm) == "transfer.submitted"
    (parked,) = crm.parked("crm")
    assert crm.release("crm", parked.event.id)
    assert first(crm) == "transfer.requested"
    assert [group.name for group in crm.groups()] == ["crm"]
    assert crm.remove_group("crm")


def test_a_stream_without_follow_ends_after_the_last_event(crm):
    with crm.events(start="beginning", follow=False) as stream:
        assert [event.kind for event in stream] == ["transfer.requested", "transfer.submitted"]


def test_closing_ends_the_stream_of_a_group_and_returns_its_event(crm):
    def read():
        with crm.events("crm") as stream:
            for event in stream:
                entered.set()
                if event.kind == "transfer.submitted":
                    left.wait(10)
        return "ended"

    entered, left = threading.Event(), threading.Event()
    with thread(read) as reading:
        assert entered.wait(10)
        crm.close()
        left.set()
        assert reading.result(10) == "ended"
    with crm:
        assert first(crm) == "transfer.submitted"


def test_a_stream_that_fails_to_open_can_be_opened_again(make, store):
    client = make()
    client.run_due()
    store.broken = True
    with pytest.raises(StoreError), client.events(group="crm"):
        pytest.fail("it was entered")
    store.broken = False
    with client.events(group="crm", follow=False) as stream:
        assert list(stream) == []


def test_a_stream_continues_after_an_error_of_the_store(make, store):
    client = make()
    with client.events() as stream:
        store.broken = True
        with pytest.raises(StoreError):
            next(stream)
        store.broken = False
        client.transfer("call-1", to=ANSWERS)
        assert next(stream).kind == "transfer.requested"


async def test_a_wait_that_never_started_has_no_result():
    assert not await Wait().ended()


def test_a_group_is_processed_by_a_blocking_handler_until_another_thread_closes_the_client(crm):
    handled = []
    with thread(
        lambda: crm.process("billing", handled.append, concurrency=2, start="beginning")
    ) as processing:
        waiting(crm)
        transfer = crm.transfer("another", to=ANSWERS)
        transfer.outcome(10)
        while not any(
            event.kind == "transfer.completed" and event.transfer_id == transfer.id for event in handled
        ):
            threading.Event().wait(0.005)
        crm.close()
        assert processing.result(10) is None
    orders = {}
    for event in handled:
        orders.setdefault(event.call_id, []).append(event.sequence)
    assert all(order == sorted(order) for order in orders.values())


def test_a_handler_of_a_process_can_use_the_client(crm):
    outcomes = []

    def handle(event):
        outcomes.append(crm.history(event.transfer_id)[0].kind)

    crm.process("billing", handle, follow=False)
    assert set(outcomes) == {"transfer.requested"}
