"""Opening and closing the blocking client, and the end of the interpreter."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.blocking import ANSWERS, CALL, CONFIG, SILENT, begun, our_threads, thread, until
from support.waiting import logged

from transferkit import (
    Client,
    ClientClosed,
    MemoryStore,
    StoreError,
    Transfer,
    TransferCompleted,
)
from transferkit._lifecycle import CallKey
from transferkit.blocking.loop import Wait
from transferkit.testing import FakeAdapter


def test_concurrent_first_calls_open_the_client_once(client, store):
    start = threading.Barrier(8)

    def use(number):
        start.wait(10)
        return client.transfer(f"call {number}", to=ANSWERS).outcome(10)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(use, range(8)))
    assert {type(outcome) for outcome in outcomes} == {TransferCompleted}
    assert store.opened == 1


def test_the_next_call_opens_a_store_that_failed_to_open(client, store):
    store.broken = True
    for _ in range(2):
        with pytest.raises(StoreError, match="disk"):
            client.run_due()
    store.broken = False
    assert client.run_due() == 0


def test_with_opens_at_once_and_leaves_no_thread_if_it_fails(client, store):
    store.broken = True
    with pytest.raises(StoreError, match="disk"), client:
        pytest.fail("it was entered")
    assert our_threads() == []


def test_with_closes_the_client_and_raises_the_error_of_its_block(client, store):
    with pytest.raises(ZeroDivisionError), client:
        1 / 0  # noqa: B018 - it is the division that counts
    assert (store.opened, store.closed) == (1, 1)
    assert our_threads() == []


def test_a_closed_client_raises_client_closed_until_with_opens_it(client):
    transfer = client.transfer(CALL, to=ANSWERS)
    transfer.outcome(10)
    client.close()
    client.close()
    with pytest.raises(ClientClosed, match="with client"):
        client.get(transfer.id)
    with pytest.raises(ClientClosed), client.events():
        pytest.fail("it was entered")
    with client:
        assert isinstance(transfer.outcome(10), TransferCompleted)


def test_closing_an_unused_client_does_nothing(client, store):
    client.close()
    assert store.opened == 0


def test_closing_ends_waits_and_streams_in_other_threads(client):
    transfer = client.transfer(CALL, to=SILENT)

    def read():
        with client.events() as stream:
            entered.set()
            return list(stream)

    entered = threading.Event()
    with thread(read) as reading, thread(transfer.outcome) as outcome:
        assert entered.wait(10)
        until(lambda: len(client._loop._waits) == 2)
        client.close()
        with pytest.raises(ClientClosed):
            outcome.result(10)
        assert {event.kind for event in reading.result(10)} <= {"transfer.requested", "transfer.submitted"}


def test_several_threads_can_close_the_client_at_once(client):
    client.transfer(CALL, to=SILENT)
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda _: client.close(), range(4))] == [None] * 4
    assert our_threads() == []


def test_a_call_while_the_loop_ends_raises_client_closed(client, monkeypatch):
    client.run_due()
    loop = client._loop

    def last_moment(_):
        late.append(begun(client.run_due))
        until(lambda: loop._waits)

    late = []
    monkeypatch.setattr(loop._helpers, "join", last_moment)
    loop.close()
    with pytest.raises(ClientClosed):
        late[0].result(10)
    monkeypatch.undo()
    loop._helpers.join(10)  # `last_moment` took the place of this


def test_close_raises_the_error_of_closing(client, store):
    async def close():
        raise StoreError("the disk is gone")

    store.close = close
    client.run_due()
    with pytest.raises(StoreError, match="disk"):
        client.close()


def test_system_exit_in_a_coroutine_ends_its_caller_and_not_the_client(clock):
    class Leaving(FakeAdapter):
        async def wire(self, submission):
            sys.exit(3)

    with Client(CONFIG, adapters={"fake": Leaving(clock=clock)}, clock=clock) as client:
        with pytest.raises(SystemExit):
            client.preview(Transfer(call=CALL, to=ANSWERS))
        assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)


def test_closing_waits_for_a_submission_that_is_being_sent(clock):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(FakeAdapter):
        async def submit(self, submission):
            begun.set()
            await asyncio.to_thread(go_on.wait, 10)
            return await super().submit(submission)

    store = MemoryStore()
    client = Client(CONFIG, store=store, adapters={"fake": Slow(clock=clock)}, clock=clock)
    transfer = client.transfer(CALL, to=SILENT)
    assert begun.wait(10)
    with thread(client.close):
        until(lambda: client._loop.stopping)
        go_on.set()
    progress = asyncio.run(store.state(CallKey("fake", CALL))).open
    assert (progress.id, progress.in_flight) == (transfer.id, False)


def test_closing_cancels_tasks_that_an_adapter_left_running(make):
    ended = []

    class Strays(FakeAdapter):
        async def submit(self, submission):
            async def stray():
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    ended.append(submission.id)

            self.stray = asyncio.create_task(stray())
            return await super().submit(submission)

    client = make(Strays)
    transfer = client.transfer("call-1", to=ANSWERS)
    transfer.outcome(10)
    client.close()
    assert ended == [transfer.id]


def test_cancelling_a_wait_after_the_loop_has_ended_is_no_error(make):
    client = make()
    client.run_due()
    loop, wait = client._loop, Wait()
    client.close()
    loop.cancel(wait)
    with pytest.raises(asyncio.CancelledError):
        wait.future.result(0)


def test_a_coroutine_is_not_started_while_the_loop_ends(make):
    client = make()
    client.run_due()
    loop, wait = client._loop, Wait()
    client.close()
    loop._start(wait, None)
    with pytest.raises(asyncio.CancelledError):
        wait.future.result(0)


def test_a_client_that_does_not_close_in_time_is_logged_at_exit(make, store, caplog, monkeypatch):
    monkeypatch.setattr("transferkit.blocking.loop._EXIT_SECONDS", 0.01)
    go = threading.Event()

    async def close():
        await asyncio.to_thread(go.wait, 10)

    client = make()
    store.close = close
    client.run_due()
    client._loop._at_exit()
    assert len(logged(caplog, "exit_cut_short")) == 1
    go.set()


def test_a_client_that_does_not_close_cleanly_is_logged_at_exit(make, store, caplog):
    async def close():
        raise StoreError("the disk is full")

    client = make()
    store.close = close
    client.run_due()
    client._loop._at_exit()
    assert len(logged(caplog, "exit_failed")) == 1
    with pytest.raises(StoreError):
        client.close()


def test_the_exit_of_a_fork_does_not_stop_its_parents_loop(make, monkeypatch):
    client = make()
    client.run_due()
    with monkeypatch.context() as forked:
        forked.setattr("transferkit.blocking.loop.os.getpid", lambda: -1)
        client._loop._at_exit()
    assert not client._loop.stopping
