"""The pool of connections, and which failures are retried."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from transferkit._util.log_events import LogEvent
from transferkit.errors import StoreError
from transferkit.stores.contract import CommitUnknown
from transferkit.stores.postgres.address import PostgresAddress
from transferkit.stores.postgres.connection import Session, statements_of
from transferkit.stores.postgres.errors import failure, unknown_outcome
from transferkit.stores.postgres.schema import create, stored_partitions
from transferkit.stores.sql.statements import Operation

__all__ = ["Database"]

T = TypeVar("T")

_log = logging.getLogger("transferkit.stores.postgres")

_CONNECTION_SECONDS: Final = 5.0
_TRIES: Final = 8
_CONTENTION_SECONDS: Final = 10.0
"""For how long a transaction is retried that conflicts with others."""
_OLDEST_SERVER: Final = 140_000
_SKEW_SECONDS: Final = 1.0

# A server that disappeared without closing its connections is noticed within seconds instead of 15 minutes.
_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "transferkit",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_TRANSIENT: Final = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ForeignKeyViolation,  # the call was pruned, or the group removed, at the same moment
)


async def _allow_preparing(connection: AsyncConnection[Any]) -> None:
    """Allow prepared statements if no proxy is between this process and the server.

    A proxy that pools transactions may run each one in another session of the server, which does not know the
    statement, or another client's by the same name. Such a proxy gives its clients process ids of its own.
    """
    async with await connection.execute("SELECT pg_backend_pid()") as cursor:
        row = await cursor.fetchone()
    if row == (connection.info.backend_pid,):
        connection.prepare_threshold = sys.maxsize  # only the statements for which it is asked


@final
class Database:
    """An open store's connections, in the process that opened it."""

    def __init__(self, address: PostgresAddress) -> None:
        self.pid = os.getpid()
        self.address = address
        self.statements = statements_of(address.schema)
        self._options = _DEFAULTS | {"autocommit": True, "prepare_threshold": None}
        for name in self._given():
            self._options.pop(name, None)
        self._for_commits = self._new_pool(1)
        """For commits of calls, one after the other: readers never delay a callback."""
        self._for_others = self._new_pool(address.connections - 1)

    def _new_pool(self, size: int) -> AsyncConnectionPool:
        return AsyncConnectionPool(
            self.address.dsn,
            kwargs=self._options,
            configure=_allow_preparing,
            min_size=1,
            max_size=size,
            timeout=_CONNECTION_SECONDS,
            name="transferkit",
            open=False,
        )

    def _given(self) -> list[str]:
        try:
            return list(conninfo_to_dict(self.address.dsn))
        except psycopg.ProgrammingError:
            # `from None`: the text of the cause quotes the address.
            raise StoreError(
                f"PostgreSQL store {self.address}: libpq does not accept the address. "
                "What to do: look for an unknown parameter, or a part that is not percent-encoded"
            ) from None

    async def open(self, *, partitions: int) -> int:
        """Connect, and create the tables if they are missing; returns their number of partitions.

        Raises `StoreError`.
        """
        try:
            async with await self.connect() as connection:
                found = await self._make_ready(Session(connection, self.statements), partitions=partitions)
            for pool in (self._for_commits, self._for_others):
                await pool.open()
        except psycopg.Error as error:
            raise failure(error, self.address) from None
        return found

    async def _make_ready(self, session: Session, *, partitions: int) -> int:
        if session.connection.info.server_version < _OLDEST_SERVER:
            raise StoreError(
                f"PostgreSQL store {self.address}: the server is too old. "
                "What to do: use PostgreSQL 14 or newer"
            )
        await self._compare_clocks(session)
        known = await stored_partitions(session, self.address)
        return await self._create(session, partitions=partitions) if known is None else known

    async def _create(self, session: Session, *, partitions: int) -> int:
        missing = f"PostgreSQL store {self.address}: the tables are missing"
        if not self.address.migrate:
            raise StoreError(
                f"{missing}, and the address forbids creating them (migrate=off). What to do: run "
                "`transferkit store migrate` as the role that shall own them"
            )
        try:
            return await create(session, self.address, partitions=partitions)
        except psycopg.errors.InsufficientPrivilege:
            role = session.connection.info.user
            raise StoreError(
                f"{missing}, and role {role} may not create them. What to do: run `transferkit store "
                "migrate` as a role that may create schemas in this database, then have it run what "
                f"`transferkit store grants {role}` prints"
            ) from None

    async def _compare_clocks(self, session: Session) -> None:
        """Warn if this machine's clock differs from the server's: leases end by each machine's clock."""
        before = datetime.now(UTC)
        ((there,),) = await session.rows("clock", {})
        here = before + (datetime.now(UTC) - before) / 2
        ahead = (here - there).total_seconds()
        if abs(ahead) > _SKEW_SECONDS:
            _log.warning(
                "PostgreSQL store %s: this machine's clock is %.1f s %s the server's, and leases end by the "
                "clock. What to do: synchronise every machine's clock with NTP",
                self.address,
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
                extra={"event": LogEvent.CLOCK_SKEW, "seconds": ahead},
            )

    async def close(self) -> None:
        """Close every connection."""
        for pool in (self._for_commits, self._for_others):
            await pool.close()

    async def connect(self) -> AsyncConnection[Any]:
        """A new connection outside of the pool. Raises psycopg's errors."""
        return await AsyncConnection.connect(self.address.dsn, **self._options)

    async def read(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation that changes nothing, or that may be done twice. Raises `StoreError`."""
        return await self._tried(lambda session: session.read(operation()), self._for_others)

    async def commit(self, run: Callable[[Session], Awaitable[T]]) -> T:
        """Run what commits itself, on the connection that is reserved for it; retried as `write` is.

        Raises `StoreError`; `CommitUnknown` if the commit got no reply.
        """
        return await self._tried(run, self._for_commits)

    async def write(
        self, operation: Callable[[], Operation[T]], *, repeatable: bool = False, durable: bool = True
    ) -> T:
        """Run an operation in a transaction.

        It is retried if it conflicts with another transaction or if the connection was lost before the
        commit; a `repeatable` one also if the commit got no reply. Raises `StoreError`; `CommitUnknown` if
        the last commit got no reply.
        """

        async def run(session: Session) -> T:
            return await session.transaction(operation(), durable=durable)

        for _ in range(_TRIES if repeatable else 0):
            with suppress(CommitUnknown):
                return await self._tried(run, self._for_others)
        return await self._tried(run, self._for_others)

    async def _tried(self, run: Callable[[Session], Awaitable[T]], pool: AsyncConnectionPool) -> T:
        tries, until = 0, asyncio.get_running_loop().time() + _CONTENTION_SECONDS
        while True:
            tries += 1
            session: Session | None = None
            try:
                async with pool.connection() as connection:
                    session = Session(connection, self.statements)
                    return await run(session)
            except (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests) as error:
                if session is not None and session.committing:
                    raise unknown_outcome(error, self.address) from None
                lost = session is not None and session.lost
                conflicts = isinstance(error, _TRANSIENT) and asyncio.get_running_loop().time() < until
                if not conflicts and (not lost or tries >= _TRIES):
                    raise failure(error, self.address) from None
            await asyncio.sleep(random.uniform(0, 0.01) * min(tries, 5))  # noqa: S311 - jitter
