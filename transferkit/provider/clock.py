"""The clock, which tests replace to control the time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol, final

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Reads the time and waits."""

    def now(self) -> datetime:
        """Return the current time, aware and in UTC."""
        ...

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Wait until `event` is set or `until` is reached. `None` means no time limit."""
        ...


@final
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        seconds = None if until is None else max((until - self.now()).total_seconds(), 0)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
