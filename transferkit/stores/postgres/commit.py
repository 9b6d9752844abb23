"""One commit of the PostgreSQL store: read what the steps need, run them, and write what they decided.

Two messages do this, and no lock is held between them. The second one writes only if the calls are unchanged
since they were read. If another process was faster, everything is done again. A process that stops anywhere
blocks no other one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final, final

import psycopg
from attrs import define, field, frozen

from transferkit._lifecycle import CallKey
from transferkit.stores.contract import CommitUnknown, Step
from transferkit.stores.postgres.columns import COLUMNS as STORED
from transferkit.stores.postgres.columns import Table, arrays
from transferkit.stores.postgres.connection import Session
from transferkit.stores.postgres.database import Database
from transferkit.stores.postgres.errors import Unavailable
from transferkit.stores.sql.batch import COLUMNS, Decided, Jobs, Read, decide
from transferkit.stores.sql.commits import Results
from transferkit.stores.sql.statements import Rows
from transferkit.stores.sql.watch import LogWatch
from transferkit.stores.transaction import Inputs, Needed

__all__ = ["Commits", "EventRow", "Try"]

_TRIES: Final = 5
_STAMP_BITS: Final = 63
_NUMBER_BITS: Final = 31


@final
@frozen
class EventRow:
    """An event of a call, and the stamp of the commit that wrote it."""

    call: int
    sequence: int
    stamp: int


@final
@frozen
class Try:
    """One attempt to write: an event that identifies it, if it writes any, and its results."""

    event: EventRow | None
    results: Results


@final
class Commits:
    """Commits calls of `apply_all` together."""

    def __init__(self, database: Database, watch: LogWatch, *, partitions: int) -> None:
        self._database = database
        self._watch = watch
        self._partitions = partitions

    async def commit(self, jobs: Sequence[tuple[Inputs, Step]]) -> Results:
        """Commit jobs together; returns the result or the error of each. Raises `StoreError`."""
        try:
            batch = await self._commit(jobs)
        except Exception as error:
            if len(jobs) == 1 or isinstance(error, (CommitUnknown, Unavailable)):
                raise
            return [await self._alone(job) for job in jobs]
        if batch.ends:
            self._watch.grown(batch.ends)
        return batch.results

    async def _alone(self, job: tuple[Inputs, Step]) -> object:
        """Commit one job: if PostgreSQL refuses one job of several, the others must not fail."""
        try:
            (result,) = await self.commit([job])
        except Exception as error:  # noqa: BLE001 - the result of this job
            return error
        return result

    async def _commit(self, jobs: Jobs) -> Batch:
        """Commit. If a commit got no reply, the next try finds out whether it was done.

        Until a try has found out, every other error leaves that open, and `CommitUnknown` is raised.
        """
        batch = Batch(jobs, self._partitions)
        unknown: CommitUnknown | None = None
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._database.commit(batch.run)
            except Exception as error:
                if isinstance(error, CommitUnknown):
                    unknown = error
                elif unknown is None:
                    raise
                if not batch.is_identifiable or not tries_left:
                    raise unknown from None
            else:
                break
        return batch


@final
@define
class Batch:
    """Calls of `apply_all` to do in one commit, which may be tried again if it failed.

    If a commit got no reply, the next try looks for an event that it would have written. If the event is
    there, the commit was done. If it appears later, the next try finds that the calls have changed, and looks
    again.
    """

    jobs: Jobs
    partitions: int
    results: Results = field(factory=list)
    ends: dict[int, int] = field(factory=dict)
    """The last positions of the partitions that have grown, if they are known."""
    tries: list[Try] = field(factory=list)

    @property
    def is_identifiable(self) -> bool:
        """Whether the next try can find out whether any earlier one was done."""
        return all(one.event for one in self.tries)

    async def run(self, session: Session) -> None:
        """Do it. Raises psycopg's errors, `SerializationFailure` if another process was faster."""
        read = await self._read(session)
        for one in self.tries:
            if one.event and one.event.stamp in read.stamps:
                self.results = one.results
                return
        decided = decide(self.jobs, read.tables)
        if decided.new.changed:
            await self._write(session, read, decided)
        self.results = decided.results

    async def _read(self, session: Session) -> Read:
        needed = Needed.by([one for inputs, _ in self.jobs for one in inputs])
        tried = [one.event for one in self.tries if one.event]
        values = arrays(
            {
                "calls": (("provider", "call_id"), [(call.provider, call.id) for call in needed.calls]),
                "marks": (
                    ("provider", "call_id", "key"),
                    [(call.provider, call.id, key) for call, key in needed.deliveries],
                ),
                "keys": (("key",), [(key,) for key in needed.keys]),
                "legs": (("provider", "call_id"), [(leg.provider, leg.id) for leg in needed.legs]),
                "tries": (
                    ("number", "sequence", "stamp"),
                    [(event.call, event.sequence, event.stamp) for event in tried],
                ),
            }
        )
        return Read.of(needed, await session.rows("read_needed", values), STORED)

    async def _write(self, session: Session, read: Read, decided: Decided) -> None:
        new, stamp = decided.new, secrets.randbits(_STAMP_BITS)
        numbers = _numbers(read, decided)
        first = next(
            (EventRow(numbers[call], event.sequence or 0, stamp) for call, event in new.events), None
        )
        self.tries.append(Try(first, decided.results))
        # The legs of a new request are locked too: before pruning deletes a call it checks nothing else.
        calls = {*new.changed, *new.legs, *new.peeked}
        stamps = {row.number: row.stamp for call in calls if (row := read.rows.get(call))}
        rows = decided.rows(read, numbers, self.partitions)
        changed = [(*row, stamps[row[0]]) for row in rows["changed_calls"]]
        locks = [] if len(stamps) == len(changed) == 1 else [*stamps.items()]
        cleared = [(*key, None, None, None, None) for key in rows.pop("cleared")]
        due = sorted([*cleared, *rows["due"]], key=lambda row: row[:2])
        events, ends = _placed(rows["events"])
        tables: dict[str, Table] = {
            **{name: (COLUMNS[name], some) for name, some in rows.items()},
            "locks": (("number", "stamp"), locks),
            "changed_calls": ((*COLUMNS["changed_calls"], "stamp"), changed),
            "due": (COLUMNS["due"], due),
            "events": ((*COLUMNS["events"], "later"), events),
            "ends": (("partition", "count"), ends),
        }
        values = {**arrays(tables), "stamp": stamp}
        try:
            grown = await session.write("write_changes", values)
        except psycopg.errors.UniqueViolation:
            raise psycopg.errors.SerializationFailure from None  # another process inserted the key
        if not grown[0][0]:
            raise psycopg.errors.SerializationFailure
        self.ends = {partition: position for _, partition, position in grown if partition is not None}


def _placed(events: Rows) -> tuple[Rows, Rows]:
    """Events with the number of later ones in their partition, and the number of each partition's events."""
    counts: dict[int, int] = {}
    placed: Rows = []
    for partition, *columns in reversed(events):
        later = counts.get(partition, 0)
        placed.append((partition, *columns, later))
        counts[partition] = later + 1
    return placed[::-1], sorted(counts.items())


def _numbers(read: Read, decided: Decided) -> dict[CallKey, int]:
    """The number of each call that changes. The number of a new call is random, and larger for younger calls.

    A sequence would be locked from the assignment of a number until the commit.
    """
    number = int(time.time()) << _NUMBER_BITS | secrets.randbits(_NUMBER_BITS)
    numbers: dict[CallKey, int] = {}
    for call in decided.new.changed:
        row = read.rows.get(call)
        if row is None:
            number += 1
        numbers[call] = number if row is None else row.number
    return numbers
