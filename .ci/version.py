"""Print the version of the distributions, or set it: `python .ci/version.py [VERSION]`.

The version is written once, in `transferkit/__init__.py`, where every distribution reads it when it is built.
Only the exact pins between the distributions repeat it, because `pyproject.toml` has no variable for it; this
sets them, too.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "transferkit/__init__.py"
VERSION = re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE)
PIN = re.compile(r'(?<="transferkit)([a-z-]*==)[^"]+')
RELEASE = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def current() -> str:
    """The version that the source states."""
    found = VERSION.search(SOURCE.read_text(encoding="utf-8"))
    if found is None:
        sys.exit(f"{SOURCE} does not state a version")
    return found.group()


def put(version: str) -> None:
    """Write the version into the source and into every pin between the distributions."""
    if not RELEASE.fullmatch(version):
        sys.exit(f"{version!r} is not a version such as 0.2.0 or 0.2.0rc1")
    SOURCE.write_text(VERSION.sub(version, SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    for project in (ROOT / "pyproject.toml", *ROOT.glob("adapters/*/pyproject.toml")):
        text = project.read_text(encoding="utf-8")
        project.write_text(PIN.sub(rf"\g<1>{version}", text), encoding="utf-8")


if __name__ == "__main__":
    if wanted := sys.argv[1:]:
        put(*wanted)
    print(current())
