"""Threads for blocking calls, which keep working while the interpreter exits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from time import monotonic
from typing import ParamSpec, TypeVar, final
from weakref import finalize

__all__ = ["DaemonThreads"]

_Jobs = SimpleQueue[Callable[[], None] | None]

P = ParamSpec("P")
T = TypeVar("T")


@final
class DaemonThreads(ThreadPoolExecutor):
    """An executor of an event loop with at most `count` threads.

    The standard pool accepts no work after the main thread has ended. Other threads may still request
    transfers then, and the last ones must be recorded and sent. Python starts no thread while it exits, so
    the first one is started at once.
    """

    def __init__(self, name: str, count: int) -> None:
        super().__init__(count)  # asyncio requires this type; it starts no thread of its own
        self._name = name
        self._count = count
        self._jobs: _Jobs = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads_started: list[Thread] = []
        self._end = finalize(self, self._jobs.put, None)  # also without `shutdown`
        self._end.atexit = False
        self._grow()

    def _grow(self) -> None:
        name = f"{self._name}-{len(self._threads_started)}"
        thread = Thread(target=_work, args=(self._jobs, self._idle), name=name, daemon=True)
        thread.start()
        self._threads_started.append(thread)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in one of the threads. Only the loop's own thread calls this."""
        if not self._end.alive:
            raise RuntimeError(f"the threads {self._name} have ended and accept no more work")
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the future's reader gets it
                    future.set_exception(error)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._threads_started) < self._count:
            with suppress(RuntimeError):  # the interpreter exits: the existing threads do it
                self._grow()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's signature
        """End the threads after the queued jobs; `wait` waits for them."""
        self._end()
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds for all threads to end."""
        until = None if timeout is None else monotonic() + timeout
        for thread in self._threads_started:
            thread.join(None if until is None else max(until - monotonic(), 0))


def _work(jobs: _Jobs, idle: Semaphore) -> None:
    while True:
        try:
            job = jobs.get_nowait()
        except Empty:
            idle.release()
            job = jobs.get()
        if job is None:
            jobs.put(None)  # for the other threads
            return
        job()
        del job  # so that the wait for the next job keeps no reference
