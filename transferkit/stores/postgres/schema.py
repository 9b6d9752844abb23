"""The schema of the tables: it is created once, checked afterwards, and granted to roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from psycopg import AsyncClientCursor

from transferkit.errors import StoreError
from transferkit.stores.postgres.address import PostgresAddress
from transferkit.stores.postgres.connection import Session, in_schema, statements_of
from transferkit.stores.sql.statements import schema_statements

__all__ = ["VERSION", "create", "functions", "grants", "stored_partitions"]

VERSION: Final = 2
"""The version of `schema.sql` and of the functions. Every change of them needs another one."""

_ROLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")


async def stored_partitions(session: Session, address: PostgresAddress) -> int | None:
    """The tables' number of partitions; None if there are no tables.

    Raises `StoreError` for the tables of another version of transferkit, and psycopg's errors.
    """
    # pg_tables, because name lookups (to_regclass) may return what they found before a wait.
    if not await session.rows("find_tables", {"schema": address.schema}):
        return None
    ((version, partitions),) = await session.rows("read_meta", {})
    if version != VERSION:
        advice = "upgrade transferkit in this process" if version > VERSION else "give the store a new schema"
        raise StoreError(
            f"PostgreSQL store {address}: the tables have schema version {version}, but this "
            f"process supports only {VERSION}; they were not changed. What to do: {advice}"
        )
    return int(partitions)


def functions(schema: str) -> Sequence[bytes]:
    """The statements that create the functions."""
    statements = statements_of(schema)
    return [statements[name] for name in ("create_read_needed", "create_write_changes")]


async def create(session: Session, address: PostgresAddress, *, partitions: int) -> int:
    """Create the tables in one transaction; returns their number of partitions. Raises psycopg's errors.

    Any number of processes may do so at once: the first one creates the tables.
    """
    connection = session.connection
    statements = statements_of(address.schema)
    async with connection.transaction():
        # The lock lasts until the commit, also behind a proxy that pools transactions.
        await connection.execute(statements["lock_schema"])
        await connection.execute(statements["settings"], {"durable": True})
        known = await stored_partitions(session, address)
        if known is None:
            await connection.execute(in_schema("CREATE SCHEMA IF NOT EXISTS tk", address.schema))
            values = {"version": VERSION, "partitions": partitions}
            for statement in schema_statements("transferkit.stores.postgres"):
                query = in_schema(statement, address.schema)
                # Values are merged on this side: PostgreSQL takes none in CREATE TABLE.
                await AsyncClientCursor(connection).execute(query, values)
            for function in functions(address.schema):
                await connection.execute(function)
            known = partitions
    return known


def grants(schema: str, role: str) -> Sequence[str]:
    """The statements that grant a role what an application needs, and no more. Run them as the tables' owner.

    Raises `ValueError` for a name that needs quoting.
    """
    if not _ROLE.fullmatch(role):
        raise ValueError("a role name consists of letters, digits, _ and $")
    rows = "SELECT, INSERT, UPDATE, DELETE"
    return (
        f'GRANT USAGE ON SCHEMA {schema} TO "{role}";',
        f'GRANT {rows} ON ALL TABLES IN SCHEMA {schema} TO "{role}";',
        f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO "{role}";',
        f'REVOKE INSERT, UPDATE, DELETE ON {schema}.meta FROM "{role}";',
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {rows} ON TABLES TO "{role}";',
    )
