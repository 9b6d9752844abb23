"""A clock for tests, whose time changes only when the test advances it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import final

__all__ = ["ManualClock"]


@final
class ManualClock:
    """A `Clock` whose time changes only with `advance`."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, 12, tzinfo=UTC)
        self._ticks: set[asyncio.Event] = set()

    def now(self) -> datetime:
        """The current time of this clock."""
        return self._now

    def advance(self, span: timedelta | float) -> datetime:
        """Advance the time by seconds or a timedelta, wake what waits for it, and return the new time."""
        self._now += span if isinstance(span, timedelta) else timedelta(seconds=span)
        for tick in self._ticks:
            tick.set()
        return self._now

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Return when `event` is set or the time reaches `until`."""
        tick = asyncio.Event()
        self._ticks.add(tick)
        try:
            while not event.is_set() and (until is None or self._now < until):
                waits = [asyncio.ensure_future(waited.wait()) for waited in (event, tick)]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)
                tick.clear()
        finally:
            self._ticks.discard(tick)
