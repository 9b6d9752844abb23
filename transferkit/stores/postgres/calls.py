"""Calls, their requests, their due work and the log: what single statements read and lease of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from transferkit.errors import StoreError
from transferkit.events import Event, Outcome
from transferkit.lifecycle import CallKey, CallState, Due, Lease, Opened, Work
from transferkit.stores.contract import Position, StoredTransfer
from transferkit.stores.encoding import from_json
from transferkit.stores.postgres.columns import lookup, text, utc, written
from transferkit.stores.postgres.session import Session

__all__ = [
    "Ends",
    "call_events",
    "ends",
    "ends_at",
    "lease_due",
    "next_due",
    "place",
    "read",
    "state",
    "transfer",
]

Ends = tuple[int, ...]
"""For each partition, the position of an event: where a reader is, or where the log ends."""


async def state(session: Session, call: CallKey) -> CallState:
    """The call's state; a fresh one for a call never heard of."""
    rows = await session.rows(
        "SELECT state FROM tk.calls WHERE provider = %s AND id = %s", (lookup(call.provider), lookup(call.id))
    )
    return from_json(CallState, rows[0][0]) if rows else CallState()


async def transfer(session: Session, transfer_id: str) -> StoredTransfer | None:
    """A stored request by its id."""
    rows = await session.rows(
        "SELECT opened, outcome FROM tk.requests WHERE id = %s", (written(transfer_id),)
    )
    if not rows:
        return None
    ((opened, outcome),) = rows
    # An outcome is read as any event is: by its kind.
    ended = None if outcome is None else from_json(Event, outcome)
    return StoredTransfer(
        opened=from_json(Opened, opened), outcome=ended if isinstance(ended, Outcome) else None
    )


async def call_events(session: Session, call: CallKey) -> tuple[Event, ...]:
    """The call's events, in sequence."""
    rows = await session.rows(
        "SELECT event FROM tk.events"
        " WHERE call = (SELECT number FROM tk.calls WHERE provider = %s AND id = %s) ORDER BY sequence",
        (lookup(call.provider), lookup(call.id)),
    )
    return tuple(from_json(Event, event) for (event,) in rows)


# --- due work -----------------------------------------------------------------------------------------


def _doable(providers: Collection[str] | None) -> tuple[bool, list[str]]:
    """Whether all work is wanted, and if not, the providers whose adapters the asker has."""
    return providers is None, [*map(lookup, providers or ())]


async def lease_due(
    session: Session, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None
) -> tuple[Due, ...]:
    """What `Store.lease_due` does, in one statement. What another process takes this moment is left to it."""
    rows = await session.rows(
        "WITH free AS MATERIALIZED ("
        "  SELECT transfer_id, work FROM tk.due WHERE free_at <= %s"
        "  AND (%s OR provider IS NULL OR provider = ANY(%s::text[])) ORDER BY at LIMIT %s"
        "  FOR UPDATE SKIP LOCKED"
        ") UPDATE tk.due d SET owner = %s, until = %s FROM free"
        " WHERE d.transfer_id = free.transfer_id AND d.work = free.work"
        " RETURNING d.transfer_id, d.work, d.at",
        (now, *_doable(providers), limit, written(lease.owner), lease.until),
    )
    return tuple(
        Due(transfer_id=text(transfer_id), work=Work(work), at=utc(at), lease=lease)
        for transfer_id, work, at in sorted(rows, key=lambda row: row[2])
    )


async def next_due(session: Session, providers: Collection[str] | None) -> datetime | None:
    """When the first work is due that nobody holds by then."""
    rows = await session.rows(
        "SELECT free_at FROM tk.due WHERE %s OR provider IS NULL OR provider = ANY(%s::text[])"
        " ORDER BY free_at LIMIT 1",
        _doable(providers),
    )
    return utc(rows[0][0]) if rows else None


# --- the log ------------------------------------------------------------------------------------------


def place(ends: Ends) -> Position:
    """Positions as the opaque text that readers get."""
    return Position("-".join(map(str, ends)))


def ends_at(position: Position | None, partitions: int) -> Ends:
    """What `place` was given; None is before the oldest event. Raises `StoreError` for anything else."""
    if position is None:
        return (0,) * partitions
    try:
        found = tuple(map(int, position.split("-")))
    except ValueError:
        found = ()
    if len(found) != partitions:
        raise StoreError("that place in the log is not one of this store's")
    return found


async def ends(session: Session) -> Ends:
    """Where each partition's log ends."""
    rows = await session.rows("SELECT position FROM tk.partitions ORDER BY partition")
    return tuple(position for (position,) in rows)


async def read(session: Session, after: Sequence[int], limit: int) -> tuple[tuple[Position, Event], ...]:
    """Events after these positions, of each partition in the order of its commits, the older ones first."""
    rows = await session.rows(
        "SELECT e.partition, e.position, e.event"
        " FROM unnest(%s::int[], %s::bigint[]) AS a (partition, position) CROSS JOIN LATERAL ("
        "  SELECT * FROM tk.events WHERE partition = a.partition AND position > a.position"
        "  ORDER BY position LIMIT %s"
        " ) e ORDER BY e.number LIMIT %s",
        ([*range(len(after))], [*after], limit, limit),
    )
    at = [*after]
    found: list[tuple[Position, Event]] = []
    for partition, position, event in rows:
        at[partition] = position
        found.append((place(tuple(at)), from_json(Event, event)))
    return tuple(found)
