"""Several calls of `apply_all` in one transaction. What can be done before the file is locked is done before.

Before: read what the steps need, run them, and encode what they decided. Then, with the file locked: make
sure that no other process has changed what was read, and write. However long the steps take, and whatever
holds up this process meanwhile, no other one waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from attrs import Factory, define, field, frozen

from transferkit._lifecycle import CallKey, Due, Input, Opened, Requested
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.contract import Applied, Step, delivery_key, needed_provider
from transferkit.stores.encoding import StateCache, to_json
from transferkit.stores.sqlite.calls import call_row, end_of_log, holder_row, request_row, stored_transfer
from transferkit.stores.sqlite.columns import key, micros, text
from transferkit.stores.sqlite.session import Session
from transferkit.stores.tables import Tables

__all__ = ["Batch", "Inputs", "Result"]

Inputs = Sequence[tuple[CallKey, Input]]
Result = tuple[Applied, ...] | Exception
Row = tuple[Any, ...]


@final
@frozen
class _Found:
    """All that steps depend on, as it is stored: equal rows lead to equal decisions. None where no row is."""

    calls: Mapping[CallKey, Row | None]
    marks: Mapping[tuple[CallKey, str], Row | None]
    requests: Mapping[str, Row | None]
    holders: Mapping[CallKey, Row | None]


@final
@frozen
class _Encoded:
    """The parts of `Tables` that are stored as JSON."""

    states: dict[CallKey, str] = Factory(dict)
    events: list[tuple[CallKey, int | None, str]] = Factory(list)
    requests: list[tuple[CallKey, Opened, str]] = Factory(list)
    outcomes: dict[str, str] = Factory(dict)

    def update(self, other: _Encoded) -> None:
        """Take over what others hold."""
        self.states.update(other.states)
        self.events.extend(other.events)
        self.requests.extend(other.requests)
        self.outcomes.update(other.outcomes)


@final
@define
class Batch:
    """Calls of `apply_all` to be done in one transaction. One that raises leaves nothing behind."""

    jobs: Sequence[tuple[Inputs, Step]]
    partitions: int
    states: StateCache
    results: list[Result] = field(factory=list)
    _version: int = 0
    _found: _Found = _Found({}, {}, {}, {})
    _new: Tables = field(factory=Tables)
    _encoded: _Encoded = field(factory=_Encoded)

    @property
    def inputs(self) -> Inputs:
        """Those of all jobs."""
        return [one for inputs, _ in self.jobs for one in inputs]

    def prepare(self, session: Session) -> None:
        """Do what needs no lock."""
        with session.snapshot():
            self._version = _version(session)
            self._found = self._read(session)
        self._decide()

    def write(self, session: Session) -> None:
        """Do the rest, in the transaction that is open."""
        version = _version(session)
        if version != self._version:
            self._version, found = version, self._read(session)
            if found != self._found:
                self._found = found
                self._decide()
        self._write(session)

    # --- before the file is locked --------------------------------------------------------------------

    def _read(self, session: Session) -> _Found:
        inputs = self.inputs
        opened = [happened.opened for _, happened in inputs if isinstance(happened, Requested)]
        keys = [one for each in opened if (one := each.request.idempotency_key) is not None]
        calls = {call: call_row(session, call) for call in dict.fromkeys(call for call, _ in inputs)}
        return _Found(
            calls=calls,
            marks={
                (call, delivery): session.row(
                    "SELECT mark FROM marks WHERE call = ? AND key = ?", (row[0], key(delivery))
                )
                for call, happened in inputs
                if (delivery := delivery_key(happened)) is not None and (row := calls[call]) is not None
            },
            requests={one: request_row(session, one) for one in keys},
            holders={leg: holder_row(session, leg) for one in opened for leg in one.legs},
        )

    def _decide(self) -> None:
        """Run the steps on what was found, and encode what they decided."""
        read = self._known()
        self._new, self._encoded, self.results = Tables(), _Encoded(), []
        for inputs, step in self.jobs:
            mine = Tables()
            seen = mine.over(self._new.over(read))
            try:
                applied = tuple(seen.apply(call, happened, step) for call, happened in inputs)
                encoded = self._encode(mine)
            except Exception as error:  # noqa: BLE001 - it is its caller's; the others go on
                self.results.append(error)
            else:
                self._new.update(mine)
                self._encoded.update(encoded)
                self.results.append(applied)

    def _known(self) -> Tables:
        found, known = self._found, Tables()
        for call, row in found.calls.items():
            if row is not None:
                with known.reading(call):
                    known.calls[call] = self.states.read(call, row[1])
        for delivery, row in found.marks.items():
            if row is not None:
                known.marks[delivery] = text(row[0])
        for idempotency_key, row in found.requests.items():
            if row is not None:
                with known.reading(idempotency_key):
                    known.keys[idempotency_key] = stored_transfer(row)
        for leg, row in found.holders.items():
            known.legs[leg] = None if row is None else text(row[0])
        return known

    def _encode(self, mine: Tables) -> _Encoded:
        return _Encoded(
            states={call: self.states.write(call, state) for call, state in mine.calls.items()},
            events=[(call, event.sequence, to_json(event)) for call, event in mine.events],
            requests=[(call, opened, to_json(opened)) for call, opened in mine.opened.values()],
            outcomes={id_: to_json(outcome) for id_, outcome in mine.outcomes.items()},
        )

    # --- with the file locked -------------------------------------------------------------------------

    def _write(self, session: Session) -> None:
        new, encoded, numbers = self._new, self._encoded, self._write_calls(session)
        places = enumerate(encoded.events, end_of_log(session) + 1) if encoded.events else ()
        session.run_each(
            "INSERT INTO events (position, partition, call, sequence, event) VALUES (?, ?, ?, ?, ?)",
            [
                (position, partition_of(call, self.partitions), numbers[call], sequence, stored)
                for position, (call, sequence, stored) in places
            ],
        )
        session.run_each(
            "INSERT INTO marks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET mark = excluded.mark",
            [(numbers[call], key(delivery), key(mark)) for (call, delivery), mark in new.marks.items()],
        )
        session.run_each(
            "INSERT INTO requests (id, call, idempotency_key, opened) VALUES (?, ?, ?, ?)",
            [
                (key(opened.id), numbers[call], _key_or_none(opened.request.idempotency_key), stored)
                for call, opened, stored in encoded.requests
            ],
        )
        outcomes = [(stored, key(transfer_id)) for transfer_id, stored in encoded.outcomes.items()]
        session.run_each("UPDATE requests SET outcome = ? WHERE id = ?", outcomes)
        session.run_each("DELETE FROM legs WHERE transfer_id = ?", [(held,) for _, held in outcomes])
        session.run_each(
            "INSERT INTO legs VALUES (?, ?, ?)",
            [
                (key(leg.provider), key(leg.id), key(holder))
                for leg, holder in new.legs.items()
                if holder is not None
            ],
        )
        session.run_each(
            "DELETE FROM due WHERE transfer_id = ? AND work = ?",
            [(key(transfer_id), work.value) for (transfer_id, work), row in new.due.items() if row is None],
        )
        session.run_each(
            "INSERT OR REPLACE INTO due (transfer_id, work, provider, at, owner, until)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [_due_row(*row) for row in new.due.values() if row is not None],
        )

    def _write_calls(self, session: Session) -> Mapping[CallKey, int]:
        """Write the states that changed; returns the numbers of all calls concerned."""
        (last,) = session.one("SELECT coalesce(max(number), 0) FROM calls")
        numbers: dict[CallKey, int] = {}
        made: list[Row] = []
        changed: list[Row] = []
        for call, row in self._found.calls.items():
            numbers[call], before = row or (last + len(made) + 1, None)
            stored = self._encoded.states.get(call, before)
            at = self._new.recorded_at.get(call)
            recorded_at = None if at is None else micros(at)
            if stored == before:
                continue
            is_open = self._new.calls[call].open is not None
            if row is None:
                made.append((numbers[call], key(call.provider), key(call.id), stored, is_open, recorded_at))
            else:
                changed.append((stored, is_open, recorded_at, numbers[call]))
        session.run_each(
            "INSERT INTO calls (number, provider, id, state, open, recorded_at) VALUES (?, ?, ?, ?, ?, ?)",
            made,
        )
        session.run_each(
            "UPDATE calls SET state = ?, open = ?, recorded_at = coalesce(?, recorded_at) WHERE number = ?",
            changed,
        )
        return numbers


def _version(session: Session) -> int:
    """A number that changes with every commit of another connection."""
    (version,) = session.one("PRAGMA data_version")
    return int(version)


def _due_row(call: CallKey, due: Due) -> Row:
    lease = due.lease
    return (
        key(due.transfer_id),
        due.work.value,
        _key_or_none(needed_provider(call, due.work)),
        micros(due.at),
        key(lease.owner) if lease else None,
        micros(lease.until) if lease else None,
    )


def _key_or_none(value: str | None) -> str | bytes | None:
    return None if value is None else key(value)
