"""What commands print, and the codes that they exit with."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import typer

__all__ = ["FAILED", "INTERRUPTED", "TERMINATED", "needs_extra", "on_stop_signal", "print_json", "unusable"]

FAILED: Final = 1
"""The outcome, or a check, failed."""
UNUSABLE: Final = 2
"""The usage or the configuration is wrong, or something that the command needs is missing."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C: the code that a shell reports for SIGINT."""
TERMINATED: Final = 143
"""Ended by SIGTERM: the code that a shell reports for it."""

_EXTRAS: Final = {"emulators": {"starlette", "trustme", "uvicorn"}, "serve": {"uvicorn"}}
"""The modules that each extra installs."""


def unusable(message: object) -> typer.Exit:
    """Print `message` on standard error and return the exit with code 2, to be raised."""
    typer.echo(str(message), err=True)
    return typer.Exit(UNUSABLE)


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """Exit with code 2 and say what to install if a module of the extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS[extra]:
            raise
        message = f"{error.name} is not installed: pip install 'transferkit[{extra}]'"
        raise unusable(message) from None


def on_stop_signal(stop: Callable[[], object]) -> None:
    """Call `stop` on the first SIGINT or SIGTERM; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop_once() -> None:
        stop()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        with suppress(NotImplementedError):  # on Windows Ctrl-C cancels instead
            loop.add_signal_handler(number, stop_once)


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))
