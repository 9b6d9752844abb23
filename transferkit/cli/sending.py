"""One request from the command line: shown, or sent and followed."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from transferkit._util.frozenmap import thaw
from transferkit.cli import options
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.config import Config, is_in_environment
from transferkit.events import (
    Event,
    Outcome,
    RedirectCompleted,
    RedirectSubmitted,
    TransferCompleted,
    TransferSubmitted,
)
from transferkit.requests import Redirect, Transfer

__all__ = ["preview", "send"]

_IN_MEMORY: Final = "callbacks to another process never reach this request; name a store that lasts"


async def preview(request: Transfer | Redirect, *, config: Path | None, provider: str | None) -> None:
    """Print the exact request as JSON; sends nothing and needs no credentials.

    Where nothing is configured it is the provider's own defaults that are shown, and said to be.
    """
    source: Path | Mapping[str, Any] | None = config
    if config is None and provider is not None and not is_in_environment():
        source = {"provider": provider, "providers": {provider: {}}}
    wire = await AsyncClient.from_config(source).preview(request)
    if isinstance(source, Mapping):
        typer.echo(
            f"no configuration: shown with {provider}'s defaults; the host may be a placeholder", err=True
        )
    shown = {"method": wire.method, "url": wire.url, "headers": dict(wire.headers), "body": thaw(wire.body)}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


async def send(request: Transfer | Redirect, *, config: Path | None, wait: bool) -> bool:
    """Send and print the events, until the provider took it or (`wait`) until the outcome.

    False if it failed, or was to be waited for and did not complete. Cancelled, says how to look after it.
    """
    known = options.configuration(config, in_memory=_IN_MEMORY)
    async with AsyncClient(known) as client, client.events() as stream:
        transfer_id: str | None = None
        shown: set[str | None] = set()
        try:
            transfer_id = (await client.submit(request)).id
            # Where the idempotency key is known, all may have happened before.
            before = await client.history(transfer_id)
            async for event in _both(before, stream):  # pragma: no branch - it ends with the client
                if event.transfer_id != transfer_id or event.id in shown:
                    continue
                shown.add(event.id)
                typer.echo(to_json_line(event))
                if isinstance(event, Outcome):
                    return isinstance(event, TransferCompleted | RedirectCompleted)
                if isinstance(event, TransferSubmitted | RedirectSubmitted) and not wait:
                    return True
        except asyncio.CancelledError:
            typer.echo(_left_behind(request, transfer_id, config=known, file=config), err=True)
            raise
    return False  # pragma: no cover - for the type checker: the loop above returns


async def _both(before: Iterable[Event], stream: AsyncIterable[Event]) -> AsyncIterator[Event]:
    for event in before:
        yield event
    async for event in stream:
        yield event


def _left_behind(
    request: Transfer | Redirect, transfer_id: str | None, *, config: Config, file: Path | None
) -> str:
    """What becomes of a request that nobody waits for any more, and where to look."""
    what = type(request).__name__.lower()
    where = "" if file is None else f" --config {shlex.quote(str(file))}"
    if config.store == "memory:":
        return f"the {what} may go on, but what is known of it ends with this process"
    if transfer_id is None:
        return f"nobody knows yet whether the {what} was sent: transferkit events --call CALL{where}"
    return f"the {what} goes on: transferkit show {transfer_id}{where}"
