"""Due work: submissions to resume, queries to make, grace periods and deadlines to expire, calls to remove.

The background task of an open client, `client.run_due()` in a cron job and the clock of a test do the same
work. Leases in the store keep two processes from doing the same piece.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import final

from attrs import define, field

from transferkit._engine.consultations import Consultations
from transferkit._engine.inspector import Inspector
from transferkit._engine.ledger import Ledger, Wakeup
from transferkit._engine.sender import Sender
from transferkit._engine.unrecorded import UnrecordedAnswers
from transferkit._lifecycle import Due, DueReached, Work
from transferkit._telemetry.contract import Spawn
from transferkit._telemetry.log_records import log_fields
from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import LifecycleConfig, RetentionConfig
from transferkit.provider.clock import Clock
from transferkit.stores import Store
from transferkit.stores.contract import needed_provider
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["Scheduler"]

_log = logging.getLogger("transferkit.engine")

_BATCH = 32
_BUSY_PAUSE = timedelta(milliseconds=200)
_ADVANCE_PAUSES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Seconds before each further try to continue a request. People wait on its calls, and the lease is long."""


@final
@define(eq=False, kw_only=True)
class Scheduler:
    """Does the due work of a store in one process, for the providers that the process has adapters of."""

    store: Store
    ledger: Ledger
    sender: Sender
    inspector: Inspector
    consultations: Consultations
    unrecorded: UnrecordedAnswers
    providers: Collection[str]
    clock: Clock
    timing: LifecycleConfig
    retention: RetentionConfig
    spawn: Spawn
    _has_looked: bool = field(init=False, default=False)
    _next_due: datetime | None = field(init=False, default=None)

    async def run_due(self) -> int:
        """Do all work that is due and not leased by another process; returns the number of pieces."""
        done = 0
        while leased := await self._lease_due(self.clock.now()):
            await asyncio.gather(*(self._do(due) for due in leased))
            done += len(leased)
        return done

    async def run(self) -> None:
        """Do work whenever it is due, until cancelled."""
        wakeup = self.ledger.wakeup = (
            Wakeup()
        )  # of the running loop; the client may be opened in another later
        tidy_at = self.clock.now()
        while True:
            wakeup.next_look = None
            wakeup.event.clear()
            try:
                if tidy_at <= self.clock.now():
                    tidy_at = self.clock.now() + self.retention.every
                    self.spawn(self._tidy())
                until = await self._start_due()
            except Exception as error:  # noqa: BLE001 - whatever it was, the deadlines must go on
                with suppress(Exception):  # the application's log filters may raise
                    _log.error(
                        "due work cannot be read from the store\n%s",
                        safe_traceback(error),
                        extra={"event": LogEvent.STORE_FAILED},
                    )
                until = self.clock.now() + self.timing.inspect_gap
            if self.store.poll is not None:  # other processes may add work, or end in the middle of it
                poll = self.clock.now() + self.store.poll
                until = poll if until is None else min(until, poll)
            wakeup.next_look = tidy_at if until is None else min(until, tidy_at)
            await self.clock.wait(wakeup.event, wakeup.next_look)

    def lateness(self) -> float | None:
        """The seconds that the oldest work is overdue, as far as `run` knows; None if it never ran.

        It grows while the store cannot be read.
        """
        if not self._has_looked:
            return None
        late = 0.0 if self._next_due is None else (self.clock.now() - self._next_due).total_seconds()
        return max(late, 0.0)

    async def _start_due(self) -> datetime | None:
        """Start what is due; returns when the next work is due. Takes no lock if nothing is due."""
        while True:
            now = self.clock.now()
            until = self._next_due = await self.store.next_due(providers=self.providers)
            self._has_looked = True
            if until is None or until > now:
                return until
            leased = await self._lease_due(now)
            if not leased:  # another process has locked the rows for the moment
                return now + _BUSY_PAUSE
            for due in leased:
                self.spawn(self._do(due))

    async def _lease_due(self, now: datetime) -> tuple[Due, ...]:
        return await self.store.lease_due(
            now=now, lease=self.sender.lease(now), limit=_BATCH, providers=self.providers
        )

    async def _do(self, due: Due) -> None:
        for pause in _ADVANCE_PAUSES if due.work is Work.ADVANCE else ():
            if await self._try(due):
                return
            await asyncio.sleep(pause)
        await self._try(due)

    async def _try(self, due: Due) -> bool:
        """Do the work. Returns False if it failed and may succeed if it is tried again soon."""
        fields: dict[str, object] = {"event": LogEvent.WORK_FAILED, "transfer_id": due.transfer_id}
        try:
            stored = await self.store.transfer(due.transfer_id)
            if stored is None:  # retention has removed the request
                await self.store.drop_due(due.transfer_id)
                return True
            opened = stored.opened
            fields = log_fields(opened.call, opened.id, LogEvent.WORK_FAILED)
            await self.unrecorded.commit_kept(opened.id)
            needed = needed_provider(opened.call, due.work)
            if needed is not None and needed not in self.providers:
                _log.error(
                    "due work of %s was leased by a process without its adapter; another process will do it",
                    needed,
                    extra={**fields, "work": due.work},
                )
                return True
            match due.work:
                case Work.SUBMIT:
                    await self.sender.resume(opened, due.lease or self.sender.lease(self.clock.now()))
                case Work.INSPECT:
                    await self.inspector.inspect(opened)
                case Work.ADVANCE:
                    await self.consultations.advance(opened, due.lease or self.sender.lease(self.clock.now()))
                case Work.GRACE | Work.DEADLINE:
                    reached = DueReached(at=self.clock.now(), transfer_id=opened.id, work=due.work)
                    await self.ledger.commit([(opened.call, reached)])
        except Exception as error:  # noqa: BLE001 - when the lease ends, the work is done again
            with suppress(Exception):  # the application's log filters may raise
                _log.error("due work failed\n%s", safe_traceback(error), extra={**fields, "work": due.work})
            return isinstance(error, UnreadableRow)
        return True

    # --- retention ----------------------------------------------------------------------------------

    async def prune(self) -> int:
        """Remove the finished calls that are older than the retention allows; returns their number."""
        removed = 0
        while True:
            now = self.clock.now()
            batch = await self.store.prune(
                before=now - self.retention.age, idle_since=now - self.retention.group_idle, limit=_BATCH
            )
            removed += batch
            if batch < _BATCH:
                return removed

    async def _tidy(self) -> None:
        try:
            removed = await self.prune()
        except Exception as error:  # noqa: BLE001 - it is tried again later
            _log.error(
                "old calls could not be removed\n%s",
                safe_traceback(error),
                extra={"event": LogEvent.PRUNE_FAILED},
            )
        else:
            if removed:
                _log.info("%d old calls removed", removed, extra={"event": LogEvent.PRUNED, "calls": removed})
