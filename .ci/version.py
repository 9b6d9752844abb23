"""Print the version of the distributions, or set it: `python .ci/version.py [VERSION]`.

The version is in `transferkit/__init__.py`, and every distribution reads it from there when it is built. The
exact pins between the distributions repeat it, because `pyproject.toml` has no variable for it. This script
sets both.
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
    """The version in the source."""
    found = VERSION.search(SOURCE.read_text(encoding="utf-8"))
    if found is None:
        sys.exit(f"{SOURCE} does not contain a version")
    return found.group()


def set_version(version: str) -> None:
    """Set the version in the source and in every pin between the distributions."""
    if not RELEASE.fullmatch(version):
        sys.exit(f"{version!r} is not a version such as 0.2.0 or 0.2.0rc1")
    SOURCE.write_text(VERSION.sub(version, SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    for project in (ROOT / "pyproject.toml", *ROOT.glob("adapters/*/pyproject.toml")):
        text = project.read_text(encoding="utf-8")
        project.write_text(PIN.sub(rf"\g<1>{version}", text), encoding="utf-8")


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        set_version(*arguments)
    print(current())
