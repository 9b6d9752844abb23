"""What a callback costs in the SQLite store, beside bare sqlite3 writing the same rows as durably.

    python benchmarks/sqlite_store.py [--seconds 2] [--rounds 3] [--quick]

First: callbacks a second into the store, at 1 and at 64 in flight, each for a call of its own with one
open transfer. Bare sqlite3 writes the very rows that these callbacks lead to, worked out beforehand, in one
thread with the same schema and durability: one commit each, and at 64 one commit for 64. The arms take turns,
round by round, each on a new file; the best round of each counts. Only the ratio within one run means
something: how long a commit takes is the disk's affair.

Then: 10,000 open transfers against 100, in memory and in SQLite: the process's memory for a transfer, and
the time for a callback. Either way it fails where a callback among 10,000 takes more than twice as long as
among 100; `--quick` does this part alone, with fewer callbacks.
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
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from transferkit._lifecycle import CallKey, CallState, Lease, Observed, Opened, Requested, Rules, step
from transferkit.codec import fingerprint
from transferkit.events import CallEnded, ProviderOther
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.provider.json import freeze
from transferkit.requests import Call, Transfer
from transferkit.stores import MemoryStore, Store
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.encoding import to_json
from transferkit.stores.sqlite import SqliteStore

IN_FLIGHT: Final = (1, 64)
MOST_CALLBACKS: Final = 20_000
FEW, MANY, FLAT_WITHIN, SLICES = 100, 10_000, 2.0, 10
AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
RAW: Final = freeze(
    {
        "@odata.type": "#microsoft.graph.commsNotification",
        "changeType": "updated",
        "resourceUrl": "/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001",
        "resourceData": {
            "@odata.type": "#microsoft.graph.call",
            "@odata.id": "/communications/calls/7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001",
            "@odata.etag": 'W/"5445"',
            "state": "transferring",
            "callChainId": "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001",
        },
    }
)

Inputs = Sequence[tuple[CallKey, Observed]]


def call_of(number: int) -> CallKey:
    """A call by its number."""
    return CallKey("graph", f"7c1d0f00-5b2a-4f0e-9a51-{number:012d}")


def request_for(number: int) -> tuple[CallKey, Requested]:
    """The call's one transfer."""
    call = call_of(number)
    request = Transfer(call=Call(call.provider, call.id), to=PhoneNumber("+14255550100"))
    opened = Opened(
        id=f"5b0f6e0a-0000-4000-8000-{number:012d}",
        call=call,
        request=request,
        fingerprint=fingerprint(request),
        at=AT,
        legs=(call,),
    )
    sender = Lease("benchmark", AT + timedelta(minutes=2))
    return call, Requested(at=AT, opened=opened, rules=Rules(), sender=sender)


def callback_for(number: int, *signals: Signal) -> tuple[CallKey, Observed]:
    """What the provider says of it: `transferring`."""
    call = call_of(number)
    event = ProviderOther(time=AT, provider=call.provider, call_id=call.id, name="updated", raw=RAW)
    fact = Fact(event=event, signals=signals, delivery=Delivery(f"delivery-{number}-{len(signals)}"))
    return call, Observed(at=AT, fact=fact)


async def prepare(store: Store, transfers: int) -> None:
    """Open one transfer on each of so many calls."""
    for start in range(0, transfers, 500):
        numbers = range(start, min(start + 500, transfers))
        await store.apply_all([request_for(number) for number in numbers], step)


@frozen(order=True)
class Pace:
    """Seconds for a callback: on the clock, and of this process's CPU."""

    wall: float
    cpu: float


def stopwatch() -> Callable[[int], Pace]:
    """Starts now; ask it for the pace of so many callbacks."""
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda done: Pace((time.perf_counter() - wall) / done, (time.process_time() - cpu) / done)


async def feed(store: Store, inputs: Inputs, *, in_flight: int, seconds: float) -> Pace:
    """Each of `in_flight` tasks awaits one callback after the other."""
    left, done = iter(inputs), 0
    until = time.perf_counter() + seconds
    pace = stopwatch()

    async def sender() -> None:
        nonlocal done
        for call, happened in left:
            await store.apply(call, happened, step)
            done += 1
            if time.perf_counter() >= until:
                return

    await asyncio.gather(*(sender() for _ in range(in_flight)))
    return pace(done)


async def ours(path: Path, inputs: Inputs, *, in_flight: int, seconds: float) -> Pace:
    """Callbacks into a new SQLite store."""
    store = SqliteStore(path)
    await store.open()
    try:
        await prepare(store, len(inputs))
        return await feed(store, inputs, in_flight=in_flight, seconds=seconds)
    finally:
        await store.close()


@frozen
class Rows:
    """What one callback writes."""

    state: str
    call: CallKey
    delivery: str
    mark: str
    events: tuple[tuple[int, int, str], ...]
    cleared: tuple[tuple[str, str], ...]


def rows_of(inputs: Inputs, partitions: int) -> list[Rows]:
    """The rows that the store would write for these callbacks on calls with one open transfer."""
    found: list[Rows] = []
    for number, (call, happened) in enumerate(inputs):
        _, asked = request_for(number)
        decision = step(call, step(call, CallState(), asked, None).state, happened, None)
        delivery = happened.fact.delivery
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


async def bare(path: Path, rows: Sequence[Rows], *, together: int, seconds: float) -> Pace:
    """The same rows from sqlite3 alone, those of `together` callbacks in one commit."""
    store = SqliteStore(path)
    await store.open()
    await prepare(store, len(rows))
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
    """One callback's rows."""
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
    """Print what a callback takes, the store beside bare sqlite3."""
    callbacks = min(int(seconds * 3000), MOST_CALLBACKS)
    inputs = [callback_for(number, Signal.STARTED) for number in range(callbacks)]
    rows = rows_of(inputs, Store.partitions)
    for in_flight in IN_FLIGHT:
        seen: list[tuple[Pace, Pace]] = []
        for number in range(rounds):
            path = folder / f"{in_flight}-{number}"
            by_hand = bare(path.with_suffix(".bare"), rows, together=in_flight, seconds=seconds)
            by_store = ours(path.with_suffix(".ours"), inputs, in_flight=in_flight, seconds=seconds)
            seen.append((asyncio.run(by_hand), asyncio.run(by_store)))
        least, best = (min(arm) for arm in zip(*seen, strict=True))
        for name, pace in (("bare sqlite3", least), ("SqliteStore", best)):
            print(
                f"{in_flight:>3} in flight  {name:<12} {1 / pace.wall:8.0f} callbacks/s "
                f"({least.wall / pace.wall:4.2f} of bare)  {pace.cpu * 1e6:6.0f} µs CPU a callback"
            )


# --- many open transfers ----------------------------------------------------------------------------


async def among(make: Callable[[], Store], *, callbacks: int) -> tuple[dict[int, float], float]:
    """Seconds for a callback among few and among many open transfers, and bytes for each of the many.

    Slices of both take turns and the best of each counts, so that what else the machine does counts least.
    """
    stores = {transfers: make() for transfers in (FEW, MANY)}
    best = dict.fromkeys(stores, float("inf"))
    grown = 0
    try:
        for transfers, store in stores.items():
            await store.open()
            before = resident()
            await prepare(store, transfers)
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
    """Bytes of this process that are in memory, SQLite's own included; 0 where the machine does not say."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def _slice_seconds(store: Store, transfers: int, slice_number: int, callbacks: int) -> float:
    began = time.perf_counter()
    for number in range(callbacks):
        call = call_of((slice_number * callbacks + number) * 7919 % transfers)
        event = CallEnded(time=AT, provider=call.provider, call_id=call.id, raw=RAW)
        delivery = Delivery(f"{slice_number}-{number}")
        await store.apply(call, Observed(at=AT, fact=Fact(event=event, delivery=delivery)), step)
    return (time.perf_counter() - began) / callbacks


def flatness(folder: Path, *, callbacks: int) -> bool:
    """Print what 10,000 open transfers cost beside 100; whether a callback stays within the bound."""
    files = (folder / f"flat-{number}.db" for number in count())
    makers: dict[str, Callable[[], Store]] = {
        "MemoryStore": MemoryStore,
        "SqliteStore": lambda: SqliteStore(next(files)),
    }
    flat = True
    for name, make in makers.items():
        best, size = asyncio.run(among(make, callbacks=callbacks))
        ratio = best[MANY] / best[FEW]
        flat = flat and ratio <= FLAT_WITHIN
        print(
            f"{name}  {best[FEW] * 1e6:6.0f} µs a callback among {FEW} open transfers, "
            f"{best[MANY] * 1e6:6.0f} µs among {MANY}: {ratio:.2f} x; {size / 1024:.1f} KiB for each of these"
        )
    return flat


def main() -> None:
    """Compare, and look whether it stays flat."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--seconds", type=float, default=2.0, help="an arm and round, up to 10")
    arguments.add_argument("--rounds", type=int, default=3, help="up to 10")
    arguments.add_argument("--quick", action="store_true", help="only whether it stays flat")
    asked = arguments.parse_args()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    with TemporaryDirectory(prefix="transferkit-benchmark-") as folder:
        if not asked.quick:
            compare(Path(folder), seconds=min(asked.seconds, 10.0), rounds=min(asked.rounds, 10))
        if not flatness(Path(folder), callbacks=500 if asked.quick else 2000):
            sys.exit(f"not flat: more than {FLAT_WITHIN} x")


if __name__ == "__main__":
    main()
