"""Calls, their requests, their due work and the log: what is read of them, and due work that is leased."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from transferkit._lifecycle import CallKey, CallState, Due, Lease, Work
from transferkit.events import Event
from transferkit.stores.contract import Position, StoredTransfer
from transferkit.stores.encoding import event_from_json, request_from_json, state_from_json
from transferkit.stores.sqlite.columns import instant, key, micros, text
from transferkit.stores.sqlite.session import Session
from transferkit.stores.unreadable import UnreadableEvent, readable, unreadable_event

__all__ = [
    "call_events",
    "call_row",
    "end_of_log",
    "event_at",
    "holder_row",
    "lease_due",
    "next_due",
    "read",
    "request_row",
    "state",
    "stored_transfer",
    "transfer",
]


def _doable(providers: Collection[str] | None) -> tuple[str, list[str | bytes]]:
    """The condition, with its values, that due work is of a known kind and needs none but these adapters."""
    known: list[str | bytes] = [*Work]
    condition = f"work IN ({_places(known)})"
    if providers is None:
        return condition, known
    needed = [key(provider) for provider in providers]
    return f"{condition} AND (provider IS NULL OR provider IN ({_places(needed)}))", known + needed


def _places(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def lease_due(
    session: Session, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None
) -> tuple[Due, ...]:
    """What `Store.lease_due` does, within a transaction."""
    doable, values = _doable(providers)
    rows = session.rows(
        f"SELECT transfer_id, work, at FROM due WHERE free_at <= ? AND {doable} ORDER BY at LIMIT ?",  # noqa: S608
        (micros(now), *values, limit),
    )
    session.run_each(
        "UPDATE due SET owner = ?, until = ? WHERE transfer_id = ? AND work = ?",
        [(key(lease.owner), micros(lease.until), transfer_id, work) for transfer_id, work, _ in rows],
    )
    return tuple(
        Due(transfer_id=text(transfer_id), work=Work(work), at=instant(at), lease=lease)
        for transfer_id, work, at in rows
    )


# --- reading ----------------------------------------------------------------------------------------

_REQUEST: Final = (
    "SELECT r.id, c.provider, c.id, opened, outcome FROM requests r JOIN calls c ON c.number = r.call"
)


def call_row(session: Session, call: CallKey) -> tuple[int, str] | None:
    """A call's number and state, as it is stored."""
    row = session.row(
        "SELECT number, state FROM calls WHERE provider = ? AND id = ?", (key(call.provider), key(call.id))
    )
    return None if row is None else (row[0], row[1])


def holder_row(session: Session, leg: CallKey) -> tuple[Any, ...] | None:
    """The id of the open transfer that a call is a leg of."""
    return session.row(
        "SELECT transfer_id FROM legs WHERE provider = ? AND id = ?", (key(leg.provider), key(leg.id))
    )


def request_row(session: Session, idempotency_key: str) -> tuple[Any, ...] | None:
    """What `stored_transfer` takes, of the request that has the key."""
    return session.row(f"{_REQUEST} WHERE idempotency_key = ?", (key(idempotency_key),))


def state(session: Session, call: CallKey) -> CallState:
    """The call's state; a fresh one for a call never heard of."""
    row = call_row(session, call)
    return CallState() if row is None else state_from_json(row[1], call=call)


def transfer(session: Session, transfer_id: str) -> StoredTransfer | None:
    """A stored request by its id."""
    row = session.row(f"{_REQUEST} WHERE r.id = ?", (key(transfer_id),))
    return None if row is None else stored_transfer(row)


def stored_transfer(row: Sequence[Any]) -> StoredTransfer:
    """The request of a row: its id, the call's provider and id, its JSON and its outcome's."""
    transfer_id, provider, call_id, opened, outcome = row
    call = CallKey(text(provider), text(call_id))
    return request_from_json(opened, outcome, transfer_id=text(transfer_id), call=call)


def call_events(session: Session, call: CallKey) -> tuple[Event, ...]:
    """The call's events, in sequence."""
    rows = session.rows(
        "SELECT position, event FROM events"
        " WHERE call = (SELECT number FROM calls WHERE provider = ? AND id = ?) ORDER BY sequence",
        (key(call.provider), key(call.id)),
    )
    return tuple(readable(event_at(session, *row)) for row in rows)


def next_due(session: Session, providers: Collection[str] | None) -> datetime | None:
    """When the first work is due that nobody holds by then."""
    doable, values = _doable(providers)
    row = session.row(
        f"SELECT free_at FROM due WHERE {doable} ORDER BY free_at LIMIT 1",  # noqa: S608 - as above
        values,
    )
    return None if row is None else instant(row[0])


def end_of_log(session: Session) -> int:
    """The position of the last event ever, be it pruned."""
    (end,) = session.one("SELECT max(pruned, coalesce((SELECT max(position) FROM events), 0)) FROM meta")
    return int(end)


def read(session: Session, after: int, limit: int) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
    """Events after a position, in the order of the log."""
    rows = session.rows(
        "SELECT position, event FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
    )
    return tuple((Position(str(position)), event_at(session, position, stored)) for position, stored in rows)


def event_at(session: Session, position: int, stored: str) -> Event | UnreadableEvent:
    """The event of that position, whose row has this JSON."""
    try:
        return event_from_json(stored)
    except Exception as error:  # noqa: BLE001 - cattrs has many kinds, and all mean the same here
        sequence, partition, provider, call_id = session.one(
            "SELECT sequence, partition, provider, id FROM events JOIN calls ON number = call"
            " WHERE position = ?",
            (position,),
        )
        call = CallKey(text(provider), text(call_id))
        return unreadable_event(
            stored, error, call=call, sequence=sequence, partition=partition, position=position
        )
