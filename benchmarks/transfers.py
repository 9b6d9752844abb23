"""The cost of a transfer through transferkit, the vendor's SDK, and plain httpx.

    python benchmarks/transfers.py [--quick] [--provider graph|acs] [--graph-sdk-python PATH]

Measures from the request to the provider's 202, with 1 and with 50 transfers in flight, each for another
call. transferkit plans and stores the request, gets its token from msal's cache, sends the request and stores
the response: in memory, and in SQLite with two full syncs. The SDKs and httpx only send, with a fixed token.
Each arm runs in its own process, whose CPU time (all threads) is measured; the provider, which accepts every
request, runs in another. The arms alternate, and the best round counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measuring import Pace, Provider, Report, Target, provider, table

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
"""The first arm is the reference, and the target is for the last one."""


def has(python: str, module: str) -> bool:
    """Whether that Python has the module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0  # noqa: S603 - the user's Python


def run(arm: str, python: str, server: Provider, *, count: int, in_flight: int) -> Pace:
    """Run one round of one arm."""
    command = [python, str(Path(__file__).with_name("transfer_arms.py")), arm]
    command += ["--url", server.url, "--authority", server.authority, "--ca-file", str(server.ca_file)]
    command += ["--count", str(count), "--in-flight", str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{arm} failed:\n{done.stderr[-2000:]}")
    return Pace(*json.loads(done.stdout))


def compare(name: str, *, count: int, rounds: int, graph_sdk_python: str) -> Report:
    """Compare the arms of one provider."""
    arms = {arm: graph_sdk_python if arm == GRAPH_SDK else sys.executable for arm in ARMS[name]}
    missing = ""
    if GRAPH_SDK in arms and not has(graph_sdk_python, "msgraph_beta"):
        missing = f"\n{GRAPH_SDK} is not compared: {graph_sdk_python} has none (see --graph-sdk-python)"
        del arms[GRAPH_SDK]
    first, durable = next(iter(arms)), ARMS[name][-1]
    rows: list[tuple[str, ...]] = []
    targets: list[Target] = []
    with provider() as server:
        for in_flight in IN_FLIGHT:
            best: dict[str, Pace] = {}
            for _ in range(rounds):
                for arm, python in arms.items():
                    pace = run(arm, python, server, count=count, in_flight=in_flight)
                    best[arm] = min(best.get(arm, pace), pace)
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
                what = f"{durable}, {in_flight} in flight: CPU ÷ {first}"
                targets.append(Target(what, best[durable].cpu / best[first].cpu, 1.0))
    head = (f"transfer, {name}", "in flight", "CPU", "per second", f"CPU ÷ {first}")
    return Report(table(head, rows) + missing, tuple(targets))


def reports(
    *, quick: bool, graph_sdk_python: str, providers: tuple[str, ...] = tuple(ARMS)
) -> Iterator[Report]:
    """One report for each provider."""
    for name in providers:
        yield compare(
            name, count=200 if quick else 400, rounds=1 if quick else 3, graph_sdk_python=graph_sdk_python
        )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--provider", choices=ARMS, action="append", help="only this provider")
    parser.add_argument("--graph-sdk-python", default=sys.executable, help="a Python with msgraph-beta-sdk")
    arguments = parser.parse_args()
    providers = tuple(arguments.provider or ARMS)
    for report in reports(
        quick=arguments.quick, graph_sdk_python=arguments.graph_sdk_python, providers=providers
    ):
        print(report.text, end="\n\n")


if __name__ == "__main__":
    main()
