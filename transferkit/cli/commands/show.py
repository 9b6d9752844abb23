"""`transferkit show`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from transferkit.cli.options import AsJson, ConfigFile, run_with_client
from transferkit.cli.output import FAILED
from transferkit.cli.timeline import timeline
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.events import Event, Outcome
from transferkit.requests import Request

__all__ = ["show"]


def show(
    transfer: Annotated[str, typer.Argument(help="The id of a transfer or redirect.", metavar="TRANSFER")],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the timeline of one transfer.

    Includes what else happened on its call meanwhile. Exits with 1 if the transfer failed or expired.

    Examples:
      transferkit show 0b9b4a5e-6f2d-4c55-9f0e-3a1f7f1f2a11
      transferkit show 0b9b4a5e-6f2d-4c55-9f0e-3a1f7f1f2a11 --json
    """

    async def read(client: AsyncClient) -> tuple[Request, tuple[Event, ...]]:
        return (await client.get(transfer)).request, await client.history(transfer)

    request, history = run_with_client(config, read)
    events = _timeline_of(history, transfer)
    if as_json:
        for event in events:
            typer.echo(to_json_line(event))
    else:
        _draw(request, events, transfer)
    if any(isinstance(event, Outcome) and not event.kind.endswith(".completed") for event in events):
        raise typer.Exit(FAILED)


def _timeline_of(history: tuple[Event, ...], transfer_id: str) -> tuple[Event, ...]:
    """From the request to the outcome: the transfer's own events, and those of its call in between."""
    own = [index for index, event in enumerate(history) if event.transfer_id == transfer_id]
    return tuple(event for event in history[own[0] : own[-1] + 1] if event.transfer_id in {None, transfer_id})


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
    if not any(isinstance(event, Outcome) for event in events):
        console.print(Text("  still open", style="yellow"))
