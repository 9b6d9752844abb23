"""A connection to the file, and the thread that uses it: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from re import sub
from typing import Any, Final, TypeVar, final

from transferkit._util.threads import DaemonThreads
from transferkit.errors import StoreError
from transferkit.stores.sql.statements import COMMIT, Operation, Rows, Statement, named_statements
from transferkit.stores.sqlite.columns import stored
from transferkit.stores.sqlite.errors import CommitError, explained

__all__ = ["ConnectionThread", "Session", "connect"]

T = TypeVar("T")

Values = Sequence[object] | Mapping[str, object]

_STATEMENTS: Final = {
    name: sub(r"\btk\.", "", text)
    for name, text in (
        named_statements("transferkit.stores.sql") | named_statements("transferkit.stores.sqlite")
    ).items()
}


@final
class Session:
    """Statements and transactions of a connection in autocommit mode. All methods raise `sqlite3.Error`.

    Every cursor is closed before its rows are used. An open cursor keeps its read snapshot: everything that
    the connection reads later would be as old, and the write-ahead log could not be emptied.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        # Text that is not UTF-8 must not make the whole page of rows unreadable.
        connection.text_factory = _text
        self._connection = connection
        self._durable = True
        self.seen_version: int | None = None
        """The `data_version` of the last transaction that wrote."""

    def rows(self, sql: str, values: Values = ()) -> Rows:
        """Run a statement and fetch its rows."""
        cursor = self._connection.execute(sql, values)
        try:
            return cursor.fetchall()
        finally:
            cursor.close()

    def one(self, sql: str, values: Values = ()) -> tuple[Any, ...]:
        """Run a statement that returns one row, and fetch it."""
        (row,) = self.rows(sql, values)
        return row

    def named(self, statement: Statement) -> Rows:
        """Run a named statement and fetch its rows."""
        if statement is COMMIT:
            return []  # the writer commits, together with other jobs
        return self.rows(_STATEMENTS[statement.name], _converted(statement.values))

    def write_rows(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Run a named statement once for each row."""
        values = [dict(zip(columns, map(stored, row), strict=True)) for row in rows]
        if values:
            self._connection.executemany(_STATEMENTS[name], values).close()

    def run(self, operation: Operation[T]) -> T:
        """Run an operation in the transaction that is open."""
        try:
            statements = next(operation)
            while True:
                statements = operation.send([self.named(statement) for statement in statements])
        except StopIteration as end:
            result: T = end.value
            return result

    # --- transactions -------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Inside the block, everything is read as of one moment. Nothing is locked."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.rollback()

    def begin(self, *, durable: bool = True) -> None:
        """Lock the file for writing, waiting for other processes up to the busy timeout.

        `durable`: COMMIT syncs the write-ahead log. If not, a power failure can undo the transaction, and
        never part of it or one before it.
        """
        if durable is not self._durable:
            self.rows(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self.rows("BEGIN IMMEDIATE")

    def data_version(self) -> int:
        """A number that changes with every commit of another connection."""
        (version,) = self.one("PRAGMA data_version")
        return int(version)

    def commit(self) -> None:
        """End the transaction. Raises `CommitError`."""
        try:
            self.rows("COMMIT")
        except Exception as error:  # whatever the error is, the commit may be done
            raise CommitError(error) from error

    def rollback(self) -> None:
        """Undo the transaction, if one is open. If that fails, closing the connection undoes it."""
        with suppress(sqlite3.Error):
            self.rows("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self._connection.close()


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _converted(values: Mapping[str, object]) -> Mapping[str, object]:
    return {name: stored(given) for name, given in values.items()}


def connect(
    path: Path, *, busy_timeout: timedelta, create: bool = False, query_only: bool = False
) -> Session:
    """A connection with the durability that the store promises. Raises `sqlite3.Error`.

    Any thread may use it, one at a time.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=busy_timeout.total_seconds(),
        isolation_level=None,
        check_same_thread=False,
    )
    session = Session(connection)
    try:
        session.rows("PRAGMA synchronous = FULL")
        session.rows("PRAGMA fullfsync = ON")  # on macOS, nothing less reaches the disk
        session.rows("PRAGMA foreign_keys = ON")
        session.rows(f"PRAGMA query_only = {query_only:d}")
    except BaseException:
        session.close()
        raise
    return session


@final
class ConnectionThread:
    """A connection to the file, and the only thread that uses it.

    `connect` makes the connection at the first use, and again after a failure or a fork. Its argument says
    whether this is the first connection: a file that is missing later must not be replaced by an empty one.
    """

    def __init__(self, name: str, path: Path, connect: Callable[[bool], Session]) -> None:
        self._path = path
        self._connect = connect
        self._session: Session | None = None
        self._file: tuple[int, int] | None = None
        self._using = threading.Lock()
        self._executor = DaemonThreads(name, 1)

    async def run(self, use: Callable[[Session], T]) -> T:
        """Call a function with the connection. Raises its errors, SQLite's errors as `StoreError`."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._executor, self._run, use)
        except RuntimeError:
            raise StoreError(
                f"SQLite store {self._path}: the store was closed; nothing was recorded"
            ) from None
        return await running

    def _run(self, use: Callable[[Session], T]) -> T:
        with self._using:
            try:
                if self._session is None:
                    self._session = self._connect(self._file is None)
                    self._file = self._current_file()
                self._check_file()
                return use(self._session)
            except (sqlite3.Error, CommitError) as error:
                self.disconnect()
                raise explained(error, self._path) from error

    def _check_file(self) -> None:
        """Refuse a file that was removed or replaced: what is written to it would be lost."""
        if self._current_file() != self._file:
            self.disconnect()
            raise StoreError(
                f"SQLite store {self._path}: the file was removed or replaced while it was open; nothing was "
                "recorded. What to do: end every process that uses the file before you replace it"
            )

    def _current_file(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def disconnect(self) -> None:
        """Close the connection. The next use opens another one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def stop(self) -> None:
        """Finish what is queued, close the connection and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self.disconnect)
        self._executor.shutdown()

    def suspend(self) -> None:
        """Wait until the connection is idle, close it, and keep it closed until `resume`."""
        self._using.acquire()
        self.disconnect()

    def resume(self) -> None:
        """Undo `suspend`."""
        self._using.release()
