"""`SqliteStore`: the store contract on one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeVar, final
from weakref import WeakSet

from transferkit._lifecycle import CallKey, Input
from transferkit.errors import StoreError
from transferkit.stores.contract import Applied, CommitUnknown, Step, Store
from transferkit.stores.sql import calls
from transferkit.stores.sql.calls import Ends
from transferkit.stores.sql.commits import CommitQueue, Results
from transferkit.stores.sql.statements import Columns, Operation
from transferkit.stores.sql.store import SqlStore
from transferkit.stores.sqlite.columns import COLUMNS
from transferkit.stores.sqlite.commit import Job, Write, commit
from transferkit.stores.sqlite.connection import ConnectionThread, Session, connect
from transferkit.stores.sqlite.errors import CommitError, explained, is_busy
from transferkit.stores.sqlite.schema import prepare
from transferkit.stores.sqlite.watch import WriteAheadLogWatch

__all__ = ["SqliteStore"]

T = TypeVar("T")

_JOBS_PER_COMMIT: Final = 256


@final
class SqliteStore(SqlStore):
    """Everything in one SQLite file on a local disk, for any number of processes on one machine.

    What is acknowledged is on the disk: write-ahead log, full sync. Inputs that arrive while a commit is
    running are committed together by the next one. An input that raises does not affect the others. No call
    returns before its commit has returned. A caller that is cancelled detaches: its inputs may still be
    committed, completely or not at all.

    `path` is relative to the working directory at construction. The folder must exist; the file is created.
    `busy_timeout` is how long to wait while other processes write. `partitions` is used only for a new file;
    after `open` the attribute has the file's own number.

    After a fork, the parent's store continues. In the child it is closed and may be opened, with connections
    of its own. A fork waits until the running transaction has ended.
    """

    _columns: ClassVar[Columns] = COLUMNS

    def __init__(
        self,
        path: Path | str,
        *,
        busy_timeout: timedelta = timedelta(seconds=5),
        partitions: int = Store.partitions,
    ) -> None:
        self.path = Path(path).absolute()
        self.partitions = partitions
        self._busy_timeout = busy_timeout
        self._open: _OpenFile | None = None

    async def open(self) -> None:
        """Open the file, and create it if it does not exist.

        Raises `StoreError` for a file that cannot be used, belongs to another application, or was written by
        another version of transferkit.
        """
        if self._open is not None and self._open.is_here:
            return
        opened = _OpenFile(self.path, partitions=self.partitions, busy_timeout=self._busy_timeout)
        try:
            await opened.commit([])
            await opened.read(calls.end_of_log)
        except BaseException:
            await opened.close()
            raise
        if self._open is not None and self._open.is_here:
            await opened.close()  # another task was faster
            return
        self.partitions = opened.partitions
        self._open = opened

    async def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None and opened.is_here:
            await opened.close()

    def _opened(self) -> _OpenFile:
        if self._open is None or not self._open.is_here:
            raise StoreError(
                f"SQLite store {self.path}: it is not open in this process. What to do: open it first, "
                "also in a process that was forked"
            )
        return self._open

    @property
    def _log_parts(self) -> int:
        return 1

    @property
    def _watch(self) -> WriteAheadLogWatch:
        return self._opened().watch

    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        opened = self._opened()
        applied: tuple[Applied, ...] = await opened.queue.add((inputs, step)) if inputs else ()
        return applied

    async def _read(self, operation: Callable[[], Operation[T]]) -> T:
        return await self._opened().read(operation)

    async def _write(
        self,
        operation: Callable[[], Operation[T]],
        *,
        repeatable: bool = False,  # noqa: ARG002 - a commit always gets a reply
        durable: bool = True,
    ) -> T:
        result: T = await self._opened().queue.add(Write(operation, durable))
        return result


@final
class _OpenFile:
    """An open store in the process that opened it: a connection that writes, and one that reads."""

    def __init__(self, path: Path, *, partitions: int, busy_timeout: timedelta) -> None:
        self.partitions = partitions
        self.commits = 0
        """The number of transactions."""
        self._path = path
        self._busy_timeout = busy_timeout
        self._pid = os.getpid()
        self.queue: CommitQueue[Job] = CommitQueue(self.commit, at_most=_JOBS_PER_COMMIT)
        self.watch = WriteAheadLogWatch(partial(self.read, calls.end_of_log), path)
        with _starting:
            self.writer = ConnectionThread("transferkit-sqlite-writer", path, self._connect_writer)
            self.reader = ConnectionThread(
                "transferkit-sqlite-reader",
                path,
                lambda _: connect(path, busy_timeout=busy_timeout, query_only=True),
            )
            _open_files.add(self)

    def _connect_writer(self, first: bool) -> Session:  # noqa: FBT001 - as the thread calls it
        session = connect(self._path, busy_timeout=self._busy_timeout, create=first)
        try:
            self.partitions = prepare(
                session, self._path, partitions=self.partitions, busy_timeout=self._busy_timeout
            )
        except BaseException:
            session.close()
            raise
        return session

    @property
    def is_here(self) -> bool:
        """Whether this process opened the store, and not the parent that it was forked from."""
        return self._pid == os.getpid()

    async def read(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation in a snapshot."""

        def run(session: Session) -> T:
            with session.snapshot():
                return session.run(operation())

        return await self.reader.run(run)

    async def commit(self, jobs: Sequence[Job]) -> Results:
        """Commit jobs together; returns the result or the error of each. Raises `StoreError`."""
        try:
            results, ends = await self.writer.run(partial(self._commit, jobs))
        except StoreError as error:
            self._refuse_if_busy(error)
            raise
        for result in results:
            self._refuse_if_busy(result)
        if ends:
            self.watch.grown(dict(enumerate(ends)))
        return results

    def _refuse_if_busy(self, result: object) -> None:
        """If the file was locked, refuse what is queued too: each of them would wait as long again."""
        match result:
            case CommitUnknown():
                pass
            case StoreError(__cause__=cause) if is_busy(cause):
                self.queue.refuse(result)

    def _commit(self, jobs: Sequence[Job], session: Session) -> tuple[Results, Ends]:
        """Commit; returns the results, and the ends of the log if a task waits for the log."""
        results = commit(session, jobs, path=self._path, partitions=self.partitions)
        self.commits += 1
        ends: Ends = ()
        if self.watch.is_waited_for:
            with suppress(sqlite3.Error):  # polling notices the commit too
                ends = session.run(calls.end_of_log())
        if any(isinstance(result, (sqlite3.Error, CommitError)) for result in results):
            self.writer.disconnect()
        explanations = [
            explained(result, self._path) if isinstance(result, Exception) else result for result in results
        ]
        return explanations, ends

    async def close(self) -> None:
        """Finish what is queued, and close both connections."""
        await self.queue.settle()
        await self.watch.close()
        try:
            await self.reader.stop()
        finally:
            await self.writer.stop()
            with _starting:
                _open_files.discard(self)


# SQLite tracks a process's file locks in its memory. A forked child inherits these records without the locks:
# even a connection of its own would assume locks that it does not have. So no connection is open while a
# process forks. In the parent the store continues; in the child it is closed and may be opened.

_starting = threading.Lock()
_open_files: WeakSet[_OpenFile] = WeakSet()
_suspended: list[ConnectionThread] = []


def _before_fork() -> None:
    _starting.acquire()
    for opened in [*_open_files]:
        for thread in (opened.writer, opened.reader):
            thread.suspend()
            _suspended.append(thread)


def _after_fork_in_parent() -> None:
    while _suspended:
        _suspended.pop().resume()
    _starting.release()


def _after_fork_in_child() -> None:
    _suspended.clear()
    _open_files.clear()
    _starting.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
