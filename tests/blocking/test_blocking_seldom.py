"""Ways through the blocking client that are seldom taken: helpers, strays, and the interpreter's end."""

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from transferkit import Client, Config, MemoryStore, StoreError
from transferkit.blocking import helpers as helpers_module
from transferkit.blocking.helpers import HelperThreads
from transferkit.blocking.loop import Wait
from transferkit.testing import FakeAdapter, ManualClock, scenario

CONFIG = Config(source="test", provider="fake")
ANSWERS = scenario("answers").number


class Store(MemoryStore):
    broken = False

    async def open_group(self, group, *, start):
        if self.broken:
            raise StoreError("the disk is full")
        await super().open_group(group, start=start)

    async def end_of_log(self):
        if self.broken:
            raise StoreError("the disk is full")
        return await super().end_of_log()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def make(store):
    made = []

    def make(adapter=FakeAdapter):
        clock = ManualClock()
        client = Client(CONFIG, store=store, adapters={"fake": adapter(clock=clock)}, clock=clock)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def logged(caplog, name):
    return [entry for entry in caplog.records if getattr(entry, "event", None) == name]


# --- helper threads -----------------------------------------------------------------------------------


def test_helpers_come_as_they_are_needed_and_pass_errors_on():
    helpers, go = HelperThreads(), threading.Event()
    waits = helpers.submit(go.wait, 10)
    assert helpers.submit(int, "7").result(10) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        helpers.submit(int, "seven").result(10)
    go.set()
    assert waits.result(10)
    helpers.shutdown()
    helpers.shutdown()
    assert not any(helper.is_alive() for helper in helpers._helpers)
    with pytest.raises(RuntimeError, match="has ended"):
        helpers.submit(int)


def test_what_is_cancelled_before_a_helper_is_free_is_not_done(monkeypatch):
    monkeypatch.setattr(helpers_module, "_MOST", 1)
    helpers, go, done = HelperThreads(), threading.Event(), []
    waits, cancelled = helpers.submit(go.wait, 10), helpers.submit(done.append, 1)
    assert cancelled.cancel()
    go.set()
    helpers.shutdown()
    assert waits.result(10)
    assert done == []
    with pytest.raises(CancelledError):
        cancelled.result(10)


# --- streams ------------------------------------------------------------------------------------------


def test_a_stream_that_cannot_be_entered_leaves_nothing(make, store):
    client = make()
    store.broken = True
    with pytest.raises(StoreError), client.events(group="crm"):
        pytest.fail("it was entered")
    store.broken = False
    with client.events(group="crm", follow=False) as stream:
        assert list(stream) == []


def test_an_error_of_the_store_is_raised_and_the_next_event_comes(make, store):
    client = make()
    with client.events() as stream:
        store.broken = True
        with pytest.raises(StoreError):
            next(stream)
        store.broken = False
        client.transfer("call-1", to=ANSWERS)
        assert next(stream).kind == "transfer.requested"


async def test_a_wait_that_never_began_has_no_result():
    assert not await Wait().ended()


# --- closing ------------------------------------------------------------------------------------------


def test_what_an_adapter_left_running_is_cancelled(make):
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


def test_an_interruption_that_comes_after_the_loop_s_end_is_no_error(make):
    client = make()
    client.run_due()
    loop, wait = client._loop, Wait()
    client.close()
    loop.cancel(wait)
    with pytest.raises(asyncio.CancelledError):
        wait.future.result(0)


def test_what_would_begin_as_the_loop_ends_is_not_begun(make):
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


def test_a_fork_leaves_its_parent_s_loop_alone_at_exit(make, monkeypatch):
    client = make()
    client.run_due()
    with monkeypatch.context() as forked:
        forked.setattr("transferkit.blocking.loop.os.getpid", lambda: -1)
        client._loop._at_exit()
    assert not client._loop.stopping
