"""Grouped commits: what arrives while a commit is running is committed together by the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Any, Generic, TypeVar, final

from transferkit.errors import StoreError
from transferkit.stores.contract import CommitUnknown

__all__ = ["CommitQueue", "Results"]

J = TypeVar("J")

Results = Sequence[Any]
"""The result of each job, or the exception to raise for it."""

_CANCELLED = (
    "the event loop ended while a commit was running: it may or may not be recorded. What to do: try again, "
    "what was recorded is recognised"
)


@final
class CommitQueue(Generic[J]):
    """Runs one commit at a time, each with all jobs that arrived during the one before.

    A caller that is cancelled detaches: its job is still committed, completely or not at all.
    """

    def __init__(self, commit: Callable[[Sequence[J]], Awaitable[Results]], *, at_most: int) -> None:
        self._commit = commit
        self._at_most = at_most
        self._waiting: deque[tuple[J, asyncio.Future[Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def add(self, job: J) -> Any:
        """Commit a job. Returns its result, or raises its error."""
        result = asyncio.get_running_loop().create_future()
        self._waiting.append((job, result))
        if self._task is None:
            self._start()
        return await result

    async def settle(self) -> None:
        """Wait until every job has its result."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def refuse(self, error: Exception) -> None:
        """Raise the error for every job that is waiting for its commit."""
        while self._waiting:
            _finish(self._waiting.popleft()[1], error)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="transferkit-commits")
        self._task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._task = None
        if self._waiting:  # the task was cancelled, as its event loop ends
            self._start()

    async def _run(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._at_most)
            some = [self._waiting.popleft() for _ in range(count)]
            try:
                results = await self._commit([job for job, _ in some])
            except Exception as error:  # noqa: BLE001 - for the callers
                results = [error] * count
            except BaseException:
                for _, future in some:
                    _finish(future, CommitUnknown(_CANCELLED))
                raise
            for (_, future), result in zip(some, results, strict=True):
                _finish(future, result)


def _finish(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, StoreError):
        error = copy(result)  # one error can end several jobs, and each caller raises its own instance
        error.__cause__ = result.__cause__
        future.set_exception(error)
    elif isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
