"""Worker threads for an event loop that keeps running while the interpreter exits."""

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
    """The default executor of a loop, for blocking calls such as DNS lookups and credential requests.

    The standard pool accepts no work after the main thread has ended. Other threads may still request
    transfers then, and the last ones must be sent. Python starts no thread while it exits, so the first one
    is started at once.
    """

    def __init__(self) -> None:
        super().__init__(_MOST)  # asyncio requires this type; it starts no thread of its own
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
        """Call `fn` in a helper thread. Only the loop's own thread calls this."""
        if self._ended:
            raise RuntimeError("the client's loop has ended and accepts no more work")
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the future's reader gets it
                    future.set_exception(error)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._helpers) < _MOST:
            with suppress(RuntimeError):  # the interpreter exits: the existing threads do it
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
            del job  # so that the wait for the next job keeps no reference

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's signature
        """End the helpers after the queued jobs; `wait` waits for them."""
        if not self._ended:
            self._ended = True
            for _ in self._helpers:
                self._jobs.put(None)
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds for all helpers to end."""
        until = None if timeout is None else monotonic() + timeout
        for helper in self._helpers:
            helper.join(None if until is None else max(until - monotonic(), 0))
