"""The commands by name; each loads when it is asked for, so that none waits for what another needs."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from transferkit import __version__, _deprecation

__all__ = ["app"]

_HOMES = {
    "demo": "demonstration",
    "emulate": "emulating",
    "check": "checking",
    "serve": "serving",
    "transfer": "asking",
    "redirect": "asking",
    "events": "reading",
    "show": "reading",
    "groups": "grouping",
    "store": "storing",
    "decode": "decoding",
}
"""The module of each command, in the order of the help page."""


@final
class _Commands(TyperGroup):
    """Contexts and commands are click's, or those of typer's own copy of it, by typer's version."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as click has it
        return list(_HOMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
        if cmd_name not in _HOMES:
            return None
        found = getattr(import_module(f"transferkit.cli.{_HOMES[cmd_name]}"), cmd_name)
        if isinstance(found, typer.Typer):
            return get_command(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name=cmd_name)(found)
        return get_command(alone)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for gone in _deprecation.DEPRECATED:
            if _typed(gone.what, args) and not ctx.resilient_parsing:
                typer.echo(f"warning: {gone}", err=True)
        return super().parse_args(ctx, args)


def _typed(what: str, args: list[str]) -> bool:
    """Whether the arguments are those of `transferkit COMMAND`, and have its `--OPTION` if there is one."""
    name, *words = what.split()
    command = [word for word in words if not word.startswith("-")]
    given = {arg.partition("=")[0] for arg in args}
    return name == "transferkit" and args[: len(command)] == command and given.issuperset(words)


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
