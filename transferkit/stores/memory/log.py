"""The memory store's log: every event with its position, found by place, by call and by partition."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import final

from attrs import frozen

from transferkit._lifecycle import CallKey
from transferkit.events import Event
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.unreadable import UnreadableEvent

__all__ = ["Entry", "MemoryLog"]


@final
@frozen
class Entry:
    """An event's line in the log. Positions count from 1 and are never used again."""

    position: int
    recorded_at: datetime
    event: Event | UnreadableEvent


@final
class MemoryLog:
    """An append-only log, but for calls that are removed as a whole."""

    def __init__(self, partitions: int) -> None:
        self.end = 0
        """The position of the last event ever."""
        self._all: list[Entry] = []
        self._by_call: dict[CallKey, list[Entry]] = {}
        self._by_partition: list[list[Entry]] = [[] for _ in range(partitions)]

    def append(self, event: Event, recorded_at: datetime) -> None:
        """Write one event at the end."""
        self.end += 1
        entry = Entry(self.end, recorded_at, event)
        call = CallKey(event.provider, event.call_id)
        self._all.append(entry)
        self._by_call.setdefault(call, []).append(entry)
        self._by_partition[partition_of(call, len(self._by_partition))].append(entry)

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` entries after a position."""
        start = _index(self._all, after)
        return self._all[start : start + limit]

    def of_call(self, call: CallKey) -> Sequence[Entry]:
        """The call's entries, in sequence."""
        return self._by_call.get(call, ())

    def next_in(self, partition: int, after: int) -> Entry | None:
        """The partition's first entry after a position."""
        entries = self._by_partition[partition]
        index = _index(entries, after)
        return entries[index] if index < len(entries) else None

    def count_in(self, partition: int, after: int) -> int:
        """How many entries the partition has after a position."""
        entries = self._by_partition[partition]
        return len(entries) - _index(entries, after)

    def remove(self, calls: set[CallKey]) -> None:
        """Remove these calls' entries; every other one keeps its position."""
        gone = {entry.position for call in calls for entry in self._by_call.pop(call, ())}
        for entries in (self._all, *self._by_partition):
            entries[:] = [entry for entry in entries if entry.position not in gone]


def _index(entries: Sequence[Entry], after: int) -> int:
    return bisect_right(entries, after, key=attrgetter("position"))
