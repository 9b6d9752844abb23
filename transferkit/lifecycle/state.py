"""What the machine remembers of a call between two steps."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit._redact import safe_repr
from transferkit.events import Evidence, LateVerdict
from transferkit.identifiers import Identifier
from transferkit.signals import Result

__all__ = ["CallState", "Finished", "Progress", "RequestKind", "Rules"]


class RequestKind(StrEnum):
    """Which life a request leads."""

    TRANSFER = "transfer"
    REDIRECT = "redirect"


@final
@frozen(kw_only=True)
class Rules:
    """What a transfer's provider and configuration allow, fixed when it is requested.

    * `repeatable_for`: how long after its first sending the same request may be sent again without being
      executed twice; None where it never may.
    * `taken_is_handed_over`: a redirect's acceptance is the whole story that the provider tells.
    * `grace`: how long a proof may come after the call's end.
    * `inspect_gap`: least time between two questions to the provider about one transfer.
    * `max_attempts`, `backoff`: how often and after what first pause a request is sent again.
    """

    repeatable_for: timedelta | None = None
    taken_is_handed_over: bool = False
    grace: timedelta = timedelta(seconds=5)
    inspect_gap: timedelta = timedelta(seconds=5)
    max_inspections: int = 3
    max_attempts: int = 6
    backoff: timedelta = timedelta(milliseconds=500)


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

    submitted: bool = False
    claimed: Result | None = None
    """A success that the provider stated of the call: this one's if the provider took it."""
    started: bool = False
    accepted: bool = False
    ended: Result | None = None
    """How the call ended while this was open."""
    evidence: Evidence | None = None
    last_inspected_at: datetime | None = None
    final_inspections: int = 0
    deadline_passed: bool = False

    @property
    def reached(self) -> bool:
        """Whether the provider may have it."""
        return self.submitted or self.in_flight or self.ambiguous


@final
@frozen(kw_only=True)
class Finished:
    """A transfer that has its outcome; `verdict` is what the provider stated, None where it did not.

    `reached`: whether the provider may have it, and may still speak of it.
    """

    id: str
    kind: RequestKind = RequestKind.TRANSFER
    operation_context: str | None = field(default=None, repr=safe_repr)
    verdict: LateVerdict | None = None
    reached: bool = True

    @property
    def unsettled(self) -> bool:
        """Whether its verdict may still come."""
        return self.reached and self.verdict is None


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

    def rings(self, at: datetime) -> bool:
        """Whether the call is known to ring at that time: it can be redirected, not transferred."""
        return not (self.connected or self.ended) and self.respond_by is not None and at < self.respond_by

    @property
    def era(self) -> str:
        """Whose time it is: the open transfer's id, or nobody's."""
        return self.open.id if self.open else "-"
