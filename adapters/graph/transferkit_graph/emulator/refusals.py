"""Graph's error answers.

Body and headers: learn.microsoft.com graph/errors and graph/throttling (whose example of 429 repeats itself
within `innerError`). Codes: microsoft-graph-docs issue 7080 (7505), microsoft-graph-comms-samples issues 173
(8522), 512 (8523) and 538 (7504). Where Graph's own is not published (a second transfer, a transfer of a call
that rings) it is that of the same calling service beneath Azure Communication Services.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, final

from transferkit.emulators import Reply
from transferkit.provider.json import EMPTY

__all__ = [
    "Refusal",
    "bad_token",
    "call_not_found",
    "forbidden",
    "group_needs_transferee",
    "in_transfer",
    "no_longer_incoming",
    "not_established",
    "refused",
    "tenant_mismatch",
    "trouble",
]


@final
class Refusal(Exception):
    """A request that Graph does not carry out."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def bad_token() -> Refusal:
    """There is no token, or it is nobody's, or too old."""
    return Refusal(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")


def call_not_found() -> Refusal:
    """There is no such call, or no longer."""
    return Refusal(404, "8522", "Call not found.")


def tenant_mismatch() -> Refusal:
    """The token is of another tenant than the call."""
    return Refusal(403, "7505", "Request authorization tenant mismatch.")


def forbidden() -> Refusal:
    """The application lacks the permission."""
    return Refusal(403, "7504", "Insufficient enterprise tenant permissions, cannot access this API.")


def group_needs_transferee() -> Refusal:
    """A transfer from a group call must say whom."""
    return Refusal(400, "8523", "Cannot do transfer for meeting mode")


def in_transfer() -> Refusal:
    """The call is being transferred already."""
    return Refusal(409, "8607", "Transfer operation conflict.")


def not_established() -> Refusal:
    """The call rings, or is not yet established."""
    return Refusal(400, "8501", "The call is not established.")


def no_longer_incoming() -> Refusal:
    """The call has been answered, rejected or redirected."""
    return Refusal(409, "8519", "The call is no longer incoming.")


def trouble(status: int, retry_after: float | None) -> Refusal:
    """A service that is overloaded or broken; `retry_after` is in seconds and may be decimal."""
    headers = EMPTY if retry_after is None else {"Retry-After": f"{retry_after:.3f}"}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Refusal(status, "TooManyRequests", "Please retry again later.", headers)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Refusal(status, "serviceNotAvailable", "The service is not available now.", headers)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refusal(status, "9999", "Unknown internal server error", headers)
    if status == HTTPStatus.FORBIDDEN:
        return forbidden()
    return Refusal(status, "generalException", f"Answered with {status} as asked for.", headers)


def refused(refusal: Refusal, *, ids: Mapping[str, str], now: datetime) -> Reply:
    """The answer; `ids` are the request's, which it repeats. Graph's date has no zone."""
    inner: dict[str, Any] = {"date": f"{now:%Y-%m-%dT%H:%M:%S}", **ids}
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        inner |= {"code": "429", "message": "Please retry after", "status": "429"}
    error = {"code": refusal.code, "message": refusal.message, "innerError": inner}
    return Reply(status=refusal.status, body={"error": error}, headers=refusal.headers)
