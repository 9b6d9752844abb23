"""The options that several commands share, and the client that they open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from transferkit.client import AsyncClient
from transferkit.config import Config, load_config

__all__ = ["AsJson", "ConfigFile", "load_and_warn", "run_with_client"]

R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration, a TOML file; TRANSFERKIT_* variables are then ignored. Without this option "
        "the variables are the configuration; TRANSFERKIT_CONFIG may name a file, which they override.",
    ),
]


def load_and_warn(file: Path | None, *, in_memory: str) -> Config:
    """Load the configuration. If its store is in memory, print `in_memory` on standard error."""
    config = load_config(file)
    if config.store == "memory:":
        typer.echo(f"the store is in memory: {in_memory}", err=True)
    return config


def run_with_client(file: Path | None, work: Callable[[AsyncClient], Awaitable[R]]) -> R:
    """Do `work` with a client that reads the configured store and handles no due work."""

    async def run() -> R:
        config = load_and_warn(
            file,
            in_memory="every process has its own, and this command's is empty. Configure a store that lasts",
        )
        async with AsyncClient(config, background=False) as client:
            return await work(client)

    return asyncio.run(run())
