"""The cost of a transfer through transferkit, the vendor's SDK, and plain httpx.

    python benchmarks/transfers.py [--quick] [--provider graph|acs] [--graph-sdk-python PATH]

Measures from the request to the provider's 202, with 1 and with 50 transfers in flight, each for another
call, from a provider that answers at once and from one that answers after 20 ms. transferkit plans and stores
the request, gets its token from msal's cache, sends the request and stores the response: in memory, and in
SQLite with two full syncs. The SDKs and httpx only send, with a fixed token; "recorded" is an SDK with two
full syncs too, the least that shows after a crash what was sent. Each arm runs in its own
process, whose CPU time (all threads) is measured; the provider, which accepts every request, runs in another.
The arms alternate. A ratio compares two arms of the same round.

If valgrind is installed, a run that is not quick also counts the user-mode instructions of one transfer at a
time. They are almost the same in every run, and do not contain the kernel's work: syncs, sockets, threads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measuring import Pace, Provider, Report, Spread, Target, provider, table

IN_FLIGHT: Final = (1, 50)
DELAYS: Final = (0.0, 0.02)
TIME_LIMIT: Final = 300
GRAPH_SDK: Final = "msgraph-beta-sdk"
ARMS: Final[dict[str, tuple[str, ...]]] = {
    "graph": (
        GRAPH_SDK,
        f"{GRAPH_SDK}, recorded",
        "httpx",
        "httpx over aiohttp",
        "transferkit-graph, memory",
        "transferkit-graph, SQLite",
    ),
    "acs": (
        "azure-communication-callautomation",
        "azure-communication-callautomation, recorded",
        "aiohttp, signed",
        "transferkit-acs, memory",
        "transferkit-acs, SQLite",
    ),
}
"""The first arm is the reference, and the targets are for the last one."""
LIMITS: Final = {"graph": {1: 1.1, 50: 0.3}, "acs": {1: 1.5, 50: 0.65}}
"""The CPU time of the last arm, divided by that of the first, by the number of transfers in flight."""
VALGRIND: Final = (
    "valgrind",
    "--tool=callgrind",
    "--instr-atstart=no",
    f"--callgrind-out-file={os.devnull}",
)


def has(python: str, module: str) -> bool:
    """Whether that Python has the module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0  # noqa: S603 - the user's Python


def command_of(
    arm: str, python: str, server: Provider, *, count: int, in_flight: int, callgrind: bool = False
) -> list[str]:
    """The command of one round of one arm."""
    command = [*VALGRIND] if callgrind else []
    command += [python, str(Path(__file__).with_name("transfer_arms.py")), arm]
    command += ["--url", server.url, "--authority", server.authority, "--ca-file", str(server.ca_file)]
    command += ["--count", str(count), "--in-flight", str(in_flight)]
    return [*command, "--callgrind"] if callgrind else command


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run an arm. Exits if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)  # noqa: S603 - our own
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done


def paces_of(
    arms: dict[str, str], *, count: int, rounds: int, in_flight: int, delay: float
) -> dict[str, list[Pace]]:
    """The pace of each arm in each round. `arms`: the Python of each."""
    paces: dict[str, list[Pace]] = {arm: [] for arm in arms}
    with provider(delay=delay) as server:
        for _ in range(rounds):
            for arm, python in arms.items():
                done = run(command_of(arm, python, server, count=count, in_flight=in_flight))
                paces[arm].append(Pace(*json.loads(done.stdout)))
    return paces


def instructions_of(arm: str, python: str, server: Provider, *, count: int = 100) -> float:
    """The user-mode instructions of one transfer, with one in flight."""
    done = run(command_of(arm, python, server, count=count, in_flight=1, callgrind=True))
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        sys.exit(f"valgrind printed no count for {arm}:\n{done.stderr[-2000:]}")
    return int(found[1]) / count


def compare(
    name: str, arms: dict[str, str], *, count: int, rounds: int, in_flight: int, delay: float
) -> Report:
    """Compare the CPU time of one provider's arms."""
    paces = paces_of(arms, count=count, rounds=rounds, in_flight=in_flight, delay=delay)
    (first, second, *_), durable = arms, ARMS[name][-1]

    def ratios_to(reference: str) -> dict[str, Spread]:
        return {
            arm: Spread.of(pace.cpu / base.cpu for pace, base in zip(found, paces[reference], strict=True))
            for arm, found in paces.items()
        }

    ratios, to_second = ratios_to(first), ratios_to(second)
    rows = [
        (
            arm,
            Spread.of(pace.cpu * 1e6 for pace in found).text(".0f"),
            Spread.of(1 / pace.wall for pace in found).text(".0f"),
            ratios[arm].text(),
            to_second[arm].text(),
        )
        for arm, found in paces.items()
    ]
    where = f"{in_flight} in flight, answers after {delay * 1e3:.0f} ms"
    targets: tuple[Target, ...] = ()
    if first == ARMS[name][0]:
        what, ratio = f"{durable}, {where}: CPU ÷ {first}", ratios[durable]
        targets = (Target(what, ratio.middle, LIMITS[name][in_flight], rounds=ratio),)
    head = (f"{name}, {where}", "CPU in µs", "per second", f"CPU ÷ {first}", f"÷ {second}")
    return Report(table(head, rows), targets)


def count_instructions(name: str, arms: dict[str, str]) -> Report:
    """Compare the instructions of one provider's arms."""
    with provider() as server:
        counts = {arm: instructions_of(arm, python, server) for arm, python in arms.items()}
    first = next(iter(arms))
    rows = [(arm, f"{one / 1e6:.2f} million", f"{one / counts[first]:.2f}") for arm, one in counts.items()]
    return Report(table((f"{name}, 1 in flight", "user instructions", f"÷ {first}"), rows))


def reports(
    *, quick: bool, graph_sdk_python: str, providers: tuple[str, ...] = tuple(ARMS)
) -> Iterator[Report]:
    """The reports of each provider."""
    for name in providers:
        arms = dict.fromkeys(ARMS[name], sys.executable)
        of_graph_sdk = [arm for arm in arms if arm.startswith(GRAPH_SDK)]
        if of_graph_sdk and has(graph_sdk_python, "msgraph_beta"):
            arms |= dict.fromkeys(of_graph_sdk, graph_sdk_python)
        elif of_graph_sdk:
            yield Report(f"{GRAPH_SDK} is not compared: {graph_sdk_python} has none (see --graph-sdk-python)")
            arms = {arm: python for arm, python in arms.items() if arm not in of_graph_sdk}
        count, rounds = (150, 1) if quick else (300, 7)
        for delay in DELAYS:
            for in_flight in IN_FLIGHT:
                yield compare(name, arms, count=count, rounds=rounds, in_flight=in_flight, delay=delay)
        if not quick and shutil.which(VALGRIND[0]):
            yield count_instructions(name, arms)


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
