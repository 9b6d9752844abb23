"""The cost of a callback in the PostgreSQL store.

    python benchmarks/postgres_store.py [--server URL] [--seconds 3] [--rounds 2] [--latencies 200]
                                        [--only rate|latency]

* rate: callbacks per second with 1, 2 and 4 receiving processes, with 1 and 64 callbacks in flight in each.
  Each callback is for its own call with one open transfer.
* latency: from the arrival of a callback in one process to the outcome in another process that waits for it,
  with NOTIFY and with polling.

The script creates its own database on the server (default: the local socket) and drops it. Compare only
ratios within one run, because the disk determines the duration of a commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final
from uuid import uuid4

from filling import LOCAL, own_database, with_option
from workload import AT, callback_for, feed, prepare

from transferkit import AsyncClient, Call
from transferkit._callbacks.messages import CallbackRequest
from transferkit._lifecycle import CallKey
from transferkit.provider.facts import Signal
from transferkit.stores.postgres import PostgresStore
from transferkit.testing import scenario

PROCESSES: Final = (1, 2, 4)
IN_FLIGHT: Final = (1, 64)


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


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", default=os.environ.get("TRANSFERKIT_TEST_POSTGRES", LOCAL))
    parser.add_argument("--seconds", type=float, default=3.0, help="per arm and round, up to 10")
    parser.add_argument("--rounds", type=int, default=2, help="up to 5")
    parser.add_argument("--latencies", type=int, default=200, help="up to 2000")
    parser.add_argument("--only", choices=["rate", "latency"])
    arguments = parser.parse_args()
    selected = {arguments.only} if arguments.only else {"rate", "latency"}
    rounds = min(arguments.rounds, 5)
    with own_database(arguments.server) as url:
        if "rate" in selected:
            compare_processes(url, seconds=min(arguments.seconds, 10.0), rounds=rounds)
        if "latency" in selected:
            count = min(arguments.latencies, 2000)
            print_latency("with NOTIFY", asyncio.run(latency(url, count)))
            print_latency("with polling", asyncio.run(latency(with_option(url, "listen=off"), count)))


if __name__ == "__main__":
    main()
