"""Operations on calls, requests, due work and the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from transferkit._lifecycle import CallKey, CallState, Due, Lease, Work
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome
from transferkit.stores.contract import Position, StoredTransfer, in_order
from transferkit.stores.encoding import event_from_json, request_from_json, state_from_json
from transferkit.stores.sql.statements import COMMIT, Columns, Operation, Statement, query
from transferkit.stores.unreadable import UnreadableEvent, readable

__all__ = [
    "Ends",
    "call_events",
    "drop_due",
    "end_of_log",
    "ends_of",
    "event_of",
    "lease_due",
    "next_due",
    "open_transfers",
    "outcomes",
    "position_of",
    "prune",
    "read",
    "state",
    "stored_transfer",
    "transfer",
]

Ends = tuple[int, ...]
"""For each part of the log that grows separately, the position of an event: a reader's, or the last one's."""


def state(call: CallKey) -> Operation[CallState]:
    """`Store.state`."""
    rows = yield from query("call_state", provider=call.provider, call_id=call.id)
    return state_from_json(rows[0][0], call=call) if rows else CallState()


def transfer(columns: Columns, transfer_id: str) -> Operation[StoredTransfer | None]:
    """`Store.transfer`."""
    rows = yield from query("request", transfer_id=transfer_id)
    return stored_transfer(columns, rows[0]) if rows else None


def outcomes(columns: Columns, transfer_ids: Collection[str]) -> Operation[dict[str, Outcome | None]]:
    """`Store.outcomes`."""
    rows = yield from query("ended_requests", transfer_ids=[*transfer_ids])
    found = [stored_transfer(columns, row) for row in rows]
    return {**dict.fromkeys(transfer_ids), **{stored.opened.id: stored.outcome for stored in found}}


def stored_transfer(columns: Columns, row: Sequence[Any]) -> StoredTransfer:
    """The request of a row: its id, the call's provider and id, its JSON and its outcome's JSON."""
    transfer_id, provider, call_id, opened, outcome = row
    call = CallKey(columns.text(provider), columns.text(call_id))
    return request_from_json(opened, outcome, transfer_id=columns.text(transfer_id), call=call)


def open_transfers(columns: Columns, provider: str) -> Operation[tuple[str, ...]]:
    """`Store.open_transfers`."""
    rows = yield from query("open_transfers", provider=provider)
    return tuple(columns.text(transfer_id) for (transfer_id,) in rows)


def call_events(columns: Columns, call: CallKey) -> Operation[tuple[Event, ...]]:
    """`Store.call_events`."""
    rows = yield from query("call_events", provider=call.provider, call_id=call.id)
    return tuple(readable(event_of(columns, row)) for row in rows)


def event_of(columns: Columns, row: Sequence[Any]) -> Event | UnreadableEvent:
    """The event of a row: partition, position, sequence, the call's provider and id, the event's JSON."""
    partition, position, sequence, provider, call_id, stored = row
    call = CallKey(columns.text(provider), columns.text(call_id))
    return event_from_json(stored, call=call, sequence=sequence, partition=partition, position=position)


# --- due work -----------------------------------------------------------------------------------------


def _wanted(providers: Collection[str] | None) -> dict[str, object]:
    return {"works": [*Work], "any_provider": providers is None, "providers": [*(providers or ())]}


def lease_due(
    columns: Columns, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None
) -> Operation[tuple[Due, ...]]:
    """`Store.lease_due`."""
    values = {"now": now, "owner": lease.owner, "until": lease.until, "limit": limit, **_wanted(providers)}
    rows, _ = yield [Statement("lease_due", values), COMMIT]
    return in_order(
        Due(transfer_id=columns.text(transfer_id), work=Work(work), at=columns.time(at), lease=lease)
        for transfer_id, work, at in rows
    )


def next_due(columns: Columns, providers: Collection[str] | None) -> Operation[datetime | None]:
    """`Store.next_due`."""
    rows = yield from query("next_due", **_wanted(providers))
    return columns.time(rows[0][0]) if rows else None


def drop_due(transfer_id: str) -> Operation[None]:
    """`Store.drop_due`."""
    yield [Statement("drop_due", {"transfer_id": transfer_id}), COMMIT]


# --- the log ------------------------------------------------------------------------------------------


def position_of(ends: Ends) -> Position:
    """The opaque position that readers receive."""
    return Position("-".join(map(str, ends)))


def ends_of(position: Position | None, number: int) -> Ends:
    """What `position_of` was given; zeros for None. Raises `StoreError` for another store's position."""
    if position is None:
        return (0,) * number
    try:
        found = tuple(map(int, position.split("-")))
    except ValueError:
        found = ()
    if len(found) != number:
        raise StoreError(f"{position!r} is not a position in this store's log")
    return found


def end_of_log() -> Operation[Ends]:
    """Where each part of the log ends."""
    rows = yield from query("end_of_log")
    return tuple(position for (position,) in rows)


def read(
    columns: Columns, after: Ends, limit: int
) -> Operation[tuple[tuple[Position, Event | UnreadableEvent], ...]]:
    """`Store.read`."""
    rows = yield from query("read_log", after=[*after], limit=limit)
    ends = [*after]
    found: list[tuple[Position, Event | UnreadableEvent]] = []
    for row in rows:
        partition, position, *_ = row
        ends[partition % len(ends)] = position  # a log that grows as a whole has one end
        found.append((position_of(tuple(ends)), event_of(columns, row)))
    return tuple(found)


# --- retention ----------------------------------------------------------------------------------------


def prune(*, before: datetime, idle_since: datetime, limit: int) -> Operation[int]:
    """`Store.prune`. Everything that belongs to a call is deleted with its row."""
    values = {"before": before, "idle_since": idle_since, "limit": limit}
    _, deleted, _ = yield [Statement("prepare_prune", values), Statement("prune", values), COMMIT]
    return len(deleted)
