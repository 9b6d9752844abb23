"""The tasks that an open client runs in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar, final

from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback

__all__ = ["BackgroundTasks"]

_log = logging.getLogger("transferkit.client")

_DRAIN_SECONDS = 5.0
"""How long the tasks may still run when the client closes."""

T = TypeVar("T")


@final
class BackgroundTasks:
    """Tasks of their own, which the cancellation of a caller does not reach."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(self._tasks.copy())

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "a task of the client ended with an error\n%s",
                safe_traceback(error),
                extra={"event": LogEvent.TASK_FAILED},
            )

    async def drain(self) -> None:
        """Let the tasks end, including those that they start, for a few seconds, and then cancel them."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _DRAIN_SECONDS
        while self._tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
