"""Handles the events of a consumer group with a function, several calls at once, each call in order.

Every worker is a consumer of the group, so a call belongs to one worker at a time, and the events of a call
are handled one after the other. An event is acknowledged after its handler has returned, and never before.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from typing import Any, Final, final

from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.provider.clock import Clock
from transferkit.streams.group import GroupStream
from transferkit.streams.reports import report_handler_failed, report_reopening

__all__ = ["Handler", "Processor"]

Handler = Callable[[Event], object]
"""An async function, or a function that blocks, which is called in a thread."""

_FIRST_PAUSE: Final = timedelta(seconds=0.5)
_LONGEST_PAUSE: Final = timedelta(seconds=30)
_STOP_SECONDS: Final = 5.0
"""How long a client that closes waits for handlers that are running, before it cancels them."""


@final
class Processor:
    """Runs a handler for each event of a group. `client.process` makes one; run it once.

    After a failure a worker waits, keeps its calls meanwhile, and gives them back: the event counts an
    attempt and is delivered again. The wait doubles with each failure in a row.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        group: str,
        concurrency: int,
        open_stream: Callable[[], GroupStream],
        running: set[Processor],
        clock: Clock,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler: expected a function, got {type(handler).__name__}")
        if concurrency < 1 or concurrency != int(concurrency):
            raise ValueError("concurrency: expected a whole number, 1 or more")
        self._handler = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an instance with an async __call__
        )
        self._group = group
        self._concurrency = concurrency
        self._open_stream = open_stream
        self._running = running
        """Every running processor of the client, which stops them when it closes."""
        self._clock = clock
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"transferkit-{group}")
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[Any]] = set()
        """The workers that wait for an event."""
        self._all_joined = asyncio.Barrier(concurrency)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Handle events until the processor is stopped, the client closes, or the streams end.

        Raises `StoreError` if the group cannot be opened at the start. Later it is tried again.
        """
        self._running.add(self)
        for number in range(self._concurrency):
            work = asyncio.create_task(self._work(), name=f"transferkit-{self._group}-{number}")
            self._workers.add(work)
        try:
            await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._threads.shutdown(wait=False)
            self._running.discard(self)
        for worker in self._workers:
            if not worker.cancelled():
                worker.result()

    async def aclose(self) -> None:
        """Let running handlers finish, for a few seconds, and acknowledge their events; then end `run`."""
        self._stop.set()
        for worker in self._idle:
            worker.cancel()  # a wait for an event can be cancelled without losing one
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=_STOP_SECONDS)
            for worker in late:
                worker.cancel()

    # --- one worker -----------------------------------------------------------------------------------

    async def _work(self) -> None:
        pause = _FIRST_PAUSE
        joined = False
        while not self._stop.is_set():
            entered = failed = False
            try:
                async with self._open_stream() as stream:
                    entered = True
                    if not joined:
                        await self._share(stream)
                        joined = True
                    while (event := await self._next(stream)) is not None:
                        try:
                            await self._handle(event)
                        except Exception as error:
                            failed = True
                            report_handler_failed(event, self._group, error, pause=pause.total_seconds())
                            await self._clock.wait(self._stop, self._clock.now() + pause)
                            raise  # leaves the stream, which counts the attempt
                        pause = _FIRST_PAUSE
                    return
            except Exception as error:
                if joined and not entered and isinstance(error, StoreError):
                    with suppress(Exception):  # the application's log filters may raise
                        report_reopening(self._group, error, pause=pause.total_seconds())
                    await self._clock.wait(self._stop, self._clock.now() + pause)
                elif not failed:
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _share(self, stream: GroupStream) -> None:
        """Divide the partitions among the workers: the first one has taken all of them."""
        for _ in range(2):  # first the worker that has too many gives them up, then the others take them
            await self._all_joined.wait()
            await stream.rebalance()

    async def _next(self, stream: GroupStream) -> Event | None:
        """The next event, after the current one is acknowledged; None if there are no more."""
        if self._stop.is_set():
            await stream.ack()
            return None
        worker = _this_task()
        self._idle.add(worker)
        try:
            return await anext(stream)
        except StopAsyncIteration:
            return None
        finally:
            self._idle.discard(worker)

    async def _handle(self, event: Event) -> None:
        """Call the handler. A cancellation that comes from inside of it is a failure like any other."""
        worker = _this_task()
        try:
            result = self._handler(event) if self._is_async else await self._in_thread(event)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            if worker.cancelling():
                raise
            raise RuntimeError("the handler was cancelled from inside") from None

    async def _in_thread(self, event: Event) -> object:
        """Call the handler in a thread. Nothing can interrupt it, so a cancellation waits for its end."""
        context = copy_context()

        def handle() -> object:
            return context.run(self._handler, event)

        call = asyncio.get_running_loop().run_in_executor(self._threads, handle)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            raise


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no running task")
    return task
