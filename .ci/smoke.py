"""Check the installed distributions, outside the checkout.

Usage: `python -I smoke.py CHECKOUT DIST`, with the Python of the environment under test, from a folder
without Python modules. DIST contains the wheels and sdists that were installed.
"""

import importlib
import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

PACKAGES = {
    "transferkit": "transferkit",
    "transferkit-microsoft": "transferkit_microsoft",
    "transferkit-graph": "transferkit_graph",
    "transferkit-acs": "transferkit_acs",
    "transferkit-asterisk": "transferkit_asterisk",
}
ADAPTERS = {"fake", "graph", "acs", "asterisk"}
NEEDS = {
    "transferkit": {"transferkit-graph", "transferkit-acs", "transferkit-asterisk"},
    "transferkit-microsoft": {"transferkit"},
    "transferkit-graph": {"transferkit", "transferkit-microsoft"},
    "transferkit-acs": {"transferkit", "transferkit-microsoft"},
    "transferkit-asterisk": {"transferkit"},
}
SITE = Path(sysconfig.get_path("purelib")).resolve()
SCRIPTS = Path(sysconfig.get_path("scripts"))


def check(condition: object, what: str) -> None:
    """Print the condition if it is true, otherwise exit with an error."""
    if not condition:
        sys.exit(f"FAILED: {what}")
    print(f"ok: {what}")


def run(*arguments: str) -> str:
    """Run the installed `transferkit` command and return what it printed."""
    command = [sys.executable, "-I", str(SCRIPTS / "transferkit"), *arguments]
    done = subprocess.run(  # noqa: S603 - the command consists of constants
        command, capture_output=True, text=True, timeout=120, check=False
    )
    name = " ".join(("transferkit", *arguments))
    if done.returncode != 0:
        sys.exit(f"FAILED: `{name}` exits {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"ok: `{name}` exits 0")
    return done.stdout


def check_files(checkout: Path, dist: Path) -> None:
    """The installed packages equal those in the wheels and sdists, and are imported from site-packages."""
    check(SITE.is_relative_to(Path(sys.prefix).resolve()), "this is the environment under test")
    for package in PACKAGES.values():
        file = Path(importlib.import_module(package).__file__ or "").resolve()
        check(file.is_relative_to(SITE / package), f"{package} is imported from site-packages")
        check(not file.is_relative_to(checkout), f"{package} is not imported from the checkout")
        check((SITE / package / "py.typed").is_file(), f"{package} ships py.typed")
    wheels = sorted(dist.glob("*.whl"))
    check(len(wheels) == len(PACKAGES), f"{len(PACKAGES)} wheels were built")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            modules = [name for name in archive.namelist() if ".dist-info/" not in name]
            same = all((SITE / name).read_bytes() == archive.read(name) for name in modules)
            licensed = any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
        strays = {name.split("/")[0] for name in modules} - set(PACKAGES.values())
        check(modules and same, f"{wheel.name} equals the installed files")
        check(not strays, f"{wheel.name} contains only its package")
        check(licensed, f"{wheel.name} contains the licence")
        check_sdist(dist, wheel, set(modules))


def check_sdist(dist: Path, wheel: Path, modules: set[str]) -> None:
    """The sdist of a wheel contains the same package, its metadata, and nothing else."""
    (package,) = {name.split("/")[0] for name in modules}
    sdist = dist / f"{'-'.join(wheel.name.split('-')[:2])}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    other = {".gitignore", "LICENSE", "PKG-INFO", "pyproject.toml"}
    if package == "transferkit":
        other |= {"CHANGELOG.md", "README.md"}
    check(names - modules == other, f"{sdist.name} contains {', '.join(sorted(other))}")
    check(modules <= names, f"{sdist.name} contains the same package as the wheel")


def check_metadata() -> None:
    """All distributions have the same version and pin each other exactly."""
    version = metadata.version("transferkit")
    for name in PACKAGES:
        check(metadata.version(name) == version, f"{name} has version {version}")
        plain = {line.partition(";")[0].replace(" ", "") for line in metadata.requires(name) or ()}
        pins = {f"{other}=={version}" for other in NEEDS[name]}
        check(pins <= plain, f"{name} pins {', '.join(sorted(pins))}")


def check_entry_points() -> None:
    """The entry points of adapters, emulators and the pytest plug-in exist and can be loaded."""
    adapters = metadata.entry_points(group="transferkit.adapters")
    found = sorted(point.name for point in adapters)
    check(found == sorted(ADAPTERS), f"the adapters are {', '.join(found)}")
    for point in adapters:
        check(isinstance(point.load(), type), f"adapter {point.name} loads")
    for point in metadata.entry_points(group="transferkit.emulators"):
        check(isinstance(point.load(), type), f"emulator {point.name} loads")
    for point in metadata.entry_points(group="transferkit.sinks"):
        check(isinstance(point.load(), type), f"sink {point.name} loads")
    plugins = metadata.entry_points(group="pytest11", name="transferkit")
    check([point.module for point in plugins] == ["transferkit.pytest_plugin"], "pytest plug-in")


def check_command() -> None:
    """The command prints its help, and `demo --json` prints one JSON object per line."""
    check("demo" in run("--help"), "--help lists the demo")
    lines = run("demo", "--json").splitlines()
    check(lines, "demo --json prints something")
    check(all(isinstance(json.loads(line), dict) for line in lines), "demo --json prints NDJSON")


if __name__ == "__main__":
    check_files(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    check_metadata()
    check_entry_points()
    check_command()
