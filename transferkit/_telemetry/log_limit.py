"""Limits how often log records with the same cause are written."""

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
    """Allows one log record per cause in a minute; the first one immediately.

    Every cause is remembered, so causes must come from a closed set and never from a sender.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reported: dict[Hashable, _Reported] = {}

    def line_end(self, cause: Hashable) -> str | None:
        """The end of the message: how many records were left out. None to leave this record out, too."""
        now = self._clock.now()
        last = self._reported.get(cause)
        if last is not None and timedelta(0) <= now - last.at < _INTERVAL:
            last.left_out += 1
            return None
        self._reported[cause] = _Reported(now)
        return f" ({last.left_out} more in between)" if last is not None and last.left_out else ""
