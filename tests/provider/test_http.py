"""What adapters of HTTP providers share."""

import errno
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transferkit.errors import ConfigError, Problem
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.http import (
    clock_skew,
    misconfigured,
    retry_after,
    unanswered,
    unconnected,
)
from transferkit.provider.results import MaybeSent, Rejected

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2),
        ("2.128", 2.128),
        (" 3 ", 3),
        ("0", 0),
        ("-5", 0),
        ("inf", 86_400),
        ("999999999999999999999", 86_400),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 86_400),
    ],
)
def test_retry_after_reads_seconds_and_dates(text, seconds):
    assert retry_after({"retry-after": text}, now=NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "nan", "Thu, 99 Jan 2026"])
def test_retry_after_is_none_for_other_text(text):
    assert retry_after({"retry-after": text}, now=NOW) is None
    assert retry_after({}, now=NOW) is None


# What a date is made of, and what a lenient parser takes for that.
PIECES = st.sampled_from(
    [
        "Thu",
        ",",
        " ",
        "01",
        "Jan",
        "2026",
        "12:00:30",
        "GMT",
        "-",
        "+",
        "-2359",
        "9" * 20,
        "9999",
        ":",
        ".",
        "٣",
    ]
)
HEADERS = st.text() | st.lists(PIECES).map("".join) | st.lists(PIECES).map(" ".join)
ABSURD = [
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
    "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "9" * 5000,
]


@pytest.mark.parametrize("text", ABSURD[:4])
def test_an_impossible_date_is_none(text):
    assert retry_after({"retry-after": text}, now=NOW) is None
    assert clock_skew({"date": text}, now=NOW) is None


@given(text=HEADERS)
@example(text=ABSURD[0])
@example(text=ABSURD[2])
@example(text=ABSURD[4])
def test_no_header_text_raises(text):
    wait = retry_after({"retry-after": text}, now=NOW)
    assert wait is None or timedelta(0) <= wait <= timedelta(days=1)
    skew = clock_skew({"date": text}, now=NOW)
    assert skew is None or isinstance(skew, timedelta)


class ClientConnectorDNSError(Exception):
    """As aiohttp names the failure of whichever resolver it uses."""


class ConnectTimeout(Exception):
    """As httpx and requests name a connection that took too long."""


class ProxyRefused(OSError):
    """A proxy's HTTP error."""

    status = 407


def because(*causes):
    """An error that the others led to, one to the next, the last one first."""
    error = None
    for cause in causes:
        cause.__cause__, error = error, cause
    return error


NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
UNTRUSTED = ssl.SSLCertVerificationError("self-signed certificate")
NO_ROUTE = OSError(errno.EHOSTUNREACH, "No route to host")


DNS, PROXY, NETWORK, REACH = "the DNS of", "a proxy", "the network of", "can reach X"


@pytest.mark.parametrize(
    ("error", "message", "then", "lasting"),
    [
        (because(NO_NAME, KeyError()), "the host name of X does not resolve (KeyError, gaierror)", DNS, True),
        (
            ClientConnectorDNSError(),
            "the host name of X does not resolve (ClientConnectorDNSError)",
            DNS,
            True,
        ),
        (UNTRUSTED, "the certificate of X is not trusted (SSLCertVerificationError)", PROXY, True),
        (NO_ROUTE, "there is no route to X (OSError)", NETWORK, True),
        (
            ExceptionGroup("addresses", [NO_ROUTE]),
            "there is no route to X (ExceptionGroup, OSError)",
            NETWORK,
            True,
        ),
        (ConnectionRefusedError(), "nothing was sent to X (ConnectionRefusedError)", REACH, False),
        (ProxyRefused(), "nothing was sent to X (ProxyRefused 407)", REACH, False),
        (RuntimeError("to +14255550100"), "nothing was sent to X (RuntimeError)", REACH, False),
    ],
)
def test_unconnected_names_the_failure_and_what_to_check(error, message, then, lasting):
    answer = unconnected(error, to="X", check="base_url")
    result = answer.result
    assert (result.message, result.basis, answer.lasting) == (message, Basis.LOCAL, lasting)
    assert result.reason is FailureReason.PROVIDER_ERROR
    assert result.advice.startswith("Check base_url, and ")
    assert then in result.advice


@pytest.mark.parametrize("error", [TimeoutError(), ConnectTimeout(), because(TimeoutError(), OSError())])
def test_a_slow_connection_is_a_timeout(error):
    answer = unconnected(error, to="X", check="base_url", otherwise="X gave no answer")
    assert answer.result.reason is FailureReason.TIMEOUT
    assert answer.result.message.startswith("X gave no answer (")


def test_unanswered_is_a_request_that_may_have_been_executed():
    answer = unanswered(ConnectionResetError("+14255550100"), to="X")
    assert answer == MaybeSent(
        result=Result(
            message="no answer from X (ConnectionResetError)",
            reason=FailureReason.PROVIDER_ERROR,
            basis=Basis.LOCAL,
        )
    )
    assert unanswered(TimeoutError(), to="X").result.reason is FailureReason.TIMEOUT


def test_unconnected_handles_circular_causes():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert unconnected(first, to="X", check="base_url").result.message == "nothing was sent to X (ValueError)"


def test_misconfigured_is_a_local_rejection_that_names_each_key():
    error = ConfigError("here", [Problem("a.key", "is missing"), Problem("b.key", "is empty", "text")])
    answer = misconfigured(error)
    assert isinstance(answer, Rejected)
    assert (answer.result.reason, answer.result.basis) == (FailureReason.UNAUTHORIZED, Basis.LOCAL)
    assert answer.result.advice == "a.key: is missing; b.key: is empty (accepted: text)"
