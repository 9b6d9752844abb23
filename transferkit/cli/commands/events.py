"""`transferkit events`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from transferkit.cli.options import AsJson, ConfigFile, run_with_client
from transferkit.cli.timeline import full_detail
from transferkit.client import AsyncClient
from transferkit.codec import to_json_line
from transferkit.config import RelayConfig, load_config
from transferkit.events import Event
from transferkit.stores.consumer_groups import GroupStart

__all__ = ["event_line", "events"]


def events(
    *,
    config: ConfigFile = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Read as this consumer group; printed events are acknowledged."),
    ] = None,
    start: Annotated[
        GroupStart | None,
        typer.Option(help="Where to start; for a group, only if it is new. Default: beginning."),
    ] = None,
    call: Annotated[str | None, typer.Option(metavar="CALL", help="Only the events of this call.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C.")] = False,
    as_json: AsJson = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the AsyncAPI 3 document of the messages that a relay sends."),
    ] = False,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON Schema of the data of these messages.")
    ] = False,
) -> None:
    """Print the event stream.

    Only reads: handles none of the due work. The schemas need no configuration.

    Examples:
      transferkit events --config transferkit.toml --follow
      transferkit events --call CALL
      transferkit events --group billing --json
      transferkit events --schema
    """
    if schema or json_schema:
        _print_schema(config, as_asyncapi=schema)
        return
    if group is not None and call is not None:
        raise typer.BadParameter("a consumer group reads all calls: leave out --call or --group")
    line = to_json_line if as_json else event_line

    async def print_events(client: AsyncClient) -> None:
        beginning = start or GroupStart.BEGINNING
        async with client.events(group=group, start=beginning, follow=follow) as stream:
            async for event in stream:
                if call in {None, event.call_id}:
                    typer.echo(line(event))

    try:
        run_with_client(config, print_events)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _print_schema(config: Path | None, *, as_asyncapi: bool) -> None:
    from transferkit import __version__
    from transferkit.relay.schema import asyncapi_document, json_schema

    relay = load_config(config).relay if config else RelayConfig()
    document = (
        asyncapi_document(version=__version__, content_mode=relay.content_mode)
        if as_asyncapi
        else json_schema()
    )
    typer.echo(json.dumps(document, indent=2))


def event_line(event: Event) -> str:
    """One event on one line, for people."""
    parts = [
        f"{event.time:%Y-%m-%d %H:%M:%S}",
        f"{event.kind:<20}",
        f"{event.provider}:{event.call_id}",
        event.transfer_id,
        full_detail(event),
    ]
    return "  ".join(part for part in parts if part)
