"""What a request to Graph costs: httpx over its own pool, and the same httpx API over aiohttp.

    python benchmarks/graph_transport.py [--requests 2000] [--rounds 3] [--tls]

Needs httpx and httpx-aiohttp (and trustme for --tls). Posts a transfer's body to a server on loopback, in a
process of its own, at 1 and at 50 requests in flight, and reports the CPU seconds that this process spends on
a request, and its wall-clock time. Only the ratio within one run means something: the arms take turns, round
by round, and the best round of each counts.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import ssl
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IN_FLIGHT = (1, 50)
MOST_REQUESTS = 20_000
TIME_LIMIT = 300.0
PATH = "/v1.0/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001/transfer"
BODY = (
    b'{"transferTarget": {"endpointType": "default", "identity": {"user": '
    b'{"id": "3fa1c2d4-0000-4000-8000-00000000aaaa", "displayName": "Adele"}}}}'
)
HEADERS = {
    "Accept": "application/json",
    "Authorization": "Bearer " + "t" * 1500,
    "Content-Type": "application/json",
    "client-request-id": "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001",
}
ANSWER = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-Microsoft-Skype-Chain-ID: 1\r\nrequest-id: 2\r\n\r\n"
)

ROOMY = httpx.Limits(max_connections=100, max_keepalive_connections=100)

Verify = ssl.SSLContext | bool
ARMS: dict[str, Callable[[Verify], httpx.AsyncClient]] = {
    "httpx": lambda verify: httpx.AsyncClient(verify=verify),
    "httpx, 100 kept alive": lambda verify: httpx.AsyncClient(verify=verify, limits=ROOMY),
    "httpx over aiohttp": lambda verify: httpx.AsyncClient(transport=AiohttpTransport(verify=verify)),
}


class Accepting(asyncio.Protocol):
    """Answers 202 to every request, on a connection that stays open."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole: its body ends as BODY does."""
        self._received += data
        if self._received.endswith(BODY) and self._transport is not None:
            self._received = b""
            self._transport.write(ANSWER)


def serve(ready: Connection, certificate: tuple[bytes, bytes] | None) -> None:
    """Serve until the process is ended; tells the port through `ready`."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            Accepting, "127.0.0.1", 0, ssl=None if certificate is None else _server_context(*certificate)
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _server_context(key: bytes, chain: bytes) -> ssl.SSLContext:
    from tempfile import NamedTemporaryFile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(key + chain)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def measure(
    make: Callable[[Verify], httpx.AsyncClient], verify: Verify, url: str, *, count: int, in_flight: int
) -> tuple[float, float]:
    """CPU and wall-clock seconds a request, connections warm."""
    async with make(verify) as client:

        async def post(times: int) -> None:
            for _ in range(times):
                response = await client.post(url, headers=HEADERS, content=BODY, timeout=30)
                if response.status_code != 202:  # noqa: PLR2004 - what the server says
                    raise RuntimeError(f"expected 202, got {response.status_code}")

        await asyncio.gather(*(post(2) for _ in range(in_flight)))
        each = max(count // in_flight, 1)
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(post(each) for _ in range(in_flight)))
        done = each * in_flight
        return (time.process_time() - cpu) / done, (time.perf_counter() - wall) / done


async def compare(url: str, verify: Verify, *, count: int, rounds: int) -> None:
    """Print a line for each arm and number in flight."""
    async with asyncio.timeout(TIME_LIMIT):
        for in_flight in IN_FLIGHT:
            best: dict[str, tuple[float, float]] = {}
            for _ in range(rounds):
                for name, make in ARMS.items():
                    seen = await measure(make, verify, url, count=count, in_flight=in_flight)
                    best[name] = min(best.get(name, seen), seen)
            least = min(cpu for cpu, _ in best.values())
            for name, (cpu, wall) in best.items():
                print(
                    f"{in_flight:>3} in flight  {name:<22} {cpu * 1e6:8.0f} µs CPU a request  "
                    f"{wall * 1e6:8.0f} µs wall  {cpu / least:5.2f} x"
                )


def main() -> None:
    """Serve, compare, and end the server."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--requests", type=int, default=2000, help="a round, up to 20000")
    arguments.add_argument("--rounds", type=int, default=3, help="up to 10")
    arguments.add_argument("--tls", action="store_true", help="over TLS, as Graph is")
    asked = arguments.parse_args()
    certificate, verify = _tls() if asked.tls else (None, False)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(sender, certificate), daemon=True
    )
    server.start()
    try:
        if not receiver.poll(30):
            sys.exit("the server did not start")
        url = f"{'https' if asked.tls else 'http'}://127.0.0.1:{receiver.recv()}{PATH}"
        print(
            f"Python {sys.version.split()[0]}, httpx {httpx.__version__}, {'TLS' if asked.tls else 'no TLS'}"
        )
        count, rounds = min(asked.requests, MOST_REQUESTS), min(asked.rounds, 10)
        asyncio.run(compare(url, verify, count=count, rounds=rounds))
    finally:
        server.terminate()
        server.join(10)


def _tls() -> tuple[tuple[bytes, bytes], ssl.SSLContext]:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return (issued.private_key_pem.bytes(), chain), context


if __name__ == "__main__":
    main()
