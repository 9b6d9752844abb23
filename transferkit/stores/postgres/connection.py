"""A connection in use: operations outside of a transaction, and in one that takes few messages.

The server executes a message once all of it has arrived, and then waits for the next one under the time limit
of an idle transaction. A transaction therefore sends its statements in one message: wherever this process
stops, the server ends the transaction soon. If statements were sent one after the other without waiting
(libpq's pipeline mode), the server would keep the locks for as long as the process is stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, final

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor
from psycopg.pq import TransactionStatus

from transferkit.stores.postgres.columns import value
from transferkit.stores.sql.statements import COMMIT, Operation, Rows, Statement, named_statements

__all__ = ["Session", "in_schema", "statements_of"]

T = TypeVar("T")

_SCHEMA: Final = re.compile(r"\btk\b")
_VALUE: Final = re.compile(r"(?<!:):(\w+)")
_NAMED: Final = named_statements("transferkit.stores.sql") | named_statements("transferkit.stores.postgres")

_PREPARED: Final = frozenset({"read_needed", "write_changes", "notify"})
"""Calls of functions. Other statements are planned each time, for the current sizes of the tables."""

_REFUSALS: Final = ("0A", "22", "23", "25", "40", "42", "53", "55", "57014")
"""Error codes that the server returns while it executes a statement, before the commit."""


def in_schema(text: str, schema: str) -> bytes:
    """A statement as psycopg takes it."""
    return _VALUE.sub(r"%(\1)s", _SCHEMA.sub(schema, text)).encode()


def statements_of(schema: str) -> Mapping[str, bytes]:
    """The named statements for a schema."""
    return {
        "begin": b"BEGIN ISOLATION LEVEL READ COMMITTED",
        "commit": b"COMMIT",
        **{name: in_schema(text, schema) for name, text in _NAMED.items()},
    }


@final
class Session:
    """A connection that one task uses for the moment. It must be in autocommit mode."""

    def __init__(self, connection: AsyncConnection[Any], statements: Mapping[str, bytes]) -> None:
        self.connection = connection
        self.committing = False
        """A commit was sent and its result is not known: it may be done, or be done later."""
        self._statements = statements

    @property
    def lost(self) -> bool:
        """Whether the connection is lost."""
        return self.connection.closed

    async def rows(self, name: str, values: Mapping[str, object]) -> Rows:
        """Run a named statement with values as they are stored, outside of a transaction.

        The values are sent separately, so that neither the server's log nor its list of activity shows them.
        """
        return await _fetched(
            await self.connection.execute(self._statements[name], values or None, prepare=name in _PREPARED)
        )

    async def write(self, name: str, values: Mapping[str, object]) -> Rows:
        """Run and commit one statement, outside of a transaction."""
        self.committing = True
        try:
            rows = await self.rows(name, values)
        except psycopg.Error as error:
            self.committing = self.lost or not (error.sqlstate or "").startswith(_REFUSALS)
            raise
        self.committing = False
        return rows

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing, outside of a transaction."""
        try:
            statements = next(operation)
            while True:
                found = [await self.rows(one.name, _converted(one.values)) for one in statements]
                statements = operation.send(found)
        except StopIteration as end:
            result: T = end.value
            return result

    async def transaction(self, operation: Operation[T], *, durable: bool = True) -> T:
        """Run an operation in a transaction. Each statement sees what others have committed until then.

        `durable`: the commit waits until it is on the disk.
        """
        start = (Statement("begin"), Statement("settings", {"durable": durable}))
        committed = False
        try:
            try:
                statements = [*start, *next(operation)]
                rows = (await self.send(statements))[len(start) :]
                while True:
                    committed = statements[-1] is COMMIT
                    statements = [*operation.send(rows)]
                    rows = await self.send(statements)
            except StopIteration as end:
                result: T = end.value
            if not committed:
                await self.send([COMMIT])
        except BaseException:
            with suppress(psycopg.Error):
                await self.connection.rollback()
            raise
        return result

    async def send(self, statements: Sequence[Statement]) -> list[Rows]:
        """Run statements in one message. Only the last one may be `COMMIT`.

        The server may log these statements with their values.
        """
        merge = AsyncClientCursor(self.connection).mogrify
        script = "; ".join(
            merge(self._statements[one.name], _converted(one.values) or None) for one in statements
        )
        commits = statements[-1] is COMMIT
        self.committing = commits
        try:
            cursor = await self.connection.execute(script.encode(self.connection.info.encoding))
        except psycopg.Error:
            # After an error the server skips the rest of the message: then the transaction is still open.
            failed = self.connection.info.transaction_status is TransactionStatus.INERROR
            self.committing = commits and not failed
            raise
        found: list[Rows] = []
        status = None
        for _ in statements:
            found.append(await _fetched(cursor))
            status = cursor.statusmessage
            cursor.nextset()
        self.committing = False
        if commits and status != "COMMIT":
            raise psycopg.InternalError(f"the server replied to COMMIT with {status}")
        return found


def _converted(values: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value(name, given) for name, given in values.items()}


async def _fetched(cursor: AsyncCursor[Any]) -> Rows:
    result = cursor.pgresult  # `description` would create an object for each column
    return await cursor.fetchall() if result is not None and result.nfields else []
