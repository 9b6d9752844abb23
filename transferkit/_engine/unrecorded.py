"""Answers of providers that the store cannot take yet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import final

from attrs import define, evolve, field, frozen

from transferkit._engine.ledger import Ledger
from transferkit._lifecycle import Answered, Opened
from transferkit._telemetry import Telemetry
from transferkit._telemetry.contract import Spawn
from transferkit._telemetry.log_records import report_lost, report_unrecorded
from transferkit.provider.clock import Clock
from transferkit.stores import Store

__all__ = ["UnrecordedAnswers"]

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
@define(eq=False, kw_only=True)
class UnrecordedAnswers:
    """Keeps answers in memory and commits them when the store is back.

    While an answer is kept, other processes see the transfer without it: they may query the call or send the
    request again. The life cycle accepts the answer as long as the transfer has no outcome.
    """

    store: Store
    ledger: Ledger
    clock: Clock
    spawn: Spawn
    telemetry: Telemetry
    _kept: set[_Unrecorded] = field(init=False, factory=set)
    _closing: asyncio.Event = field(init=False, factory=asyncio.Event)

    def open(self) -> None:
        """Keep answers from now on, in the running event loop."""
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Try to commit each kept answer once more, and log those that the store does not take."""
        self._closing.set()

    def keep(self, opened: Opened, answered: Answered, error: Exception, *, deadline_at: datetime) -> None:
        """Keep an answer and retry until it is committed. Logs it at once, for people to read."""
        kept = _Unrecorded(opened=opened, answered=answered, until=deadline_at + _KEPT_FOR)
        self._kept.add(kept)
        with suppress(Exception):  # the application's log filters may raise
            report_unrecorded(opened, answered, error)
        self.spawn(self._retry(kept))

    def give_up(self, opened: Opened, answered: Answered) -> None:
        """Log an answer that is lost."""
        with suppress(Exception):  # the application's log filters may raise
            report_lost(opened, answered)

    async def commit_kept(self, transfer_id: str) -> None:
        """Commit the kept answers of a transfer, before other work on it. Raises what the store raises."""
        for kept in tuple(self._kept):
            if kept.opened.id == transfer_id:
                await self._commit(kept)

    async def _retry(self, kept: _Unrecorded) -> None:
        try:
            for pause in chain(_PAUSES, repeat(_LONGEST_PAUSE)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._closing.wait()
                last = self._closing.is_set() or self.clock.now() >= kept.until
                self.telemetry.commit_retried()
                with suppress(Exception):  # whatever the store raises
                    await self._commit(kept)
                if last or kept not in self._kept:
                    return
        finally:
            if kept in self._kept:
                self._kept.discard(kept)
                self.give_up(kept.opened, kept.answered)

    async def _commit(self, kept: _Unrecorded) -> None:
        if await self.store.transfer(kept.opened.id) is not None:  # else the request was not recorded
            answered = evolve(kept.answered, at=self.clock.now())
            await self.ledger.commit([(kept.opened.call, answered)])
        self._kept.discard(kept)
