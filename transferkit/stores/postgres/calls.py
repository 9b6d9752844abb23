"""Calls, their requests, their due work and the log: what single statements read and lease of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from transferkit._lifecycle import CallKey, CallState, Due, Lease, Work
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome
from transferkit.stores.contract import Position, StoredTransfer
from transferkit.stores.encoding import event_from_json, request_from_json, state_from_json
from transferkit.stores.postgres.columns import array, lookup, text, utc, written
from transferkit.stores.postgres.session import Session
from transferkit.stores.unreadable import UnreadableEvent, readable, unreadable_event

__all__ = [
    "Ends",
    "call_events",
    "ends",
    "ends_at",
    "event_of",
    "lease_due",
    "next_due",
    "place",
    "read",
    "state",
    "stored_transfer",
    "transfer",
]

Ends = tuple[int, ...]
"""For each partition, the position of an event: where a reader is, or where the log ends."""


async def state(session: Session, call: CallKey) -> CallState:
    """The call's state; a fresh one for a call never heard of."""
    rows = await session.rows(
        "SELECT state FROM tk.calls WHERE provider = %s AND id = %s", (lookup(call.provider), lookup(call.id))
    )
    return state_from_json(rows[0][0], call=call) if rows else CallState()


async def transfer(session: Session, transfer_id: str) -> StoredTransfer | None:
    """A stored request by its id."""
    rows = await session.rows(
        "SELECT r.id, c.provider, c.id, r.opened, r.outcome"
        " FROM tk.requests r JOIN tk.calls c ON c.number = r.call WHERE r.id = %s",
        (written(transfer_id),),
    )
    return stored_transfer(rows[0]) if rows else None


async def outcomes(session: Session, transfer_ids: Collection[str]) -> dict[str, Outcome | None]:
    """What `Store.outcomes` does, in one statement."""
    rows = await session.rows(
        "SELECT r.id, c.provider, c.id, r.opened, r.outcome"
        " FROM tk.requests r JOIN tk.calls c ON c.number = r.call"
        " WHERE r.id = ANY(%s::text[]) AND r.outcome IS NOT NULL",
        (array(map(written, transfer_ids)),),
    )
    found = [stored_transfer(row) for row in rows]
    return {**dict.fromkeys(transfer_ids), **{stored.opened.id: stored.outcome for stored in found}}


def stored_transfer(row: Sequence[Any]) -> StoredTransfer:
    """The request of a row: its id, the call's provider and id, its JSON and its outcome's."""
    transfer_id, provider, call_id, opened, outcome = row
    call = CallKey(text(provider), text(call_id))
    return request_from_json(opened, outcome, transfer_id=text(transfer_id), call=call)


async def call_events(session: Session, call: CallKey) -> tuple[Event, ...]:
    """The call's events, in sequence."""
    rows = await session.rows(
        "SELECT e.partition, e.position, e.sequence, c.provider, c.id, e.event"
        " FROM tk.events e JOIN tk.calls c ON c.number = e.call"
        " WHERE c.provider = %s AND c.id = %s ORDER BY e.sequence",
        (lookup(call.provider), lookup(call.id)),
    )
    return tuple(readable(event_of(row)) for row in rows)


# --- due work -----------------------------------------------------------------------------------------


def _doable(providers: Collection[str] | None) -> tuple[list[str], bool, list[str]]:
    """The known kinds of work, whether any provider's is wanted, and if not, whose adapters the asker has."""
    return [*Work], providers is None, [*map(lookup, providers or ())]


async def lease_due(
    session: Session, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None
) -> tuple[Due, ...]:
    """What `Store.lease_due` does, in one statement. What another process takes this moment is left to it."""
    leased = session.execute(
        "WITH free AS MATERIALIZED ("
        "  SELECT transfer_id, work FROM tk.due WHERE free_at <= %s AND work = ANY(%s::text[])"
        "  AND (%s OR provider IS NULL OR provider = ANY(%s::text[])) ORDER BY at LIMIT %s"
        "  FOR UPDATE SKIP LOCKED"
        ") UPDATE tk.due d SET owner = %s, until = %s FROM free"
        " WHERE d.transfer_id = free.transfer_id AND d.work = free.work"
        " RETURNING d.transfer_id, d.work, d.at",
        (now, *_doable(providers), limit, written(lease.owner), lease.until),
    )
    await session.commit()
    return tuple(
        Due(transfer_id=text(transfer_id), work=Work(work), at=utc(at), lease=lease)
        for transfer_id, work, at in sorted(leased.rows, key=lambda row: row[2])
    )


async def next_due(session: Session, providers: Collection[str] | None) -> datetime | None:
    """When the first work is due that nobody holds by then."""
    rows = await session.rows(
        "SELECT free_at FROM tk.due WHERE work = ANY(%s::text[])"
        " AND (%s OR provider IS NULL OR provider = ANY(%s::text[])) ORDER BY free_at LIMIT 1",
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


async def read(
    session: Session, after: Sequence[int], limit: int
) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
    """Events after these positions, of each partition in the order of its commits, the older ones first."""
    rows = await session.rows(
        "SELECT e.partition, e.position, e.sequence, c.provider, c.id, e.event"
        " FROM unnest(%s::int[], %s::bigint[]) AS a (partition, position) CROSS JOIN LATERAL ("
        "  SELECT * FROM tk.events WHERE partition = a.partition AND position > a.position"
        "  ORDER BY position LIMIT %s"
        " ) e JOIN tk.calls c ON c.number = e.call ORDER BY e.number LIMIT %s",
        ([*range(len(after))], [*after], limit, limit),
    )
    at = [*after]
    found: list[tuple[Position, Event | UnreadableEvent]] = []
    for row in rows:
        partition, position, *_ = row
        at[partition] = position
        found.append((place(tuple(at)), event_of(row)))
    return tuple(found)


def event_of(row: Sequence[Any]) -> Event | UnreadableEvent:
    """The event of a row: partition, position, sequence, the call's provider and id, the event's JSON."""
    partition, position, sequence, provider, call_id, stored = row
    try:
        return event_from_json(stored)
    except Exception as error:  # noqa: BLE001 - cattrs has many kinds, and all mean the same here
        call = CallKey(text(provider), text(call_id))
        return unreadable_event(
            stored, error, call=call, sequence=sequence, partition=partition, position=position
        )
