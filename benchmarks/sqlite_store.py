"""The cost of a callback in the SQLite store, compared with plain sqlite3 that writes the same rows.

    python benchmarks/sqlite_store.py [--seconds 2] [--rounds 3] [--quick]

Part 1: callbacks per second with 1 and with 64 in flight. Each callback is for its own call with one open
transfer. Plain sqlite3 writes the rows that these callbacks lead to, which are computed before, in one thread
with the same schema and durability: one commit per callback, or one commit per 64 callbacks. The two
alternate, each on a new file, and the best round counts. Compare only ratios within one run, because the disk
determines the duration of a commit.

Part 2: memory and time per callback with 10,000 open transfers and with 100, in memory and in SQLite. The
script fails if a callback among 10,000 takes more than twice as long as among 100. `--quick` runs only this
part, with fewer callbacks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen
from measuring import Pace, stopwatch
from workload import AT, RAW, Callbacks, callback_for, feed, prepare, request_for

from transferkit._lifecycle import CallKey, CallState, Observed, step
from transferkit.events import CallEnded
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.stores import MemoryStore, Store
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.encoding import to_json
from transferkit.stores.sqlite import SqliteStore

IN_FLIGHT: Final = (1, 64)
MOST_CALLBACKS: Final = 20_000
FEW, MANY, FLAT_WITHIN, SLICES = 100, 10_000, 2.0, 10


def call_key(number: int) -> CallKey:
    """The key of the call with this number."""
    return CallKey("graph", f"7c1d0f00-5b2a-4f0e-9a51-{number:012d}")


async def store_pace(path: Path, callbacks: Callbacks, *, in_flight: int, seconds: float) -> Pace:
    """Store callbacks in a new SQLite store."""
    store = SqliteStore(path)
    await store.open()
    try:
        await prepare(store, [call for call, _ in callbacks])
        return await feed(store, callbacks, in_flight=in_flight, seconds=seconds)
    finally:
        await store.close()


@frozen
class Rows:
    """The rows of one callback."""

    state: str
    call: CallKey
    delivery: str
    mark: str
    events: tuple[tuple[int, int, str], ...]
    cleared: tuple[tuple[str, str], ...]


def rows_of(callbacks: Callbacks, partitions: int) -> list[Rows]:
    """The rows that the store writes for these callbacks."""
    found: list[Rows] = []
    for call, callback in callbacks:
        _, requested = request_for(call)
        decision = step(call, step(call, CallState(), requested, None).state, callback, None)
        delivery = callback.fact.delivery
        found.append(
            Rows(
                state=to_json(decision.state),
                call=call,
                delivery=delivery.key if delivery else "",
                mark=decision.mark or "",
                events=tuple(
                    (partition_of(call, partitions), event.sequence or 0, to_json(event))
                    for event in decision.events
                ),
                cleared=tuple((transfer_id, work.value) for transfer_id, work in decision.cleared),
            )
        )
    return found


async def plain_pace(path: Path, rows: Sequence[Rows], *, together: int, seconds: float) -> Pace:
    """Write the same rows with sqlite3, those of `together` callbacks in one commit."""
    store = SqliteStore(path)
    await store.open()
    await prepare(store, [row.call for row in rows])
    await store.close()
    db = sqlite3.connect(path, isolation_level=None)
    try:
        for durability in ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON"):
            db.execute(f"PRAGMA {durability}")
        done, until = 0, time.perf_counter() + seconds
        pace = stopwatch()
        while done < len(rows) and time.perf_counter() < until:
            batch = rows[done : done + together]
            db.execute("BEGIN IMMEDIATE")
            for row in batch:
                write(db, row)
            db.execute("COMMIT")
            done += len(batch)
        return pace(done)
    finally:
        db.close()


def write(db: sqlite3.Connection, row: Rows) -> None:
    """Write the rows of one callback."""
    (number,) = db.execute(
        "UPDATE calls SET state = ?, open = 1, recorded_at = 0 WHERE provider = ? AND id = ?"
        " RETURNING number",
        (row.state, row.call.provider, row.call.id),
    ).fetchone()
    db.execute("INSERT INTO marks VALUES (?, ?, ?)", (number, row.delivery, row.mark))
    for partition, sequence, event in row.events:
        db.execute(
            "INSERT INTO events (partition, call, sequence, event) VALUES (?, ?, ?, ?)",
            (partition, number, sequence, event),
        )
    for cleared in row.cleared:
        db.execute("DELETE FROM due WHERE transfer_id = ? AND work = ?", cleared)


def compare(folder: Path, *, seconds: float, rounds: int) -> None:
    """Print the rate and CPU time of the store and of plain sqlite3."""
    count = min(int(seconds * 3000), MOST_CALLBACKS)
    callbacks = [callback_for(call_key(number), Signal.STARTED) for number in range(count)]
    rows = rows_of(callbacks, Store.partitions)
    for in_flight in IN_FLIGHT:
        paces: list[tuple[Pace, Pace]] = []
        for number in range(rounds):
            path = folder / f"{in_flight}-{number}"
            plain = plain_pace(path.with_suffix(".plain"), rows, together=in_flight, seconds=seconds)
            store = store_pace(path.with_suffix(".store"), callbacks, in_flight=in_flight, seconds=seconds)
            paces.append((asyncio.run(plain), asyncio.run(store)))
        best_plain, best_store = (min(arm, key=lambda pace: pace.wall) for arm in zip(*paces, strict=True))
        for name, pace in (("plain sqlite3", best_plain), ("SqliteStore", best_store)):
            print(
                f"{in_flight:>3} in flight  {name:<13} {1 / pace.wall:8.0f} callbacks/s "
                f"({best_plain.wall / pace.wall:4.2f} of plain)  {pace.cpu * 1e6:6.0f} µs CPU per callback"
            )


# --- many open transfers ----------------------------------------------------------------------------


async def seconds_and_memory(make: Callable[[], Store], *, callbacks: int) -> tuple[dict[int, float], float]:
    """Seconds per callback with few and with many open transfers, and bytes per open transfer.

    Slices of both alternate, and the best slice counts.
    """
    stores = {transfers: make() for transfers in (FEW, MANY)}
    best = dict.fromkeys(stores, float("inf"))
    grown = 0
    try:
        for transfers, store in stores.items():
            await store.open()
            before = resident()
            await prepare(store, [call_key(number) for number in range(transfers)])
            grown = resident() - before
        for slice_number in range(SLICES):
            for transfers, store in stores.items():
                seconds = await _slice_seconds(store, transfers, slice_number, callbacks // SLICES)
                best[transfers] = min(best[transfers], seconds)
    finally:
        for store in stores.values():
            await store.close()
    return best, grown / MANY


def resident() -> int:
    """The resident memory of this process in bytes; 0 if the system does not report it."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def _slice_seconds(store: Store, transfers: int, slice_number: int, callbacks: int) -> float:
    began = time.perf_counter()
    for number in range(callbacks):
        call = call_key((slice_number * callbacks + number) * 7919 % transfers)
        event = CallEnded(time=AT, provider=call.provider, call_id=call.id, raw=RAW)
        delivery = Delivery(f"{slice_number}-{number}")
        await store.apply(call, Observed(at=AT, fact=Fact(event=event, delivery=delivery)), step)
    return (time.perf_counter() - began) / callbacks


def flatness(folder: Path, *, callbacks: int) -> bool:
    """Print the cost of a callback with 10,000 and 100 open transfers; False if the ratio is too high."""
    files = (folder / f"flat-{number}.db" for number in count())
    makers: dict[str, Callable[[], Store]] = {
        "MemoryStore": MemoryStore,
        "SqliteStore": lambda: SqliteStore(next(files)),
    }
    flat = True
    for name, make in makers.items():
        best, size = asyncio.run(seconds_and_memory(make, callbacks=callbacks))
        ratio = best[MANY] / best[FEW]
        flat = flat and ratio <= FLAT_WITHIN
        print(
            f"{name}  {best[FEW] * 1e6:6.0f} µs per callback among {FEW} open transfers, "
            f"{best[MANY] * 1e6:6.0f} µs among {MANY}: {ratio:.2f} x; {size / 1024:.1f} KiB per open transfer"
        )
    return flat


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="per arm and round, up to 10")
    parser.add_argument("--rounds", type=int, default=3, help="up to 10")
    parser.add_argument("--quick", action="store_true", help="only part 2")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        if not arguments.quick:
            compare(Path(folder), seconds=min(arguments.seconds, 10.0), rounds=min(arguments.rounds, 10))
        if not flatness(Path(folder), callbacks=500 if arguments.quick else 2000):
            sys.exit(f"a callback among {MANY} open transfers takes more than {FLAT_WITHIN} times as long")


if __name__ == "__main__":
    main()
