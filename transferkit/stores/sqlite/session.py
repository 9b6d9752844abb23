"""One connection to the file. It gives no cursor away: a statement has ended before its rows are used.

A statement that is left unfinished keeps its read snapshot: everything that the connection reads later would
be as old as that, and the write-ahead log could not be emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, final

__all__ = ["CommitError", "Session"]

Values = Sequence[object] | Mapping[str, object]


class CommitError(Exception):
    """COMMIT itself failed: the transaction may be on the disk."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@final
class Session:
    """Statements and transactions of a connection in autocommit mode. All of it raises `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        # Text that is not UTF-8 must not fail the whole page of rows that it is in.
        connection.text_factory = _text
        self._connection = connection

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Run a statement and fetch all of its rows."""
        with closing(self._connection.execute(statement, values)) as cursor:
            return cursor.fetchall()

    def row(self, statement: str, values: Values = ()) -> tuple[Any, ...] | None:
        """Run a statement and fetch its first row; None without any."""
        with closing(self._connection.execute(statement, values)) as cursor:
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row

    def one(self, statement: str, values: Values = ()) -> tuple[Any, ...]:
        """Run a statement that has one row, and fetch that."""
        (row,) = self.rows(statement, values)
        return row

    def run(self, statement: str, values: Values = ()) -> int:
        """Run a statement; returns how many rows it changed."""
        with closing(self._connection.execute(statement, values)) as cursor:
            return cursor.rowcount

    def run_each(self, statement: str, rows: Iterable[Values]) -> None:
        """Run a statement that changes something once for each of these."""
        self._connection.executemany(statement, rows).close()

    # --- transactions -------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open. SQLite undoes one by itself where it cannot go on."""
        return self._connection.in_transaction

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Inside the block everything is read as of one moment. It locks nothing."""
        self.run("BEGIN")
        try:
            yield
        finally:
            self.rollback()

    def begin(self) -> None:
        """Lock the file for writing, waiting for other processes as long as the busy timeout allows."""
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction. Raises `CommitError`."""
        try:
            self.run("COMMIT")
        except Exception as error:  # whatever it is, nothing says that the commit was not done
            raise CommitError(error) from error

    def rollback(self) -> None:
        """Undo what there is to undo; whatever fails then, closing the connection undoes it."""
        with suppress(sqlite3.Error):
            self.run("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self._connection.close()


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")
