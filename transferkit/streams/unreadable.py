"""Events that cannot be read, as log records of the readers that meet them."""

from __future__ import annotations

import logging

from transferkit._lifecycle import CallKey
from transferkit._telemetry.log_records import about
from transferkit._util.log_events import LogEvent
from transferkit.stores.unreadable import UNREADABLE_ADVICE, UnreadableEvent

__all__ = ["report_unreadable"]

_log = logging.getLogger("transferkit.streams")


def report_unreadable(met: UnreadableEvent, *, reader: str) -> None:
    """Log that a reader met an event that cannot be read; `reader` says which one, and what it does."""
    extra = about(CallKey(met.provider, met.call_id), met.transfer_id, LogEvent.EVENT_UNREADABLE)
    extra |= {
        "event_id": met.id,
        "kind": met.kind,
        "sequence": met.sequence,
        "partition": met.partition,
        "position": met.position,
    }
    _log.error("%s: %s. %s", reader, met, UNREADABLE_ADVICE, extra=extra)
