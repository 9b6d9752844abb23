"""A server on loopback whose behaviour a test scripts, for failures that no HTTP server produces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from transferkit.testing.server import stop_accepting

__all__ = ["Behaviour", "read_request", "responding", "scripted_server"]

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one whole request that has a Content-Length or no body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)


def responding(response: bytes, seen: list[bytes] | None = None) -> Behaviour:
    """Read a whole request, add it to `seen`, and respond with these bytes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        writer.write(response)
        await writer.drain()

    return behave


@contextlib.asynccontextmanager
async def scripted_server(behave: Behaviour) -> AsyncIterator[str]:
    """Serve connections with `behave`; yields the address. Open connections are aborted at the end."""
    handling: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling[asyncio.current_task()] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await stop_accepting(server)
            for writer in handling.values():
                writer.transport.abort()
            await asyncio.gather(*filter(None, handling))
