"""`transferkit events` and `transferkit show`: what the store tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from transferkit.cli import options
from transferkit.cli.timeline import in_full, timeline
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.errors import ConfigError, TransferKitError
from transferkit.events import Event, Outcome
from transferkit.requests import Request
from transferkit.stores.consumer_groups import GroupStart

__all__ = ["events", "show"]

_FAILED = 1
_UNUSABLE = 2


def events(
    *,
    config: options.ConfigFile = None,
    group: Annotated[
        str | None,
        typer.Option(help="Read as this consumer group: what is printed is acknowledged for it."),
    ] = None,
    start: Annotated[
        GroupStart | None,
        typer.Option(help="Where to begin; of a group only where it is new. From the beginning unless told."),
    ] = None,
    call: Annotated[str | None, typer.Option(help="Only the events of this call.", metavar="CALL")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until interrupted.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Print the stream of events; looks on, and does none of the work that is due.

    Example: transferkit events --config transferkit.toml --follow
    """
    if group is not None and call is not None:
        raise typer.BadParameter("a group reads all calls: leave out --call or --group")
    show_one = _print_line if as_json else _print
    try:
        asyncio.run(_read(config, group=group, start=start, call=call, follow=follow, show_one=show_one))
    except (ConfigError, TransferKitError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
    except KeyboardInterrupt:
        raise typer.Exit from None


async def _read(
    config: Path | None,
    *,
    group: str | None,
    start: GroupStart | None,
    call: str | None,
    follow: bool,
    show_one: Callable[[Event], None],
) -> None:
    start = start or GroupStart.BEGINNING
    known = options.configuration(config, in_memory=options.EMPTY_MEMORY)
    async with (
        AsyncClient(known, background=False) as client,
        client.events(group=group, start=start, follow=follow) as stream,
    ):
        async for event in stream:
            if call in {None, event.call_id}:
                show_one(event)


def _print_line(event: Event) -> None:
    typer.echo(to_json_line(event))


def _print(event: Event) -> None:
    about = f"  {event.transfer_id}" if event.transfer_id else ""
    said = in_full(event)
    typer.echo(
        f"{event.time:%Y-%m-%d %H:%M:%S}  {event.kind:<20}  {event.provider}:{event.call_id}{about}"
        f"{'  ' if said else ''}{said}"
    )


def show(
    transfer: Annotated[str, typer.Argument(help="The id of a transfer or redirect.", metavar="TRANSFER")],
    *,
    config: options.ConfigFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Draw one transfer's timeline, with what else was heard of its call meanwhile.

    Exits with 1 if it failed or expired. Example: transferkit show 0b9b4a5e-6f2d-4c55-9f0e-3a1f7f1f2a11
    """
    try:
        request, history = asyncio.run(_history(config, transfer))
    except (ConfigError, TransferKitError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
    told = _story(history, transfer)
    if as_json:
        for event in told:
            typer.echo(to_json_line(event))
    else:
        _draw(request, told, transfer)
    if any(isinstance(event, Outcome) and not _completed(event) for event in told):
        raise typer.Exit(_FAILED)


async def _history(config: Path | None, transfer_id: str) -> tuple[Request, tuple[Event, ...]]:
    known = options.configuration(config, in_memory=options.EMPTY_MEMORY)
    async with AsyncClient(known, background=False) as client:
        handle = await client.get(transfer_id)
        return handle.request, await client.history(transfer_id)


def _story(history: tuple[Event, ...], transfer_id: str) -> tuple[Event, ...]:
    """From the request on: the transfer's own events, and those of its call until it was over."""
    own = [index for index, event in enumerate(history) if event.transfer_id == transfer_id]
    return tuple(event for event in history[own[0] : own[-1] + 1] if event.transfer_id in {None, transfer_id})


def _draw(request: Request, told: tuple[Event, ...], transfer_id: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    first = told[0]
    what = type(request).__name__.lower()
    targets = ", ".join(str(target) for target in request.targets)
    console.print(f"[bold]{what}[/] {transfer_id}")
    console.print(escape(f"  of {first.provider}:{first.call_id} to {targets}"))
    console.print(
        escape(
            f"  asked for {first.time:%Y-%m-%d %H:%M:%S} UTC, deadline {request.deadline.total_seconds():g} s"
        )
    )
    for name in ("operation_context", "idempotency_key"):
        if value := getattr(request, name):
            console.print(escape(f"  {name.replace('_', ' ')} {value}"))
    console.print()
    for text in timeline(told):
        console.print(text)
    if not any(isinstance(event, Outcome) for event in told):
        console.print(Text("  still open", style="yellow"))


def _completed(outcome: Outcome) -> bool:
    return outcome.kind.endswith(".completed")
