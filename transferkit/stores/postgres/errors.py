"""PostgreSQL's errors as `StoreError`s that name the server and say what to do."""

from __future__ import annotations

import re
from typing import Final, final

import psycopg
from psycopg_pool import PoolTimeout

from transferkit._util.redaction import redact
from transferkit.errors import StoreError
from transferkit.stores.contract import CommitUnknown
from transferkit.stores.postgres.address import PostgresAddress

__all__ = ["Unavailable", "failure", "unknown_outcome"]

_ADVICE: Final = {
    "08": "check that the server runs and that this machine reaches it",
    "0A": "the server, or a proxy before it, lacks something that is needed: PostgreSQL 14 or newer?",
    "22": "please report this: PostgreSQL refused a value",
    "23": "please report this: the tables contain invalid rows",
    "25006": "this is a standby: name the primary, or add target_session_attrs=read-write to the address",
    "28": "check the user and the password of the address, and the server's pg_hba.conf",
    "3D": "create the database first (createdb), or check the name in the address",
    "3F": "run `transferkit store migrate` as the role that shall own the tables",
    "40": "many processes wrote the same rows at once: try again; if it goes on, please report it",
    "42501": "have the owner of the tables run the statements of `transferkit store grants ROLE`",
    "42P01": "run `transferkit store migrate` as the role that owns the tables",
    "53100": "the server's disk is full: free some space",
    "53300": "the server has no connection left: lower 'connections' in the address, raise max_connections, "
    "or put PgBouncer before it",
    "53": "the server is short of resources: see its log",
    "55P03": "another session holds the rows locked: look for one that is idle in a transaction "
    "(pg_stat_activity)",
    "57014": "a time limit of the server or role ended the statement: check statement_timeout",
    "57P": "the server is stopping or starting: it is tried again",
    "XX": "the server reported damage or a fault of its own: see its log",
}
# An error from before the login has a message, but no code.
_REFUSALS: Final = (
    (re.compile(r'database "[^"]*" does not exist'), "3D"),
    (re.compile(r"authentication failed|pg_hba\.conf|no password supplied|role .* does not exist"), "28"),
    (re.compile(r"too many clients|connection slots|too many connections"), "53300"),
    (re.compile(r"starting up|shutting down|recovery mode"), "57P"),
)
_QUOTES_DATA: Final = ("22", "23", "42")
_UNAVAILABLE: Final = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX")


@final
class Unavailable(StoreError):
    """The server or its resources are unavailable now, whatever the statement is."""


def failure(error: Exception, address: PostgresAddress) -> StoreError:
    """The error to raise in place of psycopg's own: it names the server and shows no data."""
    message, state = _message(error)
    text = f"PostgreSQL store {address}: {message}; nothing was recorded"
    advice = next((_ADVICE[state[:n]] for n in (5, 3, 2) if state[:n] in _ADVICE), None)
    kind = Unavailable if state.startswith(_UNAVAILABLE) else StoreError
    return kind(f"{text}. What to do: {advice}" if advice else text)


def unknown_outcome(error: Exception, address: PostgresAddress) -> CommitUnknown:
    """The error for a transaction whose commit got no reply."""
    message, _ = _message(error)
    return CommitUnknown(
        f"PostgreSQL store {address}: {message}. The connection was lost during the commit: the transaction "
        "may or may not be recorded. What to do: try again; what was recorded is recognised"
    )


def _message(error: Exception) -> tuple[str, str]:
    """The message of the server or of libpq with its code, and the code alone."""
    if isinstance(error, PoolTimeout):
        return "no connection became free in time", "08"
    state = getattr(error, "sqlstate", None)
    if state is None:
        if not isinstance(error, psycopg.OperationalError):
            return type(error).__name__, "22" if isinstance(error, psycopg.DataError) else ""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = redact("; ".join(lines)) or type(error).__name__
        return message, next((state for words, state in _REFUSALS if words.search(message)), "08")
    name = type(error).__name__
    if state.startswith(_QUOTES_DATA) and state != "42501":
        table = (
            error.diag.constraint_name or error.diag.table_name if isinstance(error, psycopg.Error) else None
        )
        return f"{name} ({state}{f', {table}' if table else ''})", state
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"{redact(primary or name)} ({state}, {name})", state
