"""What is left out when branches are counted says why, on the same line."""

import re
from pathlib import Path

import pytest

import transferkit

CORE = Path(transferkit.__file__).parent
ADAPTERS = Path(__file__).parents[2] / "adapters"
EXCLUSION = re.compile(r"#\s*pragma: no (cover|branch)(?P<reason>.*)")


def exclusions():
    for file in sorted([*CORE.rglob("*.py"), *ADAPTERS.glob("*/transferkit_*/**/*.py")]):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if found := EXCLUSION.search(line):
                yield pytest.param(found["reason"], id=f"{file.parent.name}/{file.name}:{number}")


@pytest.mark.parametrize("reason", list(exclusions()))
def test_an_exclusion_says_why(reason):
    assert re.fullmatch(r" - .{10,}", reason)
