"""The cost of leasing due work while much is due.

    python benchmarks/due_work.py [--store memory|sqlite|postgres] [--server URL] [--due 100000] [--rounds 5]

The arms alternate: a lease of 32 pieces of work, as the scheduler takes it, in a store with `--due` pieces of
due work and in one with 1,000; and, for the duration of a commit, one plain durable insert by the driver.
PostgreSQL runs in a database of its own, which is dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import psycopg
from attrs import frozen
from filling import LOCAL, own_database, with_option
from measuring import Spread, Target, table
from workload import AT

from transferkit._lifecycle import CallKey, CallState, Decision, Due, Input, Lease, Peeked, Work
from transferkit.stores import MemoryStore, Store
from transferkit.stores.postgres import PostgresStore
from transferkit.stores.sqlite import SqliteStore

LIMIT: Final = 32
FEW: Final = 1000
SLICE: Final = 40
MOST: Final = 1.2
MOST_MILLISECONDS: Final = 1.0
"""In SQLite."""
LEASE: Final = timedelta(minutes=2)

Arm = Callable[[], Awaitable[object]]


@frozen
class Stores:
    """A store with much and one with little due work, and what inserts a row without transferkit."""

    much: Store
    few: Store
    insert: Arm | None = None


async def add_work(store: Store, count: int) -> None:
    """Store pieces of due work that become due one after the other."""
    for start in range(0, count, FEW):
        numbers = range(start, start + FEW)

        def leave_work(_: CallKey, state: CallState, __: Input, ___: str | None) -> Decision:
            due = [
                Due(transfer_id=str(uuid4()), work=Work.SUBMIT, at=AT + timedelta(milliseconds=number))
                for number in numbers  # noqa: B023 - called before the next iteration
            ]
            return Decision(state=state, due=tuple(due))

        await store.apply(CallKey("graph", f"call-{start}"), Peeked(at=AT), leave_work)


async def measure(stores: Stores, *, due: int, rounds: int) -> dict[str, list[float]]:
    """The median milliseconds of each arm in each round."""
    await add_work(stores.much, due)
    await add_work(stores.few, FEW)
    now = AT + timedelta(days=1)

    async def lease(store: Store) -> None:
        leased = await store.lease_due(
            now=now, lease=Lease("one", now + LEASE), limit=LIMIT, providers=["graph"]
        )
        if len(leased) != LIMIT:
            raise SystemExit(f"{len(leased)} pieces of work were leased instead of {LIMIT}")

    arms: dict[str, Arm] = {
        f"lease, {due:,} due": lambda: lease(stores.much),
        f"lease, {FEW:,} due": lambda: lease(stores.few),
        **({"insert": stores.insert} if stores.insert else {}),
    }
    found: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        times: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(SLICE):
            now += 2 * LEASE  # earlier leases have ended
            for name, arm in arms.items():
                start = time.perf_counter()
                await arm()
                times[name].append((time.perf_counter() - start) * 1e3)
        for name, each in times.items():
            found[name].append(statistics.median(each))
    return found


def report(kind: str, found: dict[str, list[float]]) -> list[Target]:
    """Print the arms' times; returns the targets."""
    rows = [(name, Spread.of(times).text()) for name, times in found.items()]
    print(table((kind, "ms, median of the rounds (lowest to highest)"), rows), end="\n\n", flush=True)
    much, few, *_ = found.values()
    ratios = Spread.of(a / b for a, b in zip(much, few, strict=True))
    if kind == "memory":  # its queue is a heap: the cost grows with the logarithm
        return []
    targets = [Target(f"{kind}: much due work ÷ {FEW:,} pieces", ratios.middle, MOST, rounds=ratios)]
    if kind == "SQLite":
        more = Spread.of(a - b for a, b in zip(much, found["insert"], strict=True))
        what = f"{kind}: a lease, less a plain insert"
        targets.append(Target(what, more.middle, MOST_MILLISECONDS, unit=" ms", rounds=more))
    return targets


# --- stores --------------------------------------------------------------------------------------------


async def memory(*, due: int, rounds: int) -> list[Target]:
    """Measure the memory store."""
    return report("memory", await measure(Stores(MemoryStore(), MemoryStore()), due=due, rounds=rounds))


async def sqlite(folder: Path, *, due: int, rounds: int) -> list[Target]:
    """Measure SQLite."""
    plain = sqlite3.connect(folder / "plain.db", isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE plain (id TEXT PRIMARY KEY)",
    ):  # fmt: skip
        plain.execute(statement)

    async def insert() -> None:
        plain.execute("INSERT INTO plain VALUES (?)", (str(uuid4()),))

    async with AsyncExitStack() as stack:
        stack.callback(plain.close)
        stores = [SqliteStore(folder / name) for name in ("much.db", "few.db")]
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        return report("SQLite", await measure(Stores(*stores, insert), due=due, rounds=rounds))


async def postgres(server: str, *, due: int, rounds: int) -> list[Target]:
    """Measure PostgreSQL."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(own_database(server))
        plain = await psycopg.AsyncConnection.connect(url, autocommit=True)
        stack.push_async_callback(plain.close)
        await plain.execute("CREATE TABLE plain (id text PRIMARY KEY)")

        async def insert() -> None:
            await plain.execute("INSERT INTO plain VALUES (%s)", (str(uuid4()),))

        stores = [PostgresStore(with_option(url, f"schema={name}")) for name in ("much", "few")]
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        return report("PostgreSQL", await measure(Stores(*stores, insert), due=due, rounds=rounds))


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", choices=["memory", "sqlite", "postgres"])
    parser.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    parser.add_argument("--due", type=int, default=100_000, help="up to a million")
    parser.add_argument("--rounds", type=int, default=5, help="up to 20")
    arguments = parser.parse_args()
    due, rounds = min(arguments.due, 1_000_000), min(arguments.rounds, 20)
    targets: list[Target] = []
    if arguments.store in {None, "memory"}:
        targets += asyncio.run(memory(due=due, rounds=rounds))
    if arguments.store in {None, "sqlite"}:
        with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
            targets += asyncio.run(sqlite(Path(folder), due=due, rounds=rounds))
    if arguments.store in {None, "postgres"}:
        targets += asyncio.run(postgres(arguments.server, due=due, rounds=rounds))
    print(
        table(("target (range over the rounds)", "limit", "median", ""), [target.row for target in targets])
    )


if __name__ == "__main__":
    main()
