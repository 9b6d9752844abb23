"""Waiting for outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import final

from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback
from transferkit.errors import ClientClosed, StoreError
from transferkit.events import Outcome
from transferkit.stores import Position, Store
from transferkit.stores.unreadable import UnreadableEvent, UnreadableRow
from transferkit.streams.lost import back_at_the_end
from transferkit.streams.unreadable import report_unreadable

__all__ = ["OutcomeWatch"]

_log = logging.getLogger("transferkit.streams")

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_RECHECK_SECONDS = 30.0
"""How often the outcomes of all waiters are looked up, beside the log."""
_MOST_AT_ONCE = 500


@final
class OutcomeWatch:
    """Waits for outcomes: one reader of the log, and one of stored outcomes, for however many waiters.

    It follows the store, so an outcome that another process recorded is found too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: defaultdict[str, set[asyncio.Future[Outcome | None]]] = defaultdict(set)
        self._asked: dict[str, asyncio.Future[Outcome | StoreError | None]] = {}
        """What is looked up next: each transfer once, whoever asks."""
        self._looker: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._following = asyncio.Event()
        self._closed = False

    async def known(self, transfer_id: str) -> Outcome | None:
        """The outcome of a stored transfer, if it has one. Raises as `outcome` does."""
        self._check_open()
        answer = self._asked.get(transfer_id)
        if answer is None:
            answer = self._asked[transfer_id] = asyncio.get_running_loop().create_future()
        if self._looker is None:
            self._looker = asyncio.create_task(self._look_up_asked(), name="transferkit-outcomes-lookup")
        known = await asyncio.shield(answer)
        if isinstance(known, StoreError):
            self._check_open()  # the store closes with the client
            raise known
        return known

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

    async def _look_up_asked(self) -> None:
        """Answer all that is asked: many transfers in one read, one read at a time."""
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                for ids in _batches([*asked]):
                    found = await self._look_up(ids)
                    for transfer_id in ids:
                        asked[transfer_id].set_result(found[transfer_id])
            finally:  # if the client closes
                for answer in asked.values():
                    if not answer.done():
                        answer.set_result(None)
        self._looker = None

    async def _look_up(self, ids: Sequence[str]) -> Mapping[str, Outcome | StoreError | None]:
        try:
            return await self._store.outcomes(ids)
        except UnreadableRow as error:
            if len(ids) == 1:
                return {ids[0]: error}
            found: dict[str, Outcome | StoreError | None] = {}
            for transfer_id in ids:  # the others can be read
                found |= await self._look_up([transfer_id])
            return found
        except StoreError as error:
            return dict.fromkeys(ids, error)

    async def _follow(self) -> None:
        position: Position | None = None
        loop = asyncio.get_running_loop()
        recheck_at = loop.time() + _RECHECK_SECONDS
        while True:
            try:
                if position is None:
                    position = await self._store.end_of_log()
                    if self._following.is_set():
                        await self._recheck()
                    self._following.set()
                position = await self._read_on(position)
                if loop.time() >= recheck_at:
                    await self._recheck()
                    recheck_at = loop.time() + _RECHECK_SECONDS
                await self._store.wait(position, timeout=_POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it was, the outcomes must come
                position = None  # the store may be another one now, with a shorter log
                with suppress(Exception):  # a log filter's
                    _log.error(
                        "the stream cannot be read; trying again\n%s",
                        safe_traceback(error),
                        extra={"event": LogEvent.STORE_FAILED},
                    )
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_on(self, position: Position) -> Position:
        """Give the waiters what the log has after this place; returns the place after that."""
        events = await self._store.read(position)
        for after, event in events:
            position = after
            if isinstance(event, UnreadableEvent):
                report_unreadable(event, reader="outcome() skips an event")
                await self._recheck([event.transfer_id] if event.transfer_id else None)
            elif isinstance(event, Outcome) and event.transfer_id:
                self._tell(event.transfer_id, event)
        if events:
            return position
        end = await self._store.end_of_log()
        kept = back_at_the_end(position, end, reader="outcome()") or end
        if kept != position:  # outcomes were recorded in places that were read before
            await self._recheck()
        return kept

    async def _recheck(self, transfer_ids: Sequence[str] | None = None) -> None:
        """Look up the outcomes of these waiters, or of all: the log may not show them."""
        for ids in _batches([*self._waiters] if transfer_ids is None else transfer_ids):
            for transfer_id, found in (await self._look_up(ids)).items():
                if isinstance(found, UnreadableRow):
                    self._fail(transfer_id, found)
                elif isinstance(found, StoreError):
                    raise found
                elif found is not None:
                    self._tell(transfer_id, found)

    def _fail(self, transfer_id: str, error: UnreadableRow) -> None:
        for waiter in self._waiters.get(transfer_id, ()):
            if not waiter.done():
                waiter.set_exception(UnreadableRow(error.what, error.call))

    def _tell(self, transfer_id: str, outcome: Outcome) -> None:
        for waiter in self._waiters.get(transfer_id, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    async def close(self) -> None:
        """Stop for good; whoever still waits gets `ClientClosed`, and so does whoever asks later."""
        self._closed = True
        self._following.set()
        tasks = [task for task in (self._follower, self._looker) if task is not None]
        self._follower = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        for answer in self._asked.values():
            answer.set_result(None)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), _MOST_AT_ONCE):
        yield ids[first : first + _MOST_AT_ONCE]
