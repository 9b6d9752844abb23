"""One connection in use: statements with the schema filled in, and transactions in few round trips."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString, final

import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline

__all__ = ["Rows", "Session", "Statements"]

_SCHEMA: Final = re.compile(r"\btk\b")

Rows = list[tuple[Any, ...]]

# For this transaction only, so that no proxy hands them to somebody else: a process that is frozen in the
# middle must not hold the rows for ever, nobody waits for them for ever, and a commit is on the disk before
# it is told, whatever the role's defaults are.
_SETTINGS: Final = (
    "SELECT set_config('idle_in_transaction_session_timeout', '15s', true),"
    " set_config('lock_timeout', '15s', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)


@final
class Statements:
    """The statements of this store, where `tk` stands for the schema."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._known: dict[str, bytes] = {}

    def of_schema(self, query: LiteralString) -> bytes:
        """The statement as it is sent."""
        known = self._known.get(query)
        if known is None:
            known = self._known[query] = _SCHEMA.sub(self._schema, query).encode()
        return known


@final
class Session:
    """A connection that somebody has for the moment. It must be in autocommit mode."""

    def __init__(self, connection: AsyncConnection[Any], statements: Statements) -> None:
        self.connection = connection
        self.committing = False
        """COMMIT may have left: if the connection breaks now, nobody knows whether it was done."""
        self._statements = statements
        self._pipeline: AsyncPipeline | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self.connection.closed

    async def execute(self, query: LiteralString, values: Sequence[object] = ()) -> AsyncCursor[Any]:
        """Run a statement.

        In a transaction it is only sent: what goes wrong is raised later, at the latest by its commit.
        """
        return await self.connection.execute(self._statements.of_schema(query), values or None)

    async def rows(self, query: LiteralString, values: Sequence[object] = ()) -> Rows:
        """Run a statement and fetch all."""
        cursor = await self.execute(query, values)
        await self.sync()
        return await cursor.fetchall()

    async def sync(self) -> None:
        """In a transaction, have everything done that was sent: fetching it costs no further round trip.

        Only then the server knows that it waits for us, and its time limit for that begins.
        """
        if self._pipeline is not None:
            await self._pipeline.sync()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing. Every statement sees what others have committed until then (READ COMMITTED)."""
        try:
            async with self.connection.pipeline() as self._pipeline:
                await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                await self.execute(_SETTINGS)
                yield
                self.committing = True
                commit = await self.execute("COMMIT")
        except BaseException:
            self._pipeline = None
            with suppress(psycopg.Error):
                await self.connection.rollback()
            raise
        self._pipeline = None
        if commit.statusmessage != "COMMIT":
            raise psycopg.InternalError(f"COMMIT was answered with {commit.statusmessage}")
        self.committing = False
