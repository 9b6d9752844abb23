"""The state of a call that is stored between two steps."""

from __future__ import annotations

from datetime import datetime
from typing import final

from attrs import evolve, field, frozen

from transferkit._lifecycle.consultation_state import OpenConsultation
from transferkit._lifecycle.route_state import OpenRoute
from transferkit._lifecycle.rules import Rules
from transferkit._util.redaction import safe_repr
from transferkit.events import Evidence, RedirectFailed, StepFailed, TransferFailed, Verdict
from transferkit.identifiers import Identifier
from transferkit.provider.facts import Result
from transferkit.requests import RequestKind

__all__ = ["AmbiguousFailure", "CallState", "FinishedTransfer", "OpenTransfer"]

_HOLDS = {RequestKind.HOLD, RequestKind.RESUME}
_WITH_VERDICTS = {RequestKind.TRANSFER, RequestKind.REDIRECT, RequestKind.JOIN, *_HOLDS}
_SETTLED_KEPT = 16
_UNSETTLED_KEPT = 16
_VERDICTS_KEPT = 32


@final
@frozen(kw_only=True)
class AmbiguousFailure:
    """A failure that the provider stated, of the open transfer or of an earlier transfer of the call.

    `repeats_known_verdict`: every earlier transfer has its verdict, and one of those verdicts had the same
    content.
    """

    result: Result
    repeats_known_verdict: bool = False


@final
@frozen(kw_only=True)
class OpenTransfer:
    """A transfer, redirect or step without an outcome."""

    id: str
    kind: RequestKind
    rules: Rules
    targets: tuple[Identifier, ...]
    transferee: Identifier | None
    """Set only in a group call, where one participant of several is transferred."""
    operation_context: str | None = field(default=None, repr=safe_repr)
    """As the application gave it."""
    concerns_two_calls: bool = False
    """A rejection may be about the other one of the two calls."""
    own_callback_uri: bool = False
    """Its verdict arrives at a callback URI that no other transfer has."""
    parent: str | None = None
    """The id of the request that this one is a part of. It is advanced when this one has its outcome."""
    requested_at: datetime
    deadline_at: datetime

    # Sending.
    attempts: int = 0
    first_sent_at: datetime
    """When the first attempt started that the provider may still recognize a repetition of."""
    in_flight: bool = False
    """The last attempt was started and has no answer yet, so it may have executed."""
    may_have_executed: bool = False
    """At least one attempt ended without a definite answer, so the request may have been executed."""
    late_answer_decides: bool = False
    """The last attempt is the only one that may have executed. Its answer is overdue but still counts."""
    last_error: Result | None = None
    """The result of the last attempt that was answered by anything else than an acceptance."""
    persistent_error_since: datetime | None = None
    """Since when every attempt failed for a cause that is unlikely to pass soon."""

    # What the provider reported.
    submitted: bool = False
    """The provider has the request."""
    started: bool = False
    accepted: bool = False
    ambiguous_success: Result | None = None
    """A success that the provider stated, of this transfer or of an earlier one of the call."""
    ambiguous_failure: AmbiguousFailure | None = None
    unattributed_verdict: Verdict | None = None
    """A verdict that does not identify a transfer; a success if at least one of them was a success."""
    call_end: Result | None = None
    """How the call ended while this transfer was open."""
    success_excluded: bool = False
    """The end of the call proves that this transfer did not succeed."""
    pending_failure: TransferFailed | RedirectFailed | StepFailed | None = None
    """The outcome. It is published as soon as a query shows whether the call is alive."""

    # Queries and the deadline.
    evidence: Evidence | None = None
    last_inspected_at: datetime | None = None
    inspection_round: int = 0
    """A query counts only if it began in this round. A new round begins whenever the answers of the queries
    that are under way can no longer settle what is open."""
    inspections_after_deadline: int = 0
    deadline_passed: bool = False

    @property
    def possibly_received(self) -> bool:
        """Whether the provider may have received the request."""
        return self.submitted or self.in_flight or self.may_have_executed

    @property
    def sent_context(self) -> str:
        """The operation context that the provider received."""
        return self.operation_context or self.id


@final
@frozen(kw_only=True)
class FinishedTransfer:
    """A transfer, redirect or step with an outcome.

    * `verdict`: what the provider stated about it, None if it stated nothing.
    * `possibly_received`: whether the provider may have received the request.
    """

    id: str
    kind: RequestKind = RequestKind.TRANSFER
    operation_context: str | None = field(default=None, repr=safe_repr)
    own_callback_uri: bool = False
    verdict: Verdict | None = None
    possibly_received: bool = True

    @property
    def unsettled(self) -> bool:
        """Whether a verdict about it may still arrive that could be taken for another one's.

        Other steps than these are decided by the state of their call.
        """
        return self.possibly_received and self.verdict is None and self.kind in _WITH_VERDICTS

    @property
    def sent_context(self) -> str:
        """The operation context that the provider received."""
        return self.operation_context or self.id


@final
@frozen(kw_only=True)
class CallState:
    """Everything that the machine knows about one call."""

    sequence: int = 0
    """The number of the call's last event."""
    connected: bool = False
    ended: bool = False
    respond_by: datetime | None = None
    """Until when an unanswered call rings, if the provider says so."""
    tenant_id: str | None = None
    placed_call: str | None = None
    """The provider's id of the call, if this is the state of a step that places one."""
    parent: str | None = None
    """The id of the request that placed the call. It is advanced when the call connects or ends."""
    open: OpenTransfer | None = None
    route: OpenRoute | None = None
    """The route whose current attempt is the open transfer or the consultation."""
    consultation: OpenConsultation | None = None
    """The consultation that the call's other party waits for. Its steps are requests of their own."""
    finished: tuple[FinishedTransfer, ...] = ()
    """The last 16 transfers that are unsettled and the last 16 that are settled, oldest first."""
    forgotten: tuple[RequestKind, ...] = ()
    """The kinds of older unsettled transfers. A verdict that names no transfer may belong to one of them."""
    verdict_contents: tuple[str, ...] = ()
    """The `Fact.content` of the last 32 verdicts."""

    @property
    def is_busy(self) -> bool:
        """Whether a request about the call has no outcome yet."""
        return self.open is not None or self.consultation is not None or self.route is not None

    def is_ringing(self, at: datetime) -> bool:
        """Whether the call is known to ring at that time. A ringing call can only be redirected."""
        return not (self.connected or self.ended) and self.respond_by is not None and at < self.respond_by

    @property
    def delivery_mark(self) -> str:
        """The mark that is stored with a delivery: the open transfer's id, or a dash if none is open."""
        return self.open.id if self.open else "-"

    @property
    def all_settled(self) -> bool:
        """Whether no verdict about an earlier transfer, redirect or join may still arrive."""
        unsettled = {*self.forgotten, *(earlier.kind for earlier in self.finished if earlier.unsettled)}
        return not unsettled - _HOLDS

    def with_finished(self, transfer: FinishedTransfer) -> CallState:
        """Return the state with one more finished transfer."""
        finished = (*self.finished, transfer)
        settled = [known for known in finished if not known.unsettled]
        unsettled = [known for known in finished if known.unsettled]
        surplus = settled[:-_SETTLED_KEPT]
        forgotten = unsettled[:-_UNSETTLED_KEPT]
        kept = (known for known in finished if known not in surplus and known not in forgotten)
        kinds = dict.fromkeys((*self.forgotten, *(known.kind for known in forgotten)))
        return evolve(self, finished=tuple(kept), forgotten=tuple(kinds))

    def with_verdict_content(self, content: str | None) -> CallState:
        """Return the state after a verdict with this `Fact.content`."""
        if content is None or content in self.verdict_contents:
            return self
        return evolve(self, verdict_contents=(*self.verdict_contents, content)[-_VERDICTS_KEPT:])
