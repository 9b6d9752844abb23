"""The cost of a verified, stored callback, compared with a minimal handwritten app.

    python benchmarks/receiver.py [--callbacks 2000] [--in-flight 1 20] [--rounds 7] [--folder PATH]

Needs transferkit-acs, and uvicorn (`transferkit[emulators]`). uvicorn serves both apps on loopback, each in
its own process. transferkit's receiver does everything that it does in production: RS256, decoding, the life
cycle, and a commit to SQLite with full sync before the response. The handwritten app verifies the token with
PyJWT and a fixed key, calls `json.loads` and inserts the body, with a full-sync commit in a thread for each
callback. Each callback has its own token. The apps alternate, and a ratio compares two apps of the same
round. The disk has a large influence: choose it with `--folder`. At the end the script checks that each app's
file contains every acknowledged callback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
import uvicorn
from measuring import Report, Spread, Target, table
from transferkit_acs.testing import ISSUER, AcsCallbacks

from transferkit import AsyncClient
from transferkit.testing import CallbackSigner

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MOST_CALLBACKS = 20_000
MOST_ROUNDS = 20
TIME_LIMIT = 300.0
CALLBACKS_PER_CALL = 5
LIMITS = {1: 0.65, 20: 1.0}
"""The rate divided by that of the handwritten app, by the number of callbacks in flight."""
RESOURCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
HOUR = 3600

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


# --- the two servers ------------------------------------------------------------------------------------


async def transferkit_app(jwks: dict[str, Any], path: Path, serve: Callable[[App], Awaitable[None]]) -> None:
    """Transferkit's receiver."""

    async def fetch(url: str, *, ca_file: Path | None = None, public: bool = False) -> bytes:  # noqa: ARG001 - required by `Fetch`
        return json.dumps(jwks if url.endswith("/keys") else {"jwks_uri": f"{url}/keys"}).encode()

    config = {
        "provider": "acs",
        "store": f"sqlite:///{path}",
        "providers": {"acs": {"resource_id": RESOURCE}},
    }
    async with AsyncClient.from_config(config, fetch_keys=fetch) as client:
        await serve(client.asgi())


async def handwritten_app(jwks: dict[str, Any], path: Path, serve: Callable[[App], Awaitable[None]]) -> None:
    """Verification, `json.loads` and a commit."""
    key = jwt.PyJWKSet.from_dict(jwks).keys[0]
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE callbacks (id TEXT PRIMARY KEY, body TEXT)")
    lock = asyncio.Lock()

    def store(event_id: str, body: str) -> None:
        database.execute("INSERT OR IGNORE INTO callbacks VALUES (?, ?)", (event_id, body))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        token = dict(scope["headers"])[b"authorization"].removeprefix(b"Bearer ")
        jwt.decode(token, key, algorithms=["RS256"], audience=RESOURCE, issuer=ISSUER)
        (event,) = json.loads(body)
        async with lock:
            await asyncio.to_thread(store, event["id"], body.decode())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    try:
        await serve(app)
    finally:
        database.close()


ARMS = {"handwritten": (handwritten_app, "callbacks"), "transferkit": (transferkit_app, "events")}
"""The apps, each with the table to which a callback adds a row."""


def run_server(arm: str, pipe: Connection, jwks: dict[str, Any], path: Path) -> None:
    """Serve until False is received. Send the port, and for each True the CPU seconds so far."""

    async def serve(app: App) -> None:
        config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for this
            await asyncio.sleep(0.01)
        pipe.send(server.servers[0].sockets[0].getsockname()[1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(time.process_time())
        server.should_exit = True
        await task

    asyncio.run(ARMS[arm][0](jwks, path, serve))


@contextmanager
def served(arm: str, jwks: dict[str, Any], folder: Path) -> Iterator[tuple[Connection, int, Path]]:
    """Run an app in another process. Yields the pipe to it, its port and its file."""
    path = folder / f"{arm.replace(' ', '-')}.db"
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=run_server, args=(arm, child, jwks, path), daemon=True
    )
    process.start()
    try:
        if not parent.poll(60):
            sys.exit(f"{arm}: the server did not start")
        yield parent, parent.recv(), path
        parent.send(False)  # noqa: FBT003 - whether to continue
        process.join(20)
    finally:
        process.kill()


# --- the load -------------------------------------------------------------------------------------------


class Sender(asyncio.Protocol):
    """Posts one request after another on a persistent connection."""

    def __init__(self) -> None:
        self._received = b""
        self._response: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A response is complete at its empty line, because successful responses have no body."""
        self._received += data
        if b"\r\n\r\n" in self._received and self._response is not None:
            self._response.set_result(self._received.partition(b"\r\n")[0])
            self._received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending request."""
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def post(self, request: bytes) -> None:
        """Send a request. Raises `RuntimeError` if the status is not 200."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status = await self._response
        if b" 200 " not in status:
            raise RuntimeError(f"expected 200, got {status.decode()}")

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def requests(signer: CallbackSigner, count: int) -> Iterator[bytes]:
    """Callbacks with different ids and tokens, several for each call."""
    callbacks = AcsCallbacks(signer=signer, resource_id=RESOURCE)
    call_id = ""
    for number in range(count):
        if number % CALLBACKS_PER_CALL == 0:
            call_id = str(uuid4())
        token = signer.token(audience=RESOURCE, lifetime=HOUR, claims={"jti": str(uuid4())})
        callback = callbacks.signed([callbacks.event("CallConnected", call_id)], token=token)
        head = [f"POST {callback.url} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(callback.body)}"]
        head += [f"{name}: {value}" for name, value in callback.headers.items()]
        yield "\r\n".join(head).encode() + b"\r\n\r\n" + callback.body


async def measure(port: int, pending: list[bytes], in_flight: int, pipe: Connection) -> tuple[float, float]:
    """Callbacks per second, and the server's CPU seconds per callback."""
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(Sender, "127.0.0.1", port))[1]
        for _ in range(min(in_flight, len(pending)))
    ]
    count, remaining = len(pending), iter(pending)

    async def work(sender: Sender) -> None:
        for request in remaining:
            await sender.post(request)

    cpu, wall = _cpu(pipe), time.perf_counter()
    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.gather(*(work(sender) for sender in senders))
    wall, cpu = time.perf_counter() - wall, _cpu(pipe) - cpu
    for sender in senders:
        sender.close()
    return count / wall, cpu / count


def _cpu(pipe: Connection) -> float:
    pipe.send(True)  # noqa: FBT003 - whether to continue
    return float(pipe.recv())


def compare(count: int, in_flight: list[int], rounds: int, folder: Path) -> Report:
    """Compare the rates of both apps. Exits with an error if an app lost or duplicated a callback."""
    signer = CallbackSigner(issuer=ISSUER)
    jwks = signer.jwks()
    lines: list[tuple[str, ...]] = []
    targets: list[Target] = []
    with served("handwritten", jwks, folder) as hand, served("transferkit", jwks, folder) as kit:
        arms = {"handwritten": hand, "transferkit": kit}
        for pipe, port, _ in arms.values():
            asyncio.run(measure(port, list(requests(signer, 50)), 5, pipe))  # warm up
        for number in in_flight:
            found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
            for _ in range(rounds):
                for arm, (pipe, port, _) in arms.items():
                    pending = list(requests(signer, count))
                    found[arm].append(asyncio.run(measure(port, pending, number, pipe)))
            ratios = {
                arm: Spread.of(
                    rate / base for (rate, _), (base, _) in zip(one, found["handwritten"], strict=True)
                )
                for arm, one in found.items()
            }
            lines += [
                (
                    arm,
                    str(number),
                    Spread.of(cpu * 1e6 for _, cpu in one).text(".0f"),
                    Spread.of(rate for rate, _ in one).text(".0f"),
                    ratios[arm].text(),
                )
                for arm, one in found.items()
            ]
            if number in LIMITS:
                ratio = ratios["transferkit"]
                what = f"receiver, {number} in flight: rate ÷ handwritten"
                targets.append(Target(what, ratio.middle, LIMITS[number], at_least=True, rounds=ratio))
        sent = 50 + len(in_flight) * rounds * count
        files = {arm: path for arm, (_, _, path) in arms.items()}
    for arm, path in files.items():
        stored = rows(path, ARMS[arm][1])
        if stored != sent:
            sys.exit(f"{arm} lost or duplicated callbacks: {sent} acknowledged, {stored} in the file")
    head = ("receiver", "in flight", "CPU in µs", "per second", "rate ÷ handwritten")
    return Report(table(head, lines), tuple(targets))


def reports(*, quick: bool, graph_sdk_python: str = "") -> Iterator[Report]:
    """The report."""
    del graph_sdk_python  # the Graph SDK has no receiver
    with tempfile.TemporaryDirectory() as folder:
        yield compare(300 if quick else 1000, [1, 20], 1 if quick else 7, Path(folder))


def rows(path: Path, table: str) -> int:
    """The number of rows in a table."""
    database = sqlite3.connect(path)
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a constant name
    finally:
        database.close()


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--callbacks", type=int, default=2000, help="per round, up to 20000")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 20], help="concurrent callbacks")
    parser.add_argument("--rounds", type=int, default=7, help=f"up to {MOST_ROUNDS}")
    parser.add_argument("--folder", type=Path, help="the folder of the databases")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, uvicorn {uvicorn.__version__}, SQLite {sqlite3.sqlite_version}")
    count, rounds = min(arguments.callbacks, MOST_CALLBACKS), min(arguments.rounds, MOST_ROUNDS)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(compare(count, arguments.in_flight, rounds, Path(folder)).text)


if __name__ == "__main__":
    main()
