"""`transferkit store`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import evolve
from rich.console import Console
from rich.table import Table

from transferkit.cli.options import AsJson, ConfigFile
from transferkit.cli.output import print_json
from transferkit.client import AsyncClient
from transferkit.config import Config, load_config
from transferkit.errors import StoreError
from transferkit.stores.address import store_at

if TYPE_CHECKING:
    from transferkit.stores import Store
    from transferkit.stores.postgres import PostgresStore

__all__ = ["store"]

store = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    name="store",
    help="Create the store's tables, show their size, remove old calls.",
    no_args_is_help=True,
)

Role = Annotated[str, typer.Argument(help="The role that the application connects as.", metavar="ROLE")]


@store.command()
def migrate(*, config: ConfigFile = None) -> None:
    """Create or update the store's tables.

    Other processes may use the store meanwhile. A SQLite file is also updated whenever it is opened.

    Examples:
      transferkit store migrate --config transferkit.toml
    """

    async def run() -> int:
        settings = load_config(config)
        async with _opened(_postgres(settings) or store_at(settings.store, base=settings.base)) as opened:
            return opened.partitions

    typer.echo(f"the store is up to date; its log has {asyncio.run(run())} partitions")


@store.command("grants")
def print_grants(role: Role, *, config: ConfigFile = None) -> None:
    """Print the SQL that grants a role its rights.

    These are the rights that an application needs in a PostgreSQL store. Run the SQL as the owner of the
    tables.

    Examples:
      transferkit store grants app | psql "$OWNER_URL"
    """
    postgres = _postgres(load_config(config))
    if postgres is None:
        raise StoreError("the configured store has no roles: grants are for a PostgreSQL store")
    from transferkit.stores.postgres import grants

    try:
        typer.echo("\n".join(grants(postgres.address.schema, role)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@store.command()
def prune(*, config: ConfigFile = None) -> None:
    """Remove calls older than 'retention.age'.

    An open client also does this, once every 'retention.every'.

    Examples:
      transferkit store prune --config transferkit.toml
    """

    async def run() -> int:
        async with AsyncClient.from_config(config, background=False) as client:
            return await client.prune()

    typer.echo(f"{asyncio.run(run())} calls removed")


@store.command()
def info(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show when work is due, and the tables' size.

    The size is that of a PostgreSQL store.

    Examples:
      transferkit store info --json
    """

    async def run() -> dict[str, Any]:
        settings = load_config(config)
        postgres = _postgres(settings, may_migrate=False)
        async with _opened(postgres or store_at(settings.store, base=settings.base)) as opened:
            due = await opened.next_due()
            tables = await postgres.figures() if postgres else ()
        names = ("name", "rows", "dead_rows", "bytes")
        return {
            "partitions": opened.partitions,
            "next_due": due.isoformat() if due else None,
            "tables": [{name: getattr(table, name) for name in names} for table in tables],
        }

    found = asyncio.run(run())
    if as_json:
        print_json(found)
        return
    typer.echo(f"partitions  {found['partitions']}\nnext due    {found['next_due'] or 'nothing'}")
    if found["tables"]:
        table = Table("table", "rows", "dead rows", "bytes")
        for row in found["tables"]:
            table.add_row(*map(str, row.values()))
        Console().print(table)


@asynccontextmanager
async def _opened(store: Store) -> AsyncGenerator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _postgres(config: Config, *, may_migrate: bool = True) -> PostgresStore | None:
    """The configured store if it is PostgreSQL; `may_migrate` overrides the option in its address."""
    if not config.store.startswith("postgres"):
        return None
    from transferkit.stores.postgres import PostgresStore, read_address

    return PostgresStore(evolve(read_address(config.store), migrate=may_migrate))
