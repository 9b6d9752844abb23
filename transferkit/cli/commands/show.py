"""`transferkit show`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from transferkit._lifecycle.consultation_state import step_id
from transferkit.cli.options import AsJson, ConfigFile, run_with_client
from transferkit.cli.output import FAILED
from transferkit.cli.timeline import timeline
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.errors import TransferNotFound
from transferkit.events import Event, Outcome, RouteAttempt
from transferkit.requests import Consultation, Request, RequestKind

__all__ = ["show"]


def show(
    transfer: Annotated[str, typer.Argument(help="The id of a request.", metavar="TRANSFER")],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the timeline of one transfer.

    Or of a redirect, call step, consultation or route. Includes what else happened on its call meanwhile, the
    steps of a consultation and the attempts of a route. Exits with 1 if it ended but did not complete.

    Examples:
      transferkit show 0b9b4a5e-6f2d-4c55-9f0e-3a1f7f1f2a11
      transferkit show 0b9b4a5e-6f2d-4c55-9f0e-3a1f7f1f2a11 --json
    """

    async def read(client: AsyncClient) -> tuple[Request, tuple[Event, ...]]:
        request = (await client.get(transfer)).request
        parts = await _parts(client, transfer, request)
        return request, _timeline_of(await _history(client, transfer, parts), {transfer, *parts})

    request, events = run_with_client(config, read)
    if as_json:
        for event in events:
            typer.echo(to_json_line(event))
    else:
        _draw(request, events, transfer)
    outcomes = [event for event in events if isinstance(event, Outcome) and event.transfer_id == transfer]
    if any(not event.kind.endswith(".completed") for event in outcomes):
        raise typer.Exit(FAILED)


async def _parts(client: AsyncClient, transfer_id: str, request: Request) -> tuple[str, ...]:
    """The ids of the requests that a consultation or a route may consist of."""
    if isinstance(request, Consultation):
        return _steps(transfer_id)
    attempts = [
        event.attempt_id
        for event in await client.history(transfer_id)
        if isinstance(event, RouteAttempt) and event.transfer_id == transfer_id
    ]
    return tuple(id_ for attempt in attempts for id_ in (attempt, *_steps(attempt)))


def _steps(consultation_id: str) -> tuple[str, ...]:
    """The ids of the steps that a consultation may consist of."""
    return tuple(step_id(consultation_id, kind) for kind in RequestKind if kind.is_step)


async def _history(client: AsyncClient, transfer_id: str, steps: Collection[str]) -> tuple[Event, ...]:
    """The events of the request's call, in sequence. Those of the steps' calls are inserted by time."""
    history = await client.history(transfer_id)
    if not steps:
        return history
    events = {event.id: event for event in history}
    for id_ in steps:
        with suppress(TransferNotFound):
            events |= {event.id: event for event in await client.history(id_)}
    return tuple(sorted(events.values(), key=lambda event: event.time))


def _timeline_of(history: tuple[Event, ...], ids: Collection[str]) -> tuple[Event, ...]:
    """From the request to the outcome: the own events, and those of the call in between."""
    own = [index for index, event in enumerate(history) if event.transfer_id in ids]
    return tuple(event for event in history[own[0] : own[-1] + 1] if event.transfer_id in {None, *ids})


def _draw(request: Request, events: tuple[Event, ...], transfer_id: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    first = events[0]
    targets = ", ".join(str(target) for target in request.targets)
    lines = [
        f"{first.provider}:{first.call_id} to {targets}",
        f"requested {first.time:%Y-%m-%d %H:%M:%S} UTC, deadline {request.deadline.total_seconds():g} s",
    ]
    if request.operation_context:
        lines.append(f"operation context {request.operation_context}")
    if request.idempotency_key:
        lines.append(f"idempotency key {request.idempotency_key}")
    console.print(f"[bold]{type(request).__name__.lower()}[/] {transfer_id}")
    for line in lines:
        console.print(f"  {escape(line)}")
    console.print()
    for text in timeline(events):
        console.print(text)
    if not any(isinstance(event, Outcome) and event.transfer_id == transfer_id for event in events):
        console.print(Text("  still open", style="yellow"))
