"""Consultations: call an agent while the caller waits, and then connect the two or return to the caller."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, final

from attrs import field, frozen

from transferkit._util.redaction import safe_repr
from transferkit._util.validation import as_span, is_a, is_text, maybe
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.requests.context import CallingContext
from transferkit.requests.fields import RequestKind, identifier, is_deadline, ordered
from transferkit.requests.steps import StepFields

__all__ = ["Consultation"]

_RING_TIMEOUT = timedelta(seconds=30)
_BRIEFING_TIMEOUT = timedelta(minutes=10)


def _context(value: CallingContext | None) -> Any:
    return CallingContext() if value is None else value


def _ring_timeout(value: timedelta | float | None) -> Any:
    return _RING_TIMEOUT if value is None else as_span(value)


def _briefing_timeout(value: timedelta | float | None) -> Any:
    return _BRIEFING_TIMEOUT if value is None else as_span(value)


@final
@frozen(field_transformer=ordered)
class Consultation(StepFields):
    """Put the other party of `call` on hold and call the agent `to`: an attended (warm) transfer.

    When the agent has answered, the application completes or cancels the consultation.

    * `to`: the agent. `caller_id`: the number that a phone sees. `context`: what the agent receives with it.
    * `ring_timeout`: how long the agent's phone rings, a timedelta or seconds; 30 s by default.
    * `briefing_timeout`: how long the application and the agent may talk; 10 min by default. After that the
      consultation is cancelled.
    * `join_on_answer`: connect the caller as soon as the agent answers, without a briefing.
    * `hold`: whether the caller is put on hold meanwhile. With `on_unsupported="drop"`, a caller whom the
      provider cannot hold is not held (Graph holds only participants of group calls).
    * `participant`, `participant_id`: the caller; the only other party of `call` if neither is given.
    * `deadline`: how long each of the other steps may take (hold, join, resume, hang up); 30 s by default.
    """

    kind: ClassVar[RequestKind] = RequestKind.CONSULTATION

    to: Identifier = field(validator=identifier, kw_only=True)
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)), kw_only=True)
    context: CallingContext = field(
        default=CallingContext(), converter=_context, validator=is_a(CallingContext), kw_only=True
    )
    ring_timeout: timedelta = field(
        default=_RING_TIMEOUT, converter=_ring_timeout, validator=is_deadline, kw_only=True
    )
    briefing_timeout: timedelta = field(
        default=_BRIEFING_TIMEOUT, converter=_briefing_timeout, validator=is_deadline, kw_only=True
    )
    join_on_answer: bool = field(default=False, validator=is_a(bool), kw_only=True)
    hold: bool = field(default=True, validator=is_a(bool), kw_only=True)
    participant: Identifier | None = field(default=None, validator=maybe(identifier), kw_only=True)
    participant_id: str | None = field(default=None, repr=safe_repr, validator=maybe(is_text()), kw_only=True)

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return (self.to,)
