"""The names of the ACS adapter's log records; see `transferkit._util.log_events`."""

from __future__ import annotations

from enum import StrEnum
from typing import final

__all__ = ["AcsLogEvent"]


@final
class AcsLogEvent(StrEnum):
    """The names of the log records of this adapter and its emulator."""

    EVENTGRID_NOT_VALIDATED = "acs_eventgrid_not_validated"
