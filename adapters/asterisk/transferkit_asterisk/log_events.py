"""The names of the adapter's log records."""

from __future__ import annotations

from enum import StrEnum
from typing import final

__all__ = ["AsteriskLogEvent"]


@final
class AsteriskLogEvent(StrEnum):
    """The records of the adapter. `docs/reference/telemetry.md` describes each and says what to do."""

    CONSULT_LEFT = "asterisk_consult_left"
    EVENT_FAILED = "asterisk_event_failed"
    EVENT_MALFORMED = "asterisk_event_malformed"
    EVENT_NOT_STORED = "asterisk_event_not_stored"
    EVENTS_LOST = "asterisk_events_lost"
    NOT_RELEASED = "asterisk_not_released"
