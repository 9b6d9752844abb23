"""How a command ends before it is done: the words on standard error and the exit code."""

from __future__ import annotations

from typing import Final

import typer

__all__ = ["INTERRUPTED", "TERMINATED", "unusable", "without_server"]

INTERRUPTED: Final = 130
"""By Ctrl-C; what a shell says of a process that SIGINT ended."""
TERMINATED: Final = 143
"""By a polite kill; what a shell says of a process that SIGTERM ended."""

_UNUSABLE: Final = 2
_SERVERS: Final = frozenset({"starlette", "trustme", "uvicorn"})


def unusable(why: object) -> typer.Exit:
    """The end of a command whose usage or configuration cannot be used: says why."""
    typer.echo(str(why), err=True)
    return typer.Exit(_UNUSABLE)


def without_server(error: ModuleNotFoundError) -> typer.Exit:
    """The end of a command that lacks the emulators' server; raises `error` where it lacks something else."""
    if error.name not in _SERVERS:
        raise error
    return unusable("the emulators' server is an extra: pip install 'transferkit[emulators]'")
