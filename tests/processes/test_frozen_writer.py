"""SQLite: a process is frozen with the write lock held, between its statements and its COMMIT."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from textwrap import dedent

import pytest

from transferkit import AsyncClient, CallbackConfig, CallbackRequest, Config, SqliteStore, StoreError
from transferkit._lifecycle import CallKey
from transferkit.testing import FakeAdapter, scenario

pytestmark = pytest.mark.heavy

SECONDS = 60
SILENT = scenario("silent").number
FROZEN = dedent(
    """
    import asyncio, os, signal, sys
    from transferkit import AsyncClient
    from transferkit.stores.sqlite.connection import Session
    from transferkit.testing import scenario

    commit = Session.commit

    def commit_when_resumed(session):
        Session.commit = commit
        os.kill(os.getpid(), signal.SIGSTOP)
        commit(session)

    async def main(store):
        config = {"provider": "fake", "store": store, "providers": {"fake": {}}}
        async with AsyncClient.from_config(config, background=False) as client:
            Session.commit = commit_when_resumed
            await client.transfer("call-1", to=scenario("silent").number)

    asyncio.run(main(*sys.argv[1:]))
    """
)


@pytest.fixture
def frozen(tmp_path):
    """A process that is frozen in the transaction of its transfer."""
    command = [sys.executable, "-c", FROZEN, f"sqlite:///{tmp_path / 'calls.db'}"]
    process = subprocess.Popen(command)  # noqa: S603 - our own
    try:
        until = time.monotonic() + SECONDS
        while not os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)[1]):
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)


@pytest.fixture
async def client(tmp_path, frozen):
    store = SqliteStore(tmp_path / "calls.db", busy_timeout=timedelta(seconds=1.5))
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    adapters = {"fake": FakeAdapter()}
    async with asyncio.timeout(SECONDS), AsyncClient(config, store=store, adapters=adapters) as client:
        yield client


@pytest.mark.parametrize("ended_by", [signal.SIGCONT, signal.SIGKILL])
async def test_a_frozen_writer_blocks_no_reader_and_other_writers_fail_in_time(client, frozen, ended_by):
    said = {"id": "d-1", "call_id": "call-2", "time": "2026-01-01T12:00:00+00:00", "signals": []}
    callback = CallbackRequest(method="POST", url="/fake", body=json.dumps(said).encode())
    began = time.monotonic()
    response, transfer = await asyncio.gather(
        client.receive(callback), client.transfer("call-3", to=SILENT), return_exceptions=True
    )
    assert response.status == 503
    assert isinstance(transfer, StoreError)
    assert time.monotonic() - began < 10
    assert await client._store.read(None) == ()

    frozen.send_signal(ended_by)
    while response.status == 503:
        response = await client.receive(callback)
    assert (response.status, [event.call_id for event in response.events]) == (200, ["call-2"])
    assert (await client.transfer("call-3", to=SILENT)).id
    frozen.wait(SECONDS)
    recorded = await client._store.call_events(CallKey("fake", "call-1"))
    assert bool(recorded) is (ended_by is signal.SIGCONT)
