"""One request from the command line: shown, or sent and followed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.events import (
    Outcome,
    RedirectCompleted,
    RedirectSubmitted,
    TransferCompleted,
    TransferSubmitted,
)
from transferkit.frozenmap import thaw
from transferkit.requests import Redirect, Transfer

__all__ = ["preview", "send"]


def _source(config: Path | None, provider: str | None) -> Path | Mapping[str, Any] | None:
    """The configuration: a file, the environment, or for a dry run the provider's name alone."""
    if config is None and provider is not None:
        return {"provider": provider, "providers": {provider: {}}}
    return config


async def preview(request: Transfer | Redirect, *, config: Path | None, provider: str | None) -> None:
    """Print the exact request as JSON; sends nothing and needs no credentials."""
    client = AsyncClient.from_config(_source(config, provider))
    wire = await client.preview(request)
    shown = {"method": wire.method, "url": wire.url, "headers": dict(wire.headers), "body": thaw(wire.body)}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


async def send(request: Transfer | Redirect, *, config: Path | None, wait: bool) -> bool:
    """Send and print the events, until the provider took it or (`wait`) until the outcome.

    False if it failed, or was to be waited for and did not complete.
    """
    async with AsyncClient.from_config(config) as client, client.events() as stream:
        handle = await client.submit(request)
        async for event in stream:  # pragma: no branch - it ends with the client
            if event.transfer_id != handle.id:
                continue
            typer.echo(to_json_line(event))
            if isinstance(event, Outcome):
                return isinstance(event, TransferCompleted | RedirectCompleted)
            if isinstance(event, TransferSubmitted | RedirectSubmitted) and not wait:
                return True
    return False  # pragma: no cover - for the type checker: the loop above returns
