"""Doing what is due: sends submissions, asks providers, lets graces and deadlines run out.

One concept for all of it. The open client's background task, `client.run_due()`, a test's clock and a
serverless timer call the same `run_due`; leases in the store keep two of them from doing the same thing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import final
from uuid import uuid4

from attrs import frozen

from transferkit._engine.answers import AnswerRecorder
from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    Due,
    DueReached,
    Input,
    Inspected,
    Lease,
    Opened,
    OpenTransfer,
    Replaced,
    Requested,
    Rules,
    Work,
    step,
)
from transferkit._telemetry import Telemetry
from transferkit._telemetry.contract import Spawn
from transferkit._telemetry.log_records import about, report_answer, report_event
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import LifecycleConfig, RetentionConfig
from transferkit.errors import StoreError
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Adapter, Inspection, Submission
from transferkit.provider.clock import Clock
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Presence, SubmitResult, Submitted
from transferkit.stores import Applied, CommitUnknown, Store
from transferkit.stores.contract import needed_provider

__all__ = ["Attempt", "Worker"]

_log = logging.getLogger("transferkit.engine")


_BATCH = 32
_BUSY_PAUSE = timedelta(milliseconds=200)
_LOOK_PAUSES = (0.0, 0.1, 0.3, 1.0)
_LOOK_SECONDS = 10.0
"""Before each look whether a request was recorded, and for all of them, where the store failed at it."""


_NOT_BEGUN = NotSent(
    result=Result(
        reason=FailureReason.PROVIDER_ERROR,
        message="the request was not sent, as the store did not say whether it was recorded",
        advice="Request the transfer again.",
        basis=Basis.LOCAL,
    )
)


@final
@frozen(kw_only=True)
class Attempt:
    """One sending that is recorded as begun by this process.

    `deadline_at` is the transfer's deadline; the submission's is earlier where the lease ends before.
    """

    opened: Opened
    number: int
    deadline_at: datetime
    submission: Submission


@final
class Worker:
    """Does the due work of a store in one process. `spawn` starts what may take long."""

    def __init__(
        self,
        *,
        store: Store,
        adapter: Callable[[str], Adapter],
        providers: Collection[str],
        clock: Clock,
        timing: LifecycleConfig,
        retention: RetentionConfig,
        telemetry: Telemetry,
        spawn: Spawn,
        background: bool = True,
    ) -> None:
        self.owner = uuid4().hex
        self._store = store
        self._adapter = adapter
        self._providers = providers
        self._clock = clock
        self._timing = timing
        self._retention = retention
        self._telemetry = telemetry
        self._background = background
        self._spawn = spawn
        self.answers = AnswerRecorder(
            store=store, apply=self.apply, clock=clock, spawn=spawn, telemetry=telemetry
        )
        self._changed = asyncio.Event()
        self._waits_until: datetime | None = None
        """When the background task looks next of its own accord; None while it is at it."""
        self._looked = False
        self._next_due: datetime | None = None

    async def begin(self, opened: Opened, *, dropped: tuple[str, ...]) -> Attempt | None:
        """Record a request, and return its first attempt to send; None where another process sends it.

        Raises what the store's `apply` raises; `StoreError` only where the request is not recorded, or where
        that cannot be found out, which it then says.
        """
        capabilities = self._adapter(opened.call.provider).capabilities
        rules = Rules(
            repeatable_for=capabilities.repeatable_for,
            redirect_completes_on_acceptance=capabilities.redirect_completes_on_acceptance,
            grace=self._timing.grace,
            inspect_gap=self._timing.inspect_gap,
            max_attempts=self._timing.max_attempts,
        )
        requested = Requested(
            at=opened.at, opened=opened, rules=rules, sender=self._lease(opened.at), dropped=dropped
        )
        try:
            replaced = [(leg, Replaced(at=opened.at, transfer_id=opened.id)) for leg in opened.legs[1:]]
            applied = await self.apply_all([(opened.call, requested), *replaced])
            return self._attempt(opened, applied[0].state, requested.sender)
        except StoreError as error:
            try:
                state = await self._state_after(error, opened)
            except CommitUnknown as unknown:
                # If it is recorded, then with an attempt of this process, which was not made.
                unsent = self._answered(opened.id, 1, _NOT_BEGUN)
                self.answers.keep(opened, unsent, unknown, deadline_at=opened.at + opened.request.deadline)
                raise
            with suppress(Exception):  # a log filter's
                _log.warning(
                    "recorded, although the store failed\n%s",
                    safe_traceback(error),
                    extra=about(opened.call, opened.id, LogEvent.COMMIT_RETRIED),
                )
        self._changed.set()
        progress = state.open
        first_is_ours = progress is not None and progress.id == opened.id and progress.attempts == 1
        return self._attempt(opened, state, requested.sender) if first_is_ours else None

    async def _state_after(self, error: StoreError, opened: Opened) -> CallState:
        """The call's state, if the request is recorded although the store failed at it.

        Raises that error where it is not, and `CommitUnknown` where this cannot be found out.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                for pause in _LOOK_PAUSES:
                    await asyncio.sleep(pause)
                    try:
                        if await self._store.transfer(opened.id) is not None:
                            return await self._store.state(opened.call)
                    except StoreError:
                        continue
                    if not isinstance(error, CommitUnknown):  # else it may be on its way still
                        raise error
        raise CommitUnknown(
            f"transfer {opened.id} may or may not have been recorded; if it was, it is sent when the store "
            f"is back, or at the latest after {self._timing.lease.total_seconds():g} s. What to do: request "
            f"it again with the same idempotency key, or else only if client.get({opened.id!r}) raises "
            f"TransferNotFound after that time. The store said: {error}"
        ) from error

    async def send(self, attempt: Attempt) -> None:
        """Send an attempt that is recorded as begun, and record how it went."""
        opened, submission = attempt.opened, attempt.submission
        with self._telemetry.attempt(opened, attempt.number) as span:
            answer = await self._submit(attempt)
            with suppress(Exception):  # a log filter's or a meter's: the answer is recorded anyhow
                span.answered(answer)
                report_answer(opened, attempt.number, answer)
        answered = self._answered(submission.id, attempt.number, answer)
        await self.answers.record(opened, answered, deadline_at=attempt.deadline_at)

    def _answered(self, transfer_id: str, number: int, answer: SubmitResult) -> Answered:
        return Answered(at=self._clock.now(), transfer_id=transfer_id, attempt=number, answer=answer)

    def _attempt(self, opened: Opened, state: CallState, lease: Lease) -> Attempt | None:
        """The last attempt of the call's open transfer, which may leave while the lease lasts."""
        progress = state.open
        if progress is None or progress.first_sent_at is None:  # pragma: no cover - what was begun has both
            return None
        return Attempt(
            opened=opened,
            number=progress.attempts,
            deadline_at=progress.deadline_at,
            submission=Submission(
                id=opened.id,
                request=opened.request,
                first_sent_at=progress.first_sent_at,
                deadline=Deadline(min(progress.deadline_at, lease.until), self._clock),
                tenant_id=state.tenant_id,
            ),
        )

    async def _submit(self, attempt: Attempt) -> SubmitResult:
        """The adapter's answer, or that the request may have executed.

        Nothing may leave after the deadline: that is the time of the call's next transfer. The time limit is
        monotonic, as those of a network are.
        """
        opened, submission = attempt.opened, attempt.submission
        within = (attempt.deadline_at - self._clock.now()).total_seconds()
        limit = asyncio.timeout(within)
        try:
            async with limit:
                submission.deadline.check()  # a time limit ends a task only where it waits
                return await self._adapter(opened.call.provider).submit(submission)
        except DeadlinePassed as passed:
            return passed.answer
        except Exception as error:  # noqa: BLE001 - see below
            if limit.expired() and (late := submission.deadline.passed()):
                return late.answer
            if limit.expired():
                message = f"given up after {within:.1f} s: the deadline was reached"
                return MaybeSent(
                    result=Result(reason=FailureReason.TIMEOUT, message=message, basis=Basis.LOCAL)
                )
            # An adapter raises for nothing; if one does, the request may have left.
            _log.error(
                "adapter failed while sending\n%s",
                safe_traceback(error),
                extra=about(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            message = redact(f"{type(error).__name__}: {error}")
            return MaybeSent(
                result=Result(reason=FailureReason.PROVIDER_ERROR, message=message, basis=Basis.LOCAL)
            )

    async def apply(self, call: CallKey, happened: Input) -> Applied:
        """Run one step in the store, and let the background task know."""
        (applied,) = await self.apply_all([(call, happened)])
        return applied

    async def apply_all(self, inputs: list[tuple[CallKey, Input]]) -> tuple[Applied, ...]:
        """Run several steps in one transaction."""
        applied = await self._store.apply_all(inputs, step)
        self._report(inputs, applied)
        if any(self._is_sooner(happened, one) for (_, happened), one in zip(inputs, applied, strict=True)):
            self._changed.set()
        if not self._background:  # nobody else may come soon
            for (call, _), one in zip(inputs, applied, strict=True):
                await self._release(call, one.state.open)
        return applied

    async def _release(self, call: CallKey, progress: OpenTransfer | None) -> None:
        """Query whether the call is alive, where only that delays an outcome."""
        if progress is None or progress.pending_failure is None:
            return
        stored = await self._store.transfer(progress.id)
        try:
            async with asyncio.timeout(progress.rules.call_alive_timeout.total_seconds()):
                if stored is not None:  # pragma: no branch - it is open
                    await self._inspect(stored.opened)
        except TimeoutError:
            await self.apply(call, DueReached(at=self._clock.now(), transfer_id=progress.id, work=Work.GRACE))

    def _report(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
        """Log and count what is committed. It stays so, whatever a log filter or a meter raises."""
        try:
            try:
                for one in applied:
                    for event in one.events:
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

    def _is_sooner(self, happened: Input, applied: Applied) -> bool:
        """Whether work may be due now before the background task looks again: looking costs a read.

        All work is an open transfer's. A request's is due when its sender's lease ends or at its deadline; an
        answer that it is taken makes none. Of all else nothing is known here.
        """
        progress, until = applied.state.open, self._waits_until
        if until is None:
            return True
        if progress is None or (isinstance(happened, Answered) and isinstance(happened.answer, Submitted)):
            return False
        if isinstance(happened, Requested):
            return min(happened.sender.until, progress.deadline_at) < until
        return True

    async def run_due(self) -> int:
        """Do all that is due and that nobody else is at; returns how many pieces of work that was."""
        done = 0
        while True:
            now = self._clock.now()
            leased = await self._take_due(now)
            if not leased:
                return done
            await asyncio.gather(*(self._do(due) for due in leased))
            done += len(leased)

    async def _take_due(self, now: datetime) -> tuple[Due, ...]:
        """A share of what is due, of what this process has the adapters for."""
        return await self._store.lease_due(
            now=now, lease=self._lease(now), limit=_BATCH, providers=self._providers
        )

    async def run(self) -> None:
        """Do what is due whenever it is due, until cancelled."""
        self._changed = asyncio.Event()  # of the loop that runs now; a client may be opened in another later
        tidy_at = self._clock.now()
        while True:
            self._waits_until = None
            self._changed.clear()
            try:
                if tidy_at <= self._clock.now():
                    tidy_at = self._clock.now() + self._retention.every
                    self._spawn(self._tidy())
                until = await self._start_due()
            except Exception as error:  # noqa: BLE001 - whatever it was, the deadlines must go on
                with suppress(Exception):  # a log filter's
                    _log.error(
                        "due work cannot be read from the store\n%s",
                        safe_traceback(error),
                        extra={"event": LogEvent.STORE_FAILED},
                    )
                until = self._clock.now() + self._timing.inspect_gap
            if self._store.poll is not None:  # other processes may add work, or die at it
                poll = self._clock.now() + self._store.poll
                until = poll if until is None else min(until, poll)
            self._waits_until = tidy_at if until is None else min(until, tidy_at)
            await self._clock.wait(self._changed, self._waits_until)

    async def _start_due(self) -> datetime | None:
        """Start what is due; returns when the next work will be. Takes no lock where nothing is due."""
        while True:
            now = self._clock.now()
            until = self._next_due = await self._store.next_due(providers=self._providers)
            self._looked = True
            if until is None or until > now:
                return until
            taken = await self._take_due(now)
            if not taken:  # another process has its rows locked at this moment
                return now + _BUSY_PAUSE
            for due in taken:
                self._spawn(self._do(due))

    def lateness(self) -> float | None:
        """For how many seconds the oldest work has been due that nobody began, as the background task knows.

        It grows while the store cannot be read. None where no background task ever looked.
        """
        if not self._looked:
            return None
        late = 0.0 if self._next_due is None else (self._clock.now() - self._next_due).total_seconds()
        return max(late, 0.0)

    async def _tidy(self) -> None:
        try:
            gone = await self.prune()
        except Exception as error:  # noqa: BLE001 - it is tried again
            _log.error(
                "old calls could not be removed\n%s",
                safe_traceback(error),
                extra={"event": LogEvent.PRUNE_FAILED},
            )
        else:
            if gone:
                _log.info("%d old calls removed", gone, extra={"event": LogEvent.PRUNED, "calls": gone})

    async def prune(self) -> int:
        """Remove the calls that are over and older than the retention allows; returns how many."""
        gone = 0
        while True:
            now = self._clock.now()
            batch = await self._store.prune(
                before=now - self._retention.age, idle_since=now - self._retention.group_idle, limit=_BATCH
            )
            gone += batch
            if batch < _BATCH:
                return gone

    async def _do(self, due: Due) -> None:
        known: dict[str, object] = {"event": LogEvent.WORK_FAILED, "transfer_id": due.transfer_id}
        try:
            stored = await self._store.transfer(due.transfer_id)
            if stored is None:
                return
            opened = stored.opened
            known = about(opened.call, opened.id, LogEvent.WORK_FAILED)
            await self.answers.record_kept(opened.id)
            needed = needed_provider(opened.call, due.work)
            if needed is not None and needed not in self._providers:
                _log.error(
                    "due work of %s was leased by a process without its adapter; another one takes it over",
                    needed,
                    extra={**known, "work": due.work},
                )
                return
            match due.work:
                case Work.SUBMIT:
                    await self._resume(opened, due.lease or self._lease(self._clock.now()))
                case Work.INSPECT:
                    await self._inspect(opened)
                case Work.GRACE | Work.DEADLINE:  # pragma: no branch - there is no other work
                    reached = DueReached(at=self._clock.now(), transfer_id=opened.id, work=due.work)
                    await self.apply(opened.call, reached)
        except Exception as error:  # noqa: BLE001 - the lease runs out and somebody does it again
            _log.error("due work failed\n%s", safe_traceback(error), extra={**known, "work": due.work})

    async def _resume(self, opened: Opened, lease: Lease) -> None:
        """Send again, or for the first time after a crash, if the life cycle allows it."""
        progress = (await self._store.state(opened.call)).open
        number = progress.attempts + 1 if progress else 1
        attempted = Attempted(at=self._clock.now(), transfer_id=opened.id, attempt=number)
        applied = await self.apply(opened.call, attempted)
        if applied.proceed and (attempt := self._attempt(opened, applied.state, lease)):
            await self.send(attempt)

    async def _inspect(self, opened: Opened) -> None:
        state = await self._store.state(opened.call)
        with self._telemetry.inspection(opened) as span:
            inspection = await self._ask(opened, state.tenant_id)
            span.found(inspection)
        inspected = Inspected(
            at=self._clock.now(),
            transfer_id=opened.id,
            presence=inspection.presence,
            inspection_round=state.open.inspection_round if state.open else 0,
        )
        await self.apply(opened.call, inspected)

    async def _ask(self, opened: Opened, tenant_id: str | None) -> Inspection:
        try:
            return await self._adapter(opened.call.provider).inspect(opened.request.call, tenant_id=tenant_id)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error(
                "adapter failed while asking\n%s",
                safe_traceback(error),
                extra=about(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            return Inspection(presence=Presence.UNKNOWN)

    def _lease(self, now: datetime) -> Lease:
        return Lease(self.owner, now + self._timing.lease)
