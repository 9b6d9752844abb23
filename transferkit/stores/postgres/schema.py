"""The tables, how older ones are brought up to date, and who may do what with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, LiteralString

from transferkit.errors import StoreError
from transferkit.stores.postgres.address import PostgresAddress
from transferkit.stores.postgres.session import SETTINGS, Session

__all__ = ["MIGRATIONS", "SchemaState", "grants", "migrate", "schema_state"]

Migrations = Sequence[Sequence[LiteralString]]

# Rows that are written again and again keep room beside them (fillfactor), so that a new version stays on its
# page and no index is touched (HOT): no column that changes often is indexed, but for when work is due. Their
# tables are vacuumed by count, not by share.
_HOT: Final[LiteralString] = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,"
    " autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,"
    " autovacuum_analyze_threshold = 5000"
)

_TABLES: Final[Sequence[LiteralString]] = (
    # Each partition's last position; whoever appends to the partition has locked its row.
    f"""CREATE TABLE tk.partitions (
        partition integer PRIMARY KEY,
        position bigint NOT NULL DEFAULT 0,
        calls bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 10, {_HOT})""",
    "INSERT INTO tk.partitions (partition) SELECT generate_series(0, %s - 1)",
    """CREATE TABLE tk.calls (
        number bigint PRIMARY KEY,
        provider text NOT NULL,
        id text NOT NULL,
        state text NOT NULL,
        open boolean NOT NULL,
        created_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        UNIQUE (provider, id)
    ) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)""",
    "CREATE INDEX calls_created ON tk.calls (created_at)",
    # `number` orders events of different partitions roughly by time. It is not a cursor: a late commit shows
    # a small number late. `position` is: the partition's row is locked from when it is given to the commit.
    """CREATE TABLE tk.events (
        partition integer NOT NULL,
        position bigint NOT NULL,
        number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        call bigint NOT NULL,
        sequence integer NOT NULL,
        event text NOT NULL,
        PRIMARY KEY (partition, position),
        UNIQUE (call, sequence)
    ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05)""",
    """CREATE TABLE tk.marks (
        call bigint NOT NULL,
        key text NOT NULL,
        mark text NOT NULL,
        PRIMARY KEY (call, key)
    ) WITH (autovacuum_vacuum_scale_factor = 0.05)""",
    """CREATE TABLE tk.requests (
        id text PRIMARY KEY,
        call bigint NOT NULL,
        idempotency_key text UNIQUE,
        opened text NOT NULL,
        outcome text
    ) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05)""",
    "CREATE INDEX requests_call ON tk.requests (call)",
    f"""CREATE TABLE tk.legs (
        provider text NOT NULL,
        id text NOT NULL,
        transfer_id text NOT NULL,
        PRIMARY KEY (provider, id)
    ) WITH (fillfactor = 90, {_HOT})""",
    "CREATE INDEX legs_transfer ON tk.legs (transfer_id)",
    # The provider is the one whose adapter the work takes, if any.
    f"""CREATE TABLE tk.due (
        transfer_id text NOT NULL,
        work text NOT NULL,
        provider text,
        at timestamptz NOT NULL,
        owner text,
        until timestamptz,
        free_at timestamptz NOT NULL GENERATED ALWAYS AS (greatest(at, until)) STORED,
        PRIMARY KEY (transfer_id, work)
    ) WITH (fillfactor = 80, {_HOT})""",
    "CREATE INDEX due_free ON tk.due (free_at)",
    f"""CREATE TABLE tk.consumer_groups (
        name text PRIMARY KEY,
        seen_at timestamptz
    ) WITH (fillfactor = 10, {_HOT})""",
    f"""CREATE TABLE tk.members (
        name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
        owner text NOT NULL,
        until timestamptz NOT NULL,
        PRIMARY KEY (name, owner)
    ) WITH (fillfactor = 10, {_HOT})""",
    f"""CREATE TABLE tk.cursors (
        name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
        partition integer NOT NULL,
        position bigint NOT NULL,
        epoch bigint NOT NULL DEFAULT 0,
        owner text,
        begun bigint,
        attempts integer NOT NULL DEFAULT 0,
        PRIMARY KEY (name, partition)
    ) WITH (fillfactor = 10, {_HOT})""",
    """CREATE TABLE tk.parked (
        name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
        partition integer NOT NULL,
        position bigint NOT NULL,
        event_id text NOT NULL,
        attempts integer NOT NULL,
        parked_at timestamptz NOT NULL,
        released boolean NOT NULL DEFAULT false,
        PRIMARY KEY (name, partition, position),
        UNIQUE (name, event_id),
        FOREIGN KEY (partition, position) REFERENCES tk.events ON DELETE CASCADE
    )""",
    "CREATE INDEX parked_event ON tk.parked (partition, position)",
)

# Which commit wrote a row last, by a random number: whether another one came in between, and whether a commit
# without an answer was done. Nothing is counted that would need a lock before the commit.
_STAMPS: Final[Sequence[LiteralString]] = (
    "ALTER TABLE tk.calls ADD COLUMN stamp bigint NOT NULL DEFAULT 0",
    "ALTER TABLE tk.events ADD COLUMN stamp bigint NOT NULL DEFAULT 0",
    "ALTER TABLE tk.partitions DROP COLUMN calls",
)

MIGRATIONS: Final[Migrations] = (_TABLES, _STAMPS)
"""What brings the tables from each version to the next; number 1 makes them. Only ever appended to.

`%s` in a statement is the number of partitions that new tables are made with.
"""

_META: Final = (
    "CREATE SCHEMA IF NOT EXISTS tk",
    """CREATE TABLE IF NOT EXISTS tk.meta (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        version integer NOT NULL,
        partitions integer NOT NULL
    )""",
    "INSERT INTO tk.meta (version, partitions) VALUES (0, %s) ON CONFLICT DO NOTHING",
)
_ROLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")

SchemaState = tuple[int, int]
"""The tables' version, and their number of partitions."""


async def schema_state(session: Session) -> SchemaState | None:
    """What the tables are; None where there are none. Raises psycopg's errors."""
    # The table of tables itself: what looks names up (to_regclass) may tell of how it was before a wait.
    if not await session.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'tk' AND tablename = 'meta'"):
        return None
    rows = await session.rows("SELECT version, partitions FROM tk.meta")
    return (rows[0][0], rows[0][1]) if rows else None


async def migrate(
    session: Session,
    address: PostgresAddress,
    *,
    partitions: int,
    migrations: Migrations = MIGRATIONS,
) -> SchemaState:
    """Make the tables or bring them up to date, in one transaction; any number of processes may try at once.

    Raises `StoreError` for tables of a newer transferkit, and touches them not; psycopg's errors else.
    """
    async with session.transaction():
        # Held until the commit, also in a proxy's transaction mode. Another process may migrate for a while.
        session.execute("SELECT set_config('lock_timeout', '60s', true)")
        session.execute("SELECT pg_advisory_xact_lock(hashtextextended('transferkit tk.', 0))")
        session.execute(SETTINGS)
        state = await schema_state(session)
        if state is None:
            for statement in _META:
                session.execute(statement, (partitions,) if "%s" in statement else ())
            state = (0, partitions)
        version, partitions = state
        check_version(version, address, newest=len(migrations))
        for statements in migrations[version:]:
            for statement in statements:
                session.execute(statement, (partitions,) if "%s" in statement else ())
        if version < len(migrations):
            session.execute("UPDATE tk.meta SET version = %s", (len(migrations),))
    return len(migrations), partitions


def check_version(version: int, address: PostgresAddress, *, newest: int = len(MIGRATIONS)) -> None:
    """Raise `StoreError` for tables that a newer transferkit made."""
    if version > newest:
        raise StoreError(
            f"PostgreSQL store {address}: the tables have schema version {version}, this transferkit knows "
            f"{newest}; they were left as they are. What to do: upgrade transferkit in this process"
        )


def grants(schema: str, role: str) -> Sequence[str]:
    """The statements that give a role all that an application needs, and no more. Run them as the owner.

    Raises `ValueError` for what is no plain name of a role.
    """
    if not _ROLE.fullmatch(role):
        raise ValueError("a role's name has letters, digits, _ and $")
    rows = "SELECT, INSERT, UPDATE, DELETE"
    return (
        f'GRANT USAGE ON SCHEMA {schema} TO "{role}";',
        f'GRANT {rows} ON ALL TABLES IN SCHEMA {schema} TO "{role}";',
        f'REVOKE INSERT, UPDATE, DELETE ON {schema}.meta FROM "{role}";',
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {rows} ON TABLES TO "{role}";',
    )
