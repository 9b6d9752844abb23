"""Keeps a log readable when the same thing is reported many times in a row."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import final

from attrs import define

from transferkit.provider.clock import Clock

__all__ = ["LogLimit"]

_INTERVAL = timedelta(minutes=1)


@define
class _Reported:
    at: datetime
    left_out: int = 0


@final
class LogLimit:
    """Lets one log record per cause through in a minute, the first one at once.

    It remembers every cause, so causes come from a closed set and never from a sender.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reported: dict[Hashable, _Reported] = {}

    def line_end(self, cause: Hashable) -> str | None:
        """The end of a line of this cause: how many were left out before it. None to leave this one out."""
        now = self._clock.now()
        last = self._reported.get(cause)
        if last is not None and timedelta(0) <= now - last.at < _INTERVAL:
            last.left_out += 1
            return None
        self._reported[cause] = _Reported(now)
        return f" ({last.left_out} more in between)" if last is not None and last.left_out else ""
