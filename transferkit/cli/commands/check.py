"""`transferkit check`: whether it will work, before the first call depends on it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from transferkit.cli import options
from transferkit.cli.checks import CheckResult, run_checks
from transferkit.config import Config, load_config
from transferkit.errors import ConfigError

__all__ = ["check"]

_FAILED: Final = 1
_UNUSABLE: Final = 2

_MARKS: Final = {True: ("ok", "green"), False: ("FAIL", "bold red"), None: ("-", "yellow")}


def check(
    *,
    config: options.ConfigFile = None,
    as_json: options.AsJson = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody over the network.")] = False,
) -> None:
    """Look at configuration, secrets, store, callback URL, signing keys, credentials and the clock.

    Sends no call anywhere, and writes nothing to the store that stays. Exits with 1 where something does not
    work, with 2 where the configuration cannot be used. Example: transferkit check --config transferkit.toml
    """
    try:
        known = load_config(config)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
    if not asyncio.run(_check(known, as_json=as_json, offline=offline)):
        raise typer.Exit(_FAILED)


async def _check(config: Config, *, as_json: bool, offline: bool) -> bool:
    """Print each result as it comes; whether none failed."""
    console = Console(highlight=False, soft_wrap=True)
    good = True
    async for result in run_checks(config, offline=offline):
        good = good and result.ok is not False
        if as_json:
            typer.echo(_line(result))
        else:
            console.print(_shown(result))
    return good


def _line(result: CheckResult) -> str:
    told = {"name": result.name, "ok": result.ok, "message": result.message, "advice": result.advice}
    return json.dumps(told, ensure_ascii=False)


def _shown(result: CheckResult) -> Text:
    word, style = _MARKS[result.ok]
    text = Text.assemble((f"{word:<5}", style), f" {result.name:<18} {result.message}")
    if result.ok is not True and result.advice:
        text.append(f"\n{'':<25}{result.advice}", style="dim")
    return text
