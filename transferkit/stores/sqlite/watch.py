"""Noticing the commits of other processes by their trace in the write-ahead log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Final, final

from transferkit.stores.sql.calls import Ends
from transferkit.stores.sql.watch import LogWatch

__all__ = ["WriteAheadLogWatch"]

_STAT_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 0.25
"""Without a change of the file. A commit can leave its size and time as they were."""


@final
class WriteAheadLogWatch(LogWatch):
    """Looks at the end of the log when the file of the write-ahead log changes, which costs no read."""

    def __init__(self, read_ends: Callable[[], Awaitable[Ends]], path: Path) -> None:
        super().__init__(read_ends)
        self._path = path.with_name(f"{path.name}-wal")
        self._seen: tuple[int, int] | None = None
        self._poll_seconds = _POLL_SECONDS

    async def look(self) -> None:
        self._seen = self._size_and_time()  # before the read: a later change causes the next one
        await super().look()

    async def _pause(self) -> None:
        """Return when the file has changed, and again soon after: it changes before the commit is visible."""
        end = monotonic() + self._poll_seconds
        self._poll_seconds = min(2 * self._poll_seconds, _POLL_SECONDS)
        while (left := end - monotonic()) > 0:
            await asyncio.sleep(min(left, _STAT_SECONDS))
            if self._size_and_time() != self._seen:
                self._poll_seconds = _STAT_SECONDS
                return

    def _size_and_time(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_size, stat.st_mtime_ns
