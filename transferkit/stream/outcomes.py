"""Waiting for outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from typing import final

from transferkit._tracebacks import safe_traceback
from transferkit.errors import ClientClosed, StoreError
from transferkit.events import Outcome
from transferkit.log_events import LogEvent
from transferkit.stores import Position, Store
from transferkit.stores.unreadable import UnreadableEvent, UnreadableRow
from transferkit.stream.unreadable import report_unreadable

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
        self._waiters: defaultdict[str, set[asyncio.Future[Outcome | None]]] = defaultdict(set)
        self._follower: asyncio.Task[None] | None = None
        self._following = asyncio.Event()
        self._closed = False

    async def known(self, transfer_id: str) -> Outcome | None:
        """The outcome of a stored transfer, if it has one. Raises as `outcome` does."""
        self._check_open()
        try:
            stored = await self._store.transfer(transfer_id)
        except StoreError:
            self._check_open()  # the store closes with the client
            raise
        return None if stored is None else stored.outcome

    async def outcome(self, transfer_id: str) -> Outcome:
        """The outcome of a stored transfer, now or when it comes.

        Raises `ClientClosed` when the client closes first, and `StoreError` when the store fails or has an
        outcome that this version cannot read.
        """
        self._check_open()
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters[transfer_id]
        waiters.add(waiter)
        try:
            if self._follower is None:
                self._follower = asyncio.create_task(self._follow(), name="transferkit-outcomes")
            await self._following.wait()
            outcome = await self.known(transfer_id) or await waiter
            if outcome is None:
                raise self._closing()
            return outcome
        finally:
            waiter.cancel()
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(transfer_id, None)

    def _check_open(self) -> None:
        if self._closed:
            raise self._closing()

    def _closing(self) -> ClientClosed:
        return ClientClosed("the client was closed while the outcome was awaited")

    async def _follow(self) -> None:
        position: Position | None = None
        while True:
            try:
                if position is None:
                    position = await self._store.end_of_log()
                    self._following.set()
                for after, event in await self._store.read(position):
                    position = after
                    if isinstance(event, UnreadableEvent):
                        report_unreadable(event, reader="outcome() skips an event")
                        await self._look_up(event)
                    elif isinstance(event, Outcome) and event.transfer_id:
                        self._tell(event.transfer_id, event)
                await self._store.wait(position, timeout=_POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it was, the outcomes must come
                with suppress(Exception):  # a log filter's
                    _log.error(
                        "the stream cannot be read; trying again\n%s",
                        safe_traceback(error),
                        extra={"event": LogEvent.STORE_FAILED},
                    )
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _look_up(self, event: UnreadableEvent) -> None:
        """It may be an outcome that is awaited: its request has that too, or cannot be read either."""
        for transfer_id in [*self._waiters] if event.transfer_id is None else [event.transfer_id]:
            try:
                outcome = await self.known(transfer_id)
            except UnreadableRow as error:
                for waiter in [one for one in self._waiters.get(transfer_id, ()) if not one.done()]:
                    waiter.set_exception(UnreadableRow(error.what, error.call))
            else:
                if outcome is not None:
                    self._tell(transfer_id, outcome)

    def _tell(self, transfer_id: str, outcome: Outcome) -> None:
        for waiter in self._waiters.get(transfer_id, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    async def close(self) -> None:
        """Stop for good; whoever still waits gets `ClientClosed`, and so does whoever asks later."""
        self._closed = True
        self._following.set()
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
