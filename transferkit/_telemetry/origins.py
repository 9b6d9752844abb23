"""Which requests events go back to, across processes: the trace is stored with the request."""

from __future__ import annotations

from collections.abc import Iterable

from transferkit._util.frozenmap import FrozenMap
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.stores import Store

__all__ = ["origins"]


async def origins(store: Store, events: Iterable[Event]) -> tuple[FrozenMap[str], ...]:
    """The traces of the requests that `events` belong to; none where the store fails: they are a courtesy."""
    ids = dict.fromkeys(event.transfer_id for event in events if event.transfer_id)
    try:
        requests = [await store.transfer(transfer_id) for transfer_id in ids]
    except StoreError:
        return ()
    return tuple(stored.opened.trace for stored in requests if stored and stored.opened.trace)
