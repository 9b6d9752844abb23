"""Readers whose place lies beyond the end of the log, because the store lost its last commits."""

from __future__ import annotations

import logging

from transferkit._util.log_events import LogEvent
from transferkit.stores.contract import Position, within

__all__ = ["back_at_the_end"]

_log = logging.getLogger("transferkit.streams")


def back_at_the_end(position: Position | None, end: Position, *, reader: str) -> Position | None:
    """The place to go on from; logged if it is not the reader's own."""
    if position is None:
        return None
    kept = within(position, end)
    if kept != position:
        _log.warning(
            "%s goes back to the end of the log: the store lost events that were read already (a fail-over?)",
            reader,
            extra={"event": LogEvent.EVENTS_LOST},
        )
    return kept
