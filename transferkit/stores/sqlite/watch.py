"""Noticing the commits of other processes by their trace in the write-ahead log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, final

from transferkit.stores.sql.calls import Ends
from transferkit.stores.sql.watch import LogWatch
from transferkit.stores.sqlite.inotify import FileEvents

__all__ = ["WriteAheadLogWatch"]

_COMPARE_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 0.25
_QUIET_POLL_SECONDS: Final = 5.0
_SYNC_SECONDS: Final = 0.01
"""From a notification to the look: a commit is visible once the file is synced."""
_LONGEST_SYNC_SECONDS: Final = 10.0


@final
class WriteAheadLogWatch(LogWatch):
    """Looks at the end of the log when the file of the write-ahead log changes, which costs no read.

    The kernel notifies of changes. Where it does not, the file's size and time are compared every 20 ms. A
    commit can leave them as they were, or become visible later, so the end is looked at every 0.25 s too.
    With notifications, the end is looked at that often only while a sync may be running, and otherwise only
    the file is compared that often.
    """

    def __init__(self, read_ends: Callable[[], Awaitable[Ends]], path: Path) -> None:
        super().__init__(read_ends)
        real = path.resolve()
        self._path = real.with_name(f"{real.name}-wal")
        self._seen: tuple[int, int] | None = None
        self._poll_seconds = _SYNC_SECONDS
        self._synced_at = 0.0
        """When everything that was written is visible for certain."""
        self._events: FileEvents | None = None
        with suppress(OSError):
            self._events = FileEvents(self._path)

    async def close(self) -> None:
        await super().close()
        events, self._events = self._events, None
        if events is not None:
            events.close()

    async def look(self) -> None:
        self._seen = self._size_and_time()  # before the read: a later change causes the next one
        await super().look()

    def _start_tasks(self) -> None:
        if not self._tasks:
            self._expect_sync()
        super()._start_tasks()

    def _expect_sync(self) -> None:
        self._poll_seconds = _SYNC_SECONDS
        self._synced_at = monotonic() + _LONGEST_SYNC_SECONDS

    async def _pause(self) -> None:
        """Return when the file has changed, and again soon after: it changes before the commit is visible."""
        is_quiet = monotonic() > self._synced_at
        self._poll_seconds = min(2 * self._poll_seconds, _QUIET_POLL_SECONDS if is_quiet else _POLL_SECONDS)
        end = monotonic() + self._poll_seconds
        while (left := end - monotonic()) > 0:
            if await self._is_notified(left) or self._size_and_time() != self._seen:
                self._expect_sync()
                return

    async def _is_notified(self, seconds: float) -> bool:
        """Wait for a notification, or until the file is to be compared again."""
        if self._events is not None:
            with suppress(OSError):  # the file is missing, or the user watches too many
                notified = await self._events.wait(min(seconds, _POLL_SECONDS))
                if notified:
                    await asyncio.sleep(_SYNC_SECONDS)
                return notified
        self._synced_at = monotonic() + _LONGEST_SYNC_SECONDS
        await asyncio.sleep(min(seconds, _COMPARE_SECONDS))
        return False

    def _size_and_time(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_size, stat.st_mtime_ns
