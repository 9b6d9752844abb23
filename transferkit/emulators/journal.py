"""What an emulator saw and said, in order, for whoever wants to watch."""

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
    """One line: `number` counts from 1 and goes on when the journal is cleared."""

    number: int
    what: RecordedRequest | SentCallback


@final
class Journal:
    """Is only added to, or cleared; wakes those who wait for more."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def entries(self) -> Sequence[Entry]:
        """All that was written since the last clearing."""
        return tuple(self._entries)

    def add(self, what: RecordedRequest | SentCallback) -> None:
        """Write one line."""
        self._count += 1
        self._entries.append(Entry(number=self._count, what=what))
        self.wake()

    def clear(self) -> None:
        """Forget every line."""
        self._entries.clear()
        self.wake()

    def wake(self) -> None:
        """Something changed that is worth another look, such as a call's state."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return at the next change."""
        await self._changed.wait()
