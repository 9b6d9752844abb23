"""The file: its tables, how older ones are brought up to date, and how it is opened."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from transferkit.errors import StoreError
from transferkit.stores.sqlite.failures import primary_code
from transferkit.stores.sqlite.session import Session

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
) -> Session:
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
    session = Session(connection)
    try:
        session.run("PRAGMA synchronous = FULL")
        session.run("PRAGMA fullfsync = ON")  # on macOS nothing less reaches the disk
        session.run("PRAGMA foreign_keys = ON")
        session.run(f"PRAGMA query_only = {query_only:d}")
    except BaseException:
        session.close()
        raise
    return session


def migrate(
    session: Session,
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
    with session.snapshot():
        version = _checked_version(session, path, newest=newest)
    _use_wal(session, path, until=time.monotonic() + busy_timeout.total_seconds())
    while version < newest:
        session.begin()
        try:
            version = _checked_version(session, path, newest=newest)
            if version < newest:  # else another process was faster
                for statement in migrations[version]:
                    session.run(statement, {"partitions": partitions})
                session.run(f"PRAGMA application_id = {APPLICATION_ID}")
                session.run(f"PRAGMA user_version = {version + 1}")
            session.commit()
        except BaseException:
            session.rollback()
            raise
    (stored,) = session.one("SELECT partitions FROM meta")
    return int(stored)


def _checked_version(session: Session, path: Path, *, newest: int) -> int:
    """Which of the migrations the file has seen; in a transaction, so that all is read at one moment."""
    (application,) = session.one("PRAGMA application_id")
    (tables,) = session.one("SELECT count(*) FROM sqlite_schema")
    version = _version(session)
    if application != APPLICATION_ID and (application or tables or version):
        raise StoreError(
            f"SQLite store {path}: the file is another application's database; it was left as it is. "
            "What to do: give the store a file of its own"
        )
    refuse_newer(session, path, newest=newest)
    return version


def refuse_newer(session: Session, path: Path, *, newest: int = len(MIGRATIONS)) -> None:
    """Raise `StoreError` if the file's schema is from a newer transferkit."""
    version = _version(session)
    if version > newest:
        raise StoreError(
            f"SQLite store {path}: the file has schema version {version}, and this process knows none "
            f"after {newest}; it was left as it is. What to do: upgrade transferkit here too"
        )


def _version(session: Session) -> int:
    (version,) = session.one("PRAGMA user_version")
    return int(version)


def _use_wal(session: Session, path: Path, *, until: float) -> None:
    """Switch to the write-ahead log. SQLite does not wait for other processes here: so we do."""
    while True:
        try:
            (mode,) = session.one("PRAGMA journal_mode = WAL")
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
