"""A process is stopped (SIGSTOP) at whatever it is doing; another one on the same database goes on.

`TRANSFERKIT_TEST_STOPS` says how often (8).
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from transferkit import AsyncClient
from transferkit._callbacks import CallbackRequest
from transferkit._lifecycle import CallKey

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")

pytestmark = pytest.mark.heavy

STOPS = int(os.environ.get("TRANSFERKIT_TEST_STOPS", "8"))
GROUP = "crm"
WRITERS = 8
SECONDS_STOPPED = 3
LONGEST = 4
"""Seconds that anything of the other process may take: the limit of a stopped transaction is 1.5 s."""


@pytest.fixture
def config(database):
    return {
        "provider": "fake",
        "store": database,
        "callbacks": {"accept_unverified": True},
        "groups": {"lease": 2},
    }


@asynccontextmanager
async def stoppable(config):
    settings = {"config": config, "group": GROUP, "at_once": WRITERS}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("recording_member.py")),
        json.dumps(settings),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def timed(working):
    since = time.monotonic()
    return await working, time.monotonic() - since


async def record(client):
    body = {"id": str(uuid4()), "call_id": str(uuid4()), "time": "2026-01-01T12:00:00+00:00", "signals": []}
    request = CallbackRequest(method="POST", url="/fake", body=json.dumps(body).encode())
    return (await client.receive(request)).status


async def test_a_stopped_process_blocks_neither_callbacks_nor_consumers_of_other_processes(config, capsys):
    slowest = slowest_event = 0
    accepted = []
    async with AsyncClient.from_config(config) as client, client.events(group=GROUP) as stream:
        for number in range(STOPS):
            async with asyncio.timeout(60), stoppable(config) as process:
                accepted.append(await process.stdout.readline())
                await asyncio.sleep(0.2 + number * 0.037)  # at another point each time
                os.kill(process.pid, signal.SIGSTOP)
                until = time.monotonic() + SECONDS_STOPPED
                recording = []
                while time.monotonic() < until:
                    recording.append(asyncio.create_task(timed(record(client))))
                    _, seconds = await timed(anext(stream))
                    slowest_event = max(slowest_event, seconds)
                    await asyncio.sleep(0.05)
                for status, seconds in await asyncio.gather(*recording):
                    assert status < 300
                    slowest = max(slowest, seconds)
                os.kill(process.pid, signal.SIGCONT)
                accepted.append(await process.stdout.readline())  # it goes on as well
                process.kill()
                accepted += (await process.stdout.read()).splitlines()
        for call in accepted:
            events = await client._store.call_events(CallKey("fake", call.decode().strip()))
            assert len(events) == 1, f"accepted and lost: {call}"
    with capsys.disabled():
        sys.stdout.write(
            f"\nslowest callback {slowest:.2f} s, slowest event of a group {slowest_event:.2f} s"
            f" beside a stopped process, in {STOPS} stops\n"
        )
    assert slowest < LONGEST
    assert slowest_event < LONGEST
