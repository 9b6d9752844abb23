"""What SQLite reports, as errors that say which file it was and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, TypeVar

from transferkit.errors import StoreError
from transferkit.stores.contract import CommitUnknown

__all__ = ["failure", "primary_code", "unknown_outcome"]

S = TypeVar("S", bound=StoreError)

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


def primary_code(error: Exception) -> int | None:
    """The kind of error, as SQLite numbers them; None where it is not SQLite's but the module's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def failure(error: sqlite3.Error, path: Path) -> StoreError:
    """The error to raise for SQLite's own. It says which file, and what to do; it shows no data."""
    advice = _ADVICE.get(primary_code(error) or 0)
    return _caused(
        StoreError(
            f"SQLite store {path}: {_said(error)}; nothing was acknowledged"
            + (f". What to do: {advice}" if advice else "")
        ),
        error,
    )


def unknown_outcome(error: Exception, path: Path) -> CommitUnknown:
    """The error to raise where COMMIT itself failed.

    Whoever opens the file after a crash takes over each transaction that is complete in the write-ahead log,
    also one whose sync had failed.
    """
    advice = _ADVICE.get(primary_code(error) or 0, "look into the machine's log")
    return _caused(
        CommitUnknown(
            f"SQLite store {path}: COMMIT failed: {_said(error)}. The transaction may or may not be "
            f"recorded. What to do: {advice}; then try again, what was recorded is recognised"
        ),
        error,
    )


def _said(error: Exception) -> str:
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _caused(raised: S, error: Exception) -> S:
    raised.__cause__ = error
    return raised
