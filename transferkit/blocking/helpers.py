"""Threads that help an event loop which must go on working while the interpreter exits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from time import monotonic
from typing import ParamSpec, TypeVar, final

__all__ = ["HelperThreads"]

_MOST = 16

P = ParamSpec("P")
T = TypeVar("T")


@final
class HelperThreads(ThreadPoolExecutor):
    """A loop's default executor, for what blocks: names to look up, credentials to ask for.

    The standard pool takes no work once the main thread has ended. Here that is when other threads may still
    ask for transfers, and when the last ones must be sent. Python starts no thread while it exits, so the
    first is there from the beginning.
    """

    def __init__(self) -> None:
        super().__init__(_MOST)  # for its type, which asyncio insists on: it starts no thread of its own
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._helpers: list[Thread] = []
        self._ended = False
        self._grow()

    def _grow(self) -> None:
        helper = Thread(target=self._help, name=f"transferkit-helper-{len(self._helpers)}", daemon=True)
        helper.start()
        self._helpers.append(helper)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a helper call `fn`. Only the loop's own thread calls this."""
        if self._ended:
            raise RuntimeError("the client's loop has ended and takes no more work")
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the future's reader gets it
                    future.set_exception(error)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._helpers) < _MOST:
            with suppress(RuntimeError):  # the interpreter exits: those that are there do it
                self._grow()
        return future

    def _help(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None:
                return
            job()
            del job  # whoever waits here for the next holds nothing of the last

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's signature
        """Let the helpers end after what is queued; `wait` waits for them."""
        if not self._ended:
            self._ended = True
            for _ in self._helpers:
                self._jobs.put(None)
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait for the helpers to end, for at most `timeout` seconds altogether."""
        until = None if timeout is None else monotonic() + timeout
        for helper in self._helpers:
            helper.join(None if until is None else max(until - monotonic(), 0))
