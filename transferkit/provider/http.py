"""HTTP for adapters: times in response headers, and the results of requests that got no response."""

from __future__ import annotations

import errno
import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from socket import gaierror

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Rejected

__all__ = ["clock_skew", "misconfigured", "retry_after", "unanswered", "unconnected"]

_LONGEST_WAIT = timedelta(days=1)


# --- response headers -------------------------------------------------------------------------------


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """Return the header `Retry-After` as a time span from zero to a day. Header names are in lower case.

    Reads whole and decimal seconds (Graph sends `2.128`) and HTTP dates (RFC 9110, section 10.2.3). Returns
    None if the header is missing or invalid.
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
    """Return how far this machine's clock is ahead of the server's, by the header `Date`.

    `now` is when the response arrived; header names are in lower case. Accurate to a second or two. Returns
    None if the header is missing or invalid.
    """
    date = _http_date(headers.get("date", ""))
    return None if date is None else now - date


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


# --- requests without a response ----------------------------------------------------------------------

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
# Of aiohttp and urllib3, which may use another resolver than the operating system's.
_DNS_ERRORS = frozenset({"ClientConnectorDNSError", "NameResolutionError"})


def misconfigured(error: ConfigError) -> Rejected:
    """Return the result of a request that cannot be sent with this configuration.

    The advice names each key and what it accepts.
    """
    return Rejected(
        result=Result(
            reason=FailureReason.UNAUTHORIZED,
            message="the configuration is not usable, so nothing was sent",
            advice="; ".join(str(problem) for problem in error.problems),
            basis=Basis.LOCAL,
        )
    )


def unconnected(error: BaseException, *, to: str, check: str, otherwise: str | None = None) -> NotSent:
    """Return the result of a request that `error` kept from being sent, with what to check.

    * `to`: the name of the server ("Graph").
    * `check`: the settings that determine its address and the trusted certificates.
    * `otherwise`: what failed, for an error that does not show it.

    The text of the error is not part of the result, because it may contain an address, a header or a proxy's
    password.
    """
    causes = _causes(error)
    if any(isinstance(cause, gaierror) or type(cause).__name__ in _DNS_ERRORS for cause in causes):
        failure, also, is_lasting = f"the host name of {to} does not resolve", "the DNS of this machine", True
    elif any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        failure, is_lasting = f"the certificate of {to} is not trusted", True
        also = "whether a proxy on the way replaces certificates"
    elif any(isinstance(cause, OSError) and cause.errno in _NO_ROUTE for cause in causes):
        failure, also, is_lasting = f"there is no route to {to}", "the network of this machine", True
    else:
        failure, is_lasting = otherwise or f"nothing was sent to {to}", False
        also = f"that this machine can reach {to}"
    return NotSent(result=_failure(failure, causes, f"Check {check}, and {also}."), lasting=is_lasting)


def unanswered(error: BaseException, *, to: str) -> MaybeSent:
    """Return the result of a request to `to` that was sent and ended in `error` instead of a response."""
    return MaybeSent(result=_failure(f"no answer from {to}", _causes(error)))


def _failure(failure: str, causes: list[BaseException], advice: str | None = None) -> Result:
    is_timeout = any(isinstance(cause, TimeoutError) for cause in causes)
    is_timeout = is_timeout or "Timeout" in type(causes[0]).__name__
    return Result(
        reason=FailureReason.TIMEOUT if is_timeout else FailureReason.PROVIDER_ERROR,
        message=f"{failure} ({_class_names(causes)})",
        advice=advice,
        basis=Basis.LOCAL,
    )


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and all exceptions that led to it."""
    found = [error]
    for cause in found:  # the list grows while it is read
        members = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        before = (cause.__cause__ or cause.__context__, *members)
        found += [earlier for earlier in before if earlier is not None and earlier not in found]
    return found


def _class_names(causes: list[BaseException]) -> str:
    """Return the class of the error and of each `OSError` below it, with the HTTP status if it has one."""
    names = []
    for cause in causes:
        if cause is causes[0] or isinstance(cause, OSError):
            status = getattr(cause, "status", None)
            has_status = isinstance(status, int) and status
            names.append(f"{type(cause).__name__} {status}" if has_status else type(cause).__name__)
    return ", ".join(dict.fromkeys(names))
