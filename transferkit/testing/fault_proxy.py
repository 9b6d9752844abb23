"""A proxy on loopback that applies network faults to single requests, for tests.

    async with fault_proxy(server.url, ca_file=server.ca_file) as proxy:
        proxy.apply(Reset(forwarded=True), Respond(429, headers={"Retry-After": "1.5"}))
        ...  # a client of proxy.url: the first response is lost, the second request is rejected
        assert len(proxy.requests) == 2

The proxy stands in front of an emulator or any other HTTP/1.1 server; its clients use plain http. It forwards
bytes unchanged, so signatures stay valid, and keeps the connections of its clients open.

`transferkit.emulators.faults` are the faults that an emulator applies itself; they need no proxy, but cannot
cut, hold or repeat messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY
from transferkit.testing.server import stop_accepting

__all__ = [
    "Close",
    "Cut",
    "Delay",
    "FaultProxy",
    "Garbage",
    "Hold",
    "NetworkFault",
    "ProxiedRequest",
    "Repeat",
    "Reset",
    "Respond",
    "Stall",
    "fault_proxy",
]

_HOST = "127.0.0.1"
_NO_LINGER = struct.pack("ii", 1, 0)  # closing the socket sends RST
_GARBAGE = b"\x00\x01 this is not HTTP \xff\r\n\r\n"

# --- faults -------------------------------------------------------------------------------------------
# `forwarded` says whether the server receives the request, and may therefore execute it.


@final
@frozen(kw_only=True)
class Reset:
    """The connection is reset: immediately, or after the server has responded."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Close:
    """The connection is closed without a response."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Stall:
    """No response is sent, until the client gives up."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Garbage:
    """The response is not HTTP."""

    forwarded: bool = False


@final
@frozen
class Respond:
    """The response is this one, not the server's."""

    status: int
    headers: Mapping[str, str] = field(default=EMPTY, kw_only=True)
    body: bytes = field(default=b"", kw_only=True)
    forwarded: bool = field(default=False, kw_only=True)


@final
@frozen
class Cut:
    """The server's response ends after this fraction of its bytes."""

    after: float = 0.5


@final
@frozen
class Delay:
    """The request reaches the server this many seconds late."""

    seconds: float


@final
@frozen
class Hold:
    """The request (or, if `forwarded`, the response) is held back until `release` is set.

    A held request arrives even if the client has given up.
    """

    release: asyncio.Event
    forwarded: bool = field(default=False, kw_only=True)


@final
@frozen
class Repeat:
    """The server receives the request several times; the client receives the first response."""

    times: int = 2


NetworkFault = Reset | Close | Stall | Garbage | Respond | Cut | Delay | Hold | Repeat

# --- the proxy ----------------------------------------------------------------------------------------


@final
@frozen(kw_only=True)
class ProxiedRequest:
    """A request that the proxy received, and the fault that it applied. Header names are in lower case.

    `connection` is the number of the client's connection.
    """

    connection: int
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: NetworkFault | None

    @classmethod
    def read(cls, head: bytes, body: bytes, *, connection: int, fault: NetworkFault | None) -> ProxiedRequest:
        """Parse the bytes of a request."""
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        named = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in named}
        return cls(
            connection=connection, method=method, target=target, headers=headers, body=body, fault=fault
        )


@final
class FaultProxy:
    """Forwards requests and applies the faults given to `apply`. `requests` contains all that arrived."""

    def __init__(self, upstream: str, *, ca_file: Path | None = None) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._script: deque[tuple[str | None, NetworkFault]] = deque()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections = 0
        self.requests: list[ProxiedRequest] = []

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://{_HOST}:{self._port}"

    def apply(self, *faults: NetworkFault, method: str | None = None) -> None:
        """Apply these faults to the next requests (with this method), one fault to each request."""
        self._script.extend((method, fault) for fault in faults)

    @asynccontextmanager
    async def down(self) -> AsyncGenerator[None]:
        """Stop listening inside the block: open connections are reset, new ones are refused."""
        await self.aclose()
        with self._bound() as reserved:  # keeps the port without listening
            try:
                yield
            finally:
                await self._listen(reserved.dup())

    async def open(self) -> None:
        """Listen on a free port."""
        await self._listen(self._bound())

    async def aclose(self) -> None:
        """Stop listening and reset every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        await stop_accepting(server)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await server.wait_closed()

    def _bound(self) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((_HOST, self._port))
        self._port = int(bound.getsockname()[1])
        return bound

    async def _listen(self, bound: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=bound)

    # --- one connection -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._connections += 1
        number = self._connections
        try:
            while await self._exchange(reader, writer, number):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()  # the client closed the connection
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            self._serving.discard(task)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        """Handle one request; returns whether the connection can be used for another."""
        head, body = await _read_request(reader)
        fault = self._next_fault(head.partition(b" ")[0].decode("latin-1"))
        self.requests.append(ProxiedRequest.read(head, body, connection=connection, fault=fault))
        response = await self._request(fault, head + body)
        return await _respond(fault, response, reader, writer)

    def _next_fault(self, method: str) -> NetworkFault | None:
        for index, (wanted, fault) in enumerate(self._script):
            if wanted in {None, method}:
                del self._script[index]
                return fault
        return None

    async def _request(self, fault: NetworkFault | None, request: bytes) -> bytes:
        """The server's response; empty if the fault keeps the request from the server."""
        match fault:
            case Delay(seconds=seconds):
                await asyncio.sleep(seconds)
            case Hold(release=release, forwarded=False):
                await release.wait()
            case Repeat(times=times):
                response, *_ = [await self._forward(request) for _ in range(times)]
                return response
            case Reset() | Close() | Stall() | Garbage() | Respond() if not fault.forwarded:
                return b""
        return await self._forward(request)

    async def _forward(self, request: bytes) -> bytes:
        """The server's whole response, on a new connection."""
        host, port = self._upstream
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls)
        try:
            writer.write(_with_connection(request, b"close"))
            response = await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return _with_connection(response, None)


@asynccontextmanager
async def fault_proxy(upstream: str, *, ca_file: Path | None = None) -> AsyncGenerator[FaultProxy]:
    """Run a proxy in front of the server at `upstream`, whose certificate `ca_file` verifies."""
    proxy = FaultProxy(upstream, ca_file=ca_file)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.aclose()


async def _respond(
    fault: NetworkFault | None, response: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Send the client what the fault leaves of the response; returns whether the connection stays open."""
    match fault:
        case Reset():
            _reset(writer)
        case Close():
            pass
        case Stall():
            while await reader.read(1024):
                pass
        case Garbage():
            writer.write(_GARBAGE)
        case Cut(after=part):
            writer.write(response[: int(len(response) * part)])
        case _:
            if isinstance(fault, Hold):
                await fault.release.wait()
            writer.write(_encode(fault) if isinstance(fault, Respond) else response)
            await writer.drain()
            return True
    return False


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of a request. Raises `IncompleteReadError` if the client closes the connection first."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        elif line.startswith(b"transfer-encoding:"):
            raise ValueError("the proxy needs a Content-Length; this request has a Transfer-Encoding")
    return head, await reader.readexactly(length)


def _with_connection(message: bytes, value: bytes | None) -> bytes:
    """The message with this `Connection` header, which applies to a single connection."""
    head, gap, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    if value is not None:
        lines.append(b"Connection: " + value)
    return b"\r\n".join(lines) + gap + body


def _encode(response: Respond) -> bytes:
    known = response.status in set(HTTPStatus)
    reason = HTTPStatus(response.status).phrase if known else "Unknown"
    headers = {"Content-Length": str(len(response.body)), **response.headers}
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
