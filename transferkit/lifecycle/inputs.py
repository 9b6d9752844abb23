"""What can happen to a call: commands, answers, facts, inspections and the passing of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit.lifecycle.decision import Lease, Opened, Work
from transferkit.lifecycle.state import Rules
from transferkit.signals import Fact, Result

__all__ = [
    "Answer",
    "Answered",
    "Attempted",
    "DueReached",
    "Input",
    "Inspected",
    "MaybeSent",
    "NotSent",
    "Observed",
    "Presence",
    "Refused",
    "Replaced",
    "Requested",
    "Taken",
]


@final
@frozen(kw_only=True)
class Taken:
    """The provider's 2xx: it has the request. Never a success.

    `status` (HTTP) and `request_id` are for those who look for it; they make it no other answer.
    """

    correlation_id: str | None = None
    status: int | None = field(default=None, eq=False)
    request_id: str | None = field(default=None, eq=False)


@final
@frozen(kw_only=True)
class Refused:
    """This attempt did not execute and no later one will.

    The provider refused; or the request cannot be sent as configured, and the result's basis is local.
    """

    result: Result


@final
@frozen(kw_only=True)
class NotSent:
    """This attempt cannot have executed, and another may be made (no connection, 429, …).

    `lasting`: the cause is unlikely to pass soon (a host name that does not resolve, a certificate that is
    not trusted), so attempts continue for a few seconds only.
    """

    result: Result
    retry_after: timedelta | None = None
    lasting: bool = False


@final
@frozen(kw_only=True)
class MaybeSent:
    """Nobody knows whether this attempt executed (a time-out, a reset, a 5xx)."""

    result: Result


Answer = Taken | Refused | NotSent | MaybeSent


class Presence(StrEnum):
    """What the provider says of the call when asked."""

    CONNECTED = "connected"
    TRANSFERRING = "transferring"
    GONE = "gone"
    UNKNOWN = "unknown"


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
    answer: Answer


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
