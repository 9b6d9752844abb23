"""Sends one request from the command line, or prints what would be sent."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from transferkit._util.frozenmap import thaw
from transferkit.cli.options import load_and_warn
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.config import Config, is_in_environment
from transferkit.events import (
    Event,
    Outcome,
    RedirectCompleted,
    RedirectSubmitted,
    RouteAttempt,
    RouteCompleted,
    StepCompleted,
    StepSubmitted,
    TransferCompleted,
    TransferSubmitted,
)
from transferkit.requests import AnswerCall, HangUp, Redirect, Route, Transfer

__all__ = ["Sendable", "preview", "send"]

Sendable = Transfer | Redirect | AnswerCall | HangUp
"""The requests that have a command."""
_COMPLETED = TransferCompleted | RedirectCompleted | StepCompleted | RouteCompleted
_SUBMITTED = TransferSubmitted | RedirectSubmitted | StepSubmitted | RouteAttempt


async def preview(request: Sendable, *, config: Path | None) -> None:
    """Print the exact HTTP request as JSON. Sends nothing and needs no credentials.

    Without a configuration the provider's default settings are used, and a warning is printed.
    """
    source: Path | Mapping[str, Any] | None = config
    provider = request.call.provider
    if config is None and provider is not None and not is_in_environment():
        source = {"provider": provider, "providers": {provider: {}}}
    wire = await AsyncClient.from_config(source).preview(request)
    if isinstance(source, Mapping):
        typer.echo(
            f"no configuration: used the default settings of {provider}; the host may be a placeholder",
            err=True,
        )
    shown = {"method": wire.method, "url": wire.url, "headers": dict(wire.headers), "body": thaw(wire.body)}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


async def send(request: Sendable | Route, *, config: Path | None, wait: bool) -> bool:
    """Send a request and print its events until it is submitted or, if `wait`, until its outcome.

    Returns False if it failed, or did not complete while waiting. If cancelled, prints how to follow it.
    """
    settings = load_and_warn(
        config,
        in_memory="this command receives no callback that another process does. Configure a store that lasts",
    )
    async with AsyncClient(settings) as client, client.events() as stream:
        transfer_id: str | None = None
        printed: set[str | None] = set()
        try:
            transfer_id = (await client.submit(request)).id
            ids = {transfer_id}  # and those of the attempts of a route
            # With a known idempotency key, all of it may have happened before.
            history = await client.history(transfer_id)
            async for event in _chain(history, stream):
                if event.transfer_id not in ids or event.id in printed:
                    continue
                printed.add(event.id)
                typer.echo(to_json_line(event))
                if isinstance(event, RouteAttempt):
                    ids.add(event.attempt_id)
                if isinstance(event, Outcome) and event.transfer_id == transfer_id:
                    return isinstance(event, _COMPLETED)
                if isinstance(event, _SUBMITTED) and not wait:
                    return True
        except asyncio.CancelledError:
            typer.echo(_how_to_follow(request, transfer_id, config=settings, file=config), err=True)
            raise
    return False


async def _chain(history: Iterable[Event], stream: AsyncIterable[Event]) -> AsyncIterator[Event]:
    for event in history:
        yield event
    async for event in stream:
        yield event


def _how_to_follow(
    request: Sendable | Route, transfer_id: str | None, *, config: Config, file: Path | None
) -> str:
    """What happens to a request after the command was interrupted, and where its events are found."""
    kind = request.kind.value.replace("_", " ")
    option = "" if file is None else f" --config {shlex.quote(str(file))}"
    if config.store == "memory:":
        return f"the {kind} may continue, but its events were in the memory of this process"
    if transfer_id is None:
        return f"the {kind} may or may not have been sent; to see: transferkit events --call CALL{option}"
    return f"the {kind} continues; to follow it: transferkit show {transfer_id}{option}"
