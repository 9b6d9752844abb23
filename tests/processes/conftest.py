"""Applications in processes of their own, on one store, with both providers' emulators behind."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

SECONDS_TO_DIE = 10


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Application:
    """A place where an application lives, dies and is started again; its address stays the same."""

    def __init__(self, nursery, settings):
        self.nursery = nursery
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings['port']}"
        self.pid = None

    async def start(self):
        self.nursery.stdin.write(json.dumps(self.settings).encode() + b"\n")
        self.pid = int(await self.nursery.stdout.readline())

    def kill(self):
        """Return when the process is gone, and its port with it."""
        pid, self.pid = self.pid, None
        if pid is None:
            return
        until = time.monotonic() + SECONDS_TO_DIE
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            while time.monotonic() < until:
                time.sleep(0.001)
                os.kill(pid, 0)
            raise AssertionError(f"process {pid} outlives SIGKILL by {SECONDS_TO_DIE} s")


class Nursery:
    """Starts applications. Those that still run at the end are killed."""

    def __init__(self, process, folder):
        self.seen = folder / "seen.jsonl"
        """What the applications' consumers wrote down."""
        self._process = process
        self._applications = []

    def application(self, config, *, deadline):
        """An application of that configuration, not yet started."""
        port = free_port()
        callbacks = {"public_url": f"http://127.0.0.1:{port}/callbacks", **config.get("callbacks", {})}
        settings = {
            "config": config | {"callbacks": callbacks},
            "port": port,
            "seen": str(self.seen),
            "deadline": deadline,
        }
        self._applications.append(Application(self._process, settings))
        return self._applications[-1]

    def kill_all(self):
        for application in self._applications:
            application.kill()


@asynccontextmanager
async def nursery_in(folder):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("application.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    nursery = Nursery(process, folder)
    try:
        yield nursery
    finally:
        nursery.kill_all()
        process.stdin.close()
        await process.wait()


@pytest.fixture
async def nursery(tmp_path):
    async with nursery_in(tmp_path) as nursery:
        yield nursery
