"""An asynchronous client in an event loop and a thread of its own, for threads that block."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from contextvars import Context
from threading import Thread, current_thread
from typing import Any, Generic, TypeVar, final

from transferkit._util.log_events import LogEvent
from transferkit._util.threads import DaemonThreads
from transferkit._util.tracebacks import safe_traceback
from transferkit.client import AsyncClient
from transferkit.errors import ClientClosed

__all__ = ["CLOSED", "LoopThread", "Wait"]

CLOSED = "the client is closed; `with client:` opens it again"

_log = logging.getLogger("transferkit.blocking")

_HELPERS = 16  # for DNS lookups and credential requests
_OPENING_SECONDS = 5.0
_EXIT_SECONDS = 8.0  # more than the client's own limit for submissions under way
_STRAY_SECONDS = 1.0

T = TypeVar("T")


@final
class Wait(Generic[T]):
    """A coroutine that runs in the loop's thread, and its result, which another thread waits for."""

    def __init__(self) -> None:
        self.future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """In the loop's thread: run the coroutine, in the context of the thread that asked for it."""
        self._task = asyncio.get_running_loop().create_task(work())
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.fail()
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())

    def fail(self) -> None:
        """End the wait without a result: raise `asyncio.CancelledError` in the waiting thread."""
        with suppress(InvalidStateError):
            self.future.set_exception(asyncio.CancelledError())

    def cancel(self) -> None:
        """In the loop's thread: cancel the coroutine, whether it runs or was never started."""
        if self._task is not None:
            self._task.cancel()
        else:
            self.fail()

    async def ended(self) -> bool:
        """In the loop's thread: wait until the coroutine ends; returns whether it has a result."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return self.future.done() and self.future.exception() is None


@final
class LoopThread:
    """The client of one process, opened when it is first used, in the event loop of a daemon thread.

    It uses no lock, because a signal handler or a fork could run while the lock is taken.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self._pid = os.getpid()
        self._helpers = DaemonThreads("transferkit-helper", _HELPERS)
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._helpers)
        self._stop = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._waits: set[Wait[Any]] = set()
        self._error: Exception | None = None
        self._exiting = False
        self._ending = False
        self._thread = Thread(target=self._main, name="transferkit-client", daemon=True)
        self._thread.start()
        self._forget_exit = _before_exit(self._at_exit)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def inherited(self) -> bool:
        """Whether it belongs to the parent: this process is a fork and has none of its threads."""
        return os.getpid() != self._pid

    @property
    def stopping(self) -> bool:
        """Whether the client is closed or closing."""
        return self._stop.is_set()

    # --- in the threads that wait -------------------------------------------------------------------

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop, in a copy of this thread's context, and wait for its result.

        An exception that interrupts the wait cancels the coroutine. Raises `ClientClosed` if the client
        closes first.
        """
        wait: Wait[T] = Wait()
        try:
            return self.begin(wait, work).future.result()
        except (asyncio.CancelledError, ClientClosed):
            raise self.closed() from None
        except BaseException:
            self.cancel(wait)
            raise

    def begin(self, wait: Wait[T], work: Callable[[], Coroutine[Any, Any, T]]) -> Wait[T]:
        """Start a coroutine in the loop; `wait` gets its result."""
        self.check_thread()
        self._waits.add(wait)
        wait.future.add_done_callback(lambda _: self._waits.discard(wait))
        try:
            self._loop.call_soon_threadsafe(self._start, wait, work)
        except RuntimeError:  # the loop is closed; if it closes after this line, `_main` sees the wait
            wait.fail()
        return wait

    def cancel(self, wait: Wait[Any]) -> None:
        """Cancel a coroutine that was begun, without waiting for its end."""
        try:
            self._loop.call_soon_threadsafe(wait.cancel)
        except RuntimeError:  # the loop is closed
            wait.fail()

    def closed(self) -> ClientClosed | SystemExit:
        """Return the exception for a closed client. At interpreter exit a daemon thread ends silently."""
        if self._exiting and current_thread().daemon:
            return SystemExit()
        return ClientClosed(CLOSED)

    def check_thread(self) -> None:
        """Raise `RuntimeError` in the loop's own thread, which would wait for itself forever."""
        if current_thread() is self._thread:
            raise RuntimeError(
                "a blocking call in the client's own loop thread would wait for itself forever. Code that "
                "the client calls (an adapter, a store, a log handler) must call it from another thread"
            )

    # --- in the loop --------------------------------------------------------------------------------

    def _start(self, wait: Wait[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        if self._ending:  # a coroutine that starts now would never be finished
            wait.fail()
        else:
            wait.start(work)

    async def opened(self) -> AsyncClient:
        """Return the open client. The first caller opens it, and the others wait for that."""
        if self._stop.is_set():
            raise asyncio.CancelledError
        if self._opening is None:
            # In a context of its own, because what it starts outlives the first caller.
            self._opening = self._loop.create_task(self._open(), context=Context())
        await asyncio.shield(self._opening)
        return self.client

    async def _open(self) -> None:
        try:
            await self.client.__aenter__()
        except BaseException:
            self._opening = None  # the next call tries again
            raise

    def _main(self) -> None:
        while not self._stop.is_set():
            # If a coroutine raises one, its caller gets it; this thread goes on.
            with suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_until_complete(self._stop.wait())
        try:
            self._loop.run_until_complete(self._close_client())
        except Exception as error:  # noqa: BLE001 - `close` raises it
            self._error = error
        finally:
            self._loop.run_until_complete(self._end_strays())
            self._helpers.shutdown(wait=False)
            self._helpers.join(_STRAY_SECONDS)
            self._loop.close()
            for wait in list(self._waits):  # the loop ended before it saw them
                wait.fail()

    async def _close_client(self) -> None:
        if self._opening is not None:
            await asyncio.wait({self._opening}, timeout=_OPENING_SECONDS)
        await self.client.aclose()

    async def _end_strays(self) -> None:
        self._ending = True
        strays = asyncio.all_tasks() - {asyncio.current_task()}
        for stray in strays:
            stray.cancel()
        if strays:
            await asyncio.wait(strays, timeout=_STRAY_SECONDS)
        await self._loop.shutdown_asyncgens()

    # --- ending -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the client and wait until the thread has ended. Raises what closing the client raised."""
        self.check_thread()
        self._ask_to_stop()
        self._thread.join()
        self._forget_exit()
        if self._error is not None:
            raise self._error

    def _ask_to_stop(self) -> None:
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._stop.set)

    def _at_exit(self) -> None:
        """When the interpreter exits, after the last non-daemon thread: close the client."""
        if self.inherited:
            return
        self._exiting = True
        self._ask_to_stop()
        self._thread.join(_EXIT_SECONDS)
        if self._thread.is_alive():
            _log.warning(
                "the client did not close in time; the next process resumes its submissions",
                extra={"event": LogEvent.EXIT_CUT_SHORT},
            )
        elif self._error is not None:
            _log.warning(
                "the client did not close cleanly\n%s",
                safe_traceback(self._error),
                extra={"event": LogEvent.EXIT_FAILED},
            )


def _before_exit(work: Callable[[], None]) -> Callable[[], None]:
    """Call `work` before the process ends; returns a function that cancels that."""
    undo = ExitStack()
    atexit.register(work)
    undo.callback(atexit.unregister, work)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # Before Python 3.13, a forked child of multiprocessing exits without running `atexit` functions.
        from multiprocessing.util import Finalize

        undo.callback(Finalize(None, work, exitpriority=-1).cancel)
    return undo.close
