"""All that one commit writes, as one statement that writes nothing where a call has changed meanwhile.

The statement is a transaction by itself: its locks are taken and given back while the server executes it. It
locks the calls concerned in the order of their numbers, and of everything else the rows in the order of their
keys, so that two of these statements do not wait for each other.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final, final

from attrs import define, field

from transferkit._lifecycle import CallKey, Due, Opened
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.contract import needed_provider
from transferkit.stores.encoding import StateCache, to_json
from transferkit.stores.postgres.columns import array, arrays, call_columns, lookup, written
from transferkit.stores.postgres.reading import EventRow, Read
from transferkit.stores.postgres.session import SETTINGS
from transferkit.stores.postgres.statement import Statement
from transferkit.stores.tables import Tables

__all__ = ["Writing"]

_STAMP_BITS: Final = 63
_NUMBER_BITS: Final = 31


@final
@define
class Writing:
    """What the steps changed of what was read, and the statement that writes it."""

    read: Read
    new: Tables
    partitions: int
    states: StateCache
    stamp: int = field(init=False, factory=lambda: secrets.randbits(_STAMP_BITS))
    _numbers: Mapping[CallKey, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._numbers = _numbers(self.read, self.new)

    @property
    def first_event(self) -> EventRow | None:
        """One of the events that the statement writes; None if it writes none."""
        for call, event in self.new.events:
            return EventRow(self._numbers[call], event.sequence or 0, self.stamp)
        return None

    def statement(self) -> Statement:
        """It returns whether anything was written, and where the log of each partition that grew ends."""
        statement = self._locking()
        self._write_calls(statement)
        self._write_marks(statement)
        self._write_requests(statement)
        self._write_due(statement)
        if self.new.events:
            self._write_events(statement)
            statement.add(" SELECT yes, moved.partition, moved.position FROM fresh LEFT JOIN moved ON true")
        else:
            statement.add(" SELECT yes, NULL, NULL FROM fresh")
        return statement

    def _locking(self) -> Statement:
        """Lock the calls concerned, and see whether they are as they were read.

        The legs of a new request are locked as well: before pruning removes a call it looks at nothing else.
        """
        concerned = {*self.new.changed, *self.new.legs}
        rows = [(row.number, row.stamp) for call in concerned if (row := self.read.rows.get(call))]
        return Statement(
            f"WITH settings AS MATERIALIZED ({SETTINGS}), locked AS MATERIALIZED ("  # noqa: S608 - fixed words
            " SELECT c.number FROM settings"
            " CROSS JOIN unnest(%s::bigint[], %s::bigint[]) AS a (number, stamp)"
            " JOIN tk.calls c USING (number, stamp) ORDER BY c.number FOR NO KEY UPDATE OF c"
            "), fresh AS MATERIALIZED ("
            " SELECT (SELECT count(*) FROM locked) = %s AS yes FROM settings"
            ")",
            [*arrays(rows, 2), len(rows)],
        )

    def _write_calls(self, statement: Statement) -> None:
        made: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        for call in sorted(self.new.changed, key=call_columns):
            number, state = self._numbers[call], self.new.calls[call]
            row = (number, self.states.write(call, state), state.open is not None)
            if call in self.read.rows:
                changed.append((*row, self.new.recorded_at.get(call)))
            else:
                made.append((*row, *call_columns(call), self.new.recorded_at[call]))
        if made:
            statement.add(
                ", made AS ("
                " INSERT INTO tk.calls (number, state, open, provider, id, created_at, recorded_at, stamp)"
                " SELECT a.number, a.state, a.open, a.provider, a.id, a.at, a.at, %s FROM fresh JOIN unnest("
                "%s::bigint[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::timestamptz[]"
                ") AS a (number, state, open, provider, id, at) ON fresh.yes"
                ")",
                self.stamp,
                *arrays(made, 6),
            )
        if changed:
            statement.add(
                ", changed AS ("
                " UPDATE tk.calls c"
                " SET state = a.state, open = a.open, recorded_at = coalesce(a.at, c.recorded_at), stamp = %s"
                " FROM fresh JOIN unnest(%s::bigint[], %s::text[], %s::bool[], %s::timestamptz[])"
                " AS a (number, state, open, at) ON fresh.yes WHERE c.number = a.number"
                ")",
                self.stamp,
                *arrays(changed, 4),
            )

    def _write_marks(self, statement: Statement) -> None:
        marks = sorted(
            (self._numbers[call], lookup(key), written(mark))
            for (call, key), mark in self.new.marks.items()
            if call in self._numbers
        )
        if marks:
            statement.add(
                ", marked AS ("
                " INSERT INTO tk.marks (call, key, mark) SELECT a.call, a.key, a.mark FROM fresh"
                " JOIN unnest(%s::bigint[], %s::text[], %s::text[]) AS a (call, key, mark) ON fresh.yes"
                " ON CONFLICT (call, key) DO UPDATE SET mark = excluded.mark"
                ")",
                *arrays(marks, 3),
            )

    def _write_requests(self, statement: Statement) -> None:
        ended = {id_: to_json(outcome) for id_, outcome in self.new.outcomes.items()}
        if self.new.opened:
            requests = [
                (*self._request(call, opened), ended.pop(opened.id, None))
                for call, opened in sorted(self.new.opened.values(), key=_idempotency_key)
            ]
            statement.add(
                ", asked AS ("
                " INSERT INTO tk.requests (id, call, idempotency_key, opened, outcome)"
                " SELECT a.id, a.call, a.key, a.opened, a.outcome"
                " FROM fresh JOIN unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])"
                " AS a (id, call, key, opened, outcome) ON fresh.yes"
                ")",
                *arrays(requests, 5),
            )
        if ended:
            outcomes = sorted((written(id_), outcome) for id_, outcome in ended.items())
            statement.add(
                ", ended AS ("
                " UPDATE tk.requests r SET outcome = a.outcome FROM fresh"
                " JOIN unnest(%s::text[], %s::text[]) AS a (id, outcome) ON fresh.yes WHERE r.id = a.id"
                "), freed AS ("
                " DELETE FROM tk.legs l USING fresh"
                " WHERE fresh.yes AND l.transfer_id = ANY(%s::text[]) RETURNING 1"
                ")",
                *arrays(outcomes, 2),
                array(id_ for id_, _ in outcomes),
            )
        legs = sorted(
            (*call_columns(leg), written(holder))
            for leg, holder in self.new.legs.items()
            if holder is not None
        )
        if legs:
            statement.add(
                ", occupied AS ("
                " INSERT INTO tk.legs (provider, id, transfer_id) SELECT a.provider, a.id, a.transfer_id"
                " FROM fresh JOIN unnest(%s::text[], %s::text[], %s::text[]) AS a (provider, id, transfer_id)"
                " ON fresh.yes",
                *arrays(legs, 3),
            )
            # Only after those are free that become so in the same commit.
            statement.add(" WHERE (SELECT count(*) FROM freed) >= 0)" if ended else ")")

    def _request(self, call: CallKey, opened: Opened) -> tuple[object, ...]:
        key = opened.request.idempotency_key
        return (
            written(opened.id),
            self._numbers[call],
            None if key is None else lookup(key),
            to_json(opened),
        )

    def _write_due(self, statement: Statement) -> None:
        due = self.new.due
        cleared = sorted((written(id_), work.value) for (id_, work), row in due.items() if row is None)
        if cleared:
            statement.add(
                ", cleared AS ("
                " DELETE FROM tk.due d USING fresh, unnest(%s::text[], %s::text[]) AS a (transfer_id, work)"
                " WHERE fresh.yes AND d.transfer_id = a.transfer_id AND d.work = a.work"
                ")",
                *arrays(cleared, 2),
            )
        set_anew = sorted((_due_row(*row) for row in due.values() if row), key=lambda row: row[:2])
        if set_anew:
            statement.add(
                ", due AS ("
                " INSERT INTO tk.due (transfer_id, work, provider, at, owner, until)"
                " SELECT a.transfer_id, a.work, a.provider, a.at, a.owner, a.until FROM fresh JOIN unnest("
                "%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::timestamptz[]"
                ") AS a (transfer_id, work, provider, at, owner, until) ON fresh.yes"
                " ON CONFLICT (transfer_id, work) DO UPDATE"
                " SET at = excluded.at, owner = excluded.owner, until = excluded.until"
                ")",
                *arrays(set_anew, 6),
            )

    def _write_events(self, statement: Statement) -> None:
        """Append to the log. A partition's row is locked from when its positions are given to the commit."""
        counts: Counter[int] = Counter()
        rows: list[tuple[object, ...]] = []
        for call, event in self.new.events:
            partition = partition_of(call, self.partitions)
            counts[partition] += 1
            rows.append((partition, counts[partition], self._numbers[call], event.sequence, to_json(event)))
        statement.add(
            ", places AS MATERIALIZED ("
            " SELECT p.partition, p.position FROM tk.partitions p"
            " WHERE p.partition = ANY(%s::int[]) AND (SELECT yes FROM fresh)"
            " ORDER BY p.partition FOR NO KEY UPDATE"
            "), appended AS ("
            # Ordered, so that `number` goes up with the positions of a partition.
            " INSERT INTO tk.events (partition, position, call, sequence, event, stamp)"
            " SELECT partition, p.position + a.nth, a.call, a.sequence, a.event, %s"
            " FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])"
            "  WITH ORDINALITY AS a (partition, nth, call, sequence, event, i)"
            " JOIN places p USING (partition) ORDER BY a.i"
            "), moved AS ("
            " UPDATE tk.partitions p SET position = l.position + a.count"
            " FROM unnest(%s::int[], %s::bigint[]) AS a (partition, count) JOIN places l USING (partition)"
            " WHERE p.partition = l.partition RETURNING p.partition, p.position"
            ")",
            array(counts),
            self.stamp,
            *arrays(rows, 5),
            *arrays(counts.items(), 2),
        )


def _numbers(read: Read, new: Tables) -> Mapping[CallKey, int]:
    """The number of each call that changes. A new call's is made up, larger the younger the call is.

    A counter would be locked from when it gives a number to the commit.
    """
    made = int(time.time()) << _NUMBER_BITS | secrets.randbits(_NUMBER_BITS)
    numbers: dict[CallKey, int] = {}
    for call in new.changed:
        row = read.rows.get(call)
        if row is None:
            made += 1
        numbers[call] = made if row is None else row.number
    return numbers


def _idempotency_key(opened: tuple[CallKey, Opened]) -> str:
    return opened[1].request.idempotency_key or ""


def _due_row(call: CallKey, due: Due) -> tuple[str, str, str | None, object, str | None, object]:
    lease, provider = due.lease, needed_provider(call, due.work)
    owner, until = (written(lease.owner), lease.until) if lease else (None, None)
    needed = None if provider is None else lookup(provider)
    return written(due.transfer_id), due.work.value, needed, due.at, owner, until
