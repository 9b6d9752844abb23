"""Waiting for the log to grow: by polling, and at once after a commit of this process."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from transferkit.errors import StoreError
from transferkit.stores.sql.calls import Ends

__all__ = ["LogWatch"]

_CANCEL_SECONDS: Final = 1.0


class LogWatch(ABC):
    """The tasks that wait for events of one open store."""

    def __init__(self, read_ends: Callable[[], Awaitable[Ends]]) -> None:
        self._read_ends = read_ends
        self._ends: list[int] = []
        self._commits = 0
        """The number of this process's commits: ends that were read before one of them may be too old."""
        self._waiters: dict[asyncio.Future[None], Ends] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def wait(self, after: Ends, *, seconds: float) -> None:
        """Return when there may be events after these positions. Raises `StoreError`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = after
        try:
            await self.look()
            if not waiter.done():
                self._start_tasks()
                await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiters.pop(waiter, None)
            waiter.cancel()

    @property
    def is_waited_for(self) -> bool:
        """Whether any task waits."""
        return bool(self._waiters)

    def grown(self, positions: Mapping[int, int]) -> None:
        """This process has committed events up to these positions."""
        self._commits += 1
        known = [*self._ends]
        for part, position in positions.items():
            if part < len(known):
                known[part] = position
        self._learn(known)

    def wake(self) -> None:
        """Wake every waiter: there is something to do that is not at the end of the log."""
        for waiter in [*self._waiters]:
            self._finish(waiter)

    async def close(self) -> None:
        """Wake every waiter of this process, and stop."""
        LogWatch.wake(self)
        while tasks := [task for task in self._tasks.values() if not task.done()]:
            for task in tasks:
                task.cancel()
            # Again if needed: `asyncio.wait_for` before Python 3.12 can lose a cancellation.
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    # --- the ends of the log --------------------------------------------------------------------------

    def _learn(self, known: list[int]) -> None:
        before = self._ends or known
        self._ends = [max(pair) for pair in zip(before, known, strict=True)]
        for waiter, after in [*self._waiters.items()]:
            if self._ends != [*after]:
                self._finish(waiter)

    def _finish(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.pop(waiter, None)
        if not waiter.done():
            waiter.set_result(None)

    async def look(self) -> None:
        """Read the ends of the log, and wake the tasks that wait for what is new. Raises `StoreError`."""
        commits = self._commits
        known = [*await self._read_ends()]
        if commits == self._commits:
            self._ends = known  # also if it is shorter: a failover can lose the last commits
        self._learn(known)

    # --- tasks ----------------------------------------------------------------------------------------

    def _start_tasks(self) -> None:
        self._start("poll", self._poll)

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(work(), name=f"transferkit-store-{name}")
            self._tasks[name].add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _poll(self) -> None:
        while self._waiters:
            await self._pause()
            try:
                await self.look()
            except StoreError:
                LogWatch.wake(self)  # the waiters use the store next, and receive the error

    @abstractmethod
    async def _pause(self) -> None:
        """Return when the log may have grown, or after a while."""
