"""The schema of the file: it is created in an empty file, and checked in any other."""

from __future__ import annotations

import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from transferkit.errors import StoreError
from transferkit.stores.sql.statements import schema_statements
from transferkit.stores.sqlite.connection import Session
from transferkit.stores.sqlite.errors import is_busy

__all__ = ["APPLICATION_ID", "VERSION", "prepare", "refuse_other_version"]

APPLICATION_ID: Final = 0x746B6974
"""`tkit`: marks a file as a transferkit store, whatever its name is."""

VERSION: Final = 2
"""The version of `schema.sql`. Every change of it needs another one."""

_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables


def prepare(session: Session, path: Path, *, partitions: int, busy_timeout: timedelta) -> int:
    """Create the schema if the file is empty; returns the file's number of partitions.

    Several processes may do so at once. Raises `StoreError`, without changing the file, if it belongs to
    another application or to another version of transferkit, and `sqlite3.Error`.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old for the store; it needs "
            f"{'.'.join(map(str, _OLDEST_SQLITE))} or newer. What to do: use a Python with a newer SQLite"
        )
    with session.snapshot():
        exists = _exists(session, path)
    _use_wal(session, path, until=time.monotonic() + busy_timeout.total_seconds())
    if not exists:
        session.begin()
        try:
            if not _exists(session, path):  # else another process was faster
                for statement in schema_statements("transferkit.stores.sqlite"):
                    session.rows(statement, {"partitions": partitions})
                session.rows(f"PRAGMA application_id = {APPLICATION_ID}")
                session.rows(f"PRAGMA user_version = {VERSION}")
            session.commit()
        except BaseException:
            session.rollback()
            raise
    (stored,) = session.one("SELECT partitions FROM meta")
    return int(stored)


def _exists(session: Session, path: Path) -> bool:
    """Whether the file has the schema, and is not empty. Called in a transaction, for one moment."""
    (application,) = session.one("PRAGMA application_id")
    (tables,) = session.one("SELECT count(*) FROM sqlite_schema")
    version = _version(session)
    if application != APPLICATION_ID and (application or tables or version):
        raise StoreError(
            f"SQLite store {path}: the file is another application's database; it was not changed. "
            "What to do: give the store a file of its own"
        )
    if version:
        refuse_other_version(session, path)
    return bool(version)


def refuse_other_version(session: Session, path: Path) -> None:
    """Raise `StoreError` if another version of transferkit wrote the schema of the file."""
    version = _version(session)
    if version != VERSION:
        advice = "upgrade transferkit in this process" if version > VERSION else "give the store a new file"
        raise StoreError(
            f"SQLite store {path}: the file has schema version {version}, but this process supports only "
            f"{VERSION}; it was not changed. What to do: {advice}"
        )


def _version(session: Session) -> int:
    (version,) = session.one("PRAGMA user_version")
    return int(version)


def _use_wal(session: Session, path: Path, *, until: float) -> None:
    """Switch to the write-ahead log. SQLite's busy timeout does not apply to this statement."""
    while True:
        try:
            (mode,) = session.one("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise StoreError(
            f"SQLite store {path}: SQLite cannot use a write-ahead log for the file (the journal mode stays "
            f"{mode!r}). What to do: put the file on a local disk"
        )
