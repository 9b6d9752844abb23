"""What became of one attempt to send a request, and what the provider reports about a call when queried."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit.provider.facts import Result

__all__ = ["MaybeSent", "NotSent", "Presence", "Rejected", "SubmitResult", "Submitted"]


@final
@frozen(kw_only=True)
class Submitted:
    """The provider's 2xx: it has the request. Never a success.

    `status` (HTTP) and `request_id` are for those who look for it; they make it no other answer.
    """

    correlation_id: str | None = None
    status: int | None = field(default=None, eq=False)
    request_id: str | None = field(default=None, eq=False)


@final
@frozen(kw_only=True)
class Rejected:
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


SubmitResult = Submitted | Rejected | NotSent | MaybeSent


class Presence(StrEnum):
    """What the provider says of the call when asked."""

    CONNECTED = "connected"
    TRANSFERRING = "transferring"
    GONE = "gone"
    UNKNOWN = "unknown"
