"""`PostgresStore`: the store contract on a PostgreSQL database."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final, TypeVar, final

from attrs import frozen

from transferkit._lifecycle import CallKey, Input
from transferkit.errors import StoreError
from transferkit.stores.contract import Applied, Step, Store
from transferkit.stores.postgres.address import PostgresAddress, read_address
from transferkit.stores.postgres.columns import COLUMNS
from transferkit.stores.postgres.commit import Commits
from transferkit.stores.postgres.database import Database
from transferkit.stores.postgres.watch import NotifiedWatch
from transferkit.stores.sql.commits import CommitQueue
from transferkit.stores.sql.statements import Columns, Operation, query
from transferkit.stores.sql.store import SqlStore
from transferkit.stores.transaction import Inputs

__all__ = ["PostgresStore", "TableFigures"]

T = TypeVar("T")

_JOBS_PER_COMMIT: Final = 64


@final
@frozen(kw_only=True)
class TableFigures:
    """A table's size in the server's statistics. Rows are estimates; `bytes` includes the indexes.

    `dead_rows` are versions that vacuuming has not removed yet. If they keep growing, look for a transaction
    that was left open.
    """

    name: str
    rows: int
    dead_rows: int
    bytes: int


@final
@frozen
class _Open:
    """An open store, in one process and one event loop."""

    database: Database
    queue: CommitQueue[tuple[Inputs, Step]]
    watch: NotifiedWatch


@final
class PostgresStore(SqlStore):
    """Everything in one schema of a PostgreSQL database, for any number of processes and machines.

    `address` is a `postgresql://` URL, or what `read_address` returns for one. Its parameters `schema`,
    `migrate` (on, off), `listen` (on, off) and `connections` are this store's; all others are libpq's. The
    store keeps no state in a session, so a proxy that pools transactions may be used.

    What is acknowledged is committed and flushed by the server. Inputs that arrive while a commit is running
    are committed together by the next one. An input that raises does not affect the others. A transaction
    that conflicts with another one is retried, and so is one whose connection broke: if its commit got no
    reply, the store first looks up whether it was done. A caller that is cancelled detaches.

    `partitions` is used only for new tables; after `open` the attribute has the tables' own number.
    """

    _columns: ClassVar[Columns] = COLUMNS

    def __init__(self, address: str | PostgresAddress, *, partitions: int = Store.partitions) -> None:
        self.address = read_address(address) if isinstance(address, str) else address
        self.partitions = partitions
        self._open: _Open | None = None

    def __repr__(self) -> str:
        return f"<PostgresStore {self.address}>"

    async def open(self) -> None:
        """Connect, and create the tables unless they exist or the address forbids it.

        Raises `StoreError` if the server cannot be used, if the role lacks a right, or if a newer transferkit
        created the tables.
        """
        if self._is_open_here:
            return
        database = Database(self.address)
        partitions = await database.open(partitions=self.partitions)
        if self._is_open_here:
            await database.close()  # another task was faster
            return
        watch = NotifiedWatch(database)
        commits = Commits(database, watch, partitions=partitions)
        queue = CommitQueue(commits.commit, at_most=_JOBS_PER_COMMIT)
        self.partitions, self._open = partitions, _Open(database, queue, watch)

    @property
    def _is_open_here(self) -> bool:
        """Whether this process opened the store, and not the parent that it was forked from."""
        return self._open is not None and self._open.database.pid == os.getpid()

    async def close(self) -> None:
        opened, is_here = self._open, self._is_open_here
        self._open = None
        if opened is not None and is_here:
            await opened.queue.settle()
            await opened.watch.close()
            await opened.database.close()

    def _opened(self) -> _Open:
        if self._open is None or not self._is_open_here:
            raise StoreError(
                f"PostgreSQL store {self.address}: it is not open in this process. What to do: open it "
                "first, also in a process that was forked"
            )
        return self._open

    @property
    def _log_parts(self) -> int:
        return self.partitions

    @property
    def _watch(self) -> NotifiedWatch:
        return self._opened().watch

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        opened = self._opened()
        applied: tuple[Applied, ...] = await opened.queue.add((inputs, step)) if inputs else ()
        return applied

    async def _read(self, operation: Callable[[], Operation[T]]) -> T:
        return await self._opened().database.read(operation)

    async def _write(
        self, operation: Callable[[], Operation[T]], *, repeatable: bool = False, durable: bool = True
    ) -> T:
        return await self._opened().database.write(operation, repeatable=repeatable, durable=durable)

    async def figures(self) -> tuple[TableFigures, ...]:
        """The size of each table, the largest first."""
        rows = await self._read(partial(query, "table_figures", schema=self.address.schema))
        return tuple(
            TableFigures(name=name, rows=live, dead_rows=dead, bytes=size) for name, live, dead, size in rows
        )
