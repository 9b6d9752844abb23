"""What the machine remembers of a call between two steps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import final

from attrs import evolve, field, frozen

from transferkit._util.redaction import safe_repr
from transferkit.events import Evidence, LateVerdict, RedirectFailed, TransferFailed
from transferkit.identifiers import Identifier
from transferkit.provider.facts import RequestKind, Result

__all__ = ["CallState", "Disputed", "Finished", "Progress", "Rules"]

_SETTLED_KEPT = 16
_VERDICTS_KEPT = 32


@final
@frozen(kw_only=True)
class Rules:
    """What a transfer's provider and configuration allow, fixed when it is requested.

    * `repeatable_for`: how long after its first sending the same request may be sent again without being
      executed twice; None where it never may.
    * `taken_is_handed_over`: a redirect's acceptance is the whole story that the provider tells.
    * `grace`: how long a proof may come after the call's end.
    * `alive_within`: how long a failure is held back while the provider is queried whether the call is alive.
    * `inspect_gap`: least time between two queries to the provider about one transfer.
    * `max_attempts`, `backoff`: how often and after what first pause a request is sent again.
    """

    repeatable_for: timedelta | None = None
    taken_is_handed_over: bool = False
    grace: timedelta = timedelta(seconds=5)
    alive_within: timedelta = timedelta(seconds=2)
    inspect_gap: timedelta = timedelta(seconds=5)
    max_inspections: int = 3
    max_attempts: int = 6
    backoff: timedelta = timedelta(milliseconds=500)


@final
@frozen(kw_only=True)
class Disputed:
    """A failure that the provider stated, of this transfer or of an earlier one of the call.

    `repeated`: every earlier one has its verdict, and one of those said the same.
    """

    result: Result
    repeated: bool = False


@final
@frozen(kw_only=True)
class Progress:
    """An open transfer or redirect."""

    id: str
    kind: RequestKind
    rules: Rules
    targets: tuple[Identifier, ...]
    transferee: Identifier | None
    operation_context: str | None = field(default=None, repr=safe_repr)
    own_address: bool = False
    """Its verdict comes to a callback address that only this transfer has."""
    requested_at: datetime
    deadline_at: datetime

    attempts: int = 0
    first_sent_at: datetime | None = None
    in_flight: bool = False
    """An attempt was begun and has no answer yet: it may have executed."""
    ambiguous: bool = False
    """Some earlier attempt may have executed."""
    overtaken: bool = False
    """That is the last attempt and no other: it was taken over before its answer came, which settles it."""
    refusal: Result | None = None
    """Why the last attempt did not leave."""
    failing_since: datetime | None = None
    """Since when each attempt has failed for a lasting cause."""

    submitted: bool = False
    claimed: Result | None = None
    """A success that the provider stated of the call, of this transfer or of an earlier one."""
    disputed: Disputed | None = None
    unattributed: LateVerdict | None = None
    """A verdict that does not say which transfer it is about; a success, if one of them was."""
    held: TransferFailed | RedirectFailed | None = None
    """The outcome, which is published as soon as it is known whether the call is alive."""
    started: bool = False
    accepted: bool = False
    ended: Result | None = None
    """How the call ended while this was open."""
    excluded: bool = False
    """The end of the call proves that this did not succeed."""
    evidence: Evidence | None = None
    last_inspected_at: datetime | None = None
    query: int = 0
    """Grows whenever only a query that begins afterwards can answer what is open."""
    final_inspections: int = 0
    deadline_passed: bool = False

    @property
    def reached(self) -> bool:
        """Whether the provider may have received it."""
        return self.submitted or self.in_flight or self.ambiguous

    @property
    def wire_context(self) -> str:
        """The operation context that the provider received."""
        return self.operation_context or self.id


@final
@frozen(kw_only=True)
class Finished:
    """A transfer that has its outcome; `verdict` is what the provider stated, None if it stated nothing.

    `reached`: whether the provider may have received it, so that a verdict may still come.
    """

    id: str
    kind: RequestKind = RequestKind.TRANSFER
    operation_context: str | None = field(default=None, repr=safe_repr)
    own_address: bool = False
    verdict: LateVerdict | None = None
    reached: bool = True

    @property
    def unsettled(self) -> bool:
        """Whether its verdict may still come."""
        return self.reached and self.verdict is None

    @property
    def wire_context(self) -> str:
        """The operation context that the provider received."""
        return self.operation_context or self.id


@final
@frozen(kw_only=True)
class CallState:
    """Everything the machine knows of one call."""

    sequence: int = 0
    connected: bool = False
    ended: bool = False
    respond_by: datetime | None = None
    """Until when the call rings unless it is answered, where the provider says so."""
    tenant_id: str | None = None
    open: Progress | None = None
    finished: tuple[Finished, ...] = ()
    """All that are unsettled, and the last of those that are settled."""
    verdicts: tuple[str, ...] = ()
    """The `content` of the last verdicts."""

    def rings(self, at: datetime) -> bool:
        """Whether the call is known to ring at that time: it can be redirected, not transferred."""
        return not (self.connected or self.ended) and self.respond_by is not None and at < self.respond_by

    @property
    def era(self) -> str:
        """The open transfer's id, or a dash if none is open."""
        return self.open.id if self.open else "-"

    def with_finished(self, done: Finished) -> CallState:
        """The state after one more transfer has its outcome."""
        settled = [known for known in self.finished if not known.unsettled]
        surplus = settled[: max(len(settled) - _SETTLED_KEPT, 0)]
        kept = (known for known in self.finished if known not in surplus)
        return evolve(self, finished=(*kept, done))

    def with_verdict(self, content: str | None) -> CallState:
        """The state after a verdict with this `content` was delivered."""
        if content is None or content in self.verdicts:
            return self
        return evolve(self, verdicts=(*self.verdicts, content)[-_VERDICTS_KEPT:])
