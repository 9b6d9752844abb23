"""`transferkit store`: make the tables, see how large they are, remove what is old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from attrs import evolve
from rich.console import Console
from rich.table import Table

from transferkit.cli import options
from transferkit.client import AsyncClient
from transferkit.config import Config, load_config
from transferkit.errors import ConfigError, StoreError, TransferKitError
from transferkit.stores.address import store_at

if TYPE_CHECKING:
    from transferkit.stores.postgres import PostgresStore

__all__ = ["store"]

_UNUSABLE = 2

R = TypeVar("R")

store = typer.Typer(
    add_completion=False,
    name="store",
    help="The store: make its tables, see how large they are, remove what is old.",
    no_args_is_help=True,
)

Role = Annotated[str, typer.Argument(help="The role that the application connects as.", metavar="ROLE")]


@store.command()
def migrate(*, config: options.ConfigFile = None) -> None:
    """Make the store's tables, or bring those of an older transferkit up to date.

    Any number of processes may use the store meanwhile. A SQLite file is updated whenever it is opened.
    Example: transferkit store migrate --config transferkit.toml
    """

    async def run() -> int:
        known = load_config(config)
        opened = _postgres(known) or store_at(known.store, base=known.base)
        await opened.open()
        await opened.close()
        return opened.partitions

    typer.echo(f"the store is up to date; its log has {_run(run())} partitions")


@store.command("grants")
def print_grants(role: Role, *, config: options.ConfigFile = None) -> None:
    """Print the SQL that gives a role what an application needs, and no more. Run it as the tables' owner.

    Example: transferkit store grants app | psql "$OWNER_URL"
    """

    async def run() -> str:
        from transferkit.stores.postgres import grants

        known = _postgres(load_config(config))
        if known is None:
            raise StoreError("only a PostgreSQL store has roles")
        return "\n".join(grants(known.address.schema, role))

    try:
        typer.echo(_run(run()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@store.command()
def prune(*, config: options.ConfigFile = None) -> None:
    """Remove the calls that are older than `retention.age`; an open client does so every now and then.

    Example: transferkit store prune
    """

    async def run() -> int:
        async with AsyncClient.from_config(config, background=False) as client:
            return await client.prune()

    typer.echo(f"{_run(run())} calls removed")


@store.command()
def info(*, config: options.ConfigFile = None, as_json: options.AsJson = False) -> None:
    """Tell when work is due next and, of a PostgreSQL store, how large its tables are.

    Example: transferkit store info --json
    """

    async def run() -> dict[str, Any]:
        known = load_config(config)
        postgres = _postgres(known, may_migrate=False)
        opened = postgres or store_at(known.store, base=known.base)
        await opened.open()
        try:
            due = await opened.next_due()
            tables = await postgres.figures() if postgres else ()
        finally:
            await opened.close()
        return {
            "partitions": opened.partitions,
            "next_due": due.isoformat() if due else None,
            "tables": [
                {"name": one.name, "rows": one.rows, "dead_rows": one.dead_rows, "bytes": one.bytes}
                for one in tables
            ],
        }

    found = _run(run())
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"partitions  {found['partitions']}\nnext due    {found['next_due'] or 'nothing'}")
    if found["tables"]:
        table = Table("table", "rows", "dead rows", "bytes")
        for one in found["tables"]:
            table.add_row(*map(str, one.values()))
        Console().print(table)


def _postgres(config: Config, *, may_migrate: bool = True) -> PostgresStore | None:
    """The configured store, if it is of that kind. `migrate` means it, whatever the address says."""
    if not config.store.startswith("postgres"):
        return None
    from transferkit.stores.postgres import PostgresStore, read_address

    return PostgresStore(evolve(read_address(config.store), migrate=may_migrate))


def _run(work: Awaitable[R]) -> R:
    async def run() -> R:
        return await work

    try:
        return asyncio.run(run())
    except (ConfigError, TransferKitError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_UNUSABLE) from None
