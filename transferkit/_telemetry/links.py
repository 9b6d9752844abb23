"""Links from spans to the requests that caused them; the trace of a request is stored with it."""

from __future__ import annotations

from collections.abc import Sequence

from transferkit._telemetry.contract import Span
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.stores import Store

__all__ = ["link_events"]


async def link_events(span: Span, events: Sequence[Event], store: Store) -> None:
    """Set the events of a span and link it to their requests; without links if the store fails."""
    if not span.recording:
        return
    ids = dict.fromkeys(event.transfer_id for event in events if event.transfer_id)
    try:
        requests = [await store.transfer(transfer_id) for transfer_id in ids]
    except StoreError:
        requests = []
    span.set_events(events, [stored.opened.trace for stored in requests if stored and stored.opened.trace])
