"""The ledger: the only place where inputs are committed, logged and counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import final

from transferkit._lifecycle import CallKey, CallState, Input, step
from transferkit._telemetry import Telemetry
from transferkit._telemetry.log_records import report_event
from transferkit._util.log_events import LogEvent
from transferkit._util.tracebacks import safe_traceback
from transferkit.stores import Applied, Store
from transferkit.stores.contract import Step

__all__ = ["Ledger", "Wakeup"]

_log = logging.getLogger("transferkit.engine")


@final
class Wakeup:
    """Wakes the scheduler when a commit may have made work due before `next_look`.

    `next_look` is None while the scheduler reads the store: then every commit wakes it.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.next_look: datetime | None = None

    def notice(self, due_at: datetime | None) -> None:
        """Wake the scheduler if work that was set is due earlier. Each look costs a read of the store."""
        if due_at is not None and (self.next_look is None or due_at < self.next_look):
            self.event.set()


@final
class Ledger:
    """Commits inputs to the store, logs and counts what was committed, and wakes the scheduler.

    `after_commit` is awaited for each call of a commit, in clients without a scheduler.
    """

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self.wakeup = Wakeup()
        self.after_commit: Callable[[CallKey, CallState], Awaitable[None]] | None = None

    async def commit(self, inputs: Sequence[tuple[CallKey, Input]], step: Step = step) -> tuple[Applied, ...]:
        """Apply the inputs in one transaction. Raises what `Store.apply_all` raises."""
        applied = await self._store.apply_all(inputs, step)
        self._report(inputs, applied)
        for (call, _), result in zip(inputs, applied, strict=True):
            self.wakeup.notice(result.due_at)
            if self.after_commit is not None:
                await self.after_commit(call, result.state)
        return applied

    def _report(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
        """Log and count. An error of the application's log filters or meters does not undo the commit."""
        try:
            try:
                for result in applied:
                    for event in result.events:
                        report_event(event)
            finally:
                self._telemetry.committed(inputs, applied)
        except Exception as error:  # noqa: BLE001 - filters, handlers and meters are the application's
            with suppress(Exception):
                _log.warning(
                    "what was committed could not be logged or counted\n%s",
                    safe_traceback(error),
                    extra={"event": LogEvent.TELEMETRY_FAILED, "error": type(error).__name__},
                )
