"""The journal of an emulator: the requests that it received and the callbacks that it sent, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import final

from attrs import frozen

from transferkit.emulators.records import RecordedRequest, SentCallback

__all__ = ["Entry", "Journal"]


@final
@frozen(kw_only=True)
class Entry:
    """One entry; `number` counts from 1 and continues after the journal was cleared."""

    number: int
    record: RecordedRequest | SentCallback


@final
class Journal:
    """A list of entries that can be watched for changes."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries since the journal was last cleared."""
        return tuple(self._entries)

    def add(self, record: RecordedRequest | SentCallback) -> None:
        """Append an entry."""
        self._count += 1
        self._entries.append(Entry(number=self._count, record=record))
        self.notify()

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()
        self.notify()

    def notify(self) -> None:
        """Wake all waiters of `changed`, for example after a change of a call's state."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return at the next change."""
        await self._changed.wait()
