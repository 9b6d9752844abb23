"""What the steps of one commit may ask for, read in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar, final

from attrs import Factory, define, frozen

from transferkit._lifecycle import CallKey, Input, Requested
from transferkit.stores.contract import delivery_key
from transferkit.stores.encoding import StateCache
from transferkit.stores.postgres.calls import stored_transfer
from transferkit.stores.postgres.columns import array, arrays, call_columns, lookup, text
from transferkit.stores.postgres.session import Session
from transferkit.stores.postgres.statement import Statement
from transferkit.stores.tables import Tables

__all__ = ["CallRow", "EventRow", "Read", "read_calls"]

T = TypeVar("T")


@final
@frozen
class CallRow:
    """A call's number, and the stamp of the commit that wrote its row last."""

    number: int
    stamp: int


@final
@frozen
class EventRow:
    """Where an event is, and the stamp of the commit that wrote it."""

    call: int
    sequence: int
    stamp: int


@final
@define
class Read:
    """What was found. `rows` are those of the calls that exist, `stamps` those of the events looked for."""

    tables: Tables = Factory(Tables)
    rows: dict[CallKey, CallRow] = Factory(dict)
    stamps: set[int] = Factory(set)


async def read_calls(
    session: Session,
    inputs: Sequence[tuple[CallKey, Input]],
    *,
    states: StateCache,
    look_for: Collection[EventRow],
) -> Read:
    """Read what the steps may ask for, all as of one moment, and lock nothing."""
    opened = [happened.opened for _, happened in inputs if isinstance(happened, Requested)]
    legs = _unique(leg for one in opened for leg in one.legs)
    calls = _unique([*(call for call, _ in inputs), *legs])
    keys = _unique(key for one in opened if (key := one.request.idempotency_key) is not None)
    deliveries = _unique((call, key) for call, happened in inputs if (key := delivery_key(happened)))
    query = Statement(
        "SELECT 'call', a.i, c.number, c.stamp, c.state, NULL, NULL, NULL, NULL"
        " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS a (provider, id, i)"
        " JOIN tk.calls c USING (provider, id)",
        [*arrays(map(call_columns, calls), 2)],
    )
    if deliveries:
        query.add(
            " UNION ALL SELECT 'mark', a.i, NULL, NULL, m.mark, NULL, NULL, NULL, NULL"
            " FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS a (provider, id, key, i)"
            " JOIN tk.calls c USING (provider, id) JOIN tk.marks m ON m.call = c.number AND m.key = a.key",
            *arrays(((*call_columns(call), lookup(key)) for call, key in deliveries), 3),
        )
    if keys:
        query.add(
            " UNION ALL SELECT 'key', a.i, NULL, NULL, r.id, c.provider, c.id, r.opened, r.outcome"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS a (key, i)"
            " JOIN tk.requests r ON r.idempotency_key = a.key JOIN tk.calls c ON c.number = r.call",
            array(map(lookup, keys)),
        )
    if legs:
        query.add(
            " UNION ALL SELECT 'leg', a.i, NULL, NULL, l.transfer_id, NULL, NULL, NULL, NULL"
            " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS a (provider, id, i)"
            " JOIN tk.legs l USING (provider, id)",
            *arrays(map(call_columns, legs), 2),
        )
    if look_for:
        query.add(
            " UNION ALL SELECT 'event', NULL, NULL, e.stamp, NULL, NULL, NULL, NULL, NULL"
            " FROM unnest(%s::bigint[], %s::int[], %s::bigint[]) AS a (call, sequence, stamp)"
            " JOIN tk.events e USING (call, sequence, stamp)",
            *arrays(((row.call, row.sequence, row.stamp) for row in look_for), 3),
        )
    read = Read()
    tables = read.tables
    for what, i, number, stamp, *row in await session.rows(query.text, query.values):
        match what:
            case "call":
                call = calls[i - 1]
                read.rows[call] = CallRow(number, stamp)
                with tables.reading(call):
                    tables.calls[call] = states.read(call, row[0])
            case "mark":
                tables.marks[deliveries[i - 1]] = text(row[0])
            case "key":
                with tables.reading(keys[i - 1]):
                    tables.keys[keys[i - 1]] = stored_transfer(row)
            case "leg":
                tables.legs[legs[i - 1]] = text(row[0])
            case _:
                read.stamps.add(stamp)
    return read


def _unique(values: Iterable[T]) -> list[T]:
    return [*dict.fromkeys(values)]
