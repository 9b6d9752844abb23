"""What a verified, stored callback costs: the receiver beside the least app that could be written by hand.

    python benchmarks/receiver.py [--callbacks 2000] [--in-flight 1 20] [--rounds 3] [--folder PATH]

Needs transferkit-acs, and uvicorn (`transferkit[emulators]`). Both arms are served by uvicorn on loopback, in
a process of their own. The receiver does all that it does: RS256, decoding, the life cycle, events and marks,
committed to SQLite with full sync before the answer. The app by hand verifies with PyJWT and a key that it
has, calls `json.loads` and inserts the body, with a full-sync commit in a thread for each callback. Each
callback has a token of its own; with `--shared-tokens` the five callbacks of a call share one, whose
signature the receiver verifies once and the app by hand each time. The arms take turns, round by round, and
the best round of each counts. How fast a disk syncs decides much: give `--folder` on the one that matters. At
the end each arm's file is asked whether every acknowledged callback is in it.
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
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import jwt
import uvicorn
from measuring import Bar, Report, table
from transferkit_acs.testing import ISSUER, AcsCallbacks

from transferkit import AsyncClient
from transferkit.testing import CallbackSigner

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MOST_CALLBACKS = 20_000
MOST_ROUNDS = 10
TIME_LIMIT = 300.0
CALLBACKS_A_CALL = 5
RESOURCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
HOUR = 3600

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


# --- the two servers ------------------------------------------------------------------------------------


async def ours(jwks: dict[str, Any], path: Path, serve: Callable[[App], Awaitable[None]]) -> None:
    """The receiver, as an application mounts it."""

    async def fetch(url: str, *, ca_file: Path | None = None, public: bool = False) -> bytes:  # noqa: ARG001 - as `Fetch` has it
        return json.dumps(jwks if url.endswith("/keys") else {"jwks_uri": f"{url}/keys"}).encode()

    config = {
        "provider": "acs",
        "store": f"sqlite:///{path}",
        "providers": {"acs": {"resource_id": RESOURCE}},
    }
    async with AsyncClient.from_config(config, fetch_keys=fetch) as client:
        await serve(client.asgi())


async def by_hand(jwks: dict[str, Any], path: Path, serve: Callable[[App], Awaitable[None]]) -> None:
    """Verification, `json.loads` and a commit."""
    key = jwt.PyJWKSet.from_dict(jwks).keys[0]
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE callbacks (id TEXT PRIMARY KEY, body TEXT)")
    alone = asyncio.Lock()

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
        async with alone:
            await asyncio.to_thread(store, event["id"], body.decode())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    try:
        await serve(app)
    finally:
        database.close()


ARMS = {"by hand": (by_hand, "callbacks"), "transferkit": (ours, "events")}
"""Each with the table that a callback adds a row to."""


def run_server(arm: str, pipe: Connection, jwks: dict[str, Any], path: Path) -> None:
    """Serve until told to stop; tells the port, and whenever asked the CPU seconds spent so far."""

    async def serve(app: App) -> None:
        config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        pipe.send(server.servers[0].sockets[0].getsockname()[1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(time.process_time())
        server.should_exit = True
        await task

    asyncio.run(ARMS[arm][0](jwks, path, serve))


@contextmanager
def served(arm: str, jwks: dict[str, Any], folder: Path) -> Iterator[tuple[Connection, int, Path]]:
    """The arm in a process of its own: a pipe to it, its port and its file."""
    path = folder / f"{arm.replace(' ', '-')}.db"
    mine, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=run_server, args=(arm, its, jwks, path), daemon=True
    )
    process.start()
    try:
        if not mine.poll(60):
            sys.exit(f"{arm}: the server did not start")
        yield mine, mine.recv(), path
        mine.send(False)  # noqa: FBT003 - whether to go on
        process.join(20)
    finally:
        process.kill()


# --- the load -------------------------------------------------------------------------------------------


class Sender(asyncio.Protocol):
    """Posts one request after another on a connection that stays open."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write on."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """An answer is whole at its empty line: the answers of success have no body."""
        self._received += data
        if b"\r\n\r\n" in self._received and self._answered is not None:
            self._answered.set_result(self._received.partition(b"\r\n")[0])
            self._received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for an answer that will not come."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def post(self, request: bytes) -> None:
        """Send a request; raises unless the answer is 200."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status = await self._answered
        if b" 200 " not in status:
            raise RuntimeError(f"expected 200, got {status.decode()}")

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Load(NamedTuple):
    """Who sends, and whether the callbacks of a call carry one token."""

    callbacks: AcsCallbacks
    signer: CallbackSigner
    shared_tokens: bool

    def token(self) -> str:
        """A new one: no two are alike."""
        return self.signer.token(audience=RESOURCE, lifetime=HOUR, claims={"jti": str(uuid4())})


def requests(load: Load, count: int) -> Iterator[bytes]:
    """Callbacks with an id of their own each, several about one call."""
    call_id = token = ""
    callbacks = load.callbacks
    for number in range(count):
        if number % CALLBACKS_A_CALL == 0:
            call_id = str(uuid4())
        if number % CALLBACKS_A_CALL == 0 or not load.shared_tokens:
            token = load.token()
        made = callbacks.signed([callbacks.event("CallConnected", call_id)], token=token)
        head = [f"POST {made.url} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(made.body)}"]
        head += [f"{name}: {value}" for name, value in made.headers.items()]
        yield "\r\n".join(head).encode() + b"\r\n\r\n" + made.body


async def measure(port: int, pending: list[bytes], in_flight: int, pipe: Connection) -> tuple[float, float]:
    """Callbacks a second, and the server's CPU seconds for each."""
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(Sender, "127.0.0.1", port))[1]
        for _ in range(min(in_flight, len(pending)))
    ]
    count, left = len(pending), iter(pending)

    async def work(sender: Sender) -> None:
        for request in left:
            await sender.post(request)

    cpu, wall = _cpu(pipe), time.perf_counter()
    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.gather(*(work(sender) for sender in senders))
    wall, cpu = time.perf_counter() - wall, _cpu(pipe) - cpu
    for sender in senders:
        sender.close()
    return count / wall, cpu / count


def _cpu(pipe: Connection) -> float:
    pipe.send(True)  # noqa: FBT003 - whether to go on
    return float(pipe.recv())


def compare(
    count: int, in_flight: list[int], rounds: int, folder: Path, *, shared_tokens: bool = False
) -> Report:
    """Both arms, at each number in flight, and the ratio of their rates.

    Ends the process where an arm lost or doubled a callback.
    """
    signer = CallbackSigner(issuer=ISSUER)
    load = Load(AcsCallbacks(signer=signer, resource_id=RESOURCE), signer, shared_tokens)
    jwks = signer.jwks()
    lines: list[tuple[str, ...]] = []
    bars: list[Bar] = []
    with served("by hand", jwks, folder) as hand, served("transferkit", jwks, folder) as kit:
        arms = {"by hand": hand, "transferkit": kit}
        for pipe, port, _ in arms.values():
            asyncio.run(measure(port, list(requests(load, 50)), 5, pipe))  # warms up
        for number in in_flight:
            best = dict.fromkeys(arms, (0.0, 0.0))
            for _ in range(rounds):
                for arm, (pipe, port, _) in arms.items():
                    pending = list(requests(load, count))
                    best[arm] = max(best[arm], asyncio.run(measure(port, pending, number, pipe)))
            ratio = best["transferkit"][0] / best["by hand"][0]
            lines += [
                (
                    arm,
                    str(number),
                    f"{cpu * 1e6:.0f} µs",
                    f"{rate:.0f}",
                    f"{rate / best['by hand'][0]:.2f}",
                )
                for arm, (rate, cpu) in best.items()
            ]
            bars.append(
                Bar(f"receiver, {number} in flight: rate of the app by hand's", ratio, 0.7, at_least=True)
            )
        sent = 50 + len(in_flight) * rounds * count
        files = {arm: path for arm, (_, _, path) in arms.items()}
    for arm, path in files.items():
        kept = rows(path, ARMS[arm][1])
        if kept != sent:
            sys.exit(f"{arm} lost or doubled callbacks: {sent} acknowledged, {kept} in the file")
    head = ("receiver", "in flight", "CPU each", "a second", "rate ÷ by hand")
    return Report(table(head, lines), tuple(bars))


def reports(*, quick: bool, graph_sdk_python: str = "") -> Iterator[Report]:
    """The one."""
    del graph_sdk_python  # no SDK receives anything
    with tempfile.TemporaryDirectory() as folder:
        yield compare(300 if quick else 1500, [1, 20], 1 if quick else 3, Path(folder))


def rows(path: Path, table: str) -> int:
    """How many rows a table has."""
    database = sqlite3.connect(path)
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of ours
    finally:
        database.close()


def main() -> None:
    """Serve both arms, compare them, and end them."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--callbacks", type=int, default=2000, help="a round, up to 20000")
    arguments.add_argument("--in-flight", type=int, nargs="+", default=[1, 20], help="how many at a time")
    arguments.add_argument("--rounds", type=int, default=3, help="up to 10")
    arguments.add_argument("--folder", type=Path, help="where the databases are made")
    arguments.add_argument("--shared-tokens", action="store_true", help="a token for each call")
    asked = arguments.parse_args()
    print(f"Python {sys.version.split()[0]}, uvicorn {uvicorn.__version__}, SQLite {sqlite3.sqlite_version}")
    count, rounds = min(asked.callbacks, MOST_CALLBACKS), min(asked.rounds, MOST_ROUNDS)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        found = compare(count, asked.in_flight, rounds, Path(folder), shared_tokens=asked.shared_tokens)
        print(found.text)


if __name__ == "__main__":
    main()
