"""Waiting for outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import final

from transferkit.errors import ClientClosed, StoreError
from transferkit.events import Outcome
from transferkit.log_events import LogEvent
from transferkit.stores import Position, Store

__all__ = ["OutcomeWatch"]

_log = logging.getLogger("transferkit.stream")

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 0.1


@final
class OutcomeWatch:
    """Waits for outcomes: one reader of the log for however many waiters.

    It follows the store, so an outcome that another process recorded is found too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: defaultdict[str, set[asyncio.Future[Outcome]]] = defaultdict(set)
        self._follower: asyncio.Task[None] | None = None
        self._following = asyncio.Event()

    async def outcome(self, transfer_id: str) -> Outcome:
        """The outcome of a stored transfer, now or when it comes.

        Raises `ClientClosed` when the client closes first, and `StoreError` when the store fails.
        """
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiters = self._waiters[transfer_id]
        waiters.add(waiter)
        try:
            if self._follower is None:
                self._following = asyncio.Event()
                self._follower = asyncio.create_task(self._follow(), name="transferkit-outcomes")
            await self._following.wait()
            stored = await self._store.transfer(transfer_id)
            if stored is not None and stored.outcome is not None:
                return stored.outcome
            return await waiter
        finally:
            waiter.cancel()
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(transfer_id, None)

    async def _follow(self) -> None:
        position: Position | None = None
        while True:
            try:
                if position is None:
                    position = await self._store.end_of_log()
                    self._following.set()
                for after, event in await self._store.read(position):
                    position = after
                    if isinstance(event, Outcome) and event.transfer_id:
                        self._tell(event.transfer_id, event)
                await self._store.wait(position, timeout=_POLL_SECONDS)
            except StoreError:
                _log.exception(
                    "the stream cannot be read; trying again", extra={"event": LogEvent.STORE_FAILED}
                )
                await asyncio.sleep(_PAUSE_SECONDS)

    def _tell(self, transfer_id: str, outcome: Outcome) -> None:
        for waiter in self._waiters.get(transfer_id, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    async def close(self) -> None:
        """Stop; whoever still waits gets `ClientClosed`."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
        closed = ClientClosed("the client was closed while the outcome was awaited")
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(closed)
