"""A proxy on loopback that lets single requests go wrong on their way, for tests of what becomes of them.

    async with faulty(server.url, ca_file=server.ca_file) as proxy:
        proxy.will(Reset(forwarded=True), Reply(429, headers={"Retry-After": "1.5"}))
        ...  # a client of proxy.url: the first answer is lost, the second request is turned away
        assert len(proxy.requests) == 2

It stands in front of an emulator, or of any HTTP/1.1 server; clients speak plain http to it. Bytes pass
unchanged, so that signatures hold. Without a fault it relays, on connections that stay open.
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
    "Fault",
    "FaultProxy",
    "Garbage",
    "Hold",
    "ProxiedRequest",
    "Repeat",
    "Reply",
    "Reset",
    "Stall",
    "faulty",
]

_HOST = "127.0.0.1"
_AT_ONCE = struct.pack("ii", 1, 0)  # linger no seconds: closing sends RST
_GARBAGE = b"\x00\x01 this is no HTTP \xff\r\n\r\n"

# --- what can go wrong --------------------------------------------------------------------------------
# `forwarded` says whether the server got the request, and so may have executed it.


@final
@frozen(kw_only=True)
class Reset:
    """The connection is reset: at once, or when the server has answered."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Close:
    """The connection is closed in good order, with no answer."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Stall:
    """No answer ever comes; ends when the client gives up."""

    forwarded: bool = False


@final
@frozen(kw_only=True)
class Garbage:
    """What comes back is not HTTP."""

    forwarded: bool = False


@final
@frozen
class Reply:
    """Another answer than the server's comes back."""

    status: int
    headers: Mapping[str, str] = field(default=EMPTY, kw_only=True)
    body: bytes = field(default=b"", kw_only=True)
    forwarded: bool = field(default=False, kw_only=True)


@final
@frozen
class Cut:
    """The server's answer breaks off after this part of its bytes."""

    after: float = 0.5


@final
@frozen
class Delay:
    """The request reaches the server only after so many seconds."""

    seconds: float


@final
@frozen
class Hold:
    """The request (or, where it is `forwarded`, its answer) is on its way until `release` is set.

    It arrives even if the client has given up meanwhile.
    """

    release: asyncio.Event
    forwarded: bool = field(default=False, kw_only=True)


@final
@frozen
class Repeat:
    """The server gets the request several times; the client gets the first answer."""

    times: int = 2


Fault = Reset | Close | Stall | Garbage | Reply | Cut | Delay | Hold | Repeat

# --- the proxy ----------------------------------------------------------------------------------------


@final
@frozen(kw_only=True)
class ProxiedRequest:
    """A request that arrived, and what happened to it (None: it was relayed). Header names in lower case.

    `connection` is the number of the client's connection that it came by.
    """

    connection: int
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: Fault | None

    @classmethod
    def read(cls, head: bytes, body: bytes, *, connection: int, fault: Fault | None) -> ProxiedRequest:
        """From the bytes of a request."""
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        named = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in named}
        return cls(
            connection=connection, method=method, target=target, headers=headers, body=body, fault=fault
        )


@final
class FaultProxy:
    """Relays requests, except those that `will` was told about. `requests` records all that arrived."""

    def __init__(self, upstream: str, *, ca_file: Path | None = None) -> None:
        parts = urlsplit(upstream)
        self._upstream = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._script: deque[tuple[str | None, Fault]] = deque()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections = 0
        self.requests: list[ProxiedRequest] = []

    @property
    def url(self) -> str:
        """Where clients find the proxy."""
        return f"http://{_HOST}:{self._port}"

    def will(self, *faults: Fault, method: str | None = None) -> None:
        """Let the next requests, or the next of that method, go wrong: each takes one fault."""
        self._script.extend((method, fault) for fault in faults)

    @asynccontextmanager
    async def down(self) -> AsyncGenerator[None]:
        """Inside the block nobody listens: open connections are reset, new ones are refused."""
        await self.aclose()
        with self._bound() as reserved:  # and not listening: nobody else gets the port
            try:
                yield
            finally:
                await self._listen(reserved.dup())

    async def open(self) -> None:
        """Begin to listen, on a free port."""
        await self._listen(self._bound())

    async def aclose(self) -> None:
        """Stop listening, and let go of every connection."""
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
        if task is None:  # pragma: no cover - asyncio runs this in a task
            raise RuntimeError("not in a task")
        self._serving.add(task)
        self._connections += 1
        number = self._connections
        try:
            while await self._exchange(reader, writer, number):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()  # the client is gone, which is its right
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            self._serving.discard(task)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        """One request and what comes back; returns whether the connection can carry another."""
        head, body = await _read_request(reader)
        fault = self._next(head.partition(b" ")[0].decode("latin-1"))
        self.requests.append(ProxiedRequest.read(head, body, connection=connection, fault=fault))
        answer = await self._ask(fault, head + body)
        return await _give_back(fault, answer, reader, writer)

    def _next(self, method: str) -> Fault | None:
        for index, (wanted, fault) in enumerate(self._script):
            if wanted in {None, method}:
                del self._script[index]
                return fault
        return None

    async def _ask(self, fault: Fault | None, request: bytes) -> bytes:
        """What the server answers; nothing where the fault keeps the request from it."""
        match fault:
            case Delay(seconds=seconds):
                await asyncio.sleep(seconds)
            case Hold(release=release, forwarded=False):
                await release.wait()
            case Repeat(times=times):
                answer, *_ = [await self._forward(request) for _ in range(times)]
                return answer
            case (
                Reset(forwarded=False)
                | Close(forwarded=False)
                | Stall(forwarded=False)
                | Garbage(forwarded=False)
                | Reply(forwarded=False)
            ):
                return b""
        return await self._forward(request)

    async def _forward(self, request: bytes) -> bytes:
        """The server's whole answer, by a connection of its own."""
        host, port = self._upstream
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls)
        try:
            writer.write(_with_connection(request, b"close"))
            answer = await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return _with_connection(answer, None)


@asynccontextmanager
async def faulty(upstream: str, *, ca_file: Path | None = None) -> AsyncGenerator[FaultProxy]:
    """A proxy in front of the server at `upstream`, until the block ends; `ca_file` is the CA it trusts."""
    proxy = FaultProxy(upstream, ca_file=ca_file)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.aclose()


async def _give_back(
    fault: Fault | None, answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Let the client have what it gets; returns whether the connection stays open."""
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
            writer.write(answer[: int(len(answer) * part)])
        case _:
            if isinstance(fault, Hold):
                await fault.release.wait()
            writer.write(_written(fault) if isinstance(fault, Reply) else answer)
            await writer.drain()
            return True
    return False


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body, whose length a header tells. Raises `IncompleteReadError` where no request comes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        elif line.startswith(b"transfer-encoding:"):
            raise ValueError("only requests that tell their length beforehand are proxied")
    return head, await reader.readexactly(length)


def _with_connection(message: bytes, value: bytes | None) -> bytes:
    """The message with another `Connection` header, which is the business of two neighbours only."""
    head, gap, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    if value is not None:
        lines.append(b"Connection: " + value)
    return b"\r\n".join(lines) + gap + body


def _written(answer: Reply) -> bytes:
    known = answer.status in set(HTTPStatus)
    reason = HTTPStatus(answer.status).phrase if known else "Unpublished"
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
