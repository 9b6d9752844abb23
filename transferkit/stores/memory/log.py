"""The memory store's log: every event with its position, found by position, by call and by partition."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
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
    """An event in the log. Positions count from 1 and are never used again."""

    position: int
    event: Event | UnreadableEvent


@final
class MemoryLog:
    """Entries in the order in which they were written."""

    def __init__(self, partitions: int) -> None:
        self.end = 0
        """The position of the last event that was written, even if it is removed by now."""
        self._all: list[Entry] = []
        self._by_call: dict[CallKey, list[Entry]] = {}
        self._by_partition: list[list[Entry]] = [[] for _ in range(partitions)]

    def append(self, call: CallKey, event: Event) -> None:
        """Write one event at the end."""
        self.end += 1
        entry = Entry(self.end, event)
        self._all.append(entry)
        self._by_call.setdefault(call, []).append(entry)
        self._by_partition[partition_of(call, len(self._by_partition))].append(entry)

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` entries after a position."""
        return _after(self._all, after, limit)

    def of_call(self, call: CallKey) -> Sequence[Entry]:
        """The call's entries, in sequence."""
        return self._by_call.get(call, ())

    def of_partition(self, partition: int, after: int, limit: int | None = None) -> Sequence[Entry]:
        """The partition's entries after a position."""
        return _after(self._by_partition[partition], after, limit)

    def remove(self, calls: Collection[CallKey]) -> None:
        """Remove these calls' entries. The other entries keep their positions."""
        removed = {entry.position for call in calls for entry in self._by_call.pop(call, ())}
        for entries in (self._all, *self._by_partition):
            entries[:] = [entry for entry in entries if entry.position not in removed]


def _after(entries: Sequence[Entry], position: int, limit: int | None) -> Sequence[Entry]:
    start = bisect_right(entries, position, key=attrgetter("position"))
    return entries[start : None if limit is None else start + limit]
