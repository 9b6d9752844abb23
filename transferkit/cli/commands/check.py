"""`transferkit check`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from transferkit.cli.checks import run_checks
from transferkit.cli.options import AsJson, ConfigFile
from transferkit.cli.output import FAILED, print_json
from transferkit.config import Config, load_config
from transferkit.provider.adapter import CheckResult

__all__ = ["check"]

_MARKS: Final = {True: ("ok", "green"), False: ("FAIL", "bold red"), None: ("-", "yellow")}


def check(
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
    offline: Annotated[bool, typer.Option("--offline", help="Skip what needs the network.")] = False,
) -> None:
    """Check the configuration, the store and the credentials.

    Also checks the secrets, the callback URL, the signing keys and this machine's clock. Sends no call
    anywhere and leaves nothing in the store. Each problem is printed with what to do. Exits with 1 if a
    check failed.

    Examples:
      transferkit check --config transferkit.toml
      transferkit check --offline --json
    """
    if not asyncio.run(_check(load_config(config), as_json=as_json, offline=offline)):
        raise typer.Exit(FAILED)


async def _check(config: Config, *, as_json: bool, offline: bool) -> bool:
    """Print each result as it comes; return whether no check failed."""
    console = Console(highlight=False, soft_wrap=True)
    passed = True
    async for result in run_checks(config, offline=offline):
        passed = passed and result.ok is not False
        if as_json:
            names = ("name", "ok", "message", "advice")
            print_json({name: getattr(result, name) for name in names})
        else:
            console.print(_text(result))
    return passed


def _text(result: CheckResult) -> Text:
    word, style = _MARKS[result.ok]
    text = Text.assemble((f"{word:<5}", style), f" {result.name:<18} {result.message}")
    if result.ok is not True and result.advice:
        text.append(f"\n{'':<25}{result.advice}", style="dim")
    return text
