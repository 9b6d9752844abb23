"""Run the benchmarks and print which targets are met.

    python benchmarks/run.py [--quick] [--only NAME …] [--graph-sdk-python PATH]

Names: importing, decoding, transfers, receiver. `sqlite` (`sqlite_store.py`), `stored` (`stored_calls.py`),
`due` (`due_work.py`), `groups` (`consumer_groups.py`), `relay` (`relay.py`) and `postgres`
(`postgres_store.py`) run only if they are named; `stored`, `due`, `groups` and `postgres` need a PostgreSQL
server, `relay` the groups dev and brokers.
Needs `transferkit[all]` and trustme.

msgraph-beta-sdk is very large, so it is expected in another environment: `uv venv X && uv pip install
--python X msgraph-beta-sdk`, then `--graph-sdk-python X/bin/python`. Without it, it is left out of the
comparison.

Compare only ratios within one run. Takes about ten minutes on two idle cores, two with `--quick`.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import decoding
import importing
import receiver
import transfers
from measuring import Report, Target, table

BENCHMARKS: Final[dict[str, Callable[..., Iterator[Report]]]] = {
    "importing": importing.reports,
    "decoding": decoding.reports,
    "transfers": transfers.reports,
    "receiver": receiver.reports,
}
SCRIPTS: Final = {
    "sqlite": ("sqlite_store.py", "--quick"),
    "groups": ("consumer_groups.py", "--events", "1000", "--rounds", "2"),
    "relay": ("relay.py", "--events", "500", "--rounds", "2"),
    "stored": ("stored_calls.py", "--stored", "20000", "--rounds", "3"),
    "due": ("due_work.py", "--rounds", "3"),
    "postgres": ("postgres_store.py", "--seconds", "1", "--rounds", "1"),
}
"""Scripts that print their own results, with the arguments of a quick run."""


def conditions() -> str:
    """The time, the Python version and the machine."""
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"load {load}"
    )


def run_script(name: str, *, quick: bool) -> None:
    """Run a script that prints its own results."""
    script, *quick_arguments = SCRIPTS[name]
    path = Path(__file__).with_name(script)
    subprocess.run([sys.executable, path, *(quick_arguments if quick else ())], check=True)  # noqa: S603 - our own script


def main() -> None:
    """Run the benchmarks and print the targets at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--only", choices=[*BENCHMARKS, *SCRIPTS], action="append", help="only this one")
    parser.add_argument("--graph-sdk-python", default=sys.executable, help="a Python with msgraph-beta-sdk")
    arguments = parser.parse_args()
    print(conditions(), end="\n\n", flush=True)
    targets: list[Target] = []
    for name in arguments.only or BENCHMARKS:
        if name in SCRIPTS:
            run_script(name, quick=arguments.quick)
            continue
        for report in BENCHMARKS[name](quick=arguments.quick, graph_sdk_python=arguments.graph_sdk_python):
            print(report.text, end="\n\n", flush=True)
            targets += report.targets
    if targets:
        print(table(("target", "limit", "measured", ""), [target.row for target in targets]))
        print(f"\n{conditions()}")


if __name__ == "__main__":
    main()
