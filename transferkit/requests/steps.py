"""Call steps: answer, reject, place, hold, resume, join and hang up calls.

Steps are sent and stored like transfers. Each has one outcome, and each executes at most once.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, final

from attrs import field, frozen

from transferkit._util.redaction import safe_repr
from transferkit._util.validation import as_span, as_word, is_a, is_text, is_word, maybe
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit.requests.context import CallingContext
from transferkit.requests.fields import (
    Call,
    CommonFields,
    RequestFields,
    RequestKind,
    identifier,
    is_deadline,
    ordered,
)

__all__ = [
    "AnswerCall",
    "HangUp",
    "Hold",
    "Join",
    "JoinSide",
    "PlaceCall",
    "RejectCall",
    "RejectReason",
    "Resume",
    "Step",
    "StepFields",
]

STEP_DEADLINE = timedelta(seconds=30)
_RING_TIMEOUT = timedelta(seconds=60)
"""How long a placed call rings, if the application does not say so."""
UNPLACED = "unplaced"
"""The id of a call to place, before it is recorded."""

_optional_text = maybe(is_text())
_optional_identifier = maybe(identifier)


class RejectReason(StrEnum):
    """Why a call is rejected, as the caller's side learns it."""

    NONE = "none"
    BUSY = "busy"
    FORBIDDEN = "forbidden"


class JoinSide(StrEnum):
    """On which call the provider performs a join and reports its result."""

    CALLER = "caller"
    AGENT = "agent"


def _reject_reason(value: RejectReason | str) -> Any:
    return as_word(RejectReason, value)


def _context(value: CallingContext | None) -> Any:
    return CallingContext() if value is None else value


def _span(value: timedelta | float | None) -> Any:
    return as_span(value)


def _step_deadline(value: timedelta | float | None) -> Any:
    return STEP_DEADLINE if value is None else as_span(value)


def _ring_deadline(value: timedelta | float | None) -> Any:
    return _RING_TIMEOUT + STEP_DEADLINE if value is None else as_span(value)


@frozen
class StepFields(RequestFields):
    """The fields of steps: those of `RequestFields`; `deadline` is 30 s by default."""

    deadline: timedelta = field(
        default=STEP_DEADLINE, converter=_step_deadline, validator=is_deadline, kw_only=True
    )


@frozen
class _ParticipantFields(StepFields):
    """`participant`, `participant_id`: the party that is meant; the only other one if neither is given."""

    participant: Identifier | None = field(default=None, validator=_optional_identifier, kw_only=True)
    participant_id: str | None = field(default=None, repr=safe_repr, validator=_optional_text, kw_only=True)


@final
@frozen(field_transformer=ordered)
class AnswerCall(StepFields):
    """Answer an incoming call. It is completed when the call is connected.

    `incoming_context`: the opaque context of an incoming ACS call; `client.answer(event)` sets it.
    """

    kind: ClassVar[RequestKind] = RequestKind.ANSWER

    incoming_context: str | None = field(default=None, repr=False, validator=_optional_text, kw_only=True)


@final
@frozen(field_transformer=ordered)
class RejectCall(StepFields):
    """Reject an incoming call.

    * `incoming_context`: the opaque context of an incoming ACS call; `client.reject(event)` sets it.
    * `reason`: what the caller's side learns.
    """

    kind: ClassVar[RequestKind] = RequestKind.REJECT

    incoming_context: str | None = field(default=None, repr=False, validator=_optional_text, kw_only=True)
    reason: RejectReason = field(
        default=RejectReason.NONE, converter=_reject_reason, validator=is_word(RejectReason), kw_only=True
    )


@final
@frozen(field_transformer=ordered)
class PlaceCall(CommonFields):
    """Call `to`. It is completed when the call is connected.

    * `provider`: the name of a configured provider; None means the default provider.
    * `caller_id`: the number that a phone sees. `context`: headers and details that travel with the call.
    * `ring_timeout`: how long the provider lets it ring, a timedelta or seconds.
    * `deadline`: 30 s after the end of the ringing by default, which is taken to last 60 s.
    * `step_id`: set when the step is recorded. The provider gives the call's id only in its answer.
    """

    kind: ClassVar[RequestKind] = RequestKind.PLACE_CALL

    to: Identifier = field(validator=identifier)
    provider: str | None = field(default=None, validator=_optional_text, kw_only=True)
    caller_id: PhoneNumber | None = field(default=None, validator=maybe(is_a(PhoneNumber)), kw_only=True)
    context: CallingContext = field(
        default=CallingContext(), converter=_context, validator=is_a(CallingContext), kw_only=True
    )
    ring_timeout: timedelta | None = field(
        default=None, converter=_span, validator=maybe(is_a(timedelta)), kw_only=True
    )
    deadline: timedelta = field(
        default=_RING_TIMEOUT + STEP_DEADLINE, converter=_ring_deadline, validator=is_deadline, kw_only=True
    )
    step_id: str | None = field(default=None, validator=_optional_text, kw_only=True)

    @property
    def call(self) -> Call:
        """The call under the id of the step, as the provider's id is not known in advance."""
        return Call(self.provider, self.step_id or UNPLACED)

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return (self.to,)


@final
@frozen(field_transformer=ordered)
class Hold(_ParticipantFields):
    """Put the other party of the call on hold."""

    kind: ClassVar[RequestKind] = RequestKind.HOLD


@final
@frozen(field_transformer=ordered)
class Resume(_ParticipantFields):
    """Take the other party of the call off hold."""

    kind: ClassVar[RequestKind] = RequestKind.RESUME


@final
@frozen(field_transformer=ordered)
class Join(_ParticipantFields):
    """Connect the other party of the caller's call with the agent, who is on another call of the application.

    * `call`: the call that the provider performs the join on: `Capabilities.join_side` says which.
    * `other`: the id of the other one of the two calls.
    * `to`: the agent.
    """

    kind: ClassVar[RequestKind] = RequestKind.JOIN

    other: str = field(repr=safe_repr, validator=is_text(), kw_only=True)
    to: Identifier = field(validator=identifier, kw_only=True)

    @property
    def targets(self) -> tuple[Identifier, ...]:
        """Everyone who may receive the call."""
        return (self.to,)


@final
@frozen(field_transformer=ordered)
class HangUp(StepFields):
    """End the call for everyone, or with `leave=True` only the application's leg of it."""

    kind: ClassVar[RequestKind] = RequestKind.HANG_UP

    leave: bool = field(default=False, validator=is_a(bool), kw_only=True)


Step = AnswerCall | RejectCall | PlaceCall | Hold | Resume | Join | HangUp
