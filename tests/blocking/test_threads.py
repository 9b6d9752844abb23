"""The blocking client's threads: contexts, its own thread, and its helper threads."""

import contextvars
import threading
from concurrent.futures import CancelledError

import pytest
from support.blocking import ANSWERS, CALL, CONFIG

from transferkit import (
    Client,
    TransferCompleted,
)
from transferkit._util.threads import DaemonThreads
from transferkit.testing import FakeAdapter


def test_only_the_callers_own_request_runs_in_its_context(clock):
    case = contextvars.ContextVar("case", default="none")
    seen = []

    class Seeing(FakeAdapter):
        async def submit(self, submission):
            seen.append(case.get())
            return await super().submit(submission)

        def listen(self, deliver):
            seen.append(case.get())
            super().listen(deliver)

    with Client(CONFIG, adapters={"fake": Seeing(clock=clock)}, clock=clock) as client:
        client.close()
    case.set("42")
    seen.clear()
    with client:
        client.transfer(CALL, to=ANSWERS).outcome(10)
    assert seen == ["none", "42"]


def test_a_call_in_the_clients_own_thread_raises_runtime_error(clock):
    refused = []

    class Reentrant(FakeAdapter):
        async def submit(self, submission):
            for blocking in (client.run_due, client.close, lambda: client.outcome(submission.id)):
                with pytest.raises(RuntimeError, match="own loop thread") as caught:
                    blocking()
                refused.append(caught.type)
            return await super().submit(submission)

    with Client(CONFIG, adapters={"fake": Reentrant(clock=clock)}, clock=clock) as client:
        assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)
    assert refused == [RuntimeError] * 3


async def test_a_call_in_the_thread_of_another_loop_blocks_that_loop(client):
    assert isinstance(client.transfer(CALL, to=ANSWERS).outcome(10), TransferCompleted)


def test_helper_threads_start_as_needed_and_pass_errors_on():
    helpers, go = DaemonThreads("helper", 16), threading.Event()
    waits = helpers.submit(go.wait, 10)
    assert helpers.submit(int, "7").result(10) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        helpers.submit(int, "seven").result(10)
    go.set()
    assert waits.result(10)
    helpers.shutdown()
    helpers.shutdown()
    assert not any(helper.is_alive() for helper in helpers._threads_started)
    with pytest.raises(RuntimeError, match="have ended"):
        helpers.submit(int)


def test_a_job_that_is_cancelled_in_the_queue_does_not_run():
    helpers, go, done = DaemonThreads("helper", 1), threading.Event(), []
    waits, cancelled = helpers.submit(go.wait, 10), helpers.submit(done.append, 1)
    assert cancelled.cancel()
    go.set()
    helpers.shutdown()
    assert waits.result(10)
    assert done == []
    with pytest.raises(CancelledError):
        cancelled.result(10)
