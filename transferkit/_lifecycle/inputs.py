"""The inputs of the machine: commands, answers, facts, query results and the passing of time."""

from __future__ import annotations

from datetime import datetime
from typing import final

from attrs import frozen

from transferkit._lifecycle.consultation_inputs import ConsultationInput
from transferkit._lifecycle.decision import Lease, Work
from transferkit._lifecycle.opened import Opened
from transferkit._lifecycle.route_state import PlannedAttempt
from transferkit._lifecycle.rules import Rules
from transferkit.provider.facts import Fact
from transferkit.provider.results import Presence, SubmitResult

__all__ = [
    "Answered",
    "Attempted",
    "DueReached",
    "Input",
    "Inspected",
    "Observed",
    "Peeked",
    "PlacedCallObserved",
    "Replaced",
    "Requested",
    "RouteCancelled",
]


@final
@frozen(kw_only=True)
class Requested:
    """The application requested a transfer, redirect or step.

    * `sender`: the lease of the process that sends attempt 1 immediately; None if none does.
    * `attempts`: those of a route.
    * `dropped`: the fields of the request that the application allowed to be left out.
    """

    at: datetime
    opened: Opened
    rules: Rules
    sender: Lease | None = None
    dropped: tuple[str, ...] = ()
    attempts: tuple[PlannedAttempt, ...] = ()


@final
@frozen(kw_only=True)
class Replaced:
    """An attended transfer or a join was requested on another call, and this is the second call of it.

    The end of this call may therefore be the success of that transfer.
    """

    at: datetime
    transfer_id: str


@final
@frozen(kw_only=True)
class Attempted:
    """A process is about to send attempt number `attempt`. `Decision.proceed` says whether it may."""

    at: datetime
    transfer_id: str
    attempt: int


@final
@frozen(kw_only=True)
class Answered:
    """Attempt number `attempt` ended with this answer."""

    at: datetime
    transfer_id: str
    attempt: int
    answer: SubmitResult


@final
@frozen(kw_only=True)
class Observed:
    """A callback delivered a fact."""

    at: datetime
    fact: Fact


@final
@frozen(kw_only=True)
class PlacedCallObserved:
    """A callback of a placed call delivered a fact. An input to the state of the step that placed it."""

    at: datetime
    fact: Fact


@final
@frozen(kw_only=True)
class Peeked:
    """Another input of the transaction depends on this call's state. It changes nothing."""

    at: datetime


@final
@frozen(kw_only=True)
class Inspected:
    """A query of the provider about the call returned.

    `inspection_round` is that of the open transfer when the query began.
    """

    at: datetime
    transfer_id: str
    presence: Presence
    inspection_round: int = 0


@final
@frozen(kw_only=True)
class DueReached:
    """A grace period or a deadline is due."""

    at: datetime
    transfer_id: str
    work: Work


@final
@frozen(kw_only=True)
class RouteCancelled:
    """The application cancelled a route."""

    at: datetime
    route_id: str


Input = (
    Requested
    | Replaced
    | Attempted
    | Answered
    | Observed
    | PlacedCallObserved
    | Peeked
    | Inspected
    | DueReached
    | ConsultationInput
    | RouteCancelled
)
