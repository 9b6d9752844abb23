"""`PostgresStore`: every verb of the contract, done in a PostgreSQL database."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, final

from attrs import frozen

from transferkit._lifecycle import CallKey, CallState, Due, Input, Lease
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome
from transferkit.stores.consumer_groups import Begun, GroupDelivery, GroupStart, GroupStatus, ParkedEvent
from transferkit.stores.contract import Applied, Position, Step, Store, StoredTransfer
from transferkit.stores.postgres import calls, groups, retention
from transferkit.stores.postgres.address import PostgresAddress, read_address
from transferkit.stores.postgres.commits import Commits
from transferkit.stores.postgres.database import Database
from transferkit.stores.postgres.figures import TableFigures, table_figures
from transferkit.stores.postgres.watch import LogWatch
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["PostgresStore"]


@final
@frozen
class _Open:
    """An open store: what lives between `open` and `close`, in one process and one event loop."""

    database: Database
    commits: Commits
    watch: LogWatch


@final
class PostgresStore(Store):
    """Everything in one schema of a PostgreSQL database, for any number of processes and machines.

    `address` is a `postgresql://` URL of libpq's, or what `read_address` makes of one. Of its parameters
    `schema`, `migrate` (on, off), `listen` (on, off) and `connections` are this store's, all others libpq's.
    It holds no state in a session: a proxy that pools transactions may stand between.

    What is acknowledged is committed and flushed by the server. Inputs that arrive while a commit is under
    way are committed together by the next one; one that raises concerns no other. A transaction that met
    another one is run again, and so is one whose connection broke: where its commit got no answer, it is
    first looked up whether it was done. A caller who is cancelled detaches.

    `partitions` counts for new tables alone; an open store tells the tables' own number.
    """

    poll: ClassVar[timedelta | None] = timedelta(seconds=1)

    def __init__(self, address: str | PostgresAddress, *, partitions: int = Store.partitions) -> None:
        self.address = read_address(address) if isinstance(address, str) else address
        self.partitions = partitions
        self._open: _Open | None = None

    def __repr__(self) -> str:
        return f"<PostgresStore {self.address}>"

    async def open(self) -> None:
        """Connect; makes the tables, or brings older ones up to date, unless the address forbids it.

        Raises `StoreError` where the server cannot be used, where the role lacks a right, or where the
        tables are those of a newer transferkit.
        """
        if self._open is not None and self._open.database.pid == os.getpid():
            return
        database = Database(self.address)
        partitions = await database.open(partitions=self.partitions)
        if self._open is not None and self._open.database.pid == os.getpid():
            await database.close()  # another task was faster
            return
        watch = LogWatch(database)
        commits = Commits(database, partitions=partitions, grown=watch.grown)
        self.partitions, self._open = partitions, _Open(database, commits, watch)

    async def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None and opened.database.pid == os.getpid():
            await opened.commits.settle()
            await opened.watch.close()
            await opened.database.close()

    def _running(self) -> _Open:
        if self._open is None or self._open.database.pid != os.getpid():
            raise StoreError(
                f"PostgreSQL store {self.address}: it is not open in this process. What to do: open it; a "
                "process that was forked opens it anew"
            )
        return self._open

    @property
    def _database(self) -> Database:
        return self._running().database

    # --- transfers ----------------------------------------------------------------------------------

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        return await self._running().commits.apply_all(inputs, step)

    async def state(self, call: CallKey) -> CallState:
        return await self._database.read(lambda session: calls.state(session, call))

    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        return await self._database.read(lambda session: calls.transfer(session, transfer_id))

    async def outcomes(self, transfer_ids: Collection[str]) -> dict[str, Outcome | None]:
        return await self._database.read(lambda session: calls.outcomes(session, transfer_ids))

    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        return await self._database.read(lambda session: calls.call_events(session, call))

    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        return await self._database.write(
            lambda session: calls.lease_due(session, now, lease, limit, providers)
        )

    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        return await self._database.read(lambda session: calls.next_due(session, providers))

    # --- the log ------------------------------------------------------------------------------------

    async def end_of_log(self) -> Position:
        return calls.place(await self._database.read(calls.ends))

    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        places = calls.ends_at(after, self.partitions)
        return await self._database.read(lambda session: calls.read(session, places, limit))

    async def wait(self, after: Position, *, timeout: float) -> None:
        await self._running().watch.wait(calls.ends_at(after, self.partitions), seconds=timeout)

    # --- consumer groups ----------------------------------------------------------------------------

    async def open_group(self, group: str, *, start: GroupStart) -> None:
        await self._database.write_again(lambda session: groups.open_group(session, group, start))

    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        return await self._database.write_again(
            lambda session: groups.hold(session, group, member, now, busy)
        )

    async def begin_next(
        self, group: str, owner: str, *, done: GroupDelivery | None, now: datetime, max_attempts: int
    ) -> Begun:
        return await self._database.write(
            lambda session: groups.begin_next(
                session, group, owner, done=done, now=now, max_attempts=max_attempts
            )
        )

    async def acknowledge(self, delivery: GroupDelivery, owner: str) -> bool:
        return await self._database.write_again(lambda session: groups.acknowledge(session, delivery, owner))

    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        opened = self._running()
        await opened.database.write_again(lambda session: groups.leave(session, group, owner, unused))
        opened.watch.wake()

    async def groups(self) -> tuple[GroupStatus, ...]:
        return await self._database.read(groups.groups)

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        return await self._database.read(lambda session: groups.parked(session, group))

    async def release(self, group: str, event_id: str) -> bool:
        opened = self._running()
        released = await opened.database.write_again(lambda session: groups.release(session, group, event_id))
        opened.watch.wake()
        return released

    async def remove_group(self, group: str) -> bool:
        return await self._database.write(lambda session: groups.remove_group(session, group))

    # --- retention ----------------------------------------------------------------------------------

    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        return await self._database.write_again(
            lambda session: retention.prune(session, before, idle_since, limit)
        )

    # --- beyond the contract ------------------------------------------------------------------------

    async def figures(self) -> tuple[TableFigures, ...]:
        """How large the tables are, the largest first."""
        return await self._database.read(table_figures)
