"""A store in this process's memory: for tests and demonstrations. What it holds dies with it."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from datetime import datetime
from typing import TypeVar, final

from attrs import Factory, define, evolve, frozen

from transferkit.events import Event
from transferkit.lifecycle import CallKey, CallState, Decision, Due, Input, Lease, Opened, Work
from transferkit.stores.contract import (
    Applied,
    KeyUsed,
    LegOccupied,
    Position,
    Step,
    Store,
    StoredTransfer,
    delivery_key,
)

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
    due: MutableMapping[tuple[str, Work], Due | None] = Factory(dict)


@define
class _Transaction:
    """Writes beside the tables, so that they reach them all at once or not at all."""

    tables: _Tables
    written: _Tables = Factory(_Tables)
    events: list[Event] = Factory(list)

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
        self._log: list[Event] = []
        self._by_call: dict[CallKey, list[Event]] = {}
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
        for event in transaction.events:
            self._log.append(event)
            self._by_call.setdefault(CallKey(event.provider, event.call_id), []).append(event)
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
        _write_due(tables, decision)
        _conclude(tables, decision)
        transaction.events.extend(decision.events)
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
        return tuple(self._by_call.get(call, ()))

    async def lease_due(self, *, now: datetime, lease: Lease, limit: int) -> tuple[Due, ...]:
        rows = [row for row in self._tables.due.values() if row and _free_at(row) <= now]
        taken = tuple(evolve(row, lease=lease) for row in sorted(rows, key=lambda row: row.at)[:limit])
        for row in taken:
            self._tables.due[row.transfer_id, row.work] = row
        return taken

    async def next_due(self) -> datetime | None:
        return min((_free_at(row) for row in self._tables.due.values() if row), default=None)

    async def end_of_log(self) -> Position:
        return Position(str(len(self._log)))

    async def read(self, after: Position, *, limit: int = 100) -> tuple[tuple[Position, Event], ...]:
        start = int(after)
        return tuple(
            (Position(str(index)), event)
            for index, event in enumerate(self._log[start : start + limit], start=start + 1)
        )

    async def wait(self, after: Position, *, timeout: float) -> None:
        if int(after) < len(self._log):
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


def _free_at(row: Due) -> datetime:
    return max(row.at, row.lease.until) if row.lease else row.at


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


def _write_due(tables: _Tables, decision: Decision) -> None:
    for due in decision.due:
        tables.due[due.transfer_id, due.work] = due
    for key in decision.cleared:
        tables.due[key] = None


def _conclude(tables: _Tables, decision: Decision) -> None:
    if decision.outcome is None or decision.outcome.transfer_id is None:
        return
    stored = tables.transfers[decision.outcome.transfer_id]
    tables.transfers[stored.opened.id] = evolve(stored, outcome=decision.outcome)
    for leg in stored.opened.legs:
        tables.legs[leg] = None
