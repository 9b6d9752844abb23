"""SQLite's errors as `StoreError`s that name the file and say what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from transferkit.errors import StoreError
from transferkit.stores.contract import CommitUnknown

__all__ = ["CommitError", "explained", "is_busy"]

_ADVICE: Final = {
    sqlite3.SQLITE_PERM: "this process may not use the file: check its owner and mode",
    sqlite3.SQLITE_BUSY: "another process keeps the file locked: look for a long transaction, a backup or an "
    "open shell on it",
    sqlite3.SQLITE_NOMEM: "the process is out of memory",
    sqlite3.SQLITE_READONLY: "check owner, mode and mount of the file and of its folder, which must be "
    "writable too (for the files that end in -wal and -shm)",
    sqlite3.SQLITE_IOERR: "the disk failed: see the machine's log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: end every process that uses it, then restore a backup or "
    "recover its content (sqlite3 FILE .recover)",
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_CANTOPEN: "check that the folder exists, that the file was not removed, and that this "
    "process may write to both",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database: give the store a file of its own",
}


class CommitError(Exception):
    """COMMIT itself failed: the transaction may be on the disk."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def explained(error: Exception, path: Path) -> Exception:
    """The error to raise: a `StoreError` for SQLite's errors, which names the file and shows no data."""
    if isinstance(error, CommitError):
        advice = _ADVICE.get(_code(error.error), "see the machine's log")
        # After a crash, the next process to open the file recovers every transaction that is complete in the
        # write-ahead log, even if its sync had failed.
        unknown = CommitUnknown(
            f"SQLite store {path}: COMMIT failed: {_message(error.error)}. The transaction may or may not be "
            f"recorded. What to do: {advice}; then try again, what was recorded is recognised"
        )
        unknown.__cause__ = error.error
        return unknown
    if isinstance(error, sqlite3.Error):
        message = f"SQLite store {path}: {_message(error)}; nothing was recorded"
        known = _ADVICE.get(_code(error))
        failed = StoreError(f"{message}. What to do: {known}" if known else message)
        failed.__cause__ = error
        return failed
    return error


def is_busy(error: BaseException | None) -> bool:
    """Whether another connection has locked the file."""
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_BUSY


def _code(error: Exception) -> int:
    """The kind of error, as SQLite numbers them; 0 if the error is not SQLite's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def _message(error: Exception) -> str:
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
