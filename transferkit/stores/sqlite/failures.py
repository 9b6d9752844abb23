"""What SQLite reports, told to the person who must do something about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from transferkit.errors import StoreError

__all__ = ["failure", "primary_code"]

_ADVICE: Final = {
    sqlite3.SQLITE_PERM: "this process may not use the file: check its owner and mode",
    sqlite3.SQLITE_BUSY: "another process keeps the file locked: look for a long transaction, a backup or an "
    "open shell on it",
    sqlite3.SQLITE_NOMEM: "the process is out of memory",
    sqlite3.SQLITE_READONLY: "check owner, mode and mount of the file and of its folder, which must be "
    "writable too (for the files that end in -wal and -shm)",
    sqlite3.SQLITE_IOERR: "the disk failed: look into the machine's log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: end every process that uses it, then restore a backup or "
    "recover what there is (sqlite3 FILE .recover)",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_CANTOPEN: "check that the folder exists, that the file was not removed, and that this "
    "process may write to both",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: give the store a file of its own",
}


def primary_code(error: sqlite3.Error) -> int | None:
    """The kind of error, as SQLite numbers them; None where it is not SQLite's but the module's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def failure(error: sqlite3.Error, path: Path) -> StoreError:
    """The error to raise for SQLite's own. It says which file, and what to do; it shows no data."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    advice = _ADVICE.get(primary_code(error) or 0)
    told = StoreError(
        f"SQLite store {path}: {error} ({name}); nothing was acknowledged"
        + (f". What to do: {advice}" if advice else "")
    )
    told.__cause__ = error
    return told
