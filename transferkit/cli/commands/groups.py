"""`transferkit groups`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from transferkit.cli.options import AsJson, ConfigFile, run_with_client
from transferkit.cli.output import FAILED, print_json
from transferkit.cli.timeline import full_detail
from transferkit.client import AsyncClient
from transferkit.codec import encode
from transferkit.stores.consumer_groups import ParkedEvent
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["groups"]

groups = typer.Typer(
    name="groups",
    add_completion=False,
    rich_markup_mode=None,
    help="Show consumer groups and handle their parked events.\n\n"
    "A parked event is one that a group failed to process too often, or could not read.",
    no_args_is_help=True,
)

Group = Annotated[str, typer.Argument(help="The group's name.", metavar="GROUP")]
EventId = Annotated[
    str, typer.Argument(help="The event's id, as 'groups parked' prints it.", metavar="EVENT")
]


@groups.command("list")
def list_groups(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the groups and their lag.

    The lag is the number of events that a group has not acknowledged.

    Examples:
      transferkit groups list --config transferkit.toml
      transferkit groups list --json
    """
    found = run_with_client(config, lambda client: client.groups())
    if as_json:
        for group in found:
            print_json(
                {
                    "group": group.name,
                    "lag": group.lag,
                    "parked": group.parked,
                    "consumers": group.members,
                    "oldest": group.oldest.isoformat() if group.oldest else None,
                    "seen_at": group.seen_at.isoformat() if group.seen_at else None,
                }
            )
        return
    table = Table("group", "lag", "oldest waiting", "parked", "consumers", "last seen")
    for group in found:
        oldest = _time(group.oldest) if group.oldest else ""
        seen = _time(group.seen_at) if group.seen_at else "never"
        table.add_row(group.name, str(group.lag), oldest, str(group.parked), str(group.members), seen)
    Console().print(table)


@groups.command("parked")
def list_parked(group: Group, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the parked events of a group.

    Exits with 1 if the group does not exist.

    Examples:
      transferkit groups parked billing
      transferkit groups parked billing --json
    """

    async def read(client: AsyncClient) -> tuple[ParkedEvent, ...] | None:
        found = await client.parked(group)
        exists = found or any(known.name == group for known in await client.groups())
        return found if exists else None

    found = run_with_client(config, read)
    if found is None:
        raise _no_group(group)
    for parked in found:
        if as_json:
            print_json(
                {
                    "group": parked.group,
                    "id": parked.id,
                    "attempts": parked.attempts,
                    "parked_at": parked.parked_at.isoformat(),
                    "released": parked.released,
                    "event": encode(parked.event),
                }
            )
        else:
            typer.echo(_parked_line(parked))


@groups.command("release")
def release(group: Group, event: EventId, *, config: ConfigFile = None) -> None:
    """Deliver a parked event once more.

    Exits with 1 if the group has no parked event of that id.

    Examples:
      transferkit groups release billing 1f0c2f4e-0f7e-5d1b-8a49-5a3b1c0c7d11
    """
    if not run_with_client(config, lambda client: client.release(group, event)):
        typer.echo(f"group {group!r} has no parked event {event}", err=True)
        raise typer.Exit(FAILED)


@groups.command("remove")
def remove(group: Group, *, config: ConfigFile = None) -> None:
    """Remove a group that is no longer read.

    Removes its place in the stream and its parked events. Exits with 1 if the group does not exist.

    Examples:
      transferkit groups remove wallboard-test
    """
    if not run_with_client(config, lambda client: client.remove_group(group)):
        raise _no_group(group)


def _no_group(group: str) -> typer.Exit:
    typer.echo(f"there is no group {group!r}; to list the groups: transferkit groups list", err=True)
    return typer.Exit(FAILED)


def _parked_line(parked: ParkedEvent) -> str:
    event = parked.event
    state = "released" if parked.released else f"{parked.attempts} attempts"
    detail = event.problem if isinstance(event, UnreadableEvent) else full_detail(event)
    kind, call = event.kind or "unreadable", f"{event.provider}:{event.call_id}"
    return "  ".join([parked.id, _time(parked.parked_at), state, kind, call, detail]).rstrip()


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
