"""One step in progress: the state as it changes, and the decision as it is built."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha1
from typing import Any, TypeVar, final
from uuid import NAMESPACE_URL, UUID

from attrs import evolve

from transferkit._lifecycle.consultation_state import OpenConsultation
from transferkit._lifecycle.decision import Decision, Due, Lease, Work
from transferkit._lifecycle.opened import CallKey
from transferkit._lifecycle.state import CallState, FinishedTransfer, OpenTransfer
from transferkit.events import (
    Basis,
    Event,
    Evidence,
    Outcome,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    RedirectRequested,
    RedirectSubmitted,
    StepCompleted,
    StepExpired,
    StepFailed,
    StepRequested,
    StepSubmitted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferRequested,
    TransferSubmitted,
    Verdict,
)
from transferkit.identifiers import Identifier
from transferkit.provider.facts import Fact, Result
from transferkit.requests import RequestKind

__all__ = ["Transition", "event_classes", "verdict_of"]

E = TypeVar("E", bound=Event)

# A failure of these leaves no caller on the application's leg whose presence must be queried.
_WITHOUT_CALLER = {
    RequestKind.ANSWER,
    RequestKind.REJECT,
    RequestKind.PLACE_CALL,
    RequestKind.HANG_UP,
}


class _TransferEvents:
    requested, submitted = TransferRequested, TransferSubmitted
    completed, failed, expired = TransferCompleted, TransferFailed, TransferExpired


class _RedirectEvents:
    requested, submitted = RedirectRequested, RedirectSubmitted
    completed, failed, expired = RedirectCompleted, RedirectFailed, RedirectExpired


class _StepEvents:
    requested, submitted = StepRequested, StepSubmitted
    completed, failed, expired = StepCompleted, StepFailed, StepExpired


def event_classes(transfer: OpenTransfer) -> type[_TransferEvents | _RedirectEvents | _StepEvents]:
    """Return the event classes of a transfer, a redirect or a step."""
    if transfer.kind.is_step:
        return _StepEvents
    return _TransferEvents if transfer.kind is RequestKind.TRANSFER else _RedirectEvents


@final
class Transition:
    """Collects what one step changes. `decide` returns it as a `Decision`."""

    def __init__(self, call: CallKey, state: CallState, at: datetime) -> None:
        self.call = call
        self.state = state
        self.at = at
        self.events: list[Event] = []
        self.outcomes: list[Outcome] = []
        self._sequence = state.sequence
        self._due: dict[tuple[str, Work], Due | None] = {}

    def decide(self, **more: Any) -> Decision:
        """Return the decision. `more` are further fields of it."""
        return Decision(
            state=evolve(self.state, sequence=self._sequence) if self.events else self.state,
            events=tuple(self.events),
            due=tuple(due for due in self._due.values() if due),
            cleared=tuple(key for key, due in self._due.items() if due is None),
            outcomes=tuple(self.outcomes),
            **more,
        )

    # --- state ----------------------------------------------------------------------------------

    @property
    def open(self) -> OpenTransfer | None:
        """The open transfer of the call."""
        return self.state.open

    def find_open(self, transfer_id: str) -> OpenTransfer | None:
        """Return the open transfer if it has this id. If not, all its due work is obsolete."""
        return self.open if self.open and self.open.id == transfer_id else None

    def update(self, transfer: OpenTransfer, **changes: Any) -> OpenTransfer:
        """Change fields of the open transfer and return it."""
        transfer = evolve(transfer, **changes)
        self.state = evolve(self.state, open=transfer)
        return transfer

    def note_call(self, *, connected: bool, ended: bool) -> None:
        """Record that the call is connected or ended. What placed the call is advanced if that is new."""
        noted = evolve(
            self.state, connected=self.state.connected or connected, ended=self.state.ended or ended
        )
        if noted != self.state:
            self.state = noted
            self.advance(noted.parent)

    # --- due work -------------------------------------------------------------------------------

    def advance(self, parent: str | None) -> None:
        """Have the request that this one is a part of continue, if it is a part of one."""
        if parent is not None:
            self._due[parent, Work.ADVANCE] = Due(transfer_id=parent, work=Work.ADVANCE, at=self.at)

    def set_due(
        self, transfer: OpenTransfer | OpenConsultation, work: Work, at: datetime, lease: Lease | None = None
    ) -> None:
        """Schedule work of the transfer; it replaces scheduled work of the same kind."""
        self._due[transfer.id, work] = Due(transfer_id=transfer.id, work=work, at=at, lease=lease)

    def clear_due(self, transfer_id: str, *kinds: Work) -> None:
        """Delete scheduled work of the transfer; all of it if no kind is given."""
        for work in kinds or Work:
            self._due[transfer_id, work] = None

    def schedule_inspection(self, transfer: OpenTransfer) -> None:
        """Schedule a query as soon as `Rules.inspect_gap` allows, even if the clock was set back."""
        at, gap = self.at, transfer.rules.inspect_gap
        if transfer.last_inspected_at is not None:
            at = min(max(at, transfer.last_inspected_at + gap), at + gap)
        self.set_due(transfer, Work.INSPECT, at)

    # --- events ---------------------------------------------------------------------------------

    def append(self, event: E, **changes: Any) -> E:
        """Append an event with the call's next sequence number, and return it."""
        numbered = evolve(event, **self._number(event.kind, event.time), **changes)
        self.events.append(numbered)
        return numbered

    def _number(self, kind: str, time: datetime) -> dict[str, Any]:
        """Return the fields that the call's next event has because of its place."""
        self._sequence += 1
        return {"sequence": self._sequence, "id": _event_id(self.call, self._sequence, kind, time)}

    def publish(
        self, event: type[Event], transfer: OpenTransfer, fact: Fact | None = None, **fields: Any
    ) -> None:
        """Append an event of the transfer. `fact` is the fact that caused it, if one did."""
        number = self._number(event.kind, fact.time if fact else self.at)
        self.events.append(self._create(event, transfer, fact, **number, **fields))

    def _create(self, event: type[E], transfer: OpenTransfer, fact: Fact | None, **fields: Any) -> E:
        if fact:
            fields |= {"correlation_id": fact.event.correlation_id, "raw": fact.event.raw}
        if transfer.kind.is_step:
            fields["step"] = transfer.kind
        return event(
            time=fact.time if fact else self.at,
            provider=self.call.provider,
            call_id=self.call.id,
            transfer_id=transfer.id,
            operation_context=transfer.operation_context,
            **fields,
        )

    def mark_submitted(self, transfer: OpenTransfer, fact: Fact | None = None, **fields: Any) -> OpenTransfer:
        """Record that the provider has the request, and publish that once. Nothing is sent any more."""
        if transfer.submitted:
            return transfer
        transfer = self.update(transfer, submitted=True)
        self.clear_due(transfer.id, Work.SUBMIT)
        if transfer.kind is RequestKind.PLACE_CALL:  # the call rings
            self.advance(transfer.parent)
        self.publish(event_classes(transfer).submitted, transfer, fact, **fields)
        return transfer

    # --- outcomes -------------------------------------------------------------------------------

    def complete(
        self, transfer: OpenTransfer, result: Result | None, *, basis: Basis, fact: Fact | None = None
    ) -> None:
        """Publish the success."""
        self._finish(
            transfer, self._create_outcome(event_classes(transfer).completed, transfer, fact, result, basis)
        )

    def complete_if_ambiguous_success_fits(self, transfer: OpenTransfer) -> None:
        """Publish an ambiguous success as that of this transfer, if it can be no other transfer's.

        In a call of two parties, a provider accepts a transfer only while the call exists and no other
        transfer of it is in progress. A success after the acceptance is therefore that of this transfer.
        """
        success = transfer.ambiguous_success
        if success is not None and transfer.submitted and transfer.transferee is None:
            self.complete(transfer, success, basis=Basis.INFERRED)

    def fail(
        self,
        transfer: OpenTransfer,
        result: Result,
        *,
        basis: Basis,
        call_alive: bool | None,
        fact: Fact | None = None,
    ) -> None:
        """Publish the failure. If `call_alive` is None, one query of the provider comes first.

        A local failure is published immediately, and so is that of a step which leaves no caller waiting.
        """
        if self.state.ended or transfer.call_end is not None:
            call_alive = False
        failure = self._create_outcome(
            event_classes(transfer).failed,
            transfer,
            fact,
            result,
            basis,
            reason=result.reason,
            call_alive=call_alive,
            advice=result.advice,
            request_id=result.request_id,
        )
        if call_alive is not None or basis is Basis.LOCAL or transfer.kind in _WITHOUT_CALLER:
            self._finish(transfer, failure)
            return
        self.clear_due(transfer.id, Work.SUBMIT)
        self.set_due(transfer, Work.INSPECT, self.at)
        self.set_due(transfer, Work.GRACE, self.at + transfer.rules.call_alive_timeout)
        self.update(transfer, pending_failure=failure, inspection_round=transfer.inspection_round + 1)

    def publish_pending_failure(self, transfer: OpenTransfer, *, call_alive: bool | None) -> None:
        """Publish the pending failure of the transfer, if it has one."""
        if transfer.pending_failure is not None:
            changes: dict[str, Any] = {"call_alive": call_alive, "elapsed": self._elapsed(transfer)}
            self._finish(transfer, evolve(transfer.pending_failure, **changes))

    def expire(self, transfer: OpenTransfer) -> None:
        """Publish that the result is not known, with the evidence."""
        evidence = transfer.evidence or Evidence.SILENCE
        known_alive = {Evidence.CALL_GONE: False, Evidence.CALL_CONNECTED: True}
        has_uncertain_verdict = (
            transfer.unattributed_verdict or transfer.ambiguous_failure or transfer.ambiguous_success
        )
        expiry = self._create_outcome(
            event_classes(transfer).expired,
            transfer,
            None,
            None,
            Basis.INFERRED,
            evidence=Evidence.UNATTRIBUTED_VERDICT if has_uncertain_verdict else evidence,
            call_alive=False if self.state.ended else known_alive.get(evidence),
        )
        self._finish(transfer, expiry)

    def _create_outcome(
        self,
        event: type[E],
        transfer: OpenTransfer,
        fact: Fact | None,
        result: Result | None,
        basis: Basis,
        **fields: Any,
    ) -> E:
        if result:
            fields |= {"code": result.code, "subcode": result.subcode, "message": result.message}
        if transfer.kind.is_step:
            fields["placed"] = self.state.placed_call
        return self._create(
            event,
            transfer,
            fact,
            target=_target(transfer, fact),
            transferee=(fact and fact.transferee) or transfer.transferee,
            basis=basis,
            elapsed=self._elapsed(transfer),
            **fields,
        )

    def _elapsed(self, transfer: OpenTransfer) -> timedelta:
        return max(self.at - transfer.requested_at, timedelta(0))

    def _finish(self, transfer: OpenTransfer, outcome: Outcome) -> None:
        """Append the one terminal event; the transfer is no longer open and has no due work."""
        self.outcomes.append(self.append(outcome))
        self.clear_due(transfer.id)
        finished = FinishedTransfer(
            id=transfer.id,
            kind=transfer.kind,
            operation_context=transfer.operation_context,
            own_callback_uri=transfer.own_callback_uri,
            verdict=verdict_of(outcome),
            possibly_received=transfer.possibly_received,
        )
        self.state = evolve(self.state, open=None).with_finished(finished)
        self.advance(transfer.parent)


def verdict_of(outcome: Outcome) -> Verdict | None:
    """Return the verdict that the provider stated; None if transferkit inferred the outcome."""
    if outcome.basis is not Basis.STATED:
        return None
    failed = isinstance(outcome, TransferFailed | RedirectFailed | StepFailed)
    return Verdict.FAILED if failed else Verdict.SUCCEEDED


def _target(transfer: OpenTransfer, fact: Fact | None) -> Identifier | None:
    """Return who received the call: as the provider states, else the only target of the request."""
    if fact and fact.target:
        return fact.target
    return transfer.targets[0] if len(transfer.targets) == 1 else None


def _event_id(call: CallKey, sequence: int, kind: str, time: datetime) -> str:
    """Return the same id for the same event: a UUID of version 5 (RFC 9562).

    Kind and time are part of it because a memory store that lost its content counts from 1 again.
    """
    name = f"transferkit:{call.provider}\n{call.id}\n{sequence}\n{kind}\n{time.isoformat()}"
    data = NAMESPACE_URL.bytes + name.encode("utf-8", "surrogatepass")  # a call id can be any text
    return str(UUID(bytes=sha1(data, usedforsecurity=False).digest()[:16], version=5))
