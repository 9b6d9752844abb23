"""Log records of the readers of the event stream."""

from __future__ import annotations

import logging
import shlex

from transferkit._lifecycle import CallKey
from transferkit._telemetry.log_records import log_fields
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import safe_id
from transferkit._util.tracebacks import safe_traceback
from transferkit.events import Event
from transferkit.stores.consumer_groups import GroupDelivery, ParkedEvent
from transferkit.stores.contract import Position, within
from transferkit.stores.unreadable import UNREADABLE_ADVICE, UnreadableEvent

__all__ = [
    "position_within",
    "report_handler_failed",
    "report_parked",
    "report_reopening",
    "report_stale",
    "report_unreadable",
]

_log = logging.getLogger("transferkit.streams")


def position_within(position: Position | None, end: Position, *, reader: str) -> Position | None:
    """The position, or the end of the log if the position is beyond it, which is logged.

    A position is beyond the end if the store lost its last commits.
    """
    if position is None:
        return None
    kept = within(position, end)
    if kept != position:
        _log.warning(
            "%s continues at the end of the log: the store lost events that were read (a fail-over?)",
            reader,
            extra={"event": LogEvent.EVENTS_LOST},
        )
    return kept


def report_unreadable(unreadable: UnreadableEvent, *, reader: str) -> None:
    """Log an event that cannot be read. `reader` is the first part of the message: "a live tail skips …"."""
    extra = log_fields(
        CallKey(unreadable.provider, unreadable.call_id), unreadable.transfer_id, LogEvent.EVENT_UNREADABLE
    )
    extra |= {
        "event_id": unreadable.id,
        "kind": unreadable.kind,
        "sequence": unreadable.sequence,
        "partition": unreadable.partition,
        "position": unreadable.position,
    }
    _log.error("%s: %s. %s", reader, unreadable, UNREADABLE_ADVICE, extra=extra)


def report_parked(parked: ParkedEvent) -> None:
    """Log an event that its group parked after too many attempts."""
    event = parked.event
    release = f"transferkit groups release {shlex.quote(parked.group)} {parked.id}"
    extra = {
        **_fields(LogEvent.GROUP_EVENT_PARKED, parked.group, event, parked.attempts),
        "release": release,
    }
    _log.error(
        "group %s: event %s (%s of call %s) is parked after %d attempts without acknowledgement%s; "
        "the events behind it are delivered. To deliver it once more: %s",
        parked.group,
        parked.id,
        event.kind,
        safe_id(event.call_id),
        parked.attempts,
        f" ({event})" if isinstance(event, UnreadableEvent) else "",
        release,
        extra=extra,
    )


def report_stale(delivery: GroupDelivery) -> None:
    """Log an event that was handled after its lease had ended."""
    event = delivery.event
    _log.warning(
        "group %s: event %s (%s of call %s) was handled after its lease had ended or it was given back; "
        "it is delivered again",
        delivery.group,
        event.id,
        event.kind,
        safe_id(event.call_id),
        extra=_fields(LogEvent.GROUP_EVENT_STALE, delivery.group, event, delivery.attempt),
    )


def report_handler_failed(event: Event, group: str, error: Exception, *, pause: float) -> None:
    """Log that the handler of an event raised. The event is delivered again after `pause` seconds."""
    _log.error(
        "group %s: the handler of event %s (%s of call %s) failed; the event is not acknowledged, and is "
        "delivered again after %g s\n%s",
        group,
        event.id,
        event.kind,
        safe_id(event.call_id),
        pause,
        safe_traceback(error),
        extra={**_event_fields(LogEvent.HANDLER_FAILED, group, event), "pause": pause},
    )


def report_reopening(group: str, error: Exception, *, pause: float) -> None:
    """Log that a worker could not open its group. It tries again after `pause` seconds."""
    _log.error(
        "group %s: a worker could not open the group again after a failed handler; trying again in %g s\n%s",
        group,
        pause,
        safe_traceback(error),
        extra={"event": LogEvent.STORE_FAILED, "group": group, "pause": pause},
    )


def _fields(name: LogEvent, group: str, event: Event | UnreadableEvent, attempts: int) -> dict[str, object]:
    return {**_event_fields(name, group, event), "attempts": attempts}


def _event_fields(name: LogEvent, group: str, event: Event | UnreadableEvent) -> dict[str, object]:
    return {
        "event": name,
        "group": group,
        "event_id": event.id,
        "kind": event.kind,
        "provider": event.provider,
        "call_id": safe_id(event.call_id),
        "transfer_id": event.transfer_id,
    }
