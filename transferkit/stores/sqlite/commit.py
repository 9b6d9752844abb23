"""One commit of the SQLite store: calls of `apply_all` and operations, in one transaction.

Everything that can be done before the file is locked is done before: reading what the steps need, running
them and encoding what they decided. Then, with the file locked: check that no other process has changed what
was read, and write. However long the steps take, no other process waits for this one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from attrs import frozen

from transferkit.errors import StoreError
from transferkit.stores.contract import Step
from transferkit.stores.sql.batch import COLUMNS, Decided, Jobs, Read, decide
from transferkit.stores.sql.commits import Results
from transferkit.stores.sql.statements import Operation, Rows, Statement
from transferkit.stores.sqlite.columns import COLUMNS as STORED
from transferkit.stores.sqlite.connection import Session
from transferkit.stores.sqlite.errors import CommitError, is_busy
from transferkit.stores.sqlite.schema import refuse_other_version
from transferkit.stores.transaction import Inputs, Needed

__all__ = ["Application", "Job", "Write", "commit"]

Application = tuple[Inputs, Step]
"""A call of `apply_all`."""


@final
@frozen
class Write:
    """An operation of the store, and whether its commit must be on the disk when it ends."""

    run: Callable[[], Operation[Any]]
    durable: bool = True


Job = Application | Write


def commit(session: Session, jobs: Sequence[Job], *, path: Path, partitions: int) -> Results:
    """Commit jobs together; returns the result or the error of each.

    Raises `sqlite3.Error` if the transaction cannot begin, and `CommitError` if its COMMIT failed.
    """
    applications = [job for job in jobs if isinstance(job, tuple)]
    batch = _Batch(applications, partitions)
    batch.prepare(session)
    if not any(inputs for inputs, _ in applications) and len(applications) == len(jobs):
        return batch.results  # nothing to write: do not wait for the lock
    try:
        session.begin(durable=any(isinstance(job, tuple) or job.durable for job in jobs))
        version = session.data_version()
        changed = version != session.seen_version
        if changed:  # another process may have updated the schema too
            refuse_other_version(session, path)
        session.seen_version = version
    except BaseException:
        session.rollback()
        raise
    try:
        batch.write(session, read_again=changed)
        results = [None if isinstance(job, tuple) else session.run(job.run()) for job in jobs]
    except Exception as error:  # noqa: BLE001 - the result of its job
        session.rollback()
        if len(jobs) == 1:
            return [error]
        return _one_by_one(session, jobs, path=path, partitions=partitions)
    try:
        session.commit()
    except CommitError:
        session.rollback()
        raise
    applied = iter(batch.results)
    return [
        next(applied) if isinstance(job, tuple) else result for job, result in zip(jobs, results, strict=True)
    ]


def _one_by_one(session: Session, jobs: Sequence[Job], *, path: Path, partitions: int) -> Results:
    """Commit each job alone, since one of them failed: the others must not fail with it.

    If the file is locked for one job, the jobs after it fail too, without waiting as long again.
    """
    results: list[Any] = []
    for job in jobs:
        try:
            results += commit(session, [job], path=path, partitions=partitions)
        except (sqlite3.Error, CommitError, StoreError) as error:
            results.append(error)
            if is_busy(error):
                return results + [error] * (len(jobs) - len(results))
    return results


@final
class _Batch:
    """Calls of `apply_all` in one transaction."""

    def __init__(self, jobs: Jobs, partitions: int) -> None:
        self._jobs = jobs
        self._partitions = partitions
        self._needed = Needed.by([one for inputs, _ in jobs for one in inputs])
        self._found: Rows = []
        self._read = Read()
        self._decided = Decided()

    @property
    def results(self) -> list[Any]:
        """The result of each call, or its error."""
        return self._decided.results

    def prepare(self, session: Session) -> None:
        """Do everything that needs no lock. Rows may be of different moments, if a process commits now."""
        self._found = self._find(session)
        self._decide()

    def write(self, session: Session, *, read_again: bool) -> None:
        """Write, in the transaction that is open. If another process changed what was read, decide again."""
        if read_again:
            found = self._find(session)
            if found != self._found:
                self._found = found
                self._decide()
        self._write(session)

    def _find(self, session: Session) -> Rows:
        """All rows that the steps need: equal rows lead to equal decisions."""
        needed = self._needed
        statements = [
            *(_of_call("read_call", i, call) for i, call in enumerate(needed.calls)),
            *(_of_call("read_mark", i, call, key=key) for i, (call, key) in enumerate(needed.deliveries)),
            *(Statement("read_key", {"i": i, "key": key}) for i, key in enumerate(needed.keys)),
            *(_of_call("read_leg", i, leg) for i, leg in enumerate(needed.legs)),
        ]
        return [row for statement in statements for row in session.named(statement)]

    def _decide(self) -> None:
        self._read = Read.of(self._needed, self._found, STORED)
        self._decided = decide(self._jobs, self._read.tables)

    def _write(self, session: Session) -> None:
        if not self._decided.new.changed:
            return
        ((number, end),) = session.named(Statement("last_numbers"))
        numbers = {call: row.number for call, row in self._read.rows.items()}
        for call in sorted(self._decided.new.changed - numbers.keys()):
            number += 1
            numbers[call] = number
        rows = self._decided.rows(self._read, numbers, self._partitions)
        events = [(end + i, *row) for i, row in enumerate(rows.pop("events"), 1)]
        ended = [(transfer_id,) for transfer_id in self._decided.outcomes]
        session.write_rows("free_legs", ("transfer_id",), ended)
        for table, changed in rows.items():
            session.write_rows(f"write_{table}", COLUMNS[table], changed)
        session.write_rows("write_events", ("position", *COLUMNS["events"]), events)


def _of_call(name: str, i: int, call: Any, **values: object) -> Statement:
    return Statement(name, {"i": i, "provider": call.provider, "call_id": call.id, **values})
