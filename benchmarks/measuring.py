"""Shared by the benchmarks: measurements, tables, targets, and a provider that accepts every request."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import ssl
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

TENANT: Final = "0e1c4f6a-3b1d-4c57-9a35-2f1c0b7d9e01"
START_SECONDS: Final = 30.0


class Pace(NamedTuple):
    """Seconds per operation: CPU time of this process (all threads) and wall-clock time."""

    cpu: float
    wall: float


class Spread(NamedTuple):
    """The lowest, the median and the highest value of several rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these values."""
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])

    def text(self, form: str = ".2f") -> str:
        """The median, then the lowest and the highest value in brackets."""
        return f"{self.middle:{form}} ({self.low:{form}} to {self.high:{form}})"


class Target(NamedTuple):
    """A limit that the project sets itself, and the measured value. `rounds`: its spread."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    unit: str = ""
    rounds: Spread | None = None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """A row of the table of targets."""
        met = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        limit = f"{'at least' if self.at_least else 'at most'} {self.limit:g}{self.unit}"
        measured = self.rounds.text() if self.rounds else f"{self.measured:.2f}"
        return self.what, limit, f"{measured}{self.unit}", "met" if met else "NOT MET"


class Report(NamedTuple):
    """A table, and the targets for its values."""

    text: str
    targets: tuple[Target, ...] = ()


def stopwatch() -> Callable[[int], Pace]:
    """Start now. The returned function returns the pace of that many operations."""
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda done: Pace((time.process_time() - cpu) / done, (time.perf_counter() - wall) / done)


async def paced(
    work: Callable[[], Awaitable[object]],
    *,
    count: int,
    in_flight: int,
    during: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Pace:
    """Run `work` `count` times in `in_flight` tasks, each of which awaits one after the other.

    `during` is entered for what is measured, without the warm-up.
    """
    each = max(count // in_flight, 1)

    async def worker(times: int) -> None:
        for _ in range(times):
            await work()

    await asyncio.gather(*(worker(2) for _ in range(in_flight)))  # warm up connections, caches, imports
    with during():
        pace = stopwatch()
        await asyncio.gather(*(worker(each) for _ in range(in_flight)))
        return pace(each * in_flight)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with the first column aligned left and the others right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        return "  ".join([row[0].ljust(widths[0]), *cells[1:]])

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


# --- a provider that accepts every request ------------------------------------------------------------


class Provider(NamedTuple):
    """The provider's URL, the URL of its token authority (https), and the CA certificate of the latter."""

    url: str
    authority: str
    ca_file: Path


class _Server(asyncio.Protocol):
    """Answers every request with 202 after `delay` seconds, and every token request with a token at once."""

    authority = ""
    delay = 0.0

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._received += data
        while self._transport is not None:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            _, _, after = head.lower().partition(b"\r\ncontent-length:")
            length = int(after.partition(b"\r\n")[0]) if after else 0
            if not end or len(rest) < length:
                return
            self._received = rest[length:]
            request_line = head.partition(b"\r\n")[0]
            response = self._response(request_line)
            if self.delay and b"/token" not in request_line and b"/.well-known/" not in request_line:
                asyncio.get_running_loop().call_later(self.delay, self._transport.write, response)
            else:
                self._transport.write(response)

    def _response(self, request_line: bytes) -> bytes:
        body: dict[str, object] | None = None
        if b"/.well-known/" in request_line:
            own = f"{self.authority}/{TENANT}"
            body = {
                "issuer": f"{own}/v2.0",
                "authorization_endpoint": f"{own}/oauth2/v2.0/authorize",
                "token_endpoint": f"{own}/oauth2/v2.0/token",
            }
        elif b"/token" in request_line:
            body = {"token_type": "Bearer", "expires_in": 86400, "access_token": "t" * 1500}
        elif b":transferToParticipant" in request_line:
            body = {"operationContext": "case 42"}
        status = b"200 OK" if body and b":transfer" not in request_line else b"202 Accepted"
        content = b"" if body is None else json.dumps(body).encode()
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nrequest-id: 2\r\nContent-Length: %d\r\n\r\n"
        return head % (status, len(content)) + content


def _serve(ready: Connection, pem: Path, delay: float) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        plain = await loop.create_server(_Server, "127.0.0.1", 0)
        secure = await loop.create_server(_Server, "127.0.0.1", 0, ssl=context)
        ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
        _Server.delay = delay
        _Server.authority = f"https://127.0.0.1:{ports[1]}"
        ready.send(ports)
        await asyncio.gather(plain.serve_forever(), secure.serve_forever())

    asyncio.run(run())


@contextmanager
def provider(*, delay: float = 0.0) -> Iterator[Provider]:
    """Run the provider in another process. `delay`: the seconds between a request and its response."""
    import trustme

    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        authority = trustme.CA()
        pem, ca_file = Path(folder, "server.pem"), Path(folder, "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
        authority.cert_pem.write_to_path(str(ca_file))
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(sender, pem, delay), daemon=True
        )
        process.start()
        try:
            if not receiver.poll(START_SECONDS):
                sys.exit("the provider did not start")
            plain, secure = receiver.recv()
            yield Provider(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", ca_file)
        finally:
            process.terminate()
            process.join(10)
