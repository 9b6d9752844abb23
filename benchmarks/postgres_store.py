"""What a callback costs in the PostgreSQL store: by processes, by what is stored, until another one knows.

    python benchmarks/postgres_store.py [--server URL] [--seconds 3] [--rounds 2] [--stored 1000 1000000]
                                        [--latencies 200] [--only rate|stored|latency]

Rate: callbacks a second with 1, 2 and 4 receiving processes, one at a time and 64 in flight in each; each
callback is for a call of its own with one open transfer. Stored: seconds for a callback among few and among
many stored transfers, in PostgreSQL and in SQLite; the stored ones are written by SQL, and the stores take
turns, round by round. Latency: from a callback's arrival in one process to the outcome in another that awaits
it, told by NOTIFY and by polling.

It makes a database of its own on the server, by default on the local socket, and drops it. Only ratios within
one run mean something: how long a commit takes is the disk's affair.
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
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from transferkit import AsyncClient, Call
from transferkit._callbacks.messages import CallbackRequest
from transferkit._lifecycle import CallKey, Input, Lease, Observed, Opened, Requested, Rules, step
from transferkit.codec import fingerprint
from transferkit.events import ProviderOther
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.provider.json import freeze
from transferkit.requests import Transfer
from transferkit.stores import Store
from transferkit.stores.postgres import PostgresStore
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import scenario

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
RAW: Final = freeze(
    {
        "@odata.type": "#microsoft.graph.commsNotification",
        "changeType": "updated",
        "resourceUrl": "/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001",
        "resourceData": {"@odata.type": "#microsoft.graph.call", "state": "transferring"},
    }
)
PROCESSES: Final = (1, 2, 4)
IN_FLIGHT: Final = (1, 64)
MEASURED: Final = 300
LOCAL: Final = "postgresql://postgres@/postgres?host=/var/run/postgresql"

Inputs = Sequence[tuple[CallKey, Input]]


def requests_for(calls: Sequence[CallKey]) -> Inputs:
    """One transfer of each call."""
    found: list[tuple[CallKey, Input]] = []
    for call in calls:
        request = Transfer(call=Call(call.provider, call.id), to=PhoneNumber("+14255550100"))
        opened = Opened(
            id=str(uuid4()),
            call=call,
            request=request,
            fingerprint=fingerprint(request),
            at=AT,
            legs=(call,),
        )
        lease = Lease("benchmark", AT + timedelta(minutes=2))
        found.append((call, Requested(at=AT, opened=opened, rules=Rules(), sender=lease)))
    return found


def callback_for(call: CallKey, *signals: Signal) -> tuple[CallKey, Input]:
    """What the provider says of it."""
    event = ProviderOther(time=AT, provider=call.provider, call_id=call.id, name="updated", raw=RAW)
    fact = Fact(event=event, signals=signals, delivery=Delivery(str(uuid4())))
    return call, Observed(at=AT, fact=fact)


async def feed(store: Store, inputs: Inputs, *, in_flight: int, seconds: float) -> float:
    """Callbacks a second: each of `in_flight` tasks awaits one callback after the other."""
    left, done = iter(inputs), 0
    began = time.perf_counter()

    async def sender() -> None:
        nonlocal done
        for call, happened in left:
            await store.apply(call, happened, step)
            done += 1
            if time.perf_counter() - began >= seconds:
                return

    await asyncio.gather(*(sender() for _ in range(in_flight)))
    return done / (time.perf_counter() - began)


# --- by processes -------------------------------------------------------------------------------------


def receive(url: str, in_flight: int, seconds: float, told: Connection) -> None:
    """One receiving process."""

    async def run() -> float:
        store = PostgresStore(url)
        await store.open()
        count = min(max(int(seconds * 1500), 200), 6000)
        calls = [CallKey("graph", str(uuid4())) for _ in range(count)]
        for start in range(0, count, 500):
            await store.apply_all(requests_for(calls[start : start + 500]), step)
        inputs = [callback_for(call, Signal.STARTED) for call in calls]
        told.send("ready")
        told.recv()
        try:
            return await feed(store, inputs, in_flight=in_flight, seconds=seconds)
        finally:
            await store.close()

    told.send(asyncio.run(run()))


def rate(url: str, *, processes: int, in_flight: int, seconds: float) -> float:
    """Callbacks a second of so many processes together."""
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
    found = sum(pipe.recv() for pipe in pipes)
    for worker in workers:
        worker.join()
    return float(found)


def compare_processes(url: str, *, seconds: float, rounds: int) -> None:
    """Print callbacks a second; the best round of each counts."""
    best: dict[tuple[int, int], float] = {}
    for _ in range(rounds):
        for in_flight in IN_FLIGHT:
            for processes in PROCESSES:
                found = rate(url, processes=processes, in_flight=in_flight, seconds=seconds)
                best[in_flight, processes] = max(best.get((in_flight, processes), 0.0), found)
    for (in_flight, processes), found in best.items():
        print(
            f"{processes} processes  {in_flight:>3} in flight each  {found:8.0f} callbacks/s  "
            f"{found / best[in_flight, 1]:5.2f} of one process  {found / best[1, 1]:6.2f} of one at a time"
        )


# --- by what is stored --------------------------------------------------------------------------------

# A finished transfer's rows, with the call's id in the place of the template's.
FILL_POSTGRES: Final = (
    """INSERT INTO calls SELECT -n, 'filled', n::text, state, false, created_at, recorded_at
       FROM calls, generate_series(%(first)s::bigint, %(last)s::bigint) n
       WHERE number = %(number)s""",
    """INSERT INTO events (partition, position, call, sequence, event)
       SELECT partition, -(n * 16 + sequence), -n, sequence, event
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
    """A finished transfer."""
    call = CallKey("graph", str(uuid4()))
    await store.apply_all(
        [*requests_for([call]), callback_for(call, Signal.STARTED), callback_for(call, Signal.SUCCEEDED)],
        step,
    )
    return call


def fill_postgres(url: str, schema: str, call: CallKey, count: int) -> None:
    """Store finished transfers beside the template."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        row = db.execute("SELECT number FROM calls WHERE id = %s", (call.id,)).fetchone()
        values = {"number": row[0] if row else None, "first": 1, "last": count}
        for statement in FILL_POSTGRES:
            db.execute(statement, values)
        db.execute("VACUUM ANALYZE")


def fill_sqlite(path: Path, call: CallKey, count: int) -> None:
    """The same, in a file."""
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
    """The median of single callbacks for new calls with an open transfer."""
    calls = [CallKey("graph", str(uuid4())) for _ in range(MEASURED)]
    await store.apply_all(requests_for(calls), step)
    found: list[float] = []
    for call in calls:
        happened = callback_for(call, Signal.STARTED)
        began = time.perf_counter()
        await store.apply(*happened, step)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


async def compare_stored(url: str, folder: Path, counts: Sequence[int], *, rounds: int) -> None:
    """Print the time for a callback among so many stored transfers: in turns, the best round of each."""
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
                f"{name:<10} {count:>9} stored  {best[count] * 1e3:7.2f} ms a callback  "
                f"{ratio:5.2f} of the fewest"
            )


# --- until another process knows ------------------------------------------------------------------------


def await_outcomes(url: str, asked: Connection) -> None:
    """A process that awaits one outcome after the other, and says when it knew."""

    async def run() -> None:
        config = {"provider": "fake", "store": url, "callbacks": {"accept_unverified": True}}
        async with AsyncClient.from_config(config, background=False) as client:
            loop = asyncio.get_running_loop()
            while transfer_id := await loop.run_in_executor(None, asked.recv):
                outcome = asyncio.create_task(client.outcome(transfer_id))
                await asyncio.sleep(0.03)  # it waits by now, as an application's would
                asked.send("waiting")
                await outcome
                asked.send(time.time())

    asyncio.run(run())


async def latency(url: str, count: int) -> list[float]:
    """Seconds from a callback's arrival here to its outcome there."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=await_outcomes, args=(url, theirs))
    process.start()
    config = {"provider": "fake", "store": url, "callbacks": {"accept_unverified": True}}
    found: list[float] = []
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
                if number >= 5:  # noqa: PLR2004 - the first ones warm up
                    found.append(known - arrived)
    finally:
        ours.send("")
        process.join()
    return found


def print_latency(name: str, found: Sequence[float]) -> None:
    """Print the middle and the tail."""
    ordered = sorted(found)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name:<28} p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  of {len(found)}")


# --- all of it ----------------------------------------------------------------------------------------


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """A database for this run alone."""
    name = f"transferkit_benchmark_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def with_option(url: str, option: str) -> str:
    """The URL with one more parameter."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{option}"


def main() -> None:
    """Measure what is asked for."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    arguments.add_argument("--seconds", type=float, default=3.0, help="an arm and round, up to 10")
    arguments.add_argument("--rounds", type=int, default=2, help="up to 5")
    arguments.add_argument("--stored", type=int, nargs="+", default=[1000, 1_000_000], help="up to a million")
    arguments.add_argument("--latencies", type=int, default=200, help="up to 2000")
    arguments.add_argument("--only", choices=["rate", "stored", "latency"])
    asked = arguments.parse_args()
    wanted = {asked.only} if asked.only else {"rate", "stored", "latency"}
    rounds = min(asked.rounds, 5)
    with own_database(asked.server) as url, TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        if "rate" in wanted:
            compare_processes(url, seconds=min(asked.seconds, 10.0), rounds=rounds)
        if "stored" in wanted:
            counts = [min(count, 1_000_000) for count in asked.stored]
            asyncio.run(compare_stored(url, Path(folder), counts, rounds=rounds))
        if "latency" in wanted:
            count = min(asked.latencies, 2000)
            print_latency("told by NOTIFY", asyncio.run(latency(url, count)))
            print_latency("by polling alone", asyncio.run(latency(with_option(url, "listen=off"), count)))


if __name__ == "__main__":
    main()
