"""The commands by name; each loads when it is asked for, so that none waits for what another needs."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from transferkit import __version__

__all__ = ["app"]

_MODULES = {
    "demo": "demo",
    "emulate": "emulate",
    "check": "check",
    "serve": "serve",
    "transfer": "transfer",
    "redirect": "transfer",
    "events": "events",
    "show": "events",
    "groups": "groups",
    "store": "store",
    "decode": "decode",
}
"""The module of each command, in the order of the help page."""


@final
class _Commands(TyperGroup):
    """Contexts and commands are click's, or those of typer's own copy of it, by typer's version."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as click has it
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
        if cmd_name not in _MODULES:
            return None
        found = getattr(import_module(f"transferkit.cli.commands.{_MODULES[cmd_name]}"), cmd_name)
        if isinstance(found, typer.Typer):
            return get_command(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name=cmd_name)(found)
        return get_command(alone)


app = typer.Typer(name="transferkit", cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transferkit {__version__}")
        raise typer.Exit


@app.callback()
def transferkit(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Transfer calls on Microsoft Graph and Azure Communication Services, and know what became of it."""
