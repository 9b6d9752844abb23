"""What a transaction knows of the rows that it concerns, and what a step changes of them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from typing import final

from attrs import Factory, evolve, frozen

from transferkit._lifecycle import CallKey, CallState, Decision, Due, Input, Opened, Work
from transferkit.events import Event, Outcome
from transferkit.stores.contract import Applied, KeyUsed, LegOccupied, Step, StoredTransfer, delivery_key
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["Tables"]


@final
@frozen
class Tables:
    """Rows by their keys. A leg that is free, and work that is cleared, is None.

    `recorded_at` is when a call was first heard of, or had its last event. `events` are those to append.
    `changed` are the calls of which anything is to be written.
    `unreadable` are the errors to raise where a step asks for a row that cannot be read: by a call, for its
    state, or by an idempotency key, for its request.
    """

    calls: MutableMapping[CallKey, CallState] = Factory(dict)
    unreadable: MutableMapping[CallKey | str, UnreadableRow] = Factory(dict)
    recorded_at: MutableMapping[CallKey, datetime] = Factory(dict)
    marks: MutableMapping[tuple[CallKey, str], str] = Factory(dict)
    keys: MutableMapping[str, StoredTransfer] = Factory(dict)
    legs: MutableMapping[CallKey, str | None] = Factory(dict)
    opened: MutableMapping[str, tuple[CallKey, Opened]] = Factory(dict)
    outcomes: MutableMapping[str, Outcome] = Factory(dict)
    due: MutableMapping[tuple[str, Work], tuple[CallKey, Due] | None] = Factory(dict)
    events: list[tuple[CallKey, Event]] = Factory(list)
    changed: set[CallKey] = Factory(set)

    def over(self, base: Tables) -> Tables:
        """These on top of others: reading falls through to those, writing stays here."""
        return Tables(
            calls=ChainMap(self.calls, base.calls),
            unreadable=base.unreadable,
            recorded_at=self.recorded_at,
            marks=ChainMap(self.marks, base.marks),
            keys=ChainMap(self.keys, base.keys),
            legs=ChainMap(self.legs, base.legs),
            opened=self.opened,
            outcomes=ChainMap(self.outcomes, base.outcomes),
            due=self.due,
            events=self.events,
            changed=self.changed,
        )

    def update(self, other: Tables) -> None:
        """Take over what others hold."""
        self.calls.update(other.calls)
        self.recorded_at.update(other.recorded_at)
        self.marks.update(other.marks)
        self.keys.update(other.keys)
        self.legs.update(other.legs)
        self.opened.update(other.opened)
        self.outcomes.update(other.outcomes)
        self.due.update(other.due)
        self.events.extend(other.events)
        self.changed.update(other.changed)

    def apply(self, call: CallKey, happened: Input, step: Step) -> Applied:
        """Run one step. Raises what it raises, and `KeyUsed`, `LegOccupied` or `UnreadableRow`."""
        self._check_readable(call)
        delivery = delivery_key(happened)
        known = self.calls.get(call)
        seen = None if delivery is None else self.marks.get((call, delivery))
        decision = step(call, known or CallState(), happened, seen)
        if decision.opened:
            self._open(call, decision.opened)
        self.calls[call] = decision.state
        if decision.events or known is None:
            self.recorded_at[call] = happened.at
        if delivery is not None and decision.mark is not None:
            self.marks[call, delivery] = decision.mark
        for due in decision.due:
            self.due[due.transfer_id, due.work] = call, due
        for cleared in decision.cleared:
            self.due[cleared] = None
        if decision.outcome:
            self._conclude(decision.outcome)
        self.events.extend((call, event) for event in decision.events)
        if _writes(decision) or decision.state != (known or CallState()) or decision.mark not in {None, seen}:
            self.changed.add(call)
        return Applied(
            state=decision.state,
            events=decision.events,
            proceed=decision.proceed,
            duplicate=decision.duplicate,
        )

    @contextmanager
    def reading(self, row: CallKey | str) -> Iterator[None]:
        """Keep the error for whoever asks for this row, if it cannot be read."""
        try:
            yield
        except UnreadableRow as error:
            self.unreadable[row] = error

    def _check_readable(self, row: CallKey | str) -> None:
        error = self.unreadable.get(row)
        if error is not None:
            raise UnreadableRow(error.what, error.call)  # each caller raises one of its own

    def _open(self, call: CallKey, opened: Opened) -> None:
        key = opened.request.idempotency_key
        if key is not None:
            self._check_readable(key)
        if key is not None and key in self.keys:
            first = self.keys[key]
            raise KeyUsed(evolve(first, outcome=self.outcomes.get(first.opened.id, first.outcome)))
        for leg in opened.legs:
            holder = self.legs.get(leg)
            if holder is not None:
                raise LegOccupied(leg, holder)
            self.legs[leg] = opened.id
        if key is not None:
            self.keys[key] = StoredTransfer(opened=opened)
        self.opened[opened.id] = call, opened

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.transfer_id is None:  # pragma: no cover - an outcome of the life cycle names it
            return
        self.outcomes[outcome.transfer_id] = outcome
        for leg, holder in [*self.legs.items()]:
            if holder == outcome.transfer_id:
                self.legs[leg] = None


def _writes(decision: Decision) -> bool:
    return bool(
        decision.events
        or decision.due
        or decision.cleared
        or decision.opened
        or decision.outcome
        or decision.proceed
    )
