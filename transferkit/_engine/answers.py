"""Records answers to attempts, and keeps those that the store cannot take until it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import final

from attrs import evolve, frozen

from transferkit._lifecycle import Answered, CallKey, Opened
from transferkit._telemetry import Telemetry
from transferkit._telemetry.contract import Spawn
from transferkit._telemetry.log_records import report_lost, report_unrecorded
from transferkit.provider.clock import Clock
from transferkit.stores import Store

__all__ = ["AnswerRecorder"]

_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0)
_LONGEST_PAUSE = 5.0
_KEPT_FOR = timedelta(hours=1)
"""After the transfer's deadline."""


@final
@frozen(eq=False, kw_only=True)
class _Unrecorded:
    opened: Opened
    answered: Answered
    until: datetime


@final
class AnswerRecorder:
    """Commits what the provider answered, however long the store is away.

    While an answer is kept, its transfer is open for every other process, which may query the call or send
    again. The life cycle accepts the answer as long as the transfer has no outcome.
    """

    def __init__(
        self,
        *,
        store: Store,
        apply: Callable[[CallKey, Answered], Awaitable[object]],
        clock: Clock,
        spawn: Spawn,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._apply = apply
        self._clock = clock
        self._spawn = spawn
        self._telemetry = telemetry
        self._kept: set[_Unrecorded] = set()
        self._closing = asyncio.Event()

    def open(self) -> None:
        """Keep answers from now on, in the event loop that runs."""
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Try each answer that is kept once more, and log those that the store does not take."""
        self._closing.set()

    async def record(self, opened: Opened, answered: Answered, *, deadline_at: datetime) -> None:
        """Commit an answer, or keep it and return."""
        try:
            await self._apply(opened.call, answered)
        except asyncio.CancelledError:  # the client closes, and the store takes too long
            self._give_up(opened, answered)
            raise
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the answer is not lost
            self.keep(opened, answered, error, deadline_at=deadline_at)

    def keep(self, opened: Opened, answered: Answered, error: Exception, *, deadline_at: datetime) -> None:
        """Go on trying to commit an answer. It is logged at once, so that people can read it meanwhile."""
        kept = _Unrecorded(opened=opened, answered=answered, until=deadline_at + _KEPT_FOR)
        self._kept.add(kept)
        with suppress(Exception):  # a log filter's
            report_unrecorded(opened, answered, error)
        self._spawn(self._until_recorded(kept))

    async def record_kept(self, transfer_id: str) -> None:
        """Commit what is kept of a transfer, before other work on it. Raises what the store raises."""
        for kept in tuple(self._kept):
            if kept.opened.id == transfer_id:
                await self._record(kept)

    async def _until_recorded(self, kept: _Unrecorded) -> None:
        try:
            for pause in chain(_PAUSES, repeat(_LONGEST_PAUSE)):  # pragma: no branch - it is endless
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._closing.wait()
                last = self._closing.is_set() or self._clock.now() >= kept.until
                self._telemetry.commit_retried()
                with suppress(Exception):  # whatever the store raises
                    await self._record(kept)
                if last or kept not in self._kept:
                    return
        finally:
            if kept in self._kept:
                self._kept.discard(kept)
                self._give_up(kept.opened, kept.answered)

    async def _record(self, kept: _Unrecorded) -> None:
        if await self._store.transfer(kept.opened.id) is not None:  # else the request was not recorded
            await self._apply(kept.opened.call, evolve(kept.answered, at=self._clock.now()))
        self._kept.discard(kept)

    def _give_up(self, opened: Opened, answered: Answered) -> None:
        with suppress(Exception):  # a log filter's
            report_lost(opened, answered)
