"""Every benchmark, one after the other, and whether the bars are met.

    python benchmarks/run.py [--quick] [--only NAME …] [--graph-sdk-python PATH]

Names: transfers, decoding, receiver, importing; and, only where named, http (`graph_transport.py`), sqlite
(`sqlite_store.py`) and postgres (`postgres_store.py`, which needs a server). Needs `transferkit[all]` and
trustme. msgraph-beta-sdk is very large, so that it is looked for in an interpreter of its own, and left out,
with a line that says so, where there is none: `uv venv X && uv pip install --python X msgraph-beta-sdk`.

Only ratios within one run mean something. About four minutes on two cores, with `--quick` two.
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
from measuring import Bar, Report, table

OWN: Final[dict[str, Callable[..., Iterator[Report]]]] = {
    "importing": importing.reports,
    "decoding": decoding.reports,
    "transfers": transfers.reports,
    "receiver": receiver.reports,
}
FURTHER: Final = {
    "http": ("graph_transport.py", "--requests", "500", "--rounds", "1"),
    "sqlite": ("sqlite_store.py", "--quick"),
    "postgres": ("postgres_store.py", "--seconds", "1", "--rounds", "1"),
}
"""With the arguments of a quick run; without them each has its own."""


def conditions() -> str:
    """What the figures were measured on."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"load {load}"
    )


def further(name: str, *, quick: bool) -> None:
    """Run a script that prints its own figures."""
    script, *few = FURTHER[name]
    path = Path(__file__).with_name(script)
    subprocess.run([sys.executable, path, *(few if quick else ())], check=True)  # noqa: S603 - one of ours


def main() -> None:
    """Run them, and print the bars at the end."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="few and short rounds: a rough picture")
    arguments.add_argument("--only", choices=[*OWN, *FURTHER], action="append", help="only this one")
    arguments.add_argument("--graph-sdk-python", default=sys.executable, help="an interpreter with the SDK")
    asked = arguments.parse_args()
    print(conditions(), end="\n\n", flush=True)
    bars: list[Bar] = []
    for name in asked.only or OWN:
        if name in FURTHER:
            further(name, quick=asked.quick)
            continue
        for found in OWN[name](quick=asked.quick, graph_sdk_python=asked.graph_sdk_python):
            print(found.text, end="\n\n", flush=True)
            bars += found.bars
    if bars:
        print(table(("bar", "asked", "found", ""), [bar.row for bar in bars]))
        print(f"\n{conditions()}")


if __name__ == "__main__":
    main()
