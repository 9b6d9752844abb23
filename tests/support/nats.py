"""A NATS server of one test, which can be killed and started again with the same data."""

import asyncio
import shutil
import signal
import socket

import nats
from nats.js.api import StreamConfig

BINARY = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/bin")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class NatsServer:
    """A server with JetStream in a folder, on a port of its own."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.port = free_port()
        self.options = options
        self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    async def start(self):
        command = [BINARY, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]
        self.process = await asyncio.create_subprocess_exec(
            *command,
            *self.options,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def kill(self, number=signal.SIGKILL):
        """End the server; by default at once, without a chance to write anything."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()

    async def add_stream(self, name="EVENTS", *, subjects=("transferkit.>",), window=120, **options):
        client = await nats.connect(self.url)
        await client.jetstream().add_stream(
            StreamConfig(name=name, subjects=list(subjects), duplicate_window=window, **options)
        )
        await client.close()

    async def messages(self, number, name="EVENTS"):
        """The first messages of a stream, at least this number, with all that are there."""
        client = await nats.connect(self.url)
        stream = client.jetstream()
        async with asyncio.timeout(30):
            while (await stream.stream_info(name)).state.messages < number:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.02)
        total = (await stream.stream_info(name)).state.messages
        found = []
        subscription = await stream.pull_subscribe("", stream=name)
        while len(found) < total:
            batch = await subscription.fetch(min(200, total - len(found)), timeout=5)
            for message in batch:
                await message.ack()
            found += batch
        await client.close()
        return found
