"""Waiting for the log to grow, with notifications from other processes.

LISTEN and NOTIFY are only hints, and polling continues at a lower rate. NOTIFY is sent after the commit, in a
transaction of its own: inside the transaction it would serialise all commits of the database. LISTEN has a
connection of its own. Where notifications do not arrive, for example behind a proxy that pools transactions,
listening stops.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final, final
from uuid import uuid4

import psycopg
from psycopg import sql

from transferkit._util.log_events import LogEvent
from transferkit.errors import StoreError
from transferkit.stores.postgres.database import Database
from transferkit.stores.sql.calls import end_of_log
from transferkit.stores.sql.statements import query
from transferkit.stores.sql.watch import LogWatch

__all__ = ["NotifiedWatch"]

_log = logging.getLogger("transferkit.stores")

_POLL_SECONDS: Final = 0.1
_POLL_SECONDS_WHILE_LISTENING: Final = 1.0
_NOTIFY_SECONDS: Final = 0.01
"""The minimum pause between two notifications; what happens in between is combined into one."""
_PROOF_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 5.0

_GROWN: Final = ""
_WAKE_ALL: Final = "*"


@final
class NotifiedWatch(LogWatch):
    """The waiters of one open store, which tells other processes what it commits."""

    def __init__(self, database: Database) -> None:
        super().__init__(partial(database.read, end_of_log))
        self._database = database
        self._channel = f"transferkit_{database.address.schema}"
        self._hint = asyncio.Event()
        self._listening = False
        self._listens = database.address.listen
        self._message: str | None = None

    def grown(self, positions: Mapping[int, int]) -> None:
        super().grown(positions)
        self._send(_GROWN)

    def wake(self) -> None:
        super().wake()
        self._send(_WAKE_ALL)

    def _start_tasks(self) -> None:
        super()._start_tasks()
        if self._listens:
            self._start("listen", self._listen)

    async def _pause(self) -> None:
        pause = _POLL_SECONDS_WHILE_LISTENING if self._listening else _POLL_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._hint.wait()
        self._hint.clear()

    # --- NOTIFY ---------------------------------------------------------------------------------------

    def _send(self, message: str) -> None:
        if self._listens:
            self._message = message if self._message is None else max(self._message, message)
            self._start("notify", self._notify)

    async def _notify(self) -> None:
        while self._message is not None:
            message, self._message = self._message, None
            await self._notify_once(message)
            await asyncio.sleep(_NOTIFY_SECONDS)

    async def _notify_once(self, message: str) -> None:
        with suppress(StoreError):  # a hint; polling finds out
            await self._database.read(partial(query, "notify", channel=self._channel, message=message))

    # --- LISTEN ---------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Turn notifications into hints, until it turns out that none arrive."""
        while True:
            try:
                if not await self._listen_once():
                    return
            except psycopg.Error:
                self._listening = False
            await asyncio.sleep(_RECONNECT_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _listen_once(self) -> bool:
        async with await self._database.connect() as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            proof = uuid4().hex
            await self._notify_once(proof)
            async for received in connection.notifies(timeout=_PROOF_SECONDS):
                if received.payload == proof:
                    break
            else:
                _log.info(
                    "PostgreSQL store %s: notifications do not arrive (a proxy that pools transactions?); "
                    "polling every %.0f ms instead",
                    self._database.address,
                    _POLL_SECONDS * 1000,
                    extra={"event": LogEvent.STORE_NOT_NOTIFIED},
                )
                self._listens = False
                return False
            self._listening = True
            self._hint.set()
            async for received in connection.notifies():
                if received.payload == _WAKE_ALL:
                    super().wake()
                self._hint.set()
        return True
