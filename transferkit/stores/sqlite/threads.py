"""Threads that own a connection each and do what is asked of them: the event loop waits for no disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, final

from transferkit.errors import StoreError
from transferkit.stores.sqlite.session import Session

__all__ = ["ConnectionThread", "Job", "Run", "Waiters"]

T = TypeVar("T")
J = TypeVar("J", bound="Job[Any]")

_MOST_AT_ONCE: Final = 256
_CLOSED: Final = StoreError("the store was closed; nothing was acknowledged")


class Job(Generic[T]):
    """Something to do with a connection, and the task that waits for it, in whichever event loop.

    `result` is what the thread makes of it: a value, as a tuple of one, or an error.
    """

    def __init__(self) -> None:
        self.result: tuple[T] | BaseException = StoreError("the store gave no answer")
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> T:
        """The value, or raise the error. Cancelling the wait does not cancel the job."""
        await self.done
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result[0]


@final
class Run(Job[T]):
    """A function to call with the connection; its result is what that returns or raises."""

    def __init__(self, run: Callable[[Session], T]) -> None:
        super().__init__()
        self.run = run


def _wake(futures: Iterable[asyncio.Future[None]]) -> None:
    """Finish these futures from any thread; one message for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for future in futures:
        by_loop.setdefault(future.get_loop(), []).append(future)
    for loop, theirs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and those who waited are gone with it
            loop.call_soon_threadsafe(_finish, theirs)


def _finish(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


@final
class Waiters:
    """Tasks that wait for the log to grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._after: dict[asyncio.Future[None], int] = {}

    def __bool__(self) -> bool:
        return bool(self._after)

    def add(self, after: int) -> asyncio.Future[None]:
        """A future that is done once there is something after the place `after`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._after[future] = after
        return future

    def discard(self, future: asyncio.Future[None]) -> None:
        """Nobody waits for it any more."""
        future.cancel()
        with self._lock:
            self._after.pop(future, None)

    def wake(self, end: int | None = None) -> None:
        """The log reaches to `end` now; None wakes everybody."""
        with self._lock:
            ready = [future for future, after in self._after.items() if end is None or after < end]
            for future in ready:
                del self._after[future]
        _wake(ready)


@final
class _Last(Job[None]):
    """The end of the queue."""


class ConnectionThread(ABC, Generic[J]):
    """A thread, its connection and its queue.

    The connection is opened for the first job, and anew after a failure or a fork.
    """

    def __init__(self, name: str) -> None:
        self._session: Session | None = None
        self._using = threading.Lock()
        self._queue: SimpleQueue[J | _Last] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: J) -> None:
        """Have the job done, after those that were put before."""
        self._queue.put(job)
        if self._ended:
            self.refuse_queued(_CLOSED)

    async def stop(self) -> None:
        """Do what is queued, close the connection and end the thread."""
        last = _Last()
        self._queue.put(last)
        await last.done
        self._thread.join()

    def hold(self) -> None:
        """Wait until the connection is idle, close it, and keep it so until `resume`."""
        self._using.acquire()
        self.let_go()

    def resume(self) -> None:
        """Go on after `hold`."""
        self._using.release()

    # --- what a kind of thread is -------------------------------------------------------------------

    @abstractmethod
    def connect(self) -> Session:
        """A new connection."""

    @abstractmethod
    def work(self, session: Session, jobs: Sequence[J]) -> None:
        """Give each job its result. If this raises, that is every job's result."""

    @abstractmethod
    def explain(self, error: BaseException) -> BaseException:
        """What to raise for an error, in each task that it concerns."""

    @abstractmethod
    def pause(self) -> float | None:
        """After how many seconds to `look`; None for not at all."""

    @abstractmethod
    def look(self, session: Session) -> None:
        """Look around between jobs."""

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        going, looked = True, time.monotonic()
        while going:
            jobs = self._take()
            work = [job for job in jobs if not isinstance(job, _Last)]
            going = len(work) == len(jobs)
            with self._using:
                if work:
                    self._do(work)
                pause = self.pause()
                if pause is not None and time.monotonic() - looked >= pause:
                    looked = time.monotonic()
                    self._look()
                if not going:
                    self.let_go()
            _wake(job.done for job in jobs)
        self._ended = True
        self.refuse_queued(_CLOSED)

    def _take(self) -> list[J | _Last]:
        """What has queued up; none if it is time to look around."""
        jobs: list[J | _Last] = []
        with suppress(Empty):
            jobs.append(self._queue.get(timeout=self.pause()))
            while len(jobs) < _MOST_AT_ONCE and not self._queue.empty():
                jobs.append(self._queue.get_nowait())
        return jobs

    def _do(self, jobs: Sequence[J]) -> None:
        try:
            if self._session is None:
                self._session = self.connect()
            self.work(self._session, jobs)
        except BaseException as error:  # noqa: BLE001 - it is the jobs' to raise; the thread lives on
            for job in jobs:
                job.result = self.explain(error)
            self.let_go()

    def _look(self) -> None:
        if self._session is not None:
            try:
                self.look(self._session)
            except sqlite3.Error:
                self.let_go()  # the next job opens it anew, and tells what is wrong

    def let_go(self) -> None:
        """Close the connection; the next job opens another one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def refuse_queued(self, error: BaseException) -> None:
        """Answer what is queued with this error."""
        jobs: list[J | _Last] = []
        with suppress(Empty):
            while True:
                jobs.append(self._queue.get_nowait())
        for job in jobs:
            if isinstance(job, _Last):
                self._queue.put(job)
            else:
                job.result = self.explain(error)
        _wake(job.done for job in jobs if not isinstance(job, _Last))
