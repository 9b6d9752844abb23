"""The cost of a callback in the PostgreSQL store.

    python benchmarks/postgres_store.py [--server URL] [--seconds 3] [--rounds 2] [--stored 1000 1000000]
                                        [--latencies 200] [--only rate|stored|latency]

* rate: callbacks per second with 1, 2 and 4 receiving processes, with 1 and 64 callbacks in flight in each.
  Each callback is for its own call with one open transfer.
* stored: seconds per callback with few and with many stored transfers, in PostgreSQL and in SQLite.
  The stores alternate. SQL statements write the stored transfers.
* latency: from the arrival of a callback in one process to the outcome in another process that waits for it,
  with NOTIFY and with polling.

The script creates its own database on the server (default: the local socket) and drops it. Compare only
ratios within one run, because the disk determines the duration of a commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql
from workload import AT, callback_for, feed, prepare, request_for

from transferkit import AsyncClient, Call
from transferkit._callbacks.messages import CallbackRequest
from transferkit._lifecycle import CallKey, step
from transferkit.provider.facts import Signal
from transferkit.stores import Store
from transferkit.stores.postgres import PostgresStore
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import scenario

PROCESSES: Final = (1, 2, 4)
IN_FLIGHT: Final = (1, 64)
MEASURED: Final = 300
LOCAL: Final = "postgresql://postgres@/postgres?host=/var/run/postgresql"


# --- rate --------------------------------------------------------------------------------------------


def receive(url: str, in_flight: int, seconds: float, pipe: Connection) -> None:
    """One receiving process."""

    async def run() -> float:
        store = PostgresStore(url)
        await store.open()
        count = min(max(int(seconds * 1500), 200), 6000)
        calls = [CallKey("graph", str(uuid4())) for _ in range(count)]
        await prepare(store, calls)
        callbacks = [callback_for(call, Signal.STARTED) for call in calls]
        pipe.send("ready")
        pipe.recv()
        try:
            return 1 / (await feed(store, callbacks, in_flight=in_flight, seconds=seconds)).wall
        finally:
            await store.close()

    pipe.send(asyncio.run(run()))


def rate(url: str, *, processes: int, in_flight: int, seconds: float) -> float:
    """Callbacks per second of all processes together."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Any] = []
    workers = []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=receive, args=(url, in_flight, seconds, theirs)))
        pipes.append(ours)
        workers[-1].start()
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    total = sum(pipe.recv() for pipe in pipes)
    for worker in workers:
        worker.join()
    return float(total)


def compare_processes(url: str, *, seconds: float, rounds: int) -> None:
    """Print callbacks per second in the best round."""
    best: dict[tuple[int, int], float] = {}
    for _ in range(rounds):
        for in_flight in IN_FLIGHT:
            for processes in PROCESSES:
                measured = rate(url, processes=processes, in_flight=in_flight, seconds=seconds)
                best[in_flight, processes] = max(best.get((in_flight, processes), 0.0), measured)
    for (in_flight, processes), measured in best.items():
        print(
            f"{processes} processes  {in_flight:>3} in flight each  {measured:8.0f} callbacks/s  "
            f"{measured / best[in_flight, 1]:5.2f} of one process  "
            f"{measured / best[1, 1]:6.2f} of one in flight"
        )


# --- stored ---------------------------------------------------------------------------------------

# Copies of the rows of a finished transfer, each with another call.
FILL_POSTGRES: Final = (
    """INSERT INTO calls SELECT -n, 'filled', n::text, state, false, created_at, recorded_at, stamp
       FROM calls, generate_series(%(first)s::bigint, %(last)s::bigint) n
       WHERE number = %(number)s""",
    """INSERT INTO events (partition, position, call, sequence, event, stamp)
       SELECT partition, -(n * 16 + sequence), -n, sequence, event, stamp
       FROM events, generate_series(%(first)s::bigint, %(last)s::bigint) n
       WHERE call = %(number)s""",
    """INSERT INTO marks SELECT -n, key, mark
       FROM marks, generate_series(%(first)s::bigint, %(last)s::bigint) n
       WHERE call = %(number)s""",
    """INSERT INTO requests SELECT gen_random_uuid()::text, -n, NULL, opened, outcome
       FROM requests, generate_series(%(first)s::bigint, %(last)s::bigint) n
       WHERE call = %(number)s""",
)
FILL_SQLITE: Final = (
    """INSERT INTO calls (number, provider, id, state, open, recorded_at)
       SELECT -value, 'filled', CAST(value AS TEXT), state, 0, recorded_at
       FROM calls, generate_series WHERE number = :number""",
    """INSERT INTO events (partition, call, sequence, event)
       SELECT partition, -value, sequence, event FROM events, generate_series WHERE call = :number""",
    "INSERT INTO marks SELECT -value, key, mark FROM marks, generate_series WHERE call = :number",
    """INSERT INTO requests (id, call, opened, outcome)
       SELECT lower(hex(randomblob(16))), -value, opened, outcome
       FROM requests, generate_series WHERE call = :number""",
)
SERIES: Final = (
    "WITH RECURSIVE generate_series(value) AS"
    " (SELECT :first UNION ALL SELECT value + 1 FROM generate_series WHERE value < :last) "
)


async def template(store: Store) -> CallKey:
    """Store a finished transfer, whose rows are then copied."""
    call = CallKey("graph", str(uuid4()))
    callbacks = (callback_for(call, signal) for signal in (Signal.STARTED, Signal.SUCCEEDED))
    await store.apply_all([request_for(call), *callbacks], step)
    return call


def fill_postgres(url: str, schema: str, call: CallKey, count: int) -> None:
    """Copy a finished transfer `count` times in PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        row = db.execute("SELECT number FROM calls WHERE id = %s", (call.id,)).fetchone()
        values = {"number": row[0] if row else None, "first": 1, "last": count}
        for statement in FILL_POSTGRES:
            db.execute(statement, values)
        db.execute("VACUUM ANALYZE")


def fill_sqlite(path: Path, call: CallKey, count: int) -> None:
    """Copy a finished transfer `count` times in SQLite."""
    db = sqlite3.connect(path, isolation_level=None)
    (number,) = db.execute("SELECT number FROM calls WHERE id = ?", (call.id,)).fetchone()
    db.execute("BEGIN")
    for statement in FILL_SQLITE:
        head, _, tail = statement.partition("SELECT")
        db.execute(
            f"{head} {SERIES} SELECT {tail}",
            {"number": number, "first": 1, "last": count},
        )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


async def callback_seconds(store: Store) -> float:
    """The median time of one callback for a new call with an open transfer."""
    calls = [CallKey("graph", str(uuid4())) for _ in range(MEASURED)]
    await prepare(store, calls)
    times: list[float] = []
    for call in calls:
        callback = callback_for(call, Signal.STARTED)
        start = time.perf_counter()
        await store.apply(*callback, step)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def compare_stored(url: str, folder: Path, counts: Sequence[int], *, rounds: int) -> None:
    """Print the time per callback for each number of stored transfers, in the best round."""
    for name in ("PostgreSQL", "SQLite"):
        best = dict.fromkeys(sorted(counts), math.inf)
        stores: dict[int, Store] = {}
        for count in best:
            schema, path = f"stored_{count}", folder / f"stored_{count}.db"
            postgres = name == "PostgreSQL"
            store = PostgresStore(with_option(url, f"schema={schema}")) if postgres else SqliteStore(path)
            await store.open()
            stores[count], call = store, await template(store)
            if postgres:
                await asyncio.to_thread(fill_postgres, url, schema, call, count)
            else:
                await asyncio.to_thread(fill_sqlite, path, call, count)
        for _ in range(rounds):
            for count, store in stores.items():
                best[count] = min(best[count], await callback_seconds(store))
        for count, store in stores.items():
            await store.close()
            ratio = best[count] / best[min(best)]
            print(
                f"{name:<10} {count:>9} stored  {best[count] * 1e3:7.2f} ms per callback  "
                f"{ratio:5.2f} of the smallest"
            )


# --- latency ----------------------------------------------------------------------------------------------


def await_outcomes(url: str, pipe: Connection) -> None:
    """Wait for the outcomes of transfers and send the times at which they were known."""

    async def run() -> None:
        config = {"provider": "fake", "store": url, "callbacks": {"accept_unverified": True}}
        async with AsyncClient.from_config(config, background=False) as client:
            loop = asyncio.get_running_loop()
            while transfer_id := await loop.run_in_executor(None, pipe.recv):
                outcome = asyncio.create_task(client.outcome(transfer_id))
                await asyncio.sleep(0.03)  # until the task waits
                pipe.send("waiting")
                await outcome
                pipe.send(time.time())

    asyncio.run(run())


async def latency(url: str, count: int) -> list[float]:
    """Seconds from the arrival of a callback to its outcome in another process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=await_outcomes, args=(url, theirs))
    process.start()
    config = {"provider": "fake", "store": url, "callbacks": {"accept_unverified": True}}
    times: list[float] = []
    try:
        async with AsyncClient.from_config(config) as client:
            for number in range(count + 5):
                call = str(uuid4())
                transfer = await client.transfer(Call("fake", call), to=scenario("silent").number)
                ours.send(transfer.id)
                await asyncio.to_thread(ours.recv)
                body = {"id": call, "call_id": call, "time": AT.isoformat(), "signals": ["succeeded"]}
                request = CallbackRequest(method="POST", url="/fake", body=json.dumps(body).encode())
                arrived = time.time()
                await client.receive(request)
                known = await asyncio.to_thread(ours.recv)
                if number >= 5:  # noqa: PLR2004 - the first five warm up
                    times.append(known - arrived)
    finally:
        ours.send("")
        process.join()
    return times


def print_latency(name: str, times: Sequence[float]) -> None:
    """Print percentiles."""
    ordered = sorted(times)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name:<28} p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  of {len(times)}")


# --- main ---------------------------------------------------------------------------------------------


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """Create a database for this run."""
    name = f"transferkit_benchmark_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def with_option(url: str, option: str) -> str:
    """Add a parameter to a URL."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{option}"


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    parser.add_argument("--seconds", type=float, default=3.0, help="per arm and round, up to 10")
    parser.add_argument("--rounds", type=int, default=2, help="up to 5")
    parser.add_argument("--stored", type=int, nargs="+", default=[1000, 1_000_000], help="up to a million")
    parser.add_argument("--latencies", type=int, default=200, help="up to 2000")
    parser.add_argument("--only", choices=["rate", "stored", "latency"])
    arguments = parser.parse_args()
    selected = {arguments.only} if arguments.only else {"rate", "stored", "latency"}
    rounds = min(arguments.rounds, 5)
    with own_database(arguments.server) as url, TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        if "rate" in selected:
            compare_processes(url, seconds=min(arguments.seconds, 10.0), rounds=rounds)
        if "stored" in selected:
            counts = [min(count, 1_000_000) for count in arguments.stored]
            asyncio.run(compare_stored(url, Path(folder), counts, rounds=rounds))
        if "latency" in selected:
            count = min(arguments.latencies, 2000)
            print_latency("with NOTIFY", asyncio.run(latency(url, count)))
            print_latency("with polling", asyncio.run(latency(with_option(url, "listen=off"), count)))


if __name__ == "__main__":
    main()
