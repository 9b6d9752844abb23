"""The commands; what each does is in the module that it comes from."""

from __future__ import annotations

import typer

from transferkit.cli.asking import redirect, transfer
from transferkit.cli.decoding import decode
from transferkit.cli.demonstration import demo

__all__ = ["app"]

app = typer.Typer(
    name="transferkit",
    help="Transfer calls on Microsoft Graph and Azure Communication Services, and know what became of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for _command in (demo, transfer, redirect, decode):
    app.command()(_command)
