"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import final

__all__ = ["ManualClock"]


@final
class ManualClock:
    """A `Clock` whose time passes only by `advance`."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, 12, tzinfo=UTC)
        self._ticks: set[asyncio.Event] = set()

    def now(self) -> datetime:
        """The time that the test has set."""
        return self._now

    def advance(self, span: timedelta | float) -> datetime:
        """Let time pass (seconds or a timedelta) and wake whoever waited for it."""
        self._now += span if isinstance(span, timedelta) else timedelta(seconds=span)
        for tick in self._ticks:
            tick.set()
        return self._now

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Return when `event` is set or the test's time reaches `until`."""
        tick = asyncio.Event()
        self._ticks.add(tick)
        try:
            while not event.is_set() and (until is None or self._now < until):
                waits = [asyncio.ensure_future(one.wait()) for one in (event, tick)]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)
                tick.clear()
        finally:
            self._ticks.discard(tick)
