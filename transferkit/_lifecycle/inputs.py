"""What can happen to a call: commands, answers, facts, inspections and the passing of time."""

from __future__ import annotations

from datetime import datetime
from typing import final

from attrs import frozen

from transferkit._lifecycle.decision import Lease, Opened, Work
from transferkit._lifecycle.state import Rules
from transferkit.provider.facts import Fact
from transferkit.provider.results import Presence, SubmitResult

__all__ = [
    "Answered",
    "Attempted",
    "DueReached",
    "Input",
    "Inspected",
    "Observed",
    "Replaced",
    "Requested",
]


@final
@frozen(kw_only=True)
class Requested:
    """The application asks. `sender` is who sends it at once, under that lease."""

    at: datetime
    opened: Opened
    rules: Rules
    sender: Lease
    dropped: tuple[str, ...] = ()


@final
@frozen(kw_only=True)
class Replaced:
    """An attended transfer of another call replaces this call, its consultation leg.

    The end of this call may therefore be that transfer's success.
    """

    at: datetime
    transfer_id: str


@final
@frozen(kw_only=True)
class Attempted:
    """Somebody is about to send attempt number `attempt`; the decision says whether to."""

    at: datetime
    transfer_id: str
    attempt: int


@final
@frozen(kw_only=True)
class Answered:
    """How attempt number `attempt` went."""

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
class Inspected:
    """The provider was queried about the call.

    `query` is the transfer's `Progress.query` when the query began.
    """

    at: datetime
    transfer_id: str
    presence: Presence
    query: int = 0


@final
@frozen(kw_only=True)
class DueReached:
    """A grace or a deadline has run out."""

    at: datetime
    transfer_id: str
    work: Work


Input = Requested | Replaced | Attempted | Answered | Observed | Inspected | DueReached
