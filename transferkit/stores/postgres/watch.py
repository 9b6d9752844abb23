"""Waiting for the log to grow: by asking now and then, and sooner where a notification says so.

LISTEN and NOTIFY are hints only. NOTIFY is sent after the commit, in a transaction of its own: inside of one
it would make all commits of the database queue. LISTEN has a connection of its own; where notifications do
not come through, as behind a proxy that pools transactions, it is given up and asking goes on alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, final
from uuid import uuid4

import psycopg
from psycopg import sql

from transferkit._util.log_events import LogEvent
from transferkit.errors import StoreError
from transferkit.stores.postgres.calls import Ends, ends
from transferkit.stores.postgres.database import Database

__all__ = ["LogWatch"]

_log = logging.getLogger("transferkit.stores.postgres")

_POLL_SECONDS: Final = 0.1
_POLL_SECONDS_WHILE_LISTENING: Final = 1.0
_NOTIFY_SECONDS: Final = 0.01
"""The least pause between two notifications: what happens meanwhile is told by one."""
_PROOF_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 5.0
_CANCEL_SECONDS: Final = 1.0

_GROWN: Final = ""
_EVERYBODY: Final = "*"


@final
class LogWatch:
    """The waiters of one open store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._channel = f"transferkit_{database.address.schema}"
        self._ends: list[int] = []
        self._commits = 0
        """Of this process, so that what was read before one of them is not taken for newer."""
        self._waiters: dict[asyncio.Future[None], Ends] = {}
        self._hint = asyncio.Event()
        self._listening = False
        self._news: str | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listens = database.address.listen

    async def wait(self, after: Ends, *, seconds: float) -> None:
        """Return when there may be events after these positions. Raises `StoreError`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = after
        try:
            await self._look()
            if not waiter.done():
                self._run("poll", self._poll)
                if self._listens:
                    self._run("listen", self._listen)
                await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiters.pop(waiter, None)
            waiter.cancel()

    def grown(self, positions: Mapping[int, int]) -> None:
        """This process has committed events up to these positions."""
        self._commits += 1
        known = [*self._ends]
        for partition, position in positions.items():
            if partition < len(known):
                known[partition] = position
        self._learn(known)
        self._tell(_GROWN)

    def wake(self) -> None:
        """Wake everybody, in every process: there is something to do that is not at the log's end."""
        self._wake()
        self._tell(_EVERYBODY)

    async def close(self) -> None:
        """Wake everybody here, and stop."""
        self._wake()
        while tasks := [task for task in self._tasks.values() if not task.done()]:
            for task in tasks:
                task.cancel()
            # And again: a cancellation can be lost on its way (in `asyncio.wait_for` before Python 3.12).
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    # --- what is known of the log -------------------------------------------------------------------

    def _learn(self, known: list[int]) -> None:
        before = self._ends or known
        self._ends = [max(pair) for pair in zip(before, known, strict=True)]
        for waiter, after in [*self._waiters.items()]:
            if self._ends != [*after]:
                self._finish(waiter)

    def _wake(self) -> None:
        for waiter in [*self._waiters]:
            self._finish(waiter)

    def _finish(self, waiter: asyncio.Future[None]) -> None:
        self._waiters.pop(waiter, None)
        if not waiter.done():
            waiter.set_result(None)

    async def _look(self) -> None:
        commits = self._commits
        known = [*await self._database.read(ends)]
        if commits == self._commits:
            self._ends = known  # also where it is shorter: a fail-over can lose the last commits
        self._learn(known)

    # --- tasks --------------------------------------------------------------------------------------

    def _run(self, name: str, work: Any) -> None:
        if name not in self._tasks:
            coroutine: Coroutine[Any, Any, None] = work()
            self._tasks[name] = asyncio.create_task(coroutine, name=f"transferkit-postgres-{name}")
            self._tasks[name].add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _poll(self) -> None:
        """Ask, for as long as anybody waits."""
        while self._waiters:
            pause = _POLL_SECONDS_WHILE_LISTENING if self._listening else _POLL_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hint.wait(), pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            self._hint.clear()
            try:
                await self._look()
            except StoreError:
                self._wake()  # whoever waits asks the store next, and gets to know what is wrong

    def _tell(self, news: str) -> None:
        if self._listens:
            self._news = news if self._news is None else max(self._news, news)
            self._run("notify", self._notify)

    async def _notify(self) -> None:
        while self._news is not None:
            news, self._news = self._news, None
            with suppress(StoreError):  # a hint; polling finds out
                await self._database.rows("SELECT pg_notify(%s, %s)", (self._channel, news))
            await asyncio.sleep(_NOTIFY_SECONDS)

    async def _listen(self) -> None:
        """Turn notifications into hints, until it shows that none come through."""
        while True:
            try:
                if not await self._listen_once():  # pragma: no branch - else it never returns
                    return
            except psycopg.Error:
                self._listening = False
            await asyncio.sleep(_RECONNECT_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _listen_once(self) -> bool:
        async with await self._database.connect() as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            proof = uuid4().hex
            with suppress(StoreError):
                await self._database.rows("SELECT pg_notify(%s, %s)", (self._channel, proof))
            async for told in connection.notifies(timeout=_PROOF_SECONDS):
                if told.payload == proof:
                    break
            else:
                _log.info(
                    "PostgreSQL store %s: notifications do not come through (a proxy that pools "
                    "transactions?); asking every %.0f ms instead",
                    self._database.address,
                    _POLL_SECONDS * 1000,
                    extra={"event": LogEvent.STORE_NOT_NOTIFIED},
                )
                self._listens = False
                return False
            self._listening = True
            self._hint.set()
            async for told in connection.notifies():  # pragma: no branch - it ends by an error alone
                if told.payload == _EVERYBODY:
                    self._wake()
                self._hint.set()
        return True  # pragma: no cover - a connection that is lost raises an error
