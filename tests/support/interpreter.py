"""Runs code in a fresh interpreter."""

import subprocess
import sys
from functools import cache


@cache
def printed_by(code):
    """The words that `code` prints in a fresh interpreter with the same search path."""
    command = [sys.executable, "-I", "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    return frozenset(done.stdout.split())
