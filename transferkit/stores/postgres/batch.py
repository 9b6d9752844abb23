"""Several calls of `apply_all` in one commit: read what they need, run the steps, write what follows.

Two messages do it all, and no lock is held between them. The first reads. The second writes, if the calls are
still as they were read; if another process was faster it writes nothing, and all is done again. So a process
that stops anywhere holds up no other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import psycopg
from attrs import define, field, frozen

from transferkit._lifecycle import CallKey, Input
from transferkit.stores.contract import Applied, Step
from transferkit.stores.encoding import StateCache
from transferkit.stores.postgres.reading import EventRow, read_calls
from transferkit.stores.postgres.session import Session
from transferkit.stores.postgres.writing import Writing
from transferkit.stores.tables import Tables

__all__ = ["Batch", "Inputs", "Result", "Try"]

Inputs = Sequence[tuple[CallKey, Input]]
Result = tuple[Applied, ...] | Exception


@final
@frozen
class Try:
    """One try to write: an event by which to recognise it, if it writes any, and its results."""

    event: EventRow | None
    results: list[Result]


@final
@define
class Batch:
    """Calls of `apply_all` to be done in one commit, which may be tried again where it failed.

    Where a commit got no answer, the next try looks for what that one wrote. If it is there, that one was
    done. If it comes to be there later, the next try finds the calls changed, and looks again.
    """

    jobs: Sequence[tuple[Inputs, Step]]
    partitions: int
    states: StateCache
    results: list[Result] = field(factory=list)
    ends: dict[int, int] = field(factory=dict)
    """The last positions of the partitions that got events, where they are known."""
    tries: list[Try] = field(factory=list)

    @property
    def can_be_looked_up(self) -> bool:
        """Whether every try so far can be recognised."""
        return all(one.event for one in self.tries)

    async def run(self, session: Session) -> None:
        """Do it. Raises psycopg's errors, `SerializationFailure` where another process was faster."""
        inputs = [one for job, _ in self.jobs for one in job]
        looked_for = [one.event for one in self.tries if one.event]
        read = await read_calls(session, inputs, states=self.states, look_for=looked_for)
        for one in self.tries:
            if one.event and one.event.stamp in read.stamps:
                self.results = one.results
                return
        new = Tables()
        results = [_apply_all(new, read.tables, job, step) for job, step in self.jobs]
        if new.changed:
            await self._write(session, Writing(read, new, self.partitions, self.states), results)
        self.results = results

    async def _write(self, session: Session, writing: Writing, results: list[Result]) -> None:
        self.tries.append(Try(writing.first_event, results))
        statement = writing.statement()
        try:
            rows = await session.write(statement.text, statement.values)
        except psycopg.errors.UniqueViolation:
            raise psycopg.errors.SerializationFailure from None  # another process made a row of that key
        if not rows[0][0]:
            raise psycopg.errors.SerializationFailure
        self.ends = {partition: position for _, partition, position in rows if partition is not None}


def _apply_all(new: Tables, read: Tables, inputs: Inputs, step: Step) -> Result:
    mine = Tables()
    seen = mine.over(new.over(read))
    try:
        applied = tuple(seen.apply(call, happened, step) for call, happened in inputs)
    except Exception as error:  # noqa: BLE001 - it is its caller's; the others go on
        return error
    new.update(mine)
    return applied
