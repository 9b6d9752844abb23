"""One connection in use: statements with the schema filled in, and transactions in few messages.

The server executes a message once the whole of it has arrived, and then waits for the next one under the
time limit of an idle transaction. A transaction therefore sends its statements as one message: wherever this
process stops, the server ends the transaction soon. Of statements that are sent one after the other without
waiting (libpq's pipeline mode) the server holds the locks for as long as the process is stopped.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString, final

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor
from psycopg.pq import TransactionStatus

__all__ = ["SETTINGS", "Answer", "Rows", "Session", "Statements"]

_SCHEMA: Final = re.compile(r"\btk\b")

Rows = list[tuple[Any, ...]]

SETTINGS: Final[LiteralString] = (
    "SELECT set_config('lock_timeout', '5s', true),"
    " set_config('idle_in_transaction_session_timeout', '1500ms', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)
"""For one transaction only, so that a proxy does not hand them to others: how long to wait for a lock, how
long a process may stop while it holds one, and that a commit is flushed before it is acknowledged, whatever
the role's defaults are."""

_REFUSALS: Final = ("0A", "22", "23", "25", "40", "42", "53", "55", "57014")
"""Codes that the server gives while it executes a statement, before the commit."""


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
class Answer:
    """What a statement of a transaction returned; empty until the transaction has sent it."""

    def __init__(self) -> None:
        self.rows: Rows = []
        self.status: str | None = None
        """The command tag, such as `UPDATE 1`."""


@final
class Session:
    """A connection that somebody has for the moment. It must be in autocommit mode."""

    def __init__(self, connection: AsyncConnection[Any], statements: Statements) -> None:
        self.connection = connection
        self.committing = False
        """A commit was sent, and its result is not known: it may have been done, or be done later."""
        self._statements = statements
        self._unsent: list[tuple[str, Answer]] | None = None
        """The statements of the transaction that are not sent yet; None outside of a transaction."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self.connection.closed

    async def rows(self, query: LiteralString, values: Sequence[object] = ()) -> Rows:
        """Run a statement and fetch all; in a transaction, after those that it has not sent yet."""
        if self._unsent is None:
            return await _fetched(await self.connection.execute(self._sent_as(query), values or None))
        answer = self.execute(query, values)
        await self.send()
        return answer.rows

    async def write(self, query: LiteralString, values: Sequence[object]) -> Rows:
        """Run and commit one statement, outside of a transaction.

        The values are sent beside the statement, so that the server's log and its list of activity show none.
        """
        self.committing = True
        try:
            rows = await self.rows(query, values)
        except psycopg.Error as error:
            self.committing = self.lost or not (error.sqlstate or "").startswith(_REFUSALS)
            raise
        self.committing = False
        return rows

    # --- transactions -------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing. Every statement sees what others have committed until then (READ COMMITTED)."""
        self._unsent = []
        self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        self.execute(SETTINGS)
        try:
            yield
            if self._unsent is not None:
                await self.commit()
        except BaseException:
            self._unsent = None
            with suppress(psycopg.Error):
                await self.connection.rollback()
            raise

    def execute(self, query: LiteralString, values: Sequence[object] = ()) -> Answer:
        """Add a statement to the transaction's next message. The server may log it with its values."""
        if self._unsent is None:
            raise RuntimeError("no transaction is open")
        merged = AsyncClientCursor(self.connection).mogrify(self._sent_as(query), values or None)
        answer = Answer()
        self._unsent.append((merged, answer))
        return answer

    async def send(self) -> None:
        """Run what was added, in one message."""
        unsent, self._unsent = self._unsent or [], []
        script = "; ".join(merged for merged, _ in unsent)
        cursor = await self.connection.execute(script.encode(self.connection.info.encoding))
        for _, answer in unsent:
            answer.rows, answer.status = await _fetched(cursor), cursor.statusmessage
            cursor.nextset()

    async def commit(self) -> None:
        """End the transaction, in one message with what was added. Nothing may follow in it."""
        commit = self.execute("COMMIT")
        self.committing = True
        try:
            await self.send()
        except psycopg.Error:
            # After an error the server skips the rest of the message: the transaction is still open then.
            self.committing = self.connection.info.transaction_status is not TransactionStatus.INERROR
            raise
        self.committing, self._unsent = False, None
        if commit.status != "COMMIT":
            raise psycopg.InternalError(f"COMMIT was answered with {commit.status}")

    def _sent_as(self, query: LiteralString) -> bytes:
        return self._statements.of_schema(query)


async def _fetched(cursor: AsyncCursor[Any]) -> Rows:
    return await cursor.fetchall() if cursor.description else []
