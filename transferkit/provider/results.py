"""The result of one attempt to send a request, and of a query about a call."""

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
    """The provider accepted the request with a 2xx response. That does not mean that the transfer succeeded.

    * `done`: the response itself states that the request was executed, and no callback follows.
    * `call_id`: the id of the call that the request created, if it placed one.

    The HTTP `status` and `request_id` are for logs, and are ignored when results are compared.
    """

    correlation_id: str | None = None
    done: bool = False
    call_id: str | None = None
    status: int | None = field(default=None, eq=False)
    request_id: str | None = field(default=None, eq=False)


@final
@frozen(kw_only=True)
class Rejected:
    """This attempt was not executed, and no other attempt can succeed.

    The provider rejected the request, or the configuration does not allow it to be sent (`Basis.LOCAL`).
    """

    result: Result


@final
@frozen(kw_only=True)
class NotSent:
    """This attempt cannot have been executed, and another one may succeed (no connection, HTTP 429, …).

    * `retry_after`: the minimum pause that the provider demands.
    * `lasting`: the cause is unlikely to pass soon (a host name that does not resolve, an untrusted
      certificate), so attempts end after a few seconds.
    """

    result: Result
    retry_after: timedelta | None = None
    lasting: bool = False


@final
@frozen(kw_only=True)
class MaybeSent:
    """This attempt may or may not have been executed (a timeout, a connection reset, HTTP 5xx)."""

    result: Result


SubmitResult = Submitted | Rejected | NotSent | MaybeSent


class Presence(StrEnum):
    """The state of a call, as a query of the provider found it."""

    CONNECTED = "connected"
    TRANSFERRING = "transferring"
    GONE = "gone"
    UNKNOWN = "unknown"
