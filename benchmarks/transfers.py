"""What a transfer costs: through transferkit, through the vendor's SDK, and through bare httpx.

    python benchmarks/transfers.py [--quick] [--provider graph|acs] [--graph-sdk-python PATH]

From the request to the provider's 202, one at a time and 50 in flight, each transfer of a call of its own.
transferkit plans it, stores it, gets its token from msal's cache, sends it and stores the answer: in memory,
and in SQLite with full sync twice. The SDKs and httpx only send, with a token that they are given. Each arm
runs in a process of its own, whose CPU seconds are counted, all threads included; the provider, which takes
everything, runs in another. The arms take turns and the best round of each counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measuring import Bar, Pace, Provider, Report, provider, table

IN_FLIGHT: Final = (1, 50)
TIME_LIMIT: Final = 150
GRAPH_SDK: Final = "msgraph-beta-sdk"
ARMS: Final[dict[str, tuple[str, ...]]] = {
    "graph": (
        GRAPH_SDK,
        "httpx",
        "httpx over aiohttp",
        "transferkit-graph, memory",
        "transferkit-graph, SQLite",
    ),
    "acs": ("azure-communication-callautomation", "transferkit-acs, memory", "transferkit-acs, SQLite"),
}
"""The vendor's SDK first: the rest is compared with it, and the last is what the bar is for."""


def has(python: str, module: str) -> bool:
    """Whether that interpreter has the module; loads nothing of it."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0  # noqa: S603 - the user's own


def run(arm: str, python: str, where: Provider, *, count: int, in_flight: int) -> Pace:
    """One round of one arm."""
    command = [python, str(Path(__file__).with_name("transfer_arms.py")), arm]
    command += ["--url", where.url, "--authority", where.authority, "--ca-file", str(where.ca_file)]
    command += ["--count", str(count), "--in-flight", str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{arm} failed:\n{done.stderr[-2000:]}")
    return Pace(*json.loads(done.stdout))


def compare(name: str, *, count: int, rounds: int, graph_sdk_python: str) -> Report:
    """One provider's arms."""
    arms = {arm: graph_sdk_python if arm == GRAPH_SDK else sys.executable for arm in ARMS[name]}
    missing = ""
    if GRAPH_SDK in arms and not has(graph_sdk_python, "msgraph_beta"):
        missing = f"\n{GRAPH_SDK} is not compared: {graph_sdk_python} has none (see --graph-sdk-python)"
        del arms[GRAPH_SDK]
    first, durable = next(iter(arms)), ARMS[name][-1]
    rows: list[tuple[str, ...]] = []
    bars: list[Bar] = []
    with provider() as where:
        for in_flight in IN_FLIGHT:
            best: dict[str, Pace] = {}
            for _ in range(rounds):
                for arm, python in arms.items():
                    seen = run(arm, python, where, count=count, in_flight=in_flight)
                    best[arm] = min(best.get(arm, seen), seen)
            rows += [
                (
                    arm,
                    str(in_flight),
                    f"{pace.cpu * 1e6:.0f} µs",
                    f"{1 / pace.wall:.0f}",
                    f"{pace.cpu / best[first].cpu:.2f}",
                )
                for arm, pace in best.items()
            ]
            if first != "httpx":
                what = f"{durable}, {in_flight} in flight: CPU of {first}'s, undurable"
                bars.append(Bar(what, best[durable].cpu / best[first].cpu, 1.0))
    head = (f"transfer, {name}", "in flight", "CPU each", "a second", f"CPU ÷ {first}")
    return Report(table(head, rows) + missing, tuple(bars))


def reports(
    *, quick: bool, graph_sdk_python: str, providers: tuple[str, ...] = tuple(ARMS)
) -> Iterator[Report]:
    """One for each provider."""
    for name in providers:
        yield compare(
            name, count=200 if quick else 400, rounds=1 if quick else 3, graph_sdk_python=graph_sdk_python
        )


def main() -> None:
    """Compare and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="one short round each")
    arguments.add_argument("--provider", choices=ARMS, action="append", help="only this one")
    arguments.add_argument("--graph-sdk-python", default=sys.executable, help="an interpreter with the SDK")
    asked = arguments.parse_args()
    chosen = tuple(asked.provider or ARMS)
    for found in reports(quick=asked.quick, graph_sdk_python=asked.graph_sdk_python, providers=chosen):
        print(found.text, end="\n\n")


if __name__ == "__main__":
    main()
