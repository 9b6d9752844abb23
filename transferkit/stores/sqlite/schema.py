"""The file: its tables, how older ones are brought up to date, and how it is opened."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from transferkit.errors import StoreError
from transferkit.stores.sqlite.failures import primary_code

__all__ = ["APPLICATION_ID", "MIGRATIONS", "connect", "migrate", "refuse_newer"]

APPLICATION_ID: Final = 0x746B6974
"""`tkit`: marks a file as ours, whatever it is named."""

_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables

# Text to look up by is ANY: see `columns.key`. Times are microseconds since 1970. The provider of due work
# is the one whose adapter it takes, if any.
_TABLES: Final = (
    """CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        partitions INTEGER NOT NULL,
        pruned INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO meta VALUES (1, :partitions, 0)",
    """CREATE TABLE calls (
        number INTEGER PRIMARY KEY,
        provider ANY NOT NULL,
        id ANY NOT NULL,
        state TEXT NOT NULL,
        open INTEGER NOT NULL,
        recorded_at INTEGER NOT NULL,
        UNIQUE (provider, id)
    ) STRICT""",
    "CREATE INDEX calls_over ON calls (recorded_at) WHERE open = 0",
    # A position is never used again, not even when the newest events were pruned: `pruned` in `meta` is the
    # highest that was. AUTOINCREMENT would write a page more in every commit.
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        partition INTEGER NOT NULL,
        call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
        sequence INTEGER NOT NULL,
        event TEXT NOT NULL,
        UNIQUE (call, sequence)
    ) STRICT""",
    "CREATE INDEX events_partition ON events (partition, position)",
    """CREATE TABLE marks (
        call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
        key ANY NOT NULL,
        mark ANY NOT NULL,
        PRIMARY KEY (call, key)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE requests (
        id ANY PRIMARY KEY NOT NULL,
        call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
        idempotency_key ANY UNIQUE,
        opened TEXT NOT NULL,
        outcome TEXT
    ) STRICT""",
    "CREATE INDEX requests_call ON requests (call)",
    """CREATE TABLE legs (
        provider ANY NOT NULL,
        id ANY NOT NULL,
        transfer_id ANY NOT NULL,
        PRIMARY KEY (provider, id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX legs_transfer ON legs (transfer_id)",
    """CREATE TABLE due (
        transfer_id ANY NOT NULL,
        work TEXT NOT NULL,
        provider ANY,
        at INTEGER NOT NULL,
        owner ANY,
        until INTEGER,
        free_at INTEGER NOT NULL AS (max(at, coalesce(until, at))) STORED,
        PRIMARY KEY (transfer_id, work)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX due_free ON due (free_at, at, provider)",
    """CREATE TABLE consumer_groups (
        name ANY PRIMARY KEY NOT NULL,
        seen_at INTEGER
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE members (
        name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
        owner ANY NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (name, owner)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE cursors (
        name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
        partition INTEGER NOT NULL,
        position INTEGER NOT NULL,
        epoch INTEGER NOT NULL DEFAULT 0,
        owner ANY,
        begun INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (name, partition)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE parked (
        name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
        position INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
        event_id ANY NOT NULL,
        attempts INTEGER NOT NULL,
        parked_at INTEGER NOT NULL,
        released INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (name, position),
        UNIQUE (name, event_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX parked_position ON parked (position)",
)

MIGRATIONS: Final[Sequence[Sequence[str]]] = (_TABLES,)
"""What brings a file from each version to the next; number 1 makes an empty file ours. Only ever appended to.

A statement may use `:partitions`, the number of partitions that a new file is made with.
"""


def connect(
    path: Path, *, busy_timeout: timedelta, create: bool = False, query_only: bool = False
) -> sqlite3.Connection:
    """A connection with the durability that the store promises. Raises `sqlite3.Error`.

    Whichever thread may use it, one at a time.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=busy_timeout.total_seconds(),
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # on macOS nothing less reaches the disk
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA query_only = {query_only:d}")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    *,
    partitions: int,
    busy_timeout: timedelta,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> int:
    """Make the file ours if it is empty, bring it up to date, and return its number of partitions.

    Several processes may do so at once. Raises `StoreError` for a file that belongs to something else or to
    a newer transferkit, and touches it not; `sqlite3.Error` where SQLite fails.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old for the store; it needs "
            f"{'.'.join(map(str, _OLDEST_SQLITE))} or newer. What to do: use a Python with a newer SQLite"
        )
    newest = len(migrations)
    with _transaction(connection, "DEFERRED"):
        version = _checked_version(connection, path, newest=newest)
    _use_wal(connection, path, until=time.monotonic() + busy_timeout.total_seconds())
    while version < newest:
        with _transaction(connection, "IMMEDIATE"):
            version = _checked_version(connection, path, newest=newest)
            if version < newest:  # else another process was faster
                for statement in migrations[version]:
                    connection.execute(statement, {"partitions": partitions})
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
    (stored,) = connection.execute("SELECT partitions FROM meta").fetchone()
    return int(stored)


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _checked_version(connection: sqlite3.Connection, path: Path, *, newest: int) -> int:
    """Which of the migrations the file has seen; in a transaction, so that all is read at one moment."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    version = _version(connection)
    if application != APPLICATION_ID and (application or tables or version):
        raise StoreError(
            f"SQLite store {path}: the file is another application's database; it was left as it is. "
            "What to do: give the store a file of its own"
        )
    refuse_newer(connection, path, newest=newest)
    return version


def refuse_newer(connection: sqlite3.Connection, path: Path, *, newest: int = len(MIGRATIONS)) -> None:
    """Raise `StoreError` if the file's schema is from a newer transferkit."""
    version = _version(connection)
    if version > newest:
        raise StoreError(
            f"SQLite store {path}: the file has schema version {version}, and this process knows none "
            f"after {newest}; it was left as it is. What to do: upgrade transferkit here too"
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _use_wal(connection: sqlite3.Connection, path: Path, *, until: float) -> None:
    """Switch to the write-ahead log. SQLite does not wait for other processes here: so we do."""
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise StoreError(
            f"SQLite store {path}: there can be no write-ahead log (the journal mode stays {mode!r}). "
            "What to do: put the file on a local disk"
        )
