"""A store in this process's memory, for tests and demonstrations. Its content ends with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any, final

from attrs import evolve

from transferkit._lifecycle import CallKey, CallState, Due, Input, Lease, Work
from transferkit.events import Event
from transferkit.stores.consumer_groups import (
    Begun,
    GroupDelivery,
    GroupStart,
    GroupStatus,
    ParkedEvent,
    partition_of,
)
from transferkit.stores.contract import (
    Applied,
    Position,
    Step,
    Store,
    StoredTransfer,
    in_order,
    needed_provider,
)
from transferkit.stores.memory.groups import MemoryGroup
from transferkit.stores.memory.log import Entry, MemoryLog
from transferkit.stores.transaction import Tables
from transferkit.stores.unreadable import UnreadableEvent, readable

__all__ = ["MemoryStore"]

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@final
class MemoryStore(Store):
    """Everything in dictionaries. A commit is atomic, because nothing else runs meanwhile."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._due_queue: list[tuple[datetime, str, Work]] = []
        """A heap of when work may be leased. Entries of work that changed since then are skipped."""
        self._log = MemoryLog(self.partitions)
        self._groups: dict[str, MemoryGroup] = {}
        self._leases: dict[str, Lease] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._wake()

    # --- calls --------------------------------------------------------------------------------------

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        new = Tables()
        view = new.over(self._tables)
        applied = tuple(view.apply(call, happened, step) for call, happened in inputs)
        for call, event in new.events:
            self._log.append(call, event)
        if new.events or new.due:
            self._wake()
        for row in new.due.values():
            if row is not None:
                self._push_due(row[1])
        new.events.clear()
        new.changed.clear()
        new.peeked.clear()
        self._tables.update(new)
        _drop(self._tables.legs, [leg for leg, holder in new.legs.items() if holder is None])
        _drop(self._tables.due, [key for key, due in new.due.items() if due is None])
        return applied

    async def state(self, call: CallKey) -> CallState:
        return self._tables.calls.get(call, CallState())

    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        found = self._tables.opened.get(transfer_id)
        return found and StoredTransfer(opened=found[1], outcome=self._tables.outcomes.get(transfer_id))

    async def open_transfers(self, provider: str) -> tuple[str, ...]:
        legs = self._tables.legs.items()
        return tuple({holder for leg, holder in legs if leg.provider == provider and holder is not None})

    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        return tuple(readable(entry.event) for entry in self._log.of_call(call))

    # --- due work -----------------------------------------------------------------------------------

    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        leased = [
            (call, evolve(due, lease=lease)) for call, due in self._pop_due(providers, until=now, limit=limit)
        ]
        for call, due in leased:
            self._tables.due[due.transfer_id, due.work] = call, due
            self._push_due(due)
        return in_order(due for _, due in leased)

    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        for _, due in self._pop_due(providers, until=_END_OF_TIME, limit=1):
            self._push_due(due)
            return _free_at(due)
        return None

    async def drop_due(self, transfer_id: str) -> None:
        if transfer_id not in self._tables.opened:
            _drop(self._tables.due, [(transfer_id, work) for work in Work])

    def _push_due(self, due: Due) -> None:
        heappush(self._due_queue, (_free_at(due), due.transfer_id, due.work))

    def _pop_due(
        self, providers: Collection[str] | None, *, until: datetime, limit: int
    ) -> list[tuple[CallKey, Due]]:
        """Take the work that is free first from the queue, but no work that needs another provider."""
        wanted = None if providers is None else {None, *providers}
        found: dict[tuple[str, Work], tuple[CallKey, Due]] = {}
        others: dict[tuple[str, Work], Due] = {}
        while self._due_queue and self._due_queue[0][0] <= until and len(found) < limit:
            free_at, transfer_id, work = heappop(self._due_queue)
            row = self._tables.due.get((transfer_id, work))
            if row is None or _free_at(row[1]) != free_at:  # cleared or changed since
                continue
            if wanted is None or needed_provider(row[0], work) in wanted:
                found[transfer_id, work] = row
            else:
                others[transfer_id, work] = row[1]
        for due in others.values():
            self._push_due(due)
        return list(found.values())

    # --- leases -------------------------------------------------------------------------------------

    async def take_lease(self, name: str, lease: Lease, *, now: datetime) -> bool:
        held = self._leases.get(name)
        if held is not None and held.owner != lease.owner and held.until > now:
            return False
        self._leases[name] = lease
        return True

    async def drop_lease(self, name: str, owner: str) -> None:
        held = self._leases.get(name)
        if held is not None and held.owner == owner:
            del self._leases[name]

    # --- the log ------------------------------------------------------------------------------------

    async def end_of_log(self) -> Position:
        return Position(str(self._log.end))

    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        entries = self._log.read(int(after or 0), limit)
        return tuple((Position(str(entry.position)), entry.event) for entry in entries)

    async def wait(self, after: Position, *, timeout: float) -> None:
        if int(after) < self._log.end:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            self._waiters.discard(waiter)
            waiter.cancel()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- consumer groups ----------------------------------------------------------------------------

    async def open_group(self, group: str, *, start: GroupStart) -> None:
        if group not in self._groups:
            position = self._log.end if start is GroupStart.NOW else 0
            self._groups[group] = MemoryGroup(group, self._log, partitions=self.partitions, position=position)

    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        known = self._groups.get(group)
        return known.hold(member, now=now, busy=busy) if known else frozenset()

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
        known = self._groups.get(group)
        if known is None:
            return Begun(stale=done is not None)
        stale = done is not None and not known.acknowledge(done, owner)
        return known.begin_next(owner, now=now, max_attempts=max_attempts, limit=limit, stale=stale)

    async def acknowledge(
        self, delivery: GroupDelivery, owner: str, *, received: GroupDelivery | None = None
    ) -> bool:
        known = self._groups.get(delivery.group)
        return known is not None and known.acknowledge(delivery, owner, received)

    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        known = self._groups.get(group)
        if known is not None:
            known.leave(owner, unused)
            self._wake()

    async def groups(self) -> tuple[GroupStatus, ...]:
        return tuple(known.status() for _, known in sorted(self._groups.items()))

    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        known = self._groups.get(group)
        return known.parked() if known else ()

    async def release(self, group: str, event_id: str) -> bool:
        known = self._groups.get(group)
        released = known is not None and known.release(event_id)
        self._wake()
        return released

    async def remove_group(self, group: str) -> bool:
        return self._groups.pop(group, None) is not None

    # --- retention ----------------------------------------------------------------------------------

    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        active = [group for group in self._groups.values() if group.seen_at and group.seen_at >= idle_since]
        finished: dict[CallKey, Sequence[Entry]] = {}
        for call, recorded_at in self._tables.recorded_at.items():
            entries = self._log.of_call(call)
            if len(finished) == limit:
                break
            if self._tables.legs.get(call) or not entries or recorded_at >= before:
                continue
            partition = partition_of(call, self.partitions)
            if all(group.has_passed(partition, entries) for group in active):
                finished[call] = entries
        self._remove(finished)
        return len(finished)

    def _remove(self, finished: dict[CallKey, Sequence[Entry]]) -> None:
        tables = self._tables
        for group in self._groups.values():
            for entries in finished.values():
                group.forget_events(entries)
        opened = [opened for call, opened in tables.opened.values() if call in finished]
        _drop(tables.calls, finished)
        _drop(tables.recorded_at, finished)
        _drop(tables.marks, [mark for mark in tables.marks if mark[0] in finished])
        _drop(tables.keys, [one.request.idempotency_key for one in opened])
        _drop(tables.opened, [one.id for one in opened])
        _drop(tables.outcomes, [one.id for one in opened])
        self._log.remove(finished)


def _drop(table: Any, keys: Collection[object]) -> None:
    for key in keys:
        table.pop(key, None)


def _free_at(due: Due) -> datetime:
    """When the work may be leased."""
    return max(due.at, due.lease.until) if due.lease else due.at
