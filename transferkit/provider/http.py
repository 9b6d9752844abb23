"""What adapters of HTTP providers share: JSON, merge patches, times in headers, and failures on this side."""

from __future__ import annotations

import errno
import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from socket import gaierror

from attrs import evolve

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Rejected

__all__ = [
    "clock_skew",
    "misconfigured",
    "retry_after",
    "unanswered",
    "unconnected",
]

_LONGEST_WAIT = timedelta(days=1)


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """The header `Retry-After` as a span, header names in lower case.

    Reads whole and decimal seconds (Graph publishes `2.128`) and HTTP dates (RFC 9110); never negative, at
    most a day. None where it is missing or says nothing usable.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        date = _http_date(text)
        if date is None:
            return None
        seconds = (date - now).total_seconds()
    if math.isnan(seconds):
        return None
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_WAIT.total_seconds()))


def clock_skew(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """By how much our clock is ahead of the server's, by the header `Date`, header names in lower case.

    `now` is when the answer came. Exact to a second or two; None where the header is missing or no date.
    """
    date = _http_date(headers.get("date", ""))
    return None if date is None else now - date


def _http_date(text: str) -> datetime | None:
    """A date of a header, aware; None where it is none, or one that no calendar has."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


# --- failures on this side ----------------------------------------------------------------------------

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_NO_NAME = frozenset({"ClientConnectorDNSError", "NameResolutionError"})
"""Of aiohttp and urllib3, which may use another resolver than the operating system's."""


def misconfigured(error: ConfigError) -> Rejected:
    """The answer where nothing can be sent as configured; the advice names each key and what it accepts."""
    advice = "; ".join(str(problem) for problem in error.problems)
    message = "the configuration is not usable, so nothing was sent"
    return Rejected(
        result=Result(reason=FailureReason.UNAUTHORIZED, message=message, advice=advice, basis=Basis.LOCAL)
    )


def unconnected(error: BaseException, *, to: str, check: str, otherwise: str | None = None) -> NotSent:
    """The answer where `error` kept the request from being sent: what failed, and what to do.

    `to` is who was to be reached ("Graph"), `check` the settings that decide on the address and on which
    certificates are trusted; `otherwise` says what failed where the error does not tell. The error's own text
    is not shown, as it may quote an address, a header or a proxy's password.
    """
    causes = _causes(error)
    what, then, lasting = otherwise or f"nothing was sent to {to}", f"that this machine can reach {to}", False
    if any(isinstance(cause, gaierror) or type(cause).__name__ in _NO_NAME for cause in causes):
        what, then, lasting = f"the host name of {to} does not resolve", "the DNS of this machine", True
    elif any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        what, lasting = f"the certificate of {to} is not trusted", True
        then = "whether a proxy on the way replaces certificates"
    elif any(isinstance(cause, OSError) and cause.errno in _NO_ROUTE for cause in causes):
        what, then, lasting = f"there is no route to {to}", "the network of this machine", True
    result = _without_answer(what, causes)
    return NotSent(result=evolve(result, advice=f"Check {check}, and {then}."), lasting=lasting)


def unanswered(error: BaseException, *, to: str) -> MaybeSent:
    """The answer where `error` came in the place of an answer from `to`: the request may have executed."""
    return MaybeSent(result=_without_answer(f"no answer from {to}", _causes(error)))


def _without_answer(what: str, causes: list[BaseException]) -> Result:
    timed_out = "Timeout" in type(causes[0]).__name__ or any(isinstance(one, TimeoutError) for one in causes)
    reason = FailureReason.TIMEOUT if timed_out else FailureReason.PROVIDER_ERROR
    return Result(message=f"{what} ({_named(causes)})", reason=reason, basis=Basis.LOCAL)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and all that led to it."""
    found = [error]
    for cause in found:  # which grows meanwhile
        members = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        before = (cause.__cause__ or cause.__context__, *members)
        found += [one for one in before if one is not None and one not in found]
    return found


def _named(causes: list[BaseException]) -> str:
    """The error and the operating system's beneath it: their classes, and an HTTP status if there is one."""
    shown = (cause for cause in causes if cause is causes[0] or isinstance(cause, OSError))
    statuses = ((type(cause).__name__, getattr(cause, "status", None)) for cause in shown)
    return ", ".join(
        dict.fromkeys(
            f"{name} {status}" if isinstance(status, int) and status else name for name, status in statuses
        )
    )
