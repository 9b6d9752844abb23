"""Sending: records requests, sends their attempts and records the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import final
from uuid import uuid4

from attrs import define, field, frozen

from transferkit._engine.ledger import Ledger
from transferkit._engine.planning import Planned, calls_of
from transferkit._engine.unrecorded import UnrecordedAnswers
from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    CallStillRinging,
    Input,
    Lease,
    Opened,
    PlannedAttempt,
    Replaced,
    Requested,
    Rules,
)
from transferkit._telemetry import Telemetry
from transferkit._telemetry.contract import Spawn
from transferkit._telemetry.log_records import log_fields, report_answer
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit._util.tracebacks import safe_traceback
from transferkit.config import LifecycleConfig
from transferkit.errors import IdempotencyConflict, InvalidRequest, Problem, StoreError, TransferInProgress
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Adapter, Submission
from transferkit.provider.clock import Clock
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, SubmitResult
from transferkit.stores import CommitUnknown, KeyUsed, LegOccupied, Store

__all__ = ["Attempt", "Sender"]

_log = logging.getLogger("transferkit.engine")

_LOOK_PAUSES = (0.0, 0.1, 0.3, 1.0)
"""Seconds before each look whether a request was recorded although the store failed."""
_LOOK_SECONDS = 10.0
"""The limit for all looks together."""

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
    """One attempt to send a request, recorded as begun by this process.

    `deadline_at` is the transfer's deadline; the submission's is earlier if the lease ends before it.
    """

    opened: Opened
    number: int
    deadline_at: datetime
    submission: Submission


@final
@define(eq=False, kw_only=True)
class Sender:
    """Sends requests. `spawn` starts what may take long."""

    store: Store
    ledger: Ledger
    unrecorded: UnrecordedAnswers
    adapters: Mapping[str, Adapter]
    clock: Clock
    timing: LifecycleConfig
    telemetry: Telemetry
    spawn: Spawn
    _owner: str = field(init=False, factory=lambda: uuid4().hex)

    def lease(self, now: datetime) -> Lease:
        """A lease of this process on due work."""
        return Lease(self._owner, now + self.timing.lease)

    # --- requests -----------------------------------------------------------------------------------

    async def record(self, planned: Planned) -> Opened:
        """Record a request and start to send it.

        Returns what is recorded: the request, or the earlier one with the same idempotency key.
        Raises `IdempotencyConflict`, `InvalidRequest`, `TransferInProgress`, and `StoreError` if the request
        was not recorded; `CommitUnknown` if it may have been recorded.
        """
        opened = planned.opened
        try:
            attempt = await self._record_first_attempt(planned)
        except KeyUsed as used:
            earlier = used.stored.opened
            if earlier.fingerprint != opened.fingerprint:
                raise IdempotencyConflict(str(opened.request.idempotency_key), earlier.id) from None
            return earlier
        except CallStillRinging:
            problem = Problem(
                "call",
                "still rings: it can be answered, rejected or redirected",
                "the id of an answered call",
            )
            raise InvalidRequest(opened.call.provider, [problem]) from None
        except LegOccupied as occupied:
            raise TransferInProgress(str(occupied.leg), occupied.transfer_id) from None
        if attempt is not None:
            self.spawn(self.send(attempt))
        return opened

    def _rules(self, opened: Opened) -> Rules:
        """What the provider and the configuration allow for a request."""
        capabilities = self.adapters[opened.call.provider].capabilities
        support = capabilities.support(opened.request.kind)
        return Rules(
            repeatable_for=support and support.repeatable_for,
            completes_on_acceptance=support is not None and support.completes_on_acceptance,
            grace=self.timing.grace,
            inspect_gap=self.timing.inspect_gap,
            max_attempts=self.timing.max_attempts,
            join_side=capabilities.join_side,
        )

    async def record_part(
        self, opened: Opened, also: Sequence[tuple[CallKey, Input]], *, dropped: tuple[str, ...]
    ) -> None:
        """Record a part of another request and start to send it. `also` is committed in the same transaction.

        Raises what the steps of `also` raise, `LegOccupied`, and `StoreError`.
        """
        attempt = await self._record_first_attempt(Planned(opened=opened, dropped=dropped), also)
        if attempt is not None:
            self.spawn(self.send(attempt))

    async def _record_first_attempt(
        self, planned: Planned, also: Sequence[tuple[CallKey, Input]] = ()
    ) -> Attempt | None:
        """Record a request with its first attempt; returns None if another process sends it."""
        opened = planned.opened
        lease = self.lease(opened.at)
        requested = Requested(
            at=opened.at,
            opened=opened,
            rules=self._rules(opened),
            sender=lease,
            dropped=planned.dropped,
            attempts=tuple(
                PlannedAttempt(opened=one.opened, rules=self._rules(one.opened), dropped=one.dropped)
                for one in planned.attempts
            ),
        )
        adapter, provider = self.adapters[opened.call.provider], opened.call.provider
        replaced = Replaced(at=opened.at, transfer_id=opened.id)
        inputs: list[tuple[CallKey, Input]] = [
            (call, replaced) for call in calls_of(opened.request, provider, adapter) if call != opened.call
        ]
        inputs += [*also, (opened.call, requested)]
        try:
            applied = await self.ledger.commit(inputs)
            return self._attempt(opened, applied[-1].state, lease)
        except StoreError as error:
            state = await self._look_for(opened, error)
        self.ledger.wakeup.event.set()  # nothing was reported, but there may be work
        transfer = state.open
        first_is_ours = transfer is not None and transfer.id == opened.id and transfer.attempts == 1
        return self._attempt(opened, state, lease) if first_is_ours else None

    async def _look_for(self, opened: Opened, error: StoreError) -> CallState:
        """Return the call's state if the request is recorded although the store failed.

        Raises `error` if the request is not recorded, and `CommitUnknown` if that cannot be found out.
        """
        try:
            state = await self._state_after(error, opened)
        except CommitUnknown as unknown:
            # If it is recorded, then with an attempt of this process, which was not made.
            unsent = self._answered(opened.id, 1, _NOT_BEGUN)
            self.unrecorded.keep(opened, unsent, unknown, deadline_at=opened.at + opened.request.deadline)
            raise
        with suppress(Exception):  # the application's log filters may raise
            _log.warning(
                "recorded, although the store failed\n%s",
                safe_traceback(error),
                extra=log_fields(opened.call, opened.id, LogEvent.COMMIT_RETRIED),
            )
        return state

    async def _state_after(self, error: StoreError, opened: Opened) -> CallState:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                for pause in _LOOK_PAUSES:
                    await asyncio.sleep(pause)
                    try:
                        if await self.store.transfer(opened.id) is not None:
                            return await self.store.state(opened.call)
                    except StoreError:
                        continue
                    if not isinstance(error, CommitUnknown):  # else the commit may still be under way
                        raise error
        raise CommitUnknown(
            f"transfer {opened.id} may or may not have been recorded. If it was, it is sent when the store "
            f"is back, or at the latest after {self.timing.lease.total_seconds():g} s. What to do: request "
            "it again with the same idempotency key. Without a key, request it again only if "
            f"client.get({opened.id!r}) raises TransferNotFound after that time. The store said: {error}"
        ) from error

    # --- attempts -----------------------------------------------------------------------------------

    async def resume(self, opened: Opened, lease: Lease) -> None:
        """Send a request again, or for the first time after a crash, if the life cycle allows it."""
        transfer = (await self.store.state(opened.call)).open
        number = transfer.attempts + 1 if transfer else 1
        attempted = Attempted(at=self.clock.now(), transfer_id=opened.id, attempt=number)
        (applied,) = await self.ledger.commit([(opened.call, attempted)])
        if applied.proceed and (attempt := self._attempt(opened, applied.state, lease)):
            await self.send(attempt)

    async def send(self, attempt: Attempt) -> None:
        """Send an attempt that is recorded as begun, and record the answer."""
        opened = attempt.opened
        with self.telemetry.attempt(opened, attempt.number) as span:
            answer = await self._submit(attempt)
            with suppress(Exception):  # log filters and meters may raise; the answer is recorded anyhow
                span.set_answer(answer)
                report_answer(opened, attempt.number, answer)
        answered = self._answered(opened.id, attempt.number, answer)
        try:
            await self.ledger.commit([(opened.call, answered)])
        except asyncio.CancelledError:  # the client closes, and the store takes too long
            self.unrecorded.give_up(opened, answered)
            raise
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the answer is not lost
            self.unrecorded.keep(opened, answered, error, deadline_at=attempt.deadline_at)

    async def _submit(self, attempt: Attempt) -> SubmitResult:
        """Return the adapter's answer. Any failure of the adapter means that the request may have executed.

        Nothing may be sent after the deadline, when the call may have its next transfer. The time limit uses
        monotonic time, as network timeouts do.
        """
        opened, submission = attempt.opened, attempt.submission
        within = (attempt.deadline_at - self.clock.now()).total_seconds()
        limit = asyncio.timeout(within)
        try:
            async with limit:
                submission.deadline.check()  # a time limit ends a task only where it waits
                return await self.adapters[opened.call.provider].submit(submission)
        except DeadlinePassed as passed:
            return passed.answer
        except Exception as error:  # noqa: BLE001 - adapters should not raise; if one does, it may have sent
            if limit.expired():
                late = submission.deadline.passed()
                message = f"given up after {within:.1f} s: the deadline was reached"
                return late.answer if late else _maybe_sent(FailureReason.TIMEOUT, message)
            _log.error(
                "the adapter failed while it sent the request\n%s",
                safe_traceback(error),
                extra=log_fields(opened.call, opened.id, LogEvent.ADAPTER_FAILED),
            )
            return _maybe_sent(FailureReason.PROVIDER_ERROR, redact(f"{type(error).__name__}: {error}"))

    def _attempt(self, opened: Opened, state: CallState, lease: Lease) -> Attempt | None:
        """The last attempt of an open transfer, which may be sent while the lease lasts."""
        transfer = state.open
        if transfer is None or transfer.id != opened.id:
            return None
        return Attempt(
            opened=opened,
            number=transfer.attempts,
            deadline_at=transfer.deadline_at,
            submission=Submission(
                id=opened.id,
                request=opened.request,
                first_sent_at=transfer.first_sent_at,
                deadline=Deadline(min(transfer.deadline_at, lease.until), self.clock),
                tenant_id=state.tenant_id,
            ),
        )

    def _answered(self, transfer_id: str, number: int, answer: SubmitResult) -> Answered:
        return Answered(at=self.clock.now(), transfer_id=transfer_id, attempt=number, answer=answer)


def _maybe_sent(reason: FailureReason, message: str) -> MaybeSent:
    return MaybeSent(result=Result(reason=reason, message=message, basis=Basis.LOCAL))
