"""`SqlStore`: the methods of the contract that are operations on rows, for both SQL stores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, TypeVar

from transferkit._lifecycle import CallKey, CallState, Due, Lease
from transferkit.events import Event, Outcome
from transferkit.stores.consumer_groups import Begun, GroupDelivery, GroupStart, GroupStatus, ParkedEvent
from transferkit.stores.contract import Position, Store, StoredTransfer
from transferkit.stores.sql import calls, groups, leases
from transferkit.stores.sql.calls import Ends
from transferkit.stores.sql.statements import Columns, Operation
from transferkit.stores.sql.watch import LogWatch
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["SqlStore"]

T = TypeVar("T")


class SqlStore(Store):
    """Runs operations in a database that other processes use too."""

    poll: ClassVar[timedelta | None] = timedelta(seconds=1)
    _columns: ClassVar[Columns]

    @property
    @abstractmethod
    def _log_parts(self) -> int:
        """The number of parts of the log that grow separately."""

    @property
    @abstractmethod
    def _watch(self) -> LogWatch:
        """The waiters. Raises `StoreError` if the store is not open."""

    @abstractmethod
    async def _read(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation that changes nothing. Raises `StoreError`."""

    @abstractmethod
    async def _write(
        self, operation: Callable[[], Operation[T]], *, repeatable: bool = False, durable: bool = True
    ) -> T:
        """Run an operation in a transaction. Raises `StoreError`.

        `repeatable`: running the operation twice has the same effect as once. It may be repeated if its
        commit got no reply. `durable`: the commit waits until it is on the disk. What a consumer has
        received and acknowledged need not be: if a power failure undoes it, the event is delivered again.
        """

    # --- calls --------------------------------------------------------------------------------------

    async def state(self, call: CallKey) -> CallState:
        return await self._read(partial(calls.state, call))

    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        return await self._read(partial(calls.transfer, self._columns, transfer_id))

    async def outcomes(self, transfer_ids: Collection[str]) -> dict[str, Outcome | None]:
        return await self._read(partial(calls.outcomes, self._columns, transfer_ids))

    async def open_transfers(self, provider: str) -> tuple[str, ...]:
        return await self._read(partial(calls.open_transfers, self._columns, provider))

    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        return await self._read(partial(calls.call_events, self._columns, call))

    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        return await self._write(
            partial(calls.lease_due, self._columns, now=now, lease=lease, limit=limit, providers=providers)
        )

    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        return await self._read(partial(calls.next_due, self._columns, providers))

    async def drop_due(self, transfer_id: str) -> None:
        await self._write(partial(calls.drop_due, transfer_id), repeatable=True, durable=False)

    # --- the log ------------------------------------------------------------------------------------

    async def _ends(self) -> Ends:
        return await self._read(calls.end_of_log)

    async def end_of_log(self) -> Position:
        return calls.position_of(await self._ends())

    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        ends = calls.ends_of(after, self._log_parts)
        return await self._read(partial(calls.read, self._columns, ends, limit))

    async def wait(self, after: Position, *, timeout: float) -> None:
        await self._watch.wait(calls.ends_of(after, self._log_parts), seconds=timeout)

    # --- leases -------------------------------------------------------------------------------------

    async def take_lease(self, name: str, lease: Lease, *, now: datetime) -> bool:
        operation = partial(leases.take_lease, name, lease, now=now)
        return await self._write(operation, repeatable=True, durable=False)

    async def drop_lease(self, name: str, owner: str) -> None:
        await self._write(partial(leases.drop_lease, name, owner), repeatable=True, durable=False)

    # --- consumer groups ----------------------------------------------------------------------------

    async def open_group(self, group: str, *, start: GroupStart) -> None:
        await self._write(partial(groups.open_group, group, start), repeatable=True)

    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        operation = partial(groups.hold, self._columns, group, member, now=now, busy=busy)
        return await self._write(operation, repeatable=True, durable=False)

    async def begin_next(
        self,
        group: str,
        owner: str,
        *,
        done: GroupDelivery | None,
        now: datetime,
        max_attempts: int,
        limit: int = 1,
    ) -> Begun:
        operation = partial(groups.begin_next, self._columns, group, owner)
        operation = partial(operation, done=done, now=now, max_attempts=max_attempts, limit=limit)
        return await self._write(operation, durable=False)

    async def acknowledge(
        self, delivery: GroupDelivery, owner: str, *, received: GroupDelivery | None = None
    ) -> bool:
        operation = partial(groups.acknowledge, delivery, owner, received)
        return await self._write(operation, repeatable=True, durable=False)

    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        watch = self._watch
        operation = partial(groups.leave, group, owner, unused)
        await self._write(operation, repeatable=True, durable=False)
        watch.wake()

    async def groups(self) -> tuple[GroupStatus, ...]:
        return await self._read(partial(groups.groups, self._columns))

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        return await self._read(partial(groups.parked, self._columns, group))

    async def release(self, group: str, event_id: str) -> bool:
        watch = self._watch
        released = await self._write(partial(groups.release, group, event_id), repeatable=True)
        watch.wake()
        return released

    async def remove_group(self, group: str) -> bool:
        return await self._write(partial(groups.remove_group, group))

    # --- retention ----------------------------------------------------------------------------------

    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        operation = partial(calls.prune, before=before, idle_since=idle_since, limit=limit)
        return await self._write(operation, repeatable=True)
