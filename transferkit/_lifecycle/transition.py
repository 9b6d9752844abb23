"""One step under way: the state as it changes and the decision as it grows."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, final
from uuid import NAMESPACE_URL

from attrs import evolve

from transferkit._lifecycle.decision import CallKey, Decision, Due, Lease, Work
from transferkit._lifecycle.state import CallState, Finished, Progress
from transferkit.events import (
    Basis,
    Event,
    Evidence,
    LateVerdict,
    Outcome,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    RedirectRequested,
    RedirectSubmitted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferRequested,
    TransferSubmitted,
)
from transferkit.provider.facts import Fact, RequestKind, Result

__all__ = ["Transition", "kinds"]


@final
class Transition:
    """Mutable within one step; nothing outside sees it before the decision is made."""

    def __init__(self, call: CallKey, state: CallState, at: datetime) -> None:
        self.call = call
        self.at = at
        self.events: list[Event] = []
        self.outcome: Outcome | None = None
        self._state = state
        self._open = state.open
        self._sequence = state.sequence
        self._due: dict[tuple[str, Work], Due | None] = {}

    @property
    def state(self) -> CallState:
        """As it stands now; made when asked for, as most of a step's changes are followed by another."""
        known = self._state
        if self._open is not known.open or self._sequence != known.sequence:
            self._state = evolve(known, open=self._open, sequence=self._sequence)
        return self._state

    @state.setter
    def state(self, state: CallState) -> None:
        self._state, self._open, self._sequence = state, state.open, state.sequence

    def decision(self, **more: Any) -> Decision:
        return Decision(
            state=self.state,
            events=tuple(self.events),
            due=tuple(due for due in self._due.values() if due),
            cleared=tuple(key for key, due in self._due.items() if due is None),
            outcome=self.outcome,
            **more,
        )

    @property
    def open(self) -> Progress | None:
        return self._open

    def open_as(self, transfer_id: str) -> Progress | None:
        """The open transfer, if it is this one."""
        return self.open if self.open and self.open.id == transfer_id else None

    def progress(self, progress: Progress, **changes: Any) -> Progress:
        self._open = evolve(progress, **changes)
        return self._open

    def append(self, event: Event, **changes: Any) -> None:
        """Append an event that has no place on the stream yet."""
        self.events.append(evolve(event, **self._next_place(event.kind, event.time), **changes))

    def _next_place(self, kind: str, time: datetime) -> dict[str, Any]:
        self._sequence += 1
        return {"sequence": self._sequence, "id": _event_id(self.call, self._sequence, kind, time)}

    def emit(self, event: type[Event], progress: Progress, fact: Fact | None = None, **fields: Any) -> None:
        """Append an event of `progress`, caused by a fact or by transferkit itself."""
        self.append(self._made(event, progress, fact, **fields))

    def _made(self, event: type[Event], progress: Progress, fact: Fact | None, **fields: Any) -> Event:
        if fact:
            fields |= {"correlation_id": fact.event.correlation_id, "raw": fact.event.raw}
        time = fact.time if fact else self.at
        return event(
            time=time,
            provider=self.call.provider,
            call_id=self.call.id,
            transfer_id=progress.id,
            operation_context=progress.operation_context,
            **fields,
        )

    def set_due(self, progress: Progress, work: Work, at: datetime, lease: Lease | None = None) -> None:
        self._due[progress.id, work] = Due(transfer_id=progress.id, work=work, at=at, lease=lease)

    def clear(self, progress: Progress, *works: Work) -> None:
        for work in works:
            self._due[progress.id, work] = None

    def nothing(self, transfer_id: str) -> Decision:
        """The transfer has its outcome: no work of it is left to do."""
        for work in Work:
            self._due[transfer_id, work] = None
        return self.decision()

    def inspect_soon(self, progress: Progress) -> None:
        """Ask the provider, but not more often than the rules allow. A clock set back delays nothing."""
        at, gap = self.at, progress.rules.inspect_gap
        if progress.last_inspected_at is not None:
            at = min(max(at, progress.last_inspected_at + gap), at + gap)
        self.set_due(progress, Work.INSPECT, at)

    def submitted(self, progress: Progress, fact: Fact | None = None, **fields: Any) -> Progress:
        """The provider has the request: by its answer, or because it speaks of it."""
        if progress.submitted:
            return progress
        progress = self.progress(progress, submitted=True)
        self.clear(progress, Work.SUBMIT)
        self.emit(kinds(progress).submitted, progress, fact, **fields)
        return progress

    def conclude(
        self,
        progress: Progress,
        event: type[Event],
        *,
        basis: Basis,
        fact: Fact | None = None,
        result: Result | None = None,
        **fields: Any,
    ) -> None:
        """Publish the one terminal event."""
        self._finish(progress, self._outcome(progress, event, basis, fact, result, **fields))

    def _outcome(
        self,
        progress: Progress,
        event: type[Event],
        basis: Basis,
        fact: Fact | None,
        result: Result | None,
        **fields: Any,
    ) -> Outcome:
        """A terminal event that has no place on the stream yet."""
        words = {"code": result.code, "subcode": result.subcode, "message": result.message} if result else {}
        outcome = self._made(
            event,
            progress,
            fact,
            target=_target(progress, fact),
            transferee=(fact and fact.transferee) or progress.transferee,
            basis=basis,
            elapsed=max(self.at - progress.requested_at, timedelta(0)),
            **words,
            **fields,
        )
        if not isinstance(outcome, Outcome):  # pragma: no cover - for the type checker: each kind here is one
            raise TypeError(f"{outcome.kind} is not an outcome")
        return outcome

    def _finish(self, progress: Progress, outcome: Outcome) -> None:
        self.append(outcome)
        published = self.events[-1]
        if not isinstance(published, Outcome):  # pragma: no cover - for the type checker
            raise TypeError(f"{published.kind} is not an outcome")
        self.outcome = published
        self.clear(progress, *Work)
        done = Finished(
            id=progress.id,
            kind=progress.kind,
            operation_context=progress.operation_context,
            own_address=progress.own_address,
            verdict=_verdict_of(outcome),
            reached=progress.reached,
        )
        self.state = evolve(self.state, open=None).with_finished(done)

    def fail(
        self,
        progress: Progress,
        result: Result,
        *,
        basis: Basis,
        call_alive: bool | None,
        fact: Fact | None = None,
    ) -> None:
        """Publish the failure, or hold it until one query has shown whether the call is alive."""
        if self.state.ended or progress.ended is not None:
            call_alive = False
        outcome = self._outcome(
            progress,
            kinds(progress).failed,
            basis,
            fact,
            result,
            reason=result.reason,
            call_alive=call_alive,
            advice=result.advice,
            request_id=result.request_id,
        )
        provider_answers = basis is not Basis.LOCAL
        if call_alive is None and provider_answers and isinstance(outcome, TransferFailed | RedirectFailed):
            self.clear(progress, Work.SUBMIT)
            self.set_due(progress, Work.INSPECT, self.at)
            self.set_due(progress, Work.GRACE, self.at + progress.rules.alive_within)
            self.progress(progress, held=outcome, query=progress.query + 1)
        else:
            self._finish(progress, outcome)

    @property
    def is_holding(self) -> bool:
        """Whether the open transfer's outcome is held."""
        return self._open is not None and self._open.held is not None

    def release(self, progress: Progress, *, call_alive: bool | None) -> None:
        """Publish the failure that is held."""
        if progress.held is not None:  # pragma: no branch - asked only of one that is held
            elapsed = max(self.at - progress.requested_at, timedelta(0))
            changes: dict[str, Any] = {"call_alive": call_alive, "elapsed": elapsed}
            self._finish(progress, evolve(progress.held, **changes))

    def claim(self, progress: Progress) -> None:
        """Conclude from a success that some transfer of the call had, if it can only be this one's.

        In a call of two parties the provider accepts a transfer only while the call exists and no other
        transfer of it is under way. What succeeds after that is the accepted one.
        """
        if progress.claimed is None or not progress.submitted or progress.transferee is not None:
            return
        self.conclude(progress, kinds(progress).completed, basis=Basis.INFERRED, result=progress.claimed)

    def expire(self, progress: Progress) -> None:
        evidence = progress.evidence or Evidence.SILENCE
        known = {Evidence.CALL_GONE: False, Evidence.CALL_CONNECTED: True}
        in_doubt = progress.unattributed or progress.disputed or progress.claimed
        self.conclude(
            progress,
            kinds(progress).expired,
            basis=Basis.INFERRED,
            evidence=Evidence.UNATTRIBUTED_VERDICT if in_doubt else evidence,
            call_alive=False if self.state.ended else known.get(evidence),
        )


def _verdict_of(outcome: Outcome) -> LateVerdict | None:
    """The verdict that the provider stated, if this outcome rests on one."""
    if outcome.basis is not Basis.STATED:
        return None
    failed = isinstance(outcome, TransferFailed | RedirectFailed)
    return LateVerdict.FAILED if failed else LateVerdict.SUCCEEDED


def _event_id(call: CallKey, sequence: int, kind: str, time: datetime) -> str:
    """The same for the same event: a UUID of version 5 (RFC 9562), whatever text the call's id is.

    Kind and time tell it from what had this place before a store in memory was lost.
    """
    words = f"transferkit:{call.provider}\n{call.id}\n{sequence}\n{kind}\n{time.isoformat()}"
    name = words.encode("utf-8", "surrogatepass")
    digest = bytearray(hashlib.sha1(NAMESPACE_URL.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # version 5
    digest[8] = digest[8] & 0x3F | 0x80  # of RFC 9562's variant
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _TransferKinds:
    requested, submitted = TransferRequested, TransferSubmitted
    completed, failed, expired = TransferCompleted, TransferFailed, TransferExpired


class _RedirectKinds:
    requested, submitted = RedirectRequested, RedirectSubmitted
    completed, failed, expired = RedirectCompleted, RedirectFailed, RedirectExpired


def kinds(progress: Progress) -> type[_TransferKinds | _RedirectKinds]:
    """The event classes of a transfer's or a redirect's life."""
    return _TransferKinds if progress.kind is RequestKind.TRANSFER else _RedirectKinds


def _target(progress: Progress, fact: Fact | None) -> Any:
    """Who received the call: as stated, else the only one asked for."""
    if fact and fact.target:
        return fact.target
    return progress.targets[0] if len(progress.targets) == 1 else None
