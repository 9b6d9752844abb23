"""The time of imports and short commands, and the size of installations, compared with the vendors' SDKs.

    python benchmarks/importing.py [--quick] [--graph-sdk-python PATH]

Each statement runs in a new interpreter. The time is that of the statement, without the interpreter's own
start and end, and with cached bytecode. The best of several rounds counts. The size is that of the files of a
distribution without bytecode, alone and with its dependencies.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from measuring import Report, Target, table

COMMAND: Final = """
import contextlib, io, sys
sys.argv[1:] = {arguments!r}
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    from transferkit.cli import main
    main()
"""
NOTHING: Final = """
import asyncio, importlib.metadata, attrs, cattrs, typer
app = typer.Typer(add_completion=False)
app.command()(lambda: None)
app([], standalone_mode=False)
"""
CALLBACK: Final = """{"value": [{
    "changeType": "updated", "resourceUrl": "/communications/calls/1",
    "resourceData": {"@odata.type": "#microsoft.graph.call", "state": "transferAccepted"}
}]}"""
DECODE: Final = "transferkit decode -p graph"
HELP: Final = "transferkit --help"
CLIENT: Final = "from transferkit import AsyncClient"
ACS_SDK: Final = "import azure.communication.callautomation"
STATEMENTS: Final[dict[str, tuple[str, str]]] = {
    "import transferkit": ("", "import transferkit"),
    CLIENT: ("", CLIENT),
    "import transferkit_graph": ("", "import transferkit_graph"),
    "import transferkit_acs": ("", "import transferkit_acs"),
    DECODE: ("", COMMAND.format(arguments=DECODE.split()[1:])),
    HELP: ("", COMMAND.format(arguments=HELP.split()[1:])),
    "the same libraries, an empty command": ("", NOTHING),
    "import httpx": ("", "import httpx"),
    ACS_SDK: ("", ACS_SDK),
    "import msgraph_beta": ("graph-sdk", "import msgraph_beta"),
}
LIMITS: Final = {CLIENT: 2.5, HELP: 1.0, DECODE: 3.0}
"""The targets: how many times the CPU time of importing the ACS SDK each may need."""
DISTRIBUTIONS: Final[dict[str, str]] = {
    "transferkit": "",
    "transferkit-graph": "",
    "transferkit-acs": "",
    "azure-communication-callautomation": "",
    "msgraph-beta-sdk": "graph-sdk",
}
TIMED: Final = """
import time, warnings
warnings.simplefilter("ignore")
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""
SIZED: Final = """
import json, re, sys
from importlib import metadata
from pathlib import Path

def size(found):
    editable = json.loads(found.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable")
    if editable:
        package = Path(__import__(found.name.replace("-", "_")).__file__).parent
        files = [path for path in package.rglob("*") if path.is_file()]
    else:
        files = [Path(found.locate_file(file)) for file in found.files or ()]
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc" and path.is_file())

def needed(name, seen):
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return
    seen[name] = size(found)
    for line in found.requires or ():
        if "extra ==" not in line:
            needed(re.match(r"[A-Za-z0-9._-]+", line)[0], seen)

seen = {}
needed(sys.argv[1], seen)
own = seen.get(re.sub(r"[-_.]+", "-", sys.argv[1]).lower())
print(json.dumps([own, sum(seen.values()), len(seen)] if own is not None else None))
"""


def output(python: str, *arguments: str) -> str | None:
    """The output of the code, with cached bytecode; None if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 - the selected Python
        [python, "-c", *arguments],
        input=CALLBACK,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    return done.stdout if done.returncode == 0 else None


def imports(graph_sdk_python: str, *, rounds: int) -> Report:
    """Measure imports and commands."""
    best: dict[str, tuple[float, ...]] = {}
    for _ in range(rounds + 1):  # the first one fills the caches
        for name, (environment, statement) in STATEMENTS.items():
            python = graph_sdk_python if environment else sys.executable
            if (printed := output(python, TIMED.format(statement=statement))) is not None:
                best[name] = min(best.get(name, (math.inf,)), tuple(map(float, printed.split())))
    rows: list[tuple[str, ...]] = []
    for name in STATEMENTS:
        times = [f"{seconds * 1e3:.0f} ms" for seconds in best.get(name, ())]
        rows.append((name, *(times or ("not installed", ""))))
    plain = "import transferkit"
    targets = [Target(plain, best[plain][1] * 1e3, 60.0, unit=" ms")]
    targets += [
        Target(f"CPU: {name} ÷ {ACS_SDK}", best[name][0] / best[ACS_SDK][0], limit)
        for name, limit in LIMITS.items()
        if name in best and ACS_SDK in best
    ]
    return Report(table(("import or command", "CPU", "wall"), rows), tuple(targets))


def sizes(graph_sdk_python: str) -> Report:
    """Measure installed sizes."""
    rows: list[tuple[str, ...]] = []
    for name, environment in DISTRIBUTIONS.items():
        size = json.loads(output(graph_sdk_python if environment else sys.executable, SIZED, name) or "null")
        if size is None:
            rows.append((name, "not installed", "", ""))
        else:
            own, total, count = size
            rows.append((name, f"{own / 1e6:.1f} MB", f"{total / 1e6:.1f} MB", str(count)))
    return Report(table(("installed", "alone", "with dependencies", "distributions"), rows))


def reports(*, quick: bool, graph_sdk_python: str) -> Iterator[Report]:
    """A report of times and one of sizes."""
    yield imports(graph_sdk_python, rounds=2 if quick else 7)
    yield sizes(graph_sdk_python)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--graph-sdk-python", default=sys.executable, help="a Python with msgraph-beta-sdk")
    arguments = parser.parse_args()
    for report in reports(quick=arguments.quick, graph_sdk_python=arguments.graph_sdk_python):
        print(report.text, end="\n\n")


if __name__ == "__main__":
    main()
