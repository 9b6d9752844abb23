"""The cost of a callback in a filled store, in SQLite and PostgreSQL.

    python benchmarks/stored_calls.py [--store sqlite|postgres] [--server URL] [--stored 1000000] [--rounds 9]

The arms alternate after each operation, with one in flight; then bursts of 64 in flight alternate. Each
callback is the first one about its call, at least in its round:

* insert: no callback, but one plain durable insert by the same driver, in a table with as many rows and
  random ids; with 64 in flight over 8 connections
* new: a call that was stored just before, with one open transfer
* old: a call among the stored ones, with one open transfer
* 10, 500: a call with so many transfers before the open one, which have their verdicts
* 500 unsettled: a call with 500 transfers before the open one, which expired without a verdict

SQL statements write the stored calls. Printed are the ratios within each round: their median, the lowest and
the highest. PostgreSQL runs in a database of its own, which is dropped. Needs about 10 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import psycopg
from attrs import evolve, frozen
from filling import LOCAL, Copies, fill_postgres, fill_sqlite, own_database, with_option
from measuring import Target, table
from workload import AT, callback_for, request_for

from transferkit._lifecycle import CallKey, DueReached, Input, Inspected, Work, step
from transferkit.provider.facts import Signal
from transferkit.provider.results import Presence
from transferkit.stores import Store
from transferkit.stores.encoding import to_json
from transferkit.stores.postgres import PostgresStore
from transferkit.stores.sqlite import SqliteStore

SLICE: Final = 100
IN_FLIGHT: Final = 64
BURSTS: Final = 10
CONNECTIONS: Final = 8
MANY: Final = 500
FEW: Final = 10
LEAST_OF_INSERT: Final = 0.4
MOST: Final = 1.2
TRANSFERS: Final = {f"{FEW}": (FEW, True), f"{MANY}": (MANY, True), f"{MANY} unsettled": (MANY, False)}

Arm = Callable[[], Awaitable[object]]


# --- what is stored ------------------------------------------------------------------------------------


def transfers_before(call: CallKey, count: int, *, settled: bool) -> Iterator[tuple[CallKey, Input]]:
    """The inputs of `count` transfers that have ended: with a verdict, or expired after their deadline."""
    for number in range(count):
        _, requested = request_for(call)
        opened = evolve(requested.opened, id=f"transfer-{number}-{call.id}")
        yield call, evolve(requested, opened=opened)
        yield callback_for(call, Signal.STARTED, of=opened.id)
        if settled:
            yield callback_for(call, Signal.FAILED, Signal.CALL_ENDED, of=opened.id)
            continue
        late = AT + timedelta(days=1)
        yield call, DueReached(at=late, transfer_id=opened.id, work=Work.DEADLINE)
        yield call, Inspected(at=late, transfer_id=opened.id, presence=Presence.CONNECTED)


async def template(store: Store, *, before: int = 0, settled: bool = True, is_open: bool = True) -> CallKey:
    """Store a call, whose rows are then copied."""
    call = CallKey("graph", str(uuid4()))
    inputs = [*transfers_before(call, before, settled=settled)]
    await store.apply_all([*inputs, request_for(call)], step)
    if not is_open:
        callbacks = [callback_for(call, signal) for signal in (Signal.STARTED, Signal.SUCCEEDED)]
        await store.apply_all(callbacks, step)
    state = await store.state(call)
    unsettled = any(one.unsettled for one in state.finished)
    if bool(state.open) is not is_open or unsettled is settled:
        sys.exit("the stored call is not as intended")
    return call


# --- the arms ------------------------------------------------------------------------------------------


@frozen
class Stored:
    """A filled store, the calls of its arms, and what inserts a row without transferkit."""

    store: Store
    old: Sequence[CallKey]
    transfers: dict[str, Sequence[CallKey]]
    inserts: Sequence[Arm]
    """What inserts a row, for each connection."""


async def filled(
    store: Store, fill: Callable[[Copies], None], inserts: Sequence[Arm], *, count: int, slices: int
) -> Stored:
    """Fill a store with `count` finished calls, and the calls of the arms."""
    calls = slices * SLICE
    stride = max(count // calls, 2)
    old = Copies(
        common=await template(store, is_open=False),
        rare=await template(store),
        first=1,
        count=count,
        stride=stride,
    )
    await asyncio.to_thread(fill, old)
    transfers: dict[str, Sequence[CallKey]] = {}
    first = count + 1
    for name, before, settled in (
        (f"{FEW}", FEW, True),
        (f"{MANY}", MANY, True),
        (f"{MANY} unsettled", MANY, False),
    ):
        copies = Copies(
            common=await template(store, before=before, settled=settled), first=first, count=SLICE
        )
        await asyncio.to_thread(fill, copies)
        first += copies.count
        transfers[name] = copies.calls()
    return Stored(store, old.calls(), transfers, inserts)


async def measure(stored: Stored, *, rounds: int) -> dict[str, list[float]]:
    """The median time of an operation of each arm in each round. The arms take turns after each operation."""
    store = stored.store
    old = random.sample(stored.old, len(stored.old))
    found: dict[str, list[float]] = {}

    def callbacks(calls: Sequence[CallKey], number: int) -> Sequence[Arm]:
        inputs = [callback_for(call, Signal.STARTED, again=number) for call in calls]
        return [partial(store.apply, *one, step) for one in inputs]

    for number in range(rounds):
        new = [CallKey("graph", str(uuid4())) for _ in range(SLICE)]
        await store.apply_all([request_for(call) for call in new], step)
        arms: dict[str, Sequence[Arm]] = {
            "insert": [stored.inserts[0]] * SLICE,
            "new": callbacks(new, 0),
            "old": callbacks(old[number * SLICE : (number + 1) * SLICE], 0),
            **{
                name: callbacks(random.sample(calls, SLICE), number)
                for name, calls in stored.transfers.items()
            },
        }
        times: dict[str, list[float]] = {name: [] for name in arms}
        for turn in range(SLICE):
            for name in random.sample(list(arms), len(arms)):
                start = time.perf_counter()
                await arms[name][turn]()
                times[name].append(time.perf_counter() - start)
        for name, each in times.items():
            found.setdefault(name, []).append(statistics.median(each))
        for name, each in (await in_flight(stored)).items():
            found.setdefault(name, []).append(statistics.median(each))
    return found


async def in_flight(stored: Stored) -> dict[str, list[float]]:
    """Seconds per operation with many in flight, for several bursts of callbacks and of inserts in turn."""
    times: dict[str, list[float]] = {f"insert, {IN_FLIGHT} in flight": [], f"new, {IN_FLIGHT} in flight": []}
    for _ in range(BURSTS):
        calls = [CallKey("graph", str(uuid4())) for _ in range(IN_FLIGHT)]
        await stored.store.apply_all([request_for(call) for call in calls], step)
        inputs = [callback_for(call, Signal.STARTED) for call in calls]

        async def insert(arm: Arm) -> None:
            for _ in range(IN_FLIGHT // len(stored.inserts)):
                await arm()

        bursts: list[list[Awaitable[object]]] = [
            [insert(arm) for arm in stored.inserts],
            [stored.store.apply(*one, step) for one in inputs],
        ]
        for each, burst in zip(times.values(), bursts, strict=True):
            start = time.perf_counter()
            await asyncio.gather(*burst)
            each.append((time.perf_counter() - start) / IN_FLIGHT)
    return times


def report(kind: str, found: dict[str, list[float]]) -> list[Target]:
    """Print the arms' times; returns the ratios with their limits."""
    rows = [
        (
            name,
            f"{statistics.median(times) * 1e3:.2f} ms",
            f"{min(times) * 1e3:.2f}",
            f"{max(times) * 1e3:.2f}",
        )
        for name, times in sorted(found.items())
    ]
    print(table((kind, "median", "lowest", "highest"), rows), end="\n\n")
    ratios = (
        ("rate of a new call ÷ plain durable insert", "insert", "new", LEAST_OF_INSERT, True),
        (
            f"the same with {IN_FLIGHT} in flight",
            f"insert, {IN_FLIGHT} in flight",
            f"new, {IN_FLIGHT} in flight",
            LEAST_OF_INSERT,
            True,
        ),
        ("an old call ÷ a new one", "old", "new", MOST, False),
        (f"{MANY} transfers ÷ {FEW}", f"{MANY}", f"{FEW}", MOST, False),
        (f"{MANY} unsettled transfers ÷ {FEW}", f"{MANY} unsettled", f"{FEW}", MOST, False),
    )
    targets: list[Target] = []
    for what, over, under, limit, at_least in ratios:
        each = [a / b for a, b in zip(found[over], found[under], strict=True)]
        spread = f"{kind}: {what} ({min(each):.2f} to {max(each):.2f})"
        targets.append(Target(spread, statistics.median(each), limit, at_least))
    return targets


# --- stores --------------------------------------------------------------------------------------------

EVENT: Final = to_json(callback_for(CallKey("graph", "0"), Signal.STARTED)[1].fact.event)


async def postgres(server: str, *, count: int, rounds: int) -> list[Target]:
    """Measure PostgreSQL."""
    with own_database(server) as url:
        store = PostgresStore(with_option(url, "schema=filled"))
        await store.open()
        connections = [
            await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(CONNECTIONS)
        ]
        await connections[0].execute("CREATE TABLE plain (id text PRIMARY KEY, event text NOT NULL)")
        await connections[0].execute(
            "INSERT INTO plain SELECT gen_random_uuid()::text, %s FROM generate_series(1, %s::int)",
            (EVENT, count),
        )

        async def insert(db: psycopg.AsyncConnection) -> None:
            await db.execute("INSERT INTO plain VALUES (%s, %s)", (str(uuid4()), EVENT))

        def fill(copies: Copies) -> None:
            fill_postgres(url, "filled", copies)

        inserts = [partial(insert, db) for db in connections]
        try:
            stored = await filled(store, fill, inserts, count=count, slices=rounds)
            return report("PostgreSQL", await measure(stored, rounds=rounds))
        finally:
            await store.close()
            for db in connections:
                await db.close()


async def sqlite(folder: Path, *, count: int, rounds: int) -> list[Target]:
    """Measure SQLite."""
    store = SqliteStore(folder / "filled.db")
    await store.open()
    plain = sqlite3.connect(folder / "plain.db", isolation_level=None, check_same_thread=False)
    plain.execute("PRAGMA journal_mode = WAL")
    plain.execute("PRAGMA synchronous = FULL")
    plain.execute("CREATE TABLE plain (id TEXT PRIMARY KEY, event TEXT NOT NULL)")
    plain.execute("BEGIN")
    plain.executemany("INSERT INTO plain VALUES (?, ?)", ((str(uuid4()), EVENT) for _ in range(count)))
    plain.execute("COMMIT")

    async def insert() -> None:
        plain.execute("INSERT INTO plain VALUES (?, ?)", (str(uuid4()), EVENT))

    def fill(copies: Copies) -> None:
        fill_sqlite(folder / "filled.db", copies)

    try:
        stored = await filled(store, fill, [insert], count=count, slices=rounds)
        return report("SQLite", await measure(stored, rounds=rounds))
    finally:
        plain.close()
        await store.close()


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", choices=["sqlite", "postgres"])
    parser.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    parser.add_argument("--stored", type=int, default=1_000_000, help="up to a million")
    parser.add_argument("--rounds", type=int, default=9, help="up to 20")
    arguments = parser.parse_args()
    count, rounds = min(arguments.stored, 1_000_000), min(arguments.rounds, 20)
    targets: list[Target] = []
    if arguments.store != "postgres":
        with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
            targets += asyncio.run(sqlite(Path(folder), count=count, rounds=rounds))
    if arguments.store != "sqlite":
        targets += asyncio.run(postgres(arguments.server, count=count, rounds=rounds))
    print(table(("ratio (range over the rounds)", "limit", "median", ""), [target.row for target in targets]))


if __name__ == "__main__":
    main()
