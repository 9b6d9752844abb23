"""The pool of connections, and how often to try what."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
from transferkit.stores.postgres.failures import failure, unknown_outcome
from transferkit.stores.postgres.schema import MIGRATIONS, SchemaState, check_version, migrate, schema_state
from transferkit.stores.postgres.session import Rows, Session, Statements

__all__ = ["Database"]

T = TypeVar("T")

_log = logging.getLogger("transferkit.stores.postgres")

_CONNECTION_SECONDS: Final = 5.0
_TRIES: Final = 8
_CONTENTION_SECONDS: Final = 10.0
"""For how long a transaction that others were faster than is run again."""
_OLDEST_SERVER: Final = 140_000
_SKEW_SECONDS: Final = 1.0

# A peer that vanished without a word is noticed within seconds rather than a quarter of an hour.
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
    psycopg.errors.ForeignKeyViolation,  # what it refers to was pruned, or its group removed, this moment
)


@final
class Database:
    """An open store's connections, in the process that opened it."""

    def __init__(self, address: PostgresAddress) -> None:
        self.pid = os.getpid()
        self.address = address
        self.statements = Statements(address.schema)
        self._options = _DEFAULTS | {"autocommit": True, "prepare_threshold": None}
        for name in self._given():
            self._options.pop(name, None)
        self._pool = AsyncConnectionPool(
            address.dsn,
            kwargs=self._options,
            min_size=1,
            max_size=address.connections,
            timeout=_CONNECTION_SECONDS,
            name="transferkit",
            open=False,
        )
        self._unreserved = asyncio.Semaphore(address.connections - 1)
        """All but one connection, which is kept for commits of calls: readers never make a callback wait."""

    def _given(self) -> list[str]:
        try:
            return list(conninfo_to_dict(self.address.dsn))
        except psycopg.ProgrammingError:
            # Without the cause: its text quotes the address.
            raise StoreError(
                f"PostgreSQL store {self.address}: the address is not one that libpq understands. "
                "What to do: look for an unknown parameter, or a part that is not percent-encoded"
            ) from None

    async def open(self, *, partitions: int) -> int:
        """Connect, and see that the tables are there; returns their number of partitions.

        Raises `StoreError`.
        """
        try:
            async with await self.connect() as connection:
                found = await self._make_ready(Session(connection, self.statements), partitions=partitions)
            await self._pool.open()
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
        state = await schema_state(session)
        if state is not None:
            check_version(state[0], self.address)
        if state is None or state[0] < len(MIGRATIONS):
            state = await self._migrate(session, state, partitions=partitions)
        return state[1]

    async def _migrate(self, session: Session, state: SchemaState | None, *, partitions: int) -> SchemaState:
        wanted = f"PostgreSQL store {self.address}: the tables are {'missing' if state is None else 'old'}"
        if not self.address.migrate:
            raise StoreError(
                f"{wanted}, and the address forbids to make them (migrate=off). What to do: run `transferkit "
                "store migrate` as the role that shall own them"
            )
        try:
            return await migrate(session, self.address, partitions=partitions)
        except psycopg.errors.InsufficientPrivilege:
            role = session.connection.info.user
            raise StoreError(
                f"{wanted}, and role {role} may not make them. What to do: run `transferkit store migrate` "
                "as a role that may create schemas in this database, then have it run what "
                f"`transferkit store grants {role}` prints"
            ) from None

    async def _compare_clocks(self, session: Session) -> None:
        """Leases are held by each machine's own clock: say so where this one is off."""
        before = datetime.now(UTC)
        ((there,),) = await session.rows("SELECT clock_timestamp()")
        here = before + (datetime.now(UTC) - before) / 2
        ahead = (here - there).total_seconds()
        if abs(ahead) > _SKEW_SECONDS:
            _log.warning(
                "PostgreSQL store %s: this machine's clock is %.1f s %s the server's; leases are told by the "
                "clock. Have every machine's clock set by NTP",
                self.address,
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
                extra={"event": LogEvent.CLOCK_SKEW, "seconds": ahead},
            )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def connect(self) -> AsyncConnection[Any]:
        """A connection of one's own, beside the pool. Raises psycopg's errors."""
        return await AsyncConnection.connect(self.address.dsn, **self._options)

    @asynccontextmanager
    async def _session(self, *, reserved: bool) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            if not reserved:
                try:
                    async with asyncio.timeout(_CONNECTION_SECONDS):
                        await self._unreserved.acquire()
                except TimeoutError:
                    raise PoolTimeout from None
                stack.callback(self._unreserved.release)
            yield Session(await stack.enter_async_context(self._pool.connection()), self.statements)

    async def read(self, run: Callable[[Session], Awaitable[T]]) -> T:
        """Run statements that change nothing. Raises `StoreError`."""
        return await self._tried(run)

    async def rows(self, query: Any, values: Any = ()) -> Rows:
        """Run one statement that changes nothing, or that may be done twice. Raises `StoreError`."""
        return await self.read(lambda session: session.rows(query, values))

    async def commit(self, run: Callable[[Session], Awaitable[T]]) -> T:
        """Run what commits by itself, on the connection that is kept for it; again as `write` does.

        Raises `StoreError`; `CommitUnknown` where the commit got no answer.
        """
        return await self._tried(run, reserved=True)

    async def write(self, run: Callable[[Session], Awaitable[T]]) -> T:
        """Run a transaction, again where it met another one or a connection that was dead before the commit.

        Raises `StoreError`; `CommitUnknown` where the commit got no answer.
        """

        async def transaction(session: Session) -> T:
            async with session.transaction():
                return await run(session)

        return await self._tried(transaction)

    async def write_again(self, run: Callable[[Session], Awaitable[T]]) -> T:
        """As `write`, for what may be done twice: again also where the commit got no answer."""
        for _ in range(_TRIES):
            with suppress(CommitUnknown):
                return await self.write(run)
        return await self.write(run)

    async def _tried(self, run: Callable[[Session], Awaitable[T]], *, reserved: bool = False) -> T:
        tries, until = 0, asyncio.get_running_loop().time() + _CONTENTION_SECONDS
        while True:
            tries += 1
            session: Session | None = None
            try:
                async with self._session(reserved=reserved) as session:
                    return await run(session)
            except (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests) as error:
                if session is not None and session.committing:
                    raise unknown_outcome(error, self.address) from None
                lost = session is not None and session.lost
                met_another = isinstance(error, _TRANSIENT) and asyncio.get_running_loop().time() < until
                if not met_another and (not lost or tries >= _TRIES):
                    raise failure(error, self.address) from None
            await asyncio.sleep(random.uniform(0, 0.01) * min(tries, 5))  # noqa: S311 - jitter
