"""Events per second that one consumer of a group receives and acknowledges, in SQLite and PostgreSQL.

    python benchmarks/consumer_groups.py [--store sqlite|postgres] [--server URL] [--events 2000] [--rounds 5]

The events wait in the store; their calls are random. The arms alternate, each with a group of its own:

* stream: `client.events(group=…)`, which fetches and acknowledges in batches
* early: the same, and the reader calls `ack` after each event
* single: the store's calls for one event at a time, in which each acknowledgement waits for no disk
* durable: the same, and each acknowledgement waits for the disk

Printed are the ratios within each round: their median, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast
from uuid import uuid4

from filling import LOCAL, own_database
from measuring import Target, table
from workload import callback_for

from transferkit import AsyncClient, Config
from transferkit._lifecycle import CallKey, Lease, step
from transferkit.stores import Store
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.postgres import PostgresStore
from transferkit.stores.sql.store import SqlStore
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter

LEAST: Final = 3.0


async def read_stream(store: SqlStore, group: str, *, early: bool = False) -> None:
    """Read everything as an application does."""
    config = Config(source="benchmark", provider="fake")
    client = AsyncClient(
        config, store=cast("Store", _Shared(store)), adapters={"fake": FakeAdapter()}, background=False
    )
    async with client, client.events(group=group, follow=False) as stream:
        async for _ in stream:
            if early:
                await stream.ack()


class _Shared:
    """A store that the client neither opens nor closes."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


async def read_single(store: SqlStore, group: str, *, durable: bool) -> None:
    """Read everything one event at a time."""
    await store.open_group(group, start=GroupStart.BEGINNING)
    now = datetime.now(UTC)
    await store.hold(group, Lease("one", now + timedelta(hours=1)), now=now)
    write = store._write  # noqa: SLF001 - to measure what is not promised
    if durable:
        store._write = lambda operation, **options: write(operation, **options | {"durable": True})  # type: ignore[method-assign] # noqa: SLF001
    try:
        done = None
        while True:
            begun = await store.begin_next(group, "one", done=done, now=now, max_attempts=5)
            done = begun.delivery
            if done is None:
                return
    finally:
        store._write = write  # type: ignore[method-assign] # noqa: SLF001


ARMS: Final[Mapping[str, Callable[[SqlStore, str], Awaitable[None]]]] = {
    "stream": read_stream,
    "early": partial(read_stream, early=True),
    "single": partial(read_single, durable=False),
    "durable": partial(read_single, durable=True),
}


async def measure(kind: str, store: SqlStore, *, events: int, rounds: int) -> list[Target]:
    """Print events per second; returns the ratios with their limits."""
    await store.open()
    try:
        calls = [CallKey("graph", str(uuid4())) for _ in range(events // 2)]
        for start in range(0, events, 250):
            inputs = [callback_for(calls[i % len(calls)], again=i) for i in range(start, start + 250)]
            await store.apply_all(inputs, step)
        found: dict[str, list[float]] = {name: [] for name in ARMS}
        for _ in range(rounds):
            for name, arm in ARMS.items():
                group = f"{name}-{uuid4().hex}"
                began = time.perf_counter()
                await arm(store, group)
                found[name].append(events / (time.perf_counter() - began))
                await store.remove_group(group)
    finally:
        await store.close()
    rows = [
        (name, *(f"{of(rates):.0f}" for of in (statistics.median, min, max))) for name, rates in found.items()
    ]
    print(table((f"{kind}: events per second", "median", "lowest", "highest"), rows), end="\n\n")
    targets = []
    for under, limit in (("durable", LEAST), ("single", 1.0)):
        each = [a / b for a, b in zip(found["stream"], found[under], strict=True)]
        spread = f"{kind}: stream ÷ {under} ({min(each):.2f} to {max(each):.2f})"
        targets.append(Target(spread, statistics.median(each), limit, at_least=True))
    return targets


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", choices=["sqlite", "postgres"])
    parser.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    parser.add_argument("--events", type=int, default=2000, help="up to 20000")
    parser.add_argument("--rounds", type=int, default=5, help="up to 20")
    arguments = parser.parse_args()
    events, rounds = min(arguments.events, 20_000), min(arguments.rounds, 20)
    targets: list[Target] = []
    if arguments.store != "postgres":
        with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
            store = SqliteStore(Path(folder, "groups.db"))
            targets += asyncio.run(measure("SQLite", store, events=events, rounds=rounds))
    if arguments.store != "sqlite":
        with own_database(arguments.server) as url:
            targets += asyncio.run(measure("PostgreSQL", PostgresStore(url), events=events, rounds=rounds))
    print(table(("ratio (range over the rounds)", "limit", "median", ""), [target.row for target in targets]))


if __name__ == "__main__":
    main()
