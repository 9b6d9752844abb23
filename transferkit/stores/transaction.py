"""One transaction of `apply_all`: the rows that its steps need, what the steps change, and their results."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar, final

from attrs import Factory, evolve, frozen

from transferkit._lifecycle import CallKey, CallState, Decision, Due, Input, Opened, Peeked, Requested, Work
from transferkit.events import Event, Outcome
from transferkit.stores.contract import Applied, KeyUsed, LegOccupied, Step, StoredTransfer, delivery_key
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["Inputs", "Needed", "Result", "Tables"]

T = TypeVar("T")

Inputs = Sequence[tuple[CallKey, Input]]
Result = tuple[Applied, ...] | Exception


@final
@frozen
class Needed:
    """The keys of all rows that the steps of some inputs may read."""

    calls: tuple[CallKey, ...]
    deliveries: tuple[tuple[CallKey, str], ...]
    keys: tuple[str, ...]
    legs: tuple[CallKey, ...]

    @classmethod
    def by(cls, inputs: Inputs) -> Needed:
        """The rows that these inputs need. `calls` includes the legs of new requests."""
        opened = [happened.opened for _, happened in inputs if isinstance(happened, Requested)]
        legs = _unique(leg for one in opened for leg in one.legs)
        return cls(
            calls=_unique([*(call for call, _ in inputs), *legs]),
            deliveries=_unique((call, key) for call, happened in inputs if (key := delivery_key(happened))),
            keys=_unique(key for one in opened for key in [one.request.idempotency_key] if key is not None),
            legs=legs,
        )


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


@final
@frozen
class Tables:
    """Rows by their keys. The value of a free leg and of cleared work is None.

    `recorded_at` is when a call was first seen or had its last event. `events` are those to append. `changed`
    are the calls for which anything must be written, `peeked` those that must not have changed since they
    were read. `unreadable` are the errors to raise when a step needs a row that cannot be read: by call for
    its state, by idempotency key for its request.
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
    peeked: set[CallKey] = Factory(set)

    def over(self, base: Tables) -> Tables:
        """A view in which reads fall through to `base` and writes go to these tables."""
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
            peeked=self.peeked,
        )

    def update(self, other: Tables) -> None:
        """Add the changes of another instance."""
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
        self.peeked.update(other.peeked)

    def apply(self, call: CallKey, happened: Input, step: Step) -> Applied:
        """Run one step. Raises what it raises, and `KeyUsed`, `LegOccupied` or `UnreadableRow`."""
        self._check_readable(call)
        if isinstance(happened, Peeked):
            self.peeked.add(call)
        delivery = delivery_key(happened)
        known = self.calls.get(call)
        seen = None if delivery is None else self.marks.get((call, delivery))
        decision = step(call, known or CallState(), happened, seen)
        for outcome in decision.outcomes:
            self._conclude(outcome)
        for opened in decision.opened:
            self._open(call, opened)
        self.calls[call] = decision.state
        if decision.events or known is None:
            self.recorded_at[call] = happened.at
        if delivery is not None and decision.mark is not None:
            self.marks[call, delivery] = decision.mark
        for due in decision.due:
            self.due[due.transfer_id, due.work] = call, due
        for cleared in decision.cleared:
            self.due[cleared] = None
        self.events.extend((call, event) for event in decision.events)
        if _writes(decision) or decision.state != (known or CallState()) or decision.mark not in {None, seen}:
            self.changed.add(call)
        return Applied(
            state=decision.state,
            events=decision.events,
            due_at=min((due.free_at for due in decision.due), default=None),
            proceed=decision.proceed,
            duplicate=decision.duplicate,
        )

    @contextmanager
    def reading(self, row: CallKey | str) -> Iterator[None]:
        """Keep an `UnreadableRow` that the block raises for the step that needs this row."""
        try:
            yield
        except UnreadableRow as error:
            self.unreadable[row] = error

    def _check_readable(self, row: CallKey | str) -> None:
        error = self.unreadable.get(row)
        if error is not None:
            raise UnreadableRow(error.what, error.call)  # a new instance for each caller

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
        if outcome.transfer_id is None:
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
        or decision.outcomes
        or decision.proceed
    )
