"""`SqliteStore`: every verb of the contract, done by the threads of an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar, final

from transferkit._lifecycle import CallKey, CallState, Due, Input, Lease
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.stores.consumer_groups import Begun, GroupDelivery, GroupStart, GroupStatus, ParkedEvent
from transferkit.stores.contract import Applied, Position, Step, Store, StoredTransfer
from transferkit.stores.sqlite import calls, groups, retention
from transferkit.stores.sqlite.engine import Engine
from transferkit.stores.sqlite.session import Session
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["SqliteStore"]

T = TypeVar("T")


@final
class SqliteStore(Store):
    """Everything in one SQLite file on a local disk, for any number of processes on one machine.

    What is acknowledged is on the disk: write-ahead log, full sync. Inputs that arrive while a commit is
    under way are committed together by the next one, and one that raises concerns no other; nobody is
    answered before that commit has returned. A caller who is cancelled detaches: what it asked for may still
    be committed, wholly or not at all.

    `path` is relative to the working directory of the moment; the folder must exist, the file is made.
    `busy_timeout` is how long to wait while other processes write. `partitions` counts for a new file alone;
    an open store tells the file's own number.

    After a fork the parent's store goes on. In the child it is closed, and may be opened: it then has
    connections of its own. A fork waits until the transaction under way has ended.
    """

    poll: ClassVar[timedelta | None] = timedelta(seconds=1)

    def __init__(
        self,
        path: Path | str,
        *,
        busy_timeout: timedelta = timedelta(seconds=5),
        partitions: int = Store.partitions,
    ) -> None:
        self.path = Path(path).absolute()
        self.partitions = partitions
        self._busy_timeout = busy_timeout
        self._engine: Engine | None = None

    async def open(self) -> None:
        """Make ready; makes the file, or brings an older one up to date.

        Raises `StoreError` for a file that cannot be used, belongs to something else, or was written by a
        newer transferkit.
        """
        if self._engine is not None and self._engine.is_here:
            return
        engine = Engine(self.path, partitions=self.partitions, busy_timeout=self._busy_timeout)
        try:
            await engine.start()
        except BaseException:
            await engine.stop()
            raise
        if self._engine is not None and self._engine.is_here:
            await engine.stop()  # another task was faster
            return
        self.partitions = engine.writer.partitions
        self._engine = engine

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None and engine.is_here:
            await engine.stop()

    def _running(self) -> Engine:
        if self._engine is None or not self._engine.is_here:
            raise StoreError(
                f"SQLite store {self.path}: it is not open in this process. What to do: open it first; a "
                "process that was forked opens it anew"
            )
        return self._engine

    async def _write(self, run: Callable[[Session], T]) -> T:
        return await self._running().writer.ask(run)

    async def _read(self, run: Callable[[Session], T]) -> T:
        return await self._running().reader.ask(run)

    # --- transfers ----------------------------------------------------------------------------------

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        return await self._running().writer.apply_all(inputs, step)

    async def state(self, call: CallKey) -> CallState:
        return await self._read(lambda session: calls.state(session, call))

    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        return await self._read(lambda session: calls.transfer(session, transfer_id))

    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        return await self._read(lambda session: calls.call_events(session, call))

    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        return await self._write(lambda session: calls.lease_due(session, now, lease, limit, providers))

    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        return await self._read(lambda session: calls.next_due(session, providers))

    # --- the log ------------------------------------------------------------------------------------

    async def end_of_log(self) -> Position:
        return Position(str(await self._read(calls.end_of_log)))

    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        return await self._read(
            lambda session: calls.read(session, 0 if after is None else int(after), limit)
        )

    async def wait(self, after: Position, *, timeout: float) -> None:
        waiters = self._running().waiters
        grown = waiters.add(int(after))
        try:
            if int(await self.end_of_log()) <= int(after):
                await asyncio.wait([grown], timeout=timeout)
        finally:
            waiters.discard(grown)

    # --- consumer groups ----------------------------------------------------------------------------

    async def open_group(self, group: str, *, start: GroupStart) -> None:
        await self._write(lambda session: groups.open_group(session, group, start, self.partitions))

    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        return await self._write(lambda session: groups.hold(session, group, member, now, busy))

    async def begin_next(
        self, group: str, owner: str, *, done: GroupDelivery | None, now: datetime, max_attempts: int
    ) -> Begun:
        return await self._write(
            lambda session: groups.begin_next(
                session, group, owner, done=done, now=now, max_attempts=max_attempts
            )
        )

    async def acknowledge(self, delivery: GroupDelivery, owner: str) -> bool:
        return await self._write(lambda session: groups.acknowledge(session, delivery, owner))

    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        engine = self._running()
        await engine.writer.ask(lambda session: groups.leave(session, group, owner, unused))
        engine.waiters.wake()

    async def groups(self) -> tuple[GroupStatus, ...]:
        return await self._read(groups.groups)

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        return await self._read(lambda session: groups.parked(session, group))

    async def release(self, group: str, event_id: str) -> bool:
        engine = self._running()
        released = await engine.writer.ask(lambda session: groups.release(session, group, event_id))
        engine.waiters.wake()
        return released

    async def remove_group(self, group: str) -> bool:
        return await self._write(lambda session: groups.remove_group(session, group))

    # --- retention ----------------------------------------------------------------------------------

    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        return await self._write(lambda session: retention.prune(session, before, idle_since, limit))
