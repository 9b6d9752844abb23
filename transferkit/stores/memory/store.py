"""A store in this process's memory: for tests and demonstrations. What it holds dies with it."""

from __future__ import annotations

import asyncio
from collections import ChainMap, defaultdict
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import TypeVar, final

from attrs import Factory, define, evolve, frozen

from transferkit._lifecycle import CallKey, CallState, Decision, Due, Input, Lease, Opened, Work
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
    KeyUsed,
    LegOccupied,
    Position,
    Step,
    Store,
    StoredTransfer,
    delivery_key,
    needed_provider,
)
from transferkit.stores.memory.groups import MemoryGroup
from transferkit.stores.memory.log import Entry, MemoryLog
from transferkit.stores.unreadable import UnreadableEvent, readable

__all__ = ["MemoryStore"]

K = TypeVar("K")
V = TypeVar("V")


@frozen
class _Tables:
    calls: MutableMapping[CallKey, CallState] = Factory(dict)
    marks: MutableMapping[tuple[CallKey, str], str] = Factory(dict)
    transfers: MutableMapping[str, StoredTransfer] = Factory(dict)
    keys: MutableMapping[str, str] = Factory(dict)
    legs: MutableMapping[CallKey, str | None] = Factory(dict)
    due: MutableMapping[tuple[str, Work], _DueRow | None] = Factory(dict)


@frozen
class _DueRow:
    """Due work, and the provider whose adapter it needs, if any."""

    due: Due
    provider: str | None

    @property
    def free_at(self) -> datetime:
        return max(self.due.at, self.due.lease.until) if self.due.lease else self.due.at


@define
class _Transaction:
    """Writes beside the tables, so that they reach them all at once or not at all."""

    tables: _Tables
    written: _Tables = Factory(_Tables)
    events: list[tuple[Event, datetime]] = Factory(list)

    def over(self) -> _Tables:
        """The tables as this transaction sees them; writing to them writes beside."""
        mine, base = self.written, self.tables
        return _Tables(
            calls=ChainMap(mine.calls, base.calls),
            marks=ChainMap(mine.marks, base.marks),
            transfers=ChainMap(mine.transfers, base.transfers),
            keys=ChainMap(mine.keys, base.keys),
            legs=ChainMap(mine.legs, base.legs),
            due=ChainMap(mine.due, base.due),
        )

    def commit(self) -> None:
        mine, base = self.written, self.tables
        base.calls.update(mine.calls)
        base.marks.update(mine.marks)
        base.transfers.update(mine.transfers)
        base.keys.update(mine.keys)
        _update_or_remove(base.legs, mine.legs)
        _update_or_remove(base.due, mine.due)


def _update_or_remove(base: MutableMapping[K, V | None], written: MutableMapping[K, V | None]) -> None:
    for key, value in written.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = value


@final
class MemoryStore(Store):
    """Everything in dictionaries. A commit is atomic because nothing else runs meanwhile."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._agenda: defaultdict[str | None, list[tuple[datetime, str, Work]]] = defaultdict(list)
        """When each row of due work is free, by the provider that it needs, the first on top; also times that
        rows had before."""
        self._log = MemoryLog(self.partitions)
        self._groups: dict[str, MemoryGroup] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._wake()

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        transaction = _Transaction(self._tables)
        tables = transaction.over()
        applied = tuple(self._apply(tables, transaction, call, happened, step) for call, happened in inputs)
        transaction.commit()
        self._enter(transaction.written.due.values())
        for event, recorded_at in transaction.events:
            self._log.append(event, recorded_at)
        if transaction.events or transaction.written.due:
            self._wake()
        return applied

    def _apply(
        self, tables: _Tables, transaction: _Transaction, call: CallKey, happened: Input, step: Step
    ) -> Applied:
        key = delivery_key(happened)
        seen = tables.marks.get((call, key)) if key is not None else None
        decision = step(call, tables.calls.get(call, CallState()), happened, seen)
        if decision.opened:
            _open(tables, decision.opened)
        tables.calls[call] = decision.state
        if key is not None and decision.mark is not None:
            tables.marks[call, key] = decision.mark
        _write_due(tables, call, decision)
        _conclude(tables, decision)
        transaction.events.extend((event, happened.at) for event in decision.events)
        return Applied(
            state=decision.state,
            events=decision.events,
            proceed=decision.proceed,
            duplicate=decision.duplicate,
        )

    async def state(self, call: CallKey) -> CallState:
        return self._tables.calls.get(call, CallState())

    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        return self._tables.transfers.get(transfer_id)

    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        return tuple(readable(entry.event) for entry in self._log.of_call(call))

    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        wanted = self._wanted(providers)
        rows = [
            row for row in self._tables.due.values() if row and row.free_at <= now and row.provider in wanted
        ]
        oldest = sorted(rows, key=lambda row: row.due.at)[:limit]
        taken = [evolve(row, due=evolve(row.due, lease=lease)) for row in oldest]
        for row in taken:
            self._tables.due[row.due.transfer_id, row.due.work] = row
        self._enter(taken)
        return tuple(row.due for row in taken)

    def _enter(self, rows: Iterable[_DueRow | None]) -> None:
        for row in rows:
            if row is not None:
                heappush(self._agenda[row.provider], (row.free_at, row.due.transfer_id, row.due.work))

    def _wanted(self, providers: Collection[str] | None) -> Collection[str | None]:
        return self._agenda if providers is None else {None, *providers}

    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        tops = (self._top(self._agenda[needed]) for needed in tuple(self._wanted(providers)))
        return min((at for at in tops if at is not None), default=None)

    def _top(self, agenda: list[tuple[datetime, str, Work]]) -> datetime | None:
        """When the first of them is free, once those are gone that have changed since."""
        while agenda:
            at, transfer_id, work = agenda[0]
            row = self._tables.due.get((transfer_id, work))
            if row is not None and row.free_at == at:
                return at
            heappop(agenda)
        return None

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
            cursor = self._log.end if start is GroupStart.NOW else 0
            self._groups[group] = MemoryGroup(group, self._log, partitions=self.partitions, cursor=cursor)

    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        known = self._groups.get(group)
        return known.hold(member, now=now, busy=busy) if known else frozenset()

    async def begin_next(
        self, group: str, owner: str, *, done: GroupDelivery | None, now: datetime, max_attempts: int
    ) -> Begun:
        known = self._groups.get(group)
        if known is None:
            return Begun(stale=done is not None)
        stale = done is not None and not known.acknowledge(done, owner)
        return evolve(known.begin_next(owner, now=now, max_attempts=max_attempts), stale=stale)

    async def acknowledge(self, delivery: GroupDelivery, owner: str) -> bool:
        known = self._groups.get(delivery.group)
        return known is not None and known.acknowledge(delivery, owner)

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
        attended = [group for group in self._groups.values() if group.seen_at and group.seen_at >= idle_since]
        over: dict[CallKey, Sequence[Entry]] = {}
        for call in self._tables.calls:
            entries = self._log.of_call(call)
            if len(over) == limit:
                break
            if self._tables.legs.get(call) or not entries or entries[-1].recorded_at >= before:
                continue
            partition = partition_of(call, self.partitions)
            if all(group.has_passed(partition, entries) for group in attended):
                over[call] = entries
        self._remove(over)
        return len(over)

    def _remove(self, over: MutableMapping[CallKey, Sequence[Entry]]) -> None:
        tables = self._tables
        for group in self._groups.values():
            for entries in over.values():
                group.forget_events(entries)
        for call in over:
            del tables.calls[call]
        for mark in [mark for mark in tables.marks if mark[0] in over]:
            del tables.marks[mark]
        requests = [stored.opened for stored in tables.transfers.values() if stored.opened.call in over]
        for opened in requests:
            del tables.transfers[opened.id]
            if opened.request.idempotency_key is not None:
                tables.keys.pop(opened.request.idempotency_key, None)
        self._log.remove(set(over))


def _open(tables: _Tables, opened: Opened) -> None:
    key = opened.request.idempotency_key
    if key is not None and key in tables.keys:
        raise KeyUsed(tables.transfers[tables.keys[key]])
    for leg in opened.legs:
        holder = tables.legs.get(leg)
        if holder is not None:
            raise LegOccupied(leg, holder)
        tables.legs[leg] = opened.id
    if key is not None:
        tables.keys[key] = opened.id
    tables.transfers[opened.id] = StoredTransfer(opened=opened)


def _write_due(tables: _Tables, call: CallKey, decision: Decision) -> None:
    for due in decision.due:
        tables.due[due.transfer_id, due.work] = _DueRow(due, needed_provider(call, due.work))
    for key in decision.cleared:
        tables.due[key] = None


def _conclude(tables: _Tables, decision: Decision) -> None:
    if decision.outcome is None or decision.outcome.transfer_id is None:
        return
    stored = tables.transfers[decision.outcome.transfer_id]
    tables.transfers[stored.opened.id] = evolve(stored, outcome=decision.outcome)
    for leg in stored.opened.legs:
        tables.legs[leg] = None
