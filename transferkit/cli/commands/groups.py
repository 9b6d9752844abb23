"""`transferkit groups`: who reads the stream, how far, and what was set aside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from transferkit.cli import options
from transferkit.cli.timeline import in_full
from transferkit.client import AsyncClient
from transferkit.codec import encode
from transferkit.errors import ConfigError, TransferKitError
from transferkit.stores.consumer_groups import ParkedEvent
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["groups"]

_FAILED = 1
_UNUSABLE = 2

R = TypeVar("R")

groups = typer.Typer(
    name="groups",
    add_completion=False,
    help="Consumer groups: how far they are, and events that were set aside.",
    no_args_is_help=True,
)

Group = Annotated[str, typer.Argument(help="The group's name.", metavar="GROUP")]
EventId = Annotated[
    str, typer.Argument(help="The event's id, as `groups parked` prints it.", metavar="EVENT")
]


@groups.command("list")
def list_groups(*, config: options.ConfigFile = None, as_json: options.AsJson = False) -> None:
    """List the groups with their lag: events that are not acknowledged yet.

    Example: transferkit groups list --config transferkit.toml
    """
    found = _ask(config, lambda client: client.groups())
    if as_json:
        for group in found:
            typer.echo(
                json.dumps(
                    {
                        "group": group.name,
                        "lag": group.lag,
                        "parked": group.parked,
                        "consumers": group.members,
                        "oldest": group.oldest.isoformat() if group.oldest else None,
                        "seen_at": group.seen_at.isoformat() if group.seen_at else None,
                    }
                )
            )
        return
    table = Table("group", "lag", "oldest waiting", "parked", "consumers", "last seen")
    for group in found:
        oldest = f"{group.oldest:%Y-%m-%d %H:%M:%S}" if group.oldest else ""
        seen = f"{group.seen_at:%Y-%m-%d %H:%M:%S}" if group.seen_at else "never"
        table.add_row(group.name, str(group.lag), oldest, str(group.parked), str(group.members), seen)
    Console().print(table)


@groups.command("parked")
def list_parked(group: Group, *, config: options.ConfigFile = None, as_json: options.AsJson = False) -> None:
    """List the events that the group failed at too often, or could not read, and set aside.

    Exits with 1 if there is no group of that name. Example: transferkit groups parked billing
    """
    found = _ask(config, lambda client: _parked(client, group))
    if found is None:
        raise _no_group(group)
    for parked in found:
        event = parked.event
        if as_json:
            typer.echo(
                json.dumps(
                    {
                        "group": parked.group,
                        "id": parked.id,
                        "attempts": parked.attempts,
                        "parked_at": parked.parked_at.isoformat(),
                        "released": parked.released,
                        "event": encode(event),
                    },
                    ensure_ascii=False,
                )
            )
        else:
            state = "released" if parked.released else f"{parked.attempts} attempts"
            said = event.problem if isinstance(event, UnreadableEvent) else in_full(event)
            typer.echo(
                f"{parked.id}  {parked.parked_at:%Y-%m-%d %H:%M:%S}  {state}  {event.kind or 'unreadable'}  "
                f"{event.provider}:{event.call_id}  {said}".rstrip()
            )


@groups.command("release")
def release(group: Group, event: EventId, *, config: options.ConfigFile = None) -> None:
    """Have a parked event delivered once more. Exits with 1 if there is none of that id.

    Example: transferkit groups release billing 1f0c2f4e-0f7e-5d1b-8a49-5a3b1c0c7d11
    """
    if not _ask(config, lambda client: client.release(group, event)):
        typer.echo(f"group {group!r} has no parked event {event}", err=True)
        raise typer.Exit(_FAILED)


@groups.command("remove")
def remove(group: Group, *, config: options.ConfigFile = None) -> None:
    """Forget a group that nobody reads as any more: its place in the stream and its parked events.

    Exits with 1 if there is none of that name. Example: transferkit groups remove wallboard-test
    """
    if not _ask(config, lambda client: client.remove_group(group)):
        raise _no_group(group)


def _no_group(group: str) -> typer.Exit:
    typer.echo(f"there is no group {group!r}; those there are: transferkit groups list", err=True)
    return typer.Exit(_FAILED)


async def _parked(client: AsyncClient, group: str) -> tuple[ParkedEvent, ...] | None:
    """What the group set aside; None where there is no such group."""
    found = await client.parked(group)
    return found if found or any(one.name == group for one in await client.groups()) else None


def _ask(config: Path | None, question: Callable[[AsyncClient], Awaitable[R]]) -> R:
    async def ask() -> R:
        known = options.configuration(config, in_memory=options.EMPTY_MEMORY)
        async with AsyncClient(known, background=False) as client:
            return await question(client)

    try:
        return asyncio.run(ask())
    except (ConfigError, TransferKitError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
