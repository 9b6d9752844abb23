"""Waiting for the outcomes of transfers."""

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
from transferkit.streams.reports import position_within, report_unreadable

__all__ = ["OutcomeWatch"]

_log = logging.getLogger("transferkit.streams")

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_RECHECK_SECONDS = 30.0
"""How often the outcomes of all waiters are looked up, in addition to reading the log."""
_MAX_IDS = 500
"""The most transfers that are looked up in one query."""


@final
class OutcomeWatch:
    """Waits for outcomes with one reader of the log and one lookup task, for any number of waiters.

    It reads the store, so it finds outcomes that another process recorded.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: defaultdict[str, set[asyncio.Future[Outcome | None]]] = defaultdict(set)
        self._lookups: dict[str, asyncio.Future[Outcome | StoreError | None]] = {}
        """The next lookup: each transfer once, for all callers."""
        self._lookup_task: asyncio.Task[None] | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self._following = asyncio.Event()
        self._closed = False

    async def known(self, transfer_id: str) -> Outcome | None:
        """The outcome of a stored transfer, if it has one. Raises as `outcome` does."""
        self._check_open()
        answer = self._lookups.get(transfer_id)
        if answer is None:
            answer = self._lookups[transfer_id] = asyncio.get_running_loop().create_future()
        if self._lookup_task is None:
            self._lookup_task = asyncio.create_task(self._look_up_all(), name="transferkit-outcomes-lookup")
        known = await asyncio.shield(answer)
        if isinstance(known, StoreError):
            self._check_open()  # the store fails because the client closed it
            raise known
        return known

    async def outcome(self, transfer_id: str) -> Outcome:
        """Wait for the outcome of a stored transfer.

        Raises `ClientClosed` if the client closes first, and `StoreError` if the store fails or contains an
        outcome that this version cannot read.
        """
        self._check_open()
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters[transfer_id]
        waiters.add(waiter)
        try:
            if self._follow_task is None:
                self._follow_task = asyncio.create_task(self._follow(), name="transferkit-outcomes")
            await self._following.wait()
            outcome = await self.known(transfer_id) or await waiter
            if outcome is None:
                raise _client_closed()
            return outcome
        finally:
            waiter.cancel()
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(transfer_id, None)

    def _check_open(self) -> None:
        if self._closed:
            raise _client_closed()

    # --- looking outcomes up ------------------------------------------------------------------------

    async def _look_up_all(self) -> None:
        """Answer all lookups: many transfers in one query, one query at a time."""
        while self._lookups:
            lookups, self._lookups = self._lookups, {}
            try:
                for ids in _batches([*lookups]):
                    found = await self._look_up(ids)
                    for transfer_id in ids:
                        lookups[transfer_id].set_result(found[transfer_id])
            finally:  # if the client closes
                for answer in lookups.values():
                    if not answer.done():
                        answer.set_result(None)
        self._lookup_task = None

    async def _look_up(self, ids: Sequence[str]) -> Mapping[str, Outcome | StoreError | None]:
        try:
            return await self._store.outcomes(ids)
        except UnreadableRow as error:
            if len(ids) == 1:
                return {ids[0]: error}
            found: dict[str, Outcome | StoreError | None] = {}
            for transfer_id in ids:  # the other outcomes can be read
                found |= await self._look_up([transfer_id])
            return found
        except StoreError as error:
            return dict.fromkeys(ids, error)

    # --- following the log --------------------------------------------------------------------------

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
                position = await self._read_log(position)
                if loop.time() >= recheck_at:
                    await self._recheck()
                    recheck_at = loop.time() + _RECHECK_SECONDS
                await self._store.wait(position, timeout=_POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - the waiters need their outcomes after any error
                position = None  # after a fail-over the log may be shorter
                with suppress(Exception):  # a log filter may raise
                    _log.error(
                        "the stream cannot be read; trying again\n%s",
                        safe_traceback(error),
                        extra={"event": LogEvent.STORE_FAILED},
                    )
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_log(self, position: Position) -> Position:
        """Pass the outcomes after a position to the waiters; returns the position after them."""
        events = await self._store.read(position)
        for after, event in events:
            position = after
            if isinstance(event, UnreadableEvent):
                report_unreadable(event, reader="outcome() skips an event")
                await self._recheck([event.transfer_id] if event.transfer_id else None)
            elif isinstance(event, Outcome) and event.transfer_id:
                self._resolve(event.transfer_id, event)
        if events:
            return position
        end = await self._store.end_of_log()
        kept = position_within(position, end, reader="outcome()") or end
        if kept != position:  # outcomes may have been recorded at positions that were read before
            await self._recheck()
        return kept

    async def _recheck(self, transfer_ids: Sequence[str] | None = None) -> None:
        """Look up the outcomes of these waiters, or of all, because the log may not show them."""
        for ids in _batches([*self._waiters] if transfer_ids is None else transfer_ids):
            for transfer_id, found in (await self._look_up(ids)).items():
                if isinstance(found, StoreError) and not isinstance(found, UnreadableRow):
                    raise found
                if found is not None:
                    self._resolve(transfer_id, found)

    def _resolve(self, transfer_id: str, result: Outcome | UnreadableRow) -> None:
        for waiter in self._waiters.get(transfer_id, ()):
            if waiter.done():
                continue
            if isinstance(result, UnreadableRow):
                waiter.set_exception(UnreadableRow(result.what, result.call))
            else:
                waiter.set_result(result)

    async def close(self) -> None:
        """Stop. Everyone who waits, now or later, gets `ClientClosed`."""
        self._closed = True
        self._following.set()
        tasks = [task for task in (self._follow_task, self._lookup_task) if task is not None]
        self._follow_task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        for answer in self._lookups.values():
            answer.set_result(None)


def _client_closed() -> ClientClosed:
    return ClientClosed("the client was closed before the outcome was known")


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), _MAX_IDS):
        yield ids[first : first + _MAX_IDS]
