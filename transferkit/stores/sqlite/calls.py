"""Calls, their requests, their due work and the log: what one transaction reads and writes of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, final

from transferkit.events import Event, Outcome
from transferkit.lifecycle import CallKey, CallState, Decision, Due, Input, Lease, Opened, Work
from transferkit.stores.contract import (
    Applied,
    KeyUsed,
    LegOccupied,
    Position,
    Step,
    StoredTransfer,
    delivery_key,
    needed_provider,
)
from transferkit.stores.encoding import (
    StateCache,
    event_from_json,
    request_from_json,
    state_from_json,
    to_json,
)
from transferkit.stores.groups import partition_of
from transferkit.stores.sqlite.columns import instant, key, micros, text
from transferkit.stores.sqlite.session import Session
from transferkit.stores.unreadable import UnreadableEvent, readable, unreadable_event

__all__ = [
    "CallWriter",
    "call_events",
    "end_of_log",
    "event_at",
    "lease_due",
    "next_due",
    "read",
    "state",
    "transfer",
]


@final
class CallWriter:
    """Runs steps inside the transaction that is open. For one thread."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._states = StateCache()

    def apply_all(
        self, session: Session, inputs: Sequence[tuple[CallKey, Input]], step: Step
    ) -> tuple[Applied, ...]:
        """What `Store.apply_all` does, within a transaction. Undo it if this raises."""
        return tuple(self._apply(session, call, happened, step) for call, happened in inputs)

    def _apply(self, session: Session, call: CallKey, happened: Input, step: Step) -> Applied:
        delivery = delivery_key(happened)
        number, state, seen = self._before(session, call, delivery)
        decision = step(call, state, happened, seen)
        if decision.opened:
            _check_free(session, decision.opened)
        if number is None or decision.state != state:
            number = self._write_call(session, number, call, decision, happened.at)
        if delivery is not None and decision.mark is not None:
            session.run(
                "INSERT INTO marks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET mark = excluded.mark",
                (number, key(delivery), key(decision.mark)),
            )
        self._append(session, number, call, decision.events)
        if decision.opened:
            _open(session, number, decision.opened)
        _write_due(session, call, decision)
        if decision.outcome:
            _conclude(session, decision.outcome)
        return Applied(
            state=decision.state,
            events=decision.events,
            proceed=decision.proceed,
            duplicate=decision.duplicate,
        )

    def _before(
        self, session: Session, call: CallKey, delivery: str | None
    ) -> tuple[int | None, CallState, str | None]:
        row = session.row(
            "SELECT number, state, mark FROM calls LEFT JOIN marks ON marks.call = number AND marks.key = ?"
            " WHERE provider = ? AND id = ?",
            (None if delivery is None else key(delivery), key(call.provider), key(call.id)),
        )
        if row is None:
            return None, CallState(), None
        number, stored, mark = row
        return number, self._states.read(number, stored, call=call), None if mark is None else text(mark)

    def _write_call(
        self, session: Session, number: int | None, call: CallKey, decision: Decision, at: datetime
    ) -> int:
        state = decision.state
        is_open = state.open is not None
        if number is None:
            stored = to_json(state)
            (number,) = session.one(
                "INSERT INTO calls (provider, id, state, open, recorded_at) VALUES (?, ?, ?, ?, ?)"
                " RETURNING number",
                (key(call.provider), key(call.id), stored, is_open, micros(at)),
            )
            self._states.keep(int(number), stored, state)
            return int(number)
        session.run(
            "UPDATE calls SET state = ?, open = ?, recorded_at = coalesce(?, recorded_at) WHERE number = ?",
            (self._states.write(number, state), is_open, micros(at) if decision.events else None, number),
        )
        return number

    def _append(self, session: Session, number: int, call: CallKey, events: Sequence[Event]) -> None:
        if not events:
            return
        partition, end = partition_of(call, self._partitions), end_of_log(session)
        session.run_each(
            "INSERT INTO events (position, partition, call, sequence, event) VALUES (?, ?, ?, ?, ?)",
            [
                (position, partition, number, event.sequence, to_json(event))
                for position, event in enumerate(events, end + 1)
            ],
        )


_REQUEST: Final = (
    "SELECT r.id, c.provider, c.id, opened, outcome FROM requests r JOIN calls c ON c.number = r.call"
)


def _check_free(session: Session, opened: Opened) -> None:
    idempotency_key = opened.request.idempotency_key
    if idempotency_key is not None:
        row = session.row(f"{_REQUEST} WHERE idempotency_key = ?", (key(idempotency_key),))
        if row is not None:
            raise KeyUsed(_stored(*row))
    for leg in opened.legs:
        row = session.row(
            "SELECT transfer_id FROM legs WHERE provider = ? AND id = ?", (key(leg.provider), key(leg.id))
        )
        if row is not None:
            raise LegOccupied(leg, text(row[0]))


def _open(session: Session, number: int, opened: Opened) -> None:
    idempotency_key = opened.request.idempotency_key
    session.run(
        "INSERT INTO requests (id, call, idempotency_key, opened) VALUES (?, ?, ?, ?)",
        (
            key(opened.id),
            number,
            None if idempotency_key is None else key(idempotency_key),
            to_json(opened),
        ),
    )
    for leg in opened.legs:
        session.run("INSERT INTO legs VALUES (?, ?, ?)", (key(leg.provider), key(leg.id), key(opened.id)))


def _write_due(session: Session, call: CallKey, decision: Decision) -> None:
    for due in decision.due:
        lease, provider = due.lease, needed_provider(call, due.work)
        session.run(
            "INSERT OR REPLACE INTO due (transfer_id, work, provider, at, owner, until)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                key(due.transfer_id),
                due.work.value,
                None if provider is None else key(provider),
                micros(due.at),
                key(lease.owner) if lease else None,
                micros(lease.until) if lease else None,
            ),
        )
    for transfer_id, work in decision.cleared:
        session.run("DELETE FROM due WHERE transfer_id = ? AND work = ?", (key(transfer_id), work.value))


def _conclude(session: Session, outcome: Outcome) -> None:
    if outcome.transfer_id is None:  # pragma: no cover - an outcome of the life cycle names its transfer
        return
    transfer_id = key(outcome.transfer_id)
    session.run("UPDATE requests SET outcome = ? WHERE id = ?", (to_json(outcome), transfer_id))
    session.run("DELETE FROM legs WHERE transfer_id = ?", (transfer_id,))


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


def state(session: Session, call: CallKey) -> CallState:
    """The call's state; a fresh one for a call never heard of."""
    row = session.row(
        "SELECT state FROM calls WHERE provider = ? AND id = ?", (key(call.provider), key(call.id))
    )
    return CallState() if row is None else state_from_json(row[0], call=call)


def transfer(session: Session, transfer_id: str) -> StoredTransfer | None:
    """A stored request by its id."""
    row = session.row(f"{_REQUEST} WHERE r.id = ?", (key(transfer_id),))
    return None if row is None else _stored(*row)


def _stored(
    transfer_id: str | bytes, provider: str | bytes, call_id: str | bytes, opened: str, outcome: str | None
) -> StoredTransfer:
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
