"""Doing what is due: sends submissions, asks providers, lets graces and deadlines run out.

One concept for all of it. The open client's background task, `client.run_due()`, a test's clock and a
serverless timer call the same `run_due`; leases in the store keep two of them from doing the same thing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, final
from uuid import uuid4

from transferkit._redact import redact
from transferkit.adapter import Adapter, Inspection, Submission
from transferkit.clock import Clock
from transferkit.config import LifecycleConfig
from transferkit.errors import StoreError
from transferkit.events import Event, FailureReason, ProviderOther
from transferkit.lifecycle import (
    Answer,
    Answered,
    Attempted,
    CallKey,
    Due,
    DueReached,
    Input,
    Inspected,
    Lease,
    MaybeSent,
    Opened,
    Presence,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit.signals import Result
from transferkit.stores import Applied, Store

__all__ = ["Worker"]

_log = logging.getLogger("transferkit.work")

_BATCH = 32
_STORE_TRIES = 3


@final
class Worker:
    """One process's hand in the due work of a store."""

    def __init__(
        self, *, store: Store, adapter: Callable[[str], Adapter], clock: Clock, timing: LifecycleConfig
    ) -> None:
        self.owner = uuid4().hex
        self._store = store
        self._adapter = adapter
        self._clock = clock
        self._timing = timing
        self._changed = asyncio.Event()

    async def begin(self, opened: Opened, *, dropped: tuple[str, ...]) -> Applied:
        """Record a request, with this process as its sender. Raises what the store's `apply` raises."""
        capabilities = self._adapter(opened.call.provider).capabilities
        rules = Rules(
            repeatable_for=capabilities.repeatable_for,
            taken_is_handed_over=capabilities.redirect_is_handed_over,
            grace=self._timing.grace,
            inspect_gap=self._timing.inspect_gap,
            max_attempts=self._timing.max_attempts,
        )
        return await self.apply(
            opened.call,
            Requested(
                at=opened.at, opened=opened, rules=rules, sender=self._lease(opened.at), dropped=dropped
            ),
        )

    async def send(self, opened: Opened, begun: Applied) -> None:
        """Send the attempt that `begun` recorded as begun, and record how it went."""
        progress = begun.state.open
        if progress is None or progress.first_sent_at is None:
            return
        submission = Submission(
            id=opened.id,
            request=opened.request,
            first_sent_at=progress.first_sent_at,
            tenant_id=begun.state.tenant_id,
        )
        answer = await self._submit(opened, submission)
        answered = Answered(
            at=self._clock.now(), transfer_id=opened.id, attempt=progress.attempts, answer=answer
        )
        for attempt_left in reversed(range(_STORE_TRIES)):
            try:
                await self.apply(opened.call, answered)
            except StoreError:
                if not attempt_left:
                    raise
            else:
                return

    async def _submit(self, opened: Opened, submission: Submission) -> Answer:
        try:
            return await self._adapter(opened.call.provider).submit(submission)
        except Exception as error:  # noqa: BLE001 - see below
            # An adapter raises for nothing; if one does, nobody knows what left.
            _log.exception(
                "adapter failed while sending", extra=_about(opened.call, opened.id, "adapter_failed")
            )
            message = redact(f"{type(error).__name__}: {error}")
            return MaybeSent(result=Result(reason=FailureReason.PROVIDER_ERROR, message=message))

    async def apply(self, call: CallKey, happened: Input) -> Applied:
        """Run one step in the store, and let the background task know."""
        (applied,) = await self.apply_all([(call, happened)])
        return applied

    async def apply_all(self, inputs: list[tuple[CallKey, Input]]) -> tuple[Applied, ...]:
        """Run several steps in one transaction."""
        applied = await self._store.apply_all(inputs, step)
        for one in applied:
            for event in one.events:
                _report(event)
        self._changed.set()
        return applied

    async def run_due(self) -> int:
        """Do all that is due and that nobody else is at; returns how many pieces of work that was."""
        done = 0
        while True:
            now = self._clock.now()
            leased = await self._store.lease_due(now=now, lease=self._lease(now), limit=_BATCH)
            if not leased:
                return done
            await asyncio.gather(*(self._do(due) for due in leased))
            done += len(leased)

    async def run(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Do what is due whenever it is due, until cancelled. `spawn` starts work that may take long."""
        self._changed = asyncio.Event()  # of the loop that runs now; a client may be opened in another later
        while True:
            self._changed.clear()
            try:
                now = self._clock.now()
                for due in await self._store.lease_due(now=now, lease=self._lease(now), limit=_BATCH):
                    spawn(self._do(due))
                until = await self._store.next_due()
            except StoreError:
                _log.exception("due work cannot be read from the store", extra={"event": "store_failed"})
                until = self._clock.now() + self._timing.inspect_gap
            await self._clock.wait(self._changed, until)

    async def _do(self, due: Due) -> None:
        stored = await self._store.transfer(due.transfer_id)
        if stored is None:
            return
        opened = stored.opened
        try:
            match due.work:
                case Work.SUBMIT:
                    await self._resume(opened)
                case Work.INSPECT:
                    await self._inspect(opened)
                case Work.GRACE | Work.DEADLINE:
                    reached = DueReached(at=self._clock.now(), transfer_id=opened.id, work=due.work)
                    await self.apply(opened.call, reached)
        except StoreError:
            # The lease runs out and somebody does it again.
            _log.exception("due work failed", extra=_about(opened.call, opened.id, "work_failed"))

    async def _resume(self, opened: Opened) -> None:
        """Send again, or for the first time after a crash, if the life cycle allows it."""
        progress = (await self._store.state(opened.call)).open
        attempt = progress.attempts + 1 if progress else 1
        attempted = Attempted(at=self._clock.now(), transfer_id=opened.id, attempt=attempt)
        applied = await self.apply(opened.call, attempted)
        if applied.proceed:
            await self.send(opened, applied)

    async def _inspect(self, opened: Opened) -> None:
        state = await self._store.state(opened.call)
        try:
            inspection = await self._adapter(opened.call.provider).inspect(
                opened.request.call, tenant_id=state.tenant_id
            )
        except Exception:  # noqa: BLE001 - as above
            _log.exception(
                "adapter failed while asking", extra=_about(opened.call, opened.id, "adapter_failed")
            )
            inspection = Inspection(presence=Presence.UNKNOWN)
        inspected = Inspected(at=self._clock.now(), transfer_id=opened.id, presence=inspection.presence)
        await self.apply(opened.call, inspected)

    def _lease(self, now: datetime) -> Lease:
        return Lease(self.owner, now + self._timing.lease)


def _about(call: CallKey, transfer_id: str | None, name: str) -> dict[str, str | None]:
    return {"event": name, "provider": call.provider, "call_id": call.id, "transfer_id": transfer_id}


def _report(event: Event) -> None:
    call = CallKey(event.provider, event.call_id)
    extra = _about(call, event.transfer_id, event.kind) | {"correlation_id": event.correlation_id}
    if isinstance(event, ProviderOther) and event.late_verdict:
        _log.warning(
            "transfer %s on %s: the provider says %s after the outcome; the outcome stands",
            event.transfer_id,
            call,
            event.late_verdict,
            extra=extra,
        )
    else:
        _log.info("%s on %s", event.kind, call, extra=extra)
