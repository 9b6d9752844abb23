"""The two threads at work on one file: one that writes, one that reads."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, final
from weakref import WeakSet

from transferkit._lifecycle import step
from transferkit.errors import StoreError
from transferkit.stores.contract import Applied, Step
from transferkit.stores.encoding import StateCache
from transferkit.stores.sqlite.batch import Batch, Inputs
from transferkit.stores.sqlite.calls import end_of_log
from transferkit.stores.sqlite.failures import failure, primary_code, unknown_outcome
from transferkit.stores.sqlite.schema import connect, migrate, refuse_newer
from transferkit.stores.sqlite.session import CommitError, Session
from transferkit.stores.sqlite.threads import ConnectionThread, Job, Run, Waiters

__all__ = ["Engine"]

T = TypeVar("T")
J = TypeVar("J", bound=Job[Any])

_LOOK_SECONDS: Final = 0.1
"""How often to look whether another process has written, while anybody waits for it."""


class _FileThread(ConnectionThread[J]):
    """A thread whose connection is to the file that has the path, for as long as it has it."""

    def __init__(self, name: str, path: Path, busy_timeout: timedelta, waiters: Waiters) -> None:
        self.path = path
        self._name = str(path)
        self.busy_timeout = busy_timeout
        self.waiters = waiters
        self._file: tuple[int, int] | None = None
        super().__init__(name)

    def explain(self, error: BaseException) -> BaseException:
        match error:
            case sqlite3.Error():
                return failure(error, self.path)
            case CommitError():
                return unknown_outcome(error.error, self.path)
            case StoreError():  # each task raises one of its own
                return copy(error)
            case _:
                return error

    def remember_file(self) -> None:
        """The file that the connection is to."""
        self._file = self._file_now()

    def check_file(self) -> None:
        """Refuse to go on with a file that was taken away: what it is given would be lost with it."""
        if self._file_now() != self._file:
            raise StoreError(
                f"SQLite store {self.path}: the file was removed or replaced while it was open; nothing was "
                "acknowledged. What to do: end every process that uses it before it is replaced"
            )

    def _file_now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._name)  # noqa: PTH116 - for every commit, and a path takes twice as long
        except OSError:
            return None
        return status.st_dev, status.st_ino


@final
class _Application(Job[tuple[Applied, ...]]):
    """A call of `apply_all`."""

    def __init__(self, inputs: Inputs, step: Step) -> None:
        super().__init__()
        self.inputs = inputs
        self.step = step


@final
class _Writer(_FileThread[Run[Any] | _Application]):
    """Commits together what queued up while the commit before was under way."""

    def __init__(self, path: Path, *, partitions: int, busy_timeout: timedelta, waiters: Waiters) -> None:
        self.partitions = partitions
        self._states = StateCache()
        self.commits = 0
        """How many transactions there were."""
        super().__init__("transferkit-sqlite-writer", path, busy_timeout, waiters)

    async def apply_all(self, inputs: Inputs, step: Step) -> tuple[Applied, ...]:
        """What `Store.apply_all` does."""
        job = _Application(inputs, step)
        self.put(job)
        return await job.wait()

    async def ask(self, run: Callable[[Session], T]) -> T:
        """Run this in a transaction. Raises what it raises, and `StoreError` where SQLite fails."""
        job = Run(run)
        self.put(job)
        return await job.wait()

    def connect(self) -> Session:
        # Only the first time: a file that is gone later is not to be replaced by an empty one.
        session = connect(self.path, busy_timeout=self.busy_timeout, create=self._file is None)
        try:
            self.remember_file()
            self.partitions = migrate(
                session, self.path, partitions=self.partitions, busy_timeout=self.busy_timeout
            )
        except BaseException:
            session.close()
            raise
        return session

    def work(self, session: Session, jobs: Sequence[Run[Any] | _Application]) -> None:
        """One transaction for all. What raises undoes only itself.

        No job has its result before the commit: were it to fail, all of them failed.
        """
        self.check_file()
        applications = [job for job in jobs if isinstance(job, _Application)]
        runs = [job for job in jobs if isinstance(job, Run)]
        batch = Batch([(job.inputs, job.step) for job in applications], self.partitions, self._states)
        batch.prepare(session)
        results = self._commit(session, batch, runs) if runs or batch.inputs else []
        for application, applied in zip(applications, batch.results, strict=True):
            application.result = applied if isinstance(applied, Exception) else (applied,)
        for job, result in zip(runs, results, strict=True):
            job.result = result
        if self.waiters:
            with suppress(sqlite3.Error):  # a hint, and what is committed is committed
                self.waiters.wake(end_of_log(session))

    def _commit(
        self, session: Session, batch: Batch, jobs: Sequence[Run[Any]]
    ) -> list[tuple[Any] | BaseException]:
        try:
            results = self._run_jobs(session, batch, jobs)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        self.commits += 1
        return results

    def _begin(self, session: Session, batch: Batch) -> None:
        try:
            session.begin()
        except sqlite3.Error as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY:
                self.refuse_queued(error)  # or each of them would wait as long once more
            raise
        refuse_newer(session, self.path)  # another process may have brought the file forward
        batch.write(session)

    def _run_jobs(
        self, session: Session, batch: Batch, jobs: Sequence[Run[Any]]
    ) -> list[tuple[Any] | BaseException]:
        """Few jobs raise, and a savepoint copies every page that its job changes: so first without any."""
        self._begin(session, batch)
        try:
            return [(job.run(session),) for job in jobs]
        except BaseException:
            if not session.in_transaction:
                raise  # SQLite has undone the whole transaction
            session.rollback()
            self._begin(session, batch)
            return [self._run_job(session, job) for job in jobs]

    def _run_job(self, session: Session, job: Run[Any]) -> tuple[Any] | BaseException:
        """In a savepoint of its own."""
        session.run("SAVEPOINT job")
        try:
            result = (job.run(session),)
        except BaseException as error:
            if not session.in_transaction:
                raise  # SQLite has undone the whole transaction: everybody's
            session.run("ROLLBACK TO job")
            session.run("RELEASE job")
            return self.explain(error)
        session.run("RELEASE job")
        return result

    def pause(self) -> None:
        return None

    def look(self, session: Session) -> None:
        pass  # pragma: no cover - it waits for jobs without a pause


@final
class _Reader(_FileThread[Run[Any]]):
    """Reads, each time from one snapshot, and sees what other processes write."""

    def __init__(self, path: Path, *, busy_timeout: timedelta, waiters: Waiters) -> None:
        self._version = 0
        super().__init__("transferkit-sqlite-reader", path, busy_timeout, waiters)

    def connect(self) -> Session:
        session = connect(self.path, busy_timeout=self.busy_timeout, query_only=True)
        self._version = 0  # a connection counts by itself
        self.remember_file()
        return session

    async def ask(self, run: Callable[[Session], T]) -> T:
        """Run this in a snapshot. Raises what it raises, and `StoreError` where SQLite fails."""
        job = Run(run)
        self.put(job)
        return await job.wait()

    def work(self, session: Session, jobs: Sequence[Run[Any]]) -> None:
        self.check_file()
        failed = False
        for job in jobs:
            try:
                with session.snapshot():
                    job.result = (job.run(session),)
            except BaseException as error:  # noqa: BLE001 - it is the job's own, the others go on
                job.result = self.explain(error)
                failed = failed or isinstance(error, sqlite3.Error)
        if failed:
            self.let_go()

    def pause(self) -> float | None:
        return _LOOK_SECONDS if self.waiters else None

    def look(self, session: Session) -> None:
        """Wake who waits if anything was committed since: by this process or another."""
        (version,) = session.one("PRAGMA data_version")
        if version != self._version:
            self._version = version
            self.waiters.wake(end_of_log(session))


@final
class Engine:
    """An open store's threads, in the process that opened it."""

    def __init__(self, path: Path, *, partitions: int, busy_timeout: timedelta) -> None:
        self._pid = os.getpid()
        self.waiters = Waiters()
        with _starting:
            self.writer = _Writer(
                path, partitions=partitions, busy_timeout=busy_timeout, waiters=self.waiters
            )
            self.reader = _Reader(path, busy_timeout=busy_timeout, waiters=self.waiters)
            _running.add(self)

    @property
    def is_here(self) -> bool:
        """Whether this is the process whose threads these are, and not a fork of it."""
        return self._pid == os.getpid()

    async def start(self) -> None:
        """Open both connections. Raises `StoreError`."""
        await self.writer.apply_all((), step)  # nothing to write: it waits for no lock
        await self.reader.ask(end_of_log)

    async def stop(self) -> None:
        """Do what is queued, and let go of everything."""
        self.waiters.wake()
        try:
            await self.reader.stop()
        finally:
            await self.writer.stop()
            with _starting:
                _running.discard(self)


# SQLite keeps account of a process's file locks in its memory. A forked child inherits that account without
# the locks: even a connection of its own would believe to hold what it does not. So no connection is open
# while a process forks. In the parent a store goes on; in the child it is closed, and may be opened.

_starting = threading.Lock()
_running: WeakSet[Engine] = WeakSet()
_held: list[Engine] = []


def _before_fork() -> None:
    _starting.acquire()
    _held.extend(_running)
    for engine in _held:
        engine.writer.hold()
        engine.reader.hold()


def _after_fork_in_parent() -> None:
    while _held:
        engine = _held.pop()
        engine.reader.resume()
        engine.writer.resume()
    _starting.release()


def _after_fork_in_child() -> None:
    _held.clear()
    _running.clear()
    _starting.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch - only Windows has no forks
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
