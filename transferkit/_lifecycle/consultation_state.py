"""The state of an open consultation, which is stored with the state of the caller's call."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import final

from attrs import evolve, field, frozen

from transferkit._lifecycle.opened import part_id
from transferkit._util.redaction import safe_repr
from transferkit.events import StepOutcome
from transferkit.identifiers import Identifier
from transferkit.provider.facts import Result
from transferkit.provider.results import Presence
from transferkit.requests import JoinSide, RequestKind

__all__ = ["ConsultationStep", "Ending", "EndingKind", "OpenConsultation", "Phase", "Wanted", "step_id"]


def step_id(consultation_id: str, kind: RequestKind) -> str:
    """Return the id of a consultation's step. A consultation requests each kind of step at most once."""
    return part_id(consultation_id, kind)


@final
class Phase(StrEnum):
    """How far a consultation is."""

    REQUESTED = "requested"
    RINGING = "ringing"
    ANSWERED = "answered"
    COMPLETING = "completing"
    ENDING = "ending"
    """It failed or is cancelled: the agent's leg is ended and the caller resumed before the outcome."""


@final
class Wanted(StrEnum):
    """What a consultation needs next: a step, by its kind, or a query of the caller's call."""

    HOLD = RequestKind.HOLD.value
    PLACE_CALL = RequestKind.PLACE_CALL.value
    JOIN = RequestKind.JOIN.value
    HANG_UP = RequestKind.HANG_UP.value
    RESUME = RequestKind.RESUME.value
    QUERY = "query"


@final
@frozen(kw_only=True)
class ConsultationStep:
    """A step that was requested. `call_id`: the call whose state the step is in."""

    id: str
    kind: RequestKind
    call_id: str = field(repr=safe_repr)
    outcome: StepOutcome | None = None


@final
class EndingKind(StrEnum):
    """Why a consultation ends without a join."""

    FAILED = "failed"
    CALLER_LEFT = "caller_left"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    """Nobody completed or cancelled it in time. It is cancelled."""
    UNPLACED = "unplaced"
    """The agent's call may or may not exist."""


@final
@frozen(kw_only=True)
class Ending:
    """Why a consultation ends. `result`: that of the failure."""

    kind: EndingKind
    result: Result = field(factory=Result)


@final
@frozen(kw_only=True)
class OpenConsultation:
    """A consultation without an outcome."""

    id: str
    target: Identifier
    hold: bool
    hold_is_optional: bool = False
    """It goes on if the provider says that it cannot hold this caller."""
    join_side: JoinSide
    ring_timeout: timedelta
    briefing_timeout: timedelta
    join_on_answer: bool = False
    operation_context: str | None = field(default=None, repr=safe_repr)
    parent: str | None = None
    """The id of the request that this one is a part of."""
    requested_at: datetime

    phase: Phase = Phase.REQUESTED
    until: datetime | None = None
    """When the ringing or the briefing ends by itself."""
    steps: tuple[ConsultationStep, ...] = ()
    wanted: Wanted | None = None
    ending: Ending | None = None

    # The agent's call.
    agent_call: str | None = field(default=None, repr=safe_repr)
    """The provider's id of the agent's call."""
    agent_submitted: bool = False
    agent_connected: bool = False
    agent_ended: bool = False

    # The caller's call.
    caller_end: Result | None = None
    """How the caller's call ended."""
    presence: Presence | None = None
    """The result of the query of the caller's call before the outcome."""

    @property
    def joins_on_callers_call(self) -> bool:
        """Whether the provider performs the join on the caller's call, not on the agent's."""
        return self.join_side is JoinSide.CALLER

    def step(self, kind: RequestKind) -> ConsultationStep | None:
        """Return the step of this kind, None if it was not requested."""
        return next((step for step in self.steps if step.kind is kind), None)

    def outcome(self, kind: RequestKind) -> StepOutcome | None:
        """Return the outcome of the step of this kind, None if it has none."""
        step = self.step(kind)
        return step and step.outcome

    def is_open(self, *kinds: RequestKind) -> bool:
        """Return whether a step of one of these kinds was requested and has no outcome."""
        return any(step.kind in kinds and step.outcome is None for step in self.steps)

    def is_overdue(self, at: datetime) -> bool:
        """Return whether the ringing or the briefing has lasted too long."""
        return self.until is not None and at >= self.until

    def with_outcome(self, step: ConsultationStep, outcome: StepOutcome) -> tuple[ConsultationStep, ...]:
        """Return the steps, one of which has an outcome now."""
        return tuple(evolve(known, outcome=outcome) if known is step else known for known in self.steps)
