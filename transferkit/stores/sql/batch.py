"""Several calls of `apply_all` in one commit: the rows to read, the decisions, the rows to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

from attrs import Factory, define, frozen

from transferkit._lifecycle import CallKey, Due, Opened
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.contract import Step, needed_provider
from transferkit.stores.encoding import state_from_json, to_json
from transferkit.stores.sql.calls import stored_transfer
from transferkit.stores.sql.statements import Columns, Rows
from transferkit.stores.transaction import Inputs, Needed, Result, Tables

__all__ = ["COLUMNS", "CallRow", "Decided", "Jobs", "Read", "decide"]

Jobs = Sequence[tuple[Inputs, Step]]
"""Calls of `apply_all`."""

COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "new_calls": ("number", "provider", "call_id", "state", "open", "at"),
    "changed_calls": ("number", "state", "open", "at"),
    "marks": ("number", "key", "mark"),
    "requests": ("transfer_id", "number", "key", "opened", "outcome"),
    "outcomes": ("transfer_id", "outcome"),
    "legs": ("provider", "call_id", "transfer_id"),
    "cleared": ("transfer_id", "work"),
    "due": ("transfer_id", "work", "provider", "at", "owner", "until"),
    "events": ("partition", "number", "sequence", "event"),
}
"""The columns of `Decided.rows`."""


@final
@frozen
class CallRow:
    """A call's number, and the stamp of the commit that wrote its row last."""

    number: int
    stamp: int


@final
@define
class Read:
    """What was read for some jobs. `rows` are the stored calls, `stamps` those of events that were found."""

    tables: Tables = Factory(Tables)
    rows: dict[CallKey, CallRow] = Factory(dict)
    stamps: set[int] = Factory(set)

    @classmethod
    def of(cls, needed: Needed, found: Rows, columns: Columns) -> Read:
        """Read rows of: kind, index in `needed`, number, stamp, and the values of that kind."""
        read = cls()
        tables = read.tables
        for kind, i, number, stamp, *values in found:
            match kind:
                case "call":
                    call = needed.calls[i]
                    read.rows[call] = CallRow(number, stamp)
                    with tables.reading(call):
                        tables.calls[call] = state_from_json(values[0], call=call)
                case "mark":
                    tables.marks[needed.deliveries[i]] = columns.text(values[0])
                case "key":
                    with tables.reading(needed.keys[i]):
                        tables.keys[needed.keys[i]] = stored_transfer(columns, values)
                case "leg":
                    tables.legs[needed.legs[i]] = columns.text(values[0])
                case _:
                    read.stamps.add(stamp)
        return read


@final
@frozen
class Decided:
    """What the steps of some jobs decided, with everything that is stored as JSON already encoded."""

    new: Tables = Factory(Tables)
    results: list[Result] = Factory(list)
    states: dict[CallKey, str] = Factory(dict)
    events: list[tuple[CallKey, int | None, str]] = Factory(list)
    opened: dict[str, str] = Factory(dict)
    outcomes: dict[str, str] = Factory(dict)

    def add(self, changes: Tables) -> None:
        """Add the changes of one job, or none of them if one cannot be encoded."""
        states = {call: to_json(state) for call, state in changes.calls.items()}
        events = [(call, event.sequence, to_json(event)) for call, event in changes.events]
        opened = {transfer_id: to_json(opened) for transfer_id, (_, opened) in changes.opened.items()}
        outcomes = {transfer_id: to_json(outcome) for transfer_id, outcome in changes.outcomes.items()}
        self.states.update(states)
        self.events.extend(events)
        self.opened.update(opened)
        self.outcomes.update(outcomes)
        self.new.update(changes)

    def rows(self, read: Read, numbers: Mapping[CallKey, int], partitions: int) -> dict[str, Rows]:
        """The rows to write to each table. `numbers` are those of the calls that change.

        Rows are in the order of their keys, so that two transactions lock them in the same order.
        """
        new = self.new
        calls = [
            (call, (numbers[call], self.states[call], new.calls[call].is_busy))
            for call in sorted(new.changed)
        ]
        ended = sorted(item for item in self.outcomes.items() if item[0] not in self.opened)
        return {
            "new_calls": [
                (row[0], call.provider, call.id, *row[1:], new.recorded_at[call])
                for call, row in calls
                if call not in read.rows
            ],
            "changed_calls": [(*row, new.recorded_at.get(call)) for call, row in calls if call in read.rows],
            "marks": sorted(
                (numbers[call], key, mark) for (call, key), mark in new.marks.items() if call in numbers
            ),
            "requests": [
                (
                    opened.id,
                    numbers[call],
                    opened.request.idempotency_key,
                    self.opened[opened.id],
                    self.outcomes.get(opened.id),
                )
                for call, opened in sorted(new.opened.values(), key=_idempotency_key)
            ],
            "outcomes": [*ended],
            "legs": [
                (leg.provider, leg.id, holder)
                for leg, holder in sorted(new.legs.items(), key=lambda item: item[0])
                if holder is not None
            ],
            "cleared": sorted((key[0], key[1].value) for key, row in new.due.items() if row is None),
            "due": sorted((_due(*row) for row in new.due.values() if row), key=lambda row: row[:2]),
            "events": [
                (partition_of(call, partitions), numbers[call], sequence, event)
                for call, sequence, event in self.events
            ],
        }


def _idempotency_key(opened: tuple[CallKey, Opened]) -> str:
    return opened[1].request.idempotency_key or ""


def _due(call: CallKey, due: Due) -> tuple[Any, ...]:
    owner, until = (due.lease.owner, due.lease.until) if due.lease else (None, None)
    return due.transfer_id, due.work.value, needed_provider(call, due.work), due.at, owner, until


def decide(jobs: Iterable[tuple[Inputs, Step]], read: Tables) -> Decided:
    """Run the steps of each job. A job that raises changes nothing; its error is its result."""
    decided = Decided()
    base = decided.new.over(read)  # what a job adds to `decided` is visible to the next one
    for inputs, step in jobs:
        changes = Tables()
        view = changes.over(base)
        try:
            applied = tuple(view.apply(call, happened, step) for call, happened in inputs)
            decided.add(changes)
        except Exception as error:  # noqa: BLE001 - for the caller of this job; the other jobs continue
            decided.results.append(error)
        else:
            decided.results.append(applied)
    return decided
