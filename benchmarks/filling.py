"""A store that is filled with copies of calls, for the benchmarks: a PostgreSQL database, or SQLite."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString, cast
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
from attrs import frozen
from psycopg import sql

from transferkit._lifecycle import CallKey

LOCAL: Final = "postgresql://postgres@/postgres?host=/var/run/postgresql"

# Copies of all rows of a call. Each copy has another random call id, wherever the id occurs. The copies are
# older than every call that the store itself writes.
_COPIES: Final = (
    ("calls", "number, provider, id, state, open, {more}recorded_at",
     "-n, provider, new, replace(state, old, new), open, {more}recorded_at", "number"),
    ("marks", "call, key, mark", "-n, replace(key, old, new), replace(mark, old, new)", "call"),
    ("requests", "id, call, opened, outcome",
     "replace(t.id, old, new), -n, replace(opened, old, new), replace(outcome, old, new)", "call"),
    ("due", "transfer_id, work, provider, at, owner, until",
     "replace(transfer_id, old, new), work, provider, at, owner, until", None),
    ("legs", "provider, id, transfer_id", "t.provider, new, replace(transfer_id, old, new)", None),
)  # fmt: skip
_EVENTS: Final = {
    "postgres": (
        "events", "partition, position, call, sequence, event, stamp",
        "n % 16, -(n * 4096 + sequence), -n, sequence, replace(event, old, new), t.stamp", "call",
    ),
    "sqlite": (
        "events", "partition, call, sequence, event",
        "n % 16, -n, sequence, replace(event, old, new)", "call",
    ),
}  # fmt: skip
_SERIES: Final = {
    "postgres": "generate_series({first}::bigint, {last}::bigint) AS series (n)",
    "sqlite": (
        "(WITH RECURSIVE series (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM series WHERE n < {last})"
        " SELECT n FROM series)"
    ),
}
_NEW: Final = {"postgres": "md5(n::text)::uuid::text", "sqlite": "copied_id(n)"}
_MORE: Final = {"postgres": "created_at, stamp, ", "sqlite": ""}


_VALUE: Final = re.compile(r"(?<!:):(common|rare|provider)\b")


def copied_id(number: int) -> str:
    """The id of the copy with this number, which is random."""
    return str(UUID(hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()))


@frozen
class Copies:
    """`count` copies with numbers from `first`: of `rare` for every `stride`-th number, else of `common`."""

    common: CallKey
    first: int
    count: int
    rare: CallKey | None = None
    stride: int = 1

    def calls(self) -> Sequence[CallKey]:
        """The copies of `rare`, or of `common` if there is no `rare`."""
        numbers = range(self.first, self.first + self.count)
        return [
            CallKey(self.common.provider, copied_id(number))
            for number in numbers
            if self.rare is None or number % self.stride == 0
        ]

    def statements(self, kind: str) -> Iterator[str]:
        """The statements that write the copies. They take `values`."""
        series = _SERIES[kind].format(first=self.first, last=self.first + self.count - 1)
        copies = (
            f"SELECT n, c.number, c.id AS old, {_NEW[kind]} AS new FROM {series}"  # noqa: S608 - our own text
            f" JOIN calls c ON c.provider = :provider"
            f" AND c.id = CASE WHEN n % {self.stride} = 0 THEN :rare ELSE :common END"
        )
        for table, columns, values, key in (*_COPIES, _EVENTS[kind]):
            # Work and legs of a call are found by its id, which is in their own ids.
            match = f"t.{key} = copies.number" if key else "t.transfer_id LIKE '%' || old || '%'"
            more = _MORE[kind]
            yield (
                f"INSERT INTO {table} ({columns.format(more=more)}) SELECT {values.format(more=more)}"  # noqa: S608 - our own text
                f" FROM ({copies}) AS copies JOIN {table} t ON {match}"
            )

    @property
    def values(self) -> dict[str, str]:
        """The values of the statements."""
        rare = self.rare or self.common
        return {"provider": self.common.provider, "common": self.common.id, "rare": rare.id}


def fill_postgres(url: str, schema: str, copies: Copies) -> None:
    """Write copies in PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        for statement in copies.statements("postgres"):
            text = _VALUE.sub(r"%(\1)s", statement.replace("%", "%%"))
            db.execute(cast("LiteralString", text), copies.values)
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")


def fill_sqlite(path: Path, copies: Copies) -> None:
    """Write copies in SQLite."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size = -1000000")  # 1 GB: random keys would write each page of an index often
    db.create_function("copied_id", 1, copied_id, deterministic=True)
    db.execute("BEGIN")
    for statement in copies.statements("sqlite"):
        db.execute(statement, copies.values)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


# --- a database for one run ----------------------------------------------------------------------------


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """Create a database for this run."""
    name = f"transferkit_benchmark_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def with_option(url: str, option: str) -> str:
    """Add a parameter to a URL."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{option}"
