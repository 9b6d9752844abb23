"""OASIS Repeatable Requests 1.0: requests with the same id are executed once.

The window and the responses are those that ACS publishes (learn.microsoft.com rest/api/communication). As
recorded, the response to a repetition shows the current state, not the first response, and only some
operations confirm with `Repeatability-Result: accepted` that they are repeatable.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import final
from uuid import UUID

from attrs import evolve, frozen

from transferkit.emulators import EmulatedRequest, Reply
from transferkit_acs.emulator.access import http_date
from transferkit_acs.emulator.errors import AcsError

__all__ = ["RepeatableRequests", "Respond"]

Respond = Callable[[], Reply]
"""Makes the response to an executed request, for the first request and for each repetition."""

_WINDOW = timedelta(minutes=5)
_RANDOM_UUID = 4
_SERVER_ERRORS = 500


@final
@frozen(kw_only=True)
class _Known:
    """A request that was executed or rejected, by its id."""

    fingerprint: tuple[str, str, str]
    first_sent: datetime
    respond: Respond


@final
class RepeatableRequests:
    """The repeatable requests of the last five minutes, by `Repeatability-Request-ID`."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def once(
        self, request: EmulatedRequest, execute: Callable[[], Respond], *, confirmed: bool, now: datetime
    ) -> Reply:
        """Execute a new request, or respond again to a repetition. Raises `AcsError`.

        `confirmed` is whether a success has the header `Repeatability-Result`.
        """
        found = _repeatable(request, now=now)
        if found is None:
            return execute()()
        request_id, first_sent = found
        self._forget(now)
        fingerprint = request.method, request.raw_target, sha256(request.body).hexdigest()
        known = self._known.get(request_id)
        if known is None:
            known = _Known(fingerprint=fingerprint, first_sent=first_sent, respond=_execute(execute))
            self._known[request_id] = known
        elif known.fingerprint != fingerprint:
            raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID belongs to another request")
        reply = known.respond()
        if not confirmed or reply.status >= HTTPStatus.BAD_REQUEST:
            return reply
        return evolve(reply, headers={**reply.headers, "Repeatability-Result": "accepted"})

    def _forget(self, now: datetime) -> None:
        """Delete requests outside the window."""
        for request_id, known in list(self._known.items()):
            if abs(now - known.first_sent) > _WINDOW:
                del self._known[request_id]


def _execute(execute: Callable[[], Respond]) -> Respond:
    """Execute the request. A rejection is repeated like a success, except throttling and server errors."""
    try:
        return execute()
    except AcsError as error:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= _SERVER_ERRORS:
            raise
        reply = error.reply
        return lambda: reply


def _repeatable(request: EmulatedRequest, *, now: datetime) -> tuple[str, datetime] | None:
    """The request's id and first time; None if it has no repeatability headers. Raises `AcsError`."""
    request_id = request.headers.get("repeatability-request-id")
    first_sent = request.headers.get("repeatability-first-sent")
    if request_id is None and first_sent is None:
        return None
    if request_id is None or first_sent is None:
        raise _rejected(HTTPStatus.BAD_REQUEST, "one of the two repeatability headers is missing")
    if not _is_random_uuid(request_id):
        raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID is not a version 4 UUID")
    date = http_date(first_sent)
    if date is None:
        raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-First-Sent is not an HTTP date")
    if abs(now - date) > _WINDOW:
        raise _rejected(
            HTTPStatus.PRECONDITION_FAILED, "Repeatability-First-Sent is not within 5 minutes of now"
        )
    return request_id.lower(), date


def _is_random_uuid(text: str) -> bool:
    try:
        return UUID(text).version == _RANDOM_UUID
    except ValueError:
        return False


def _rejected(status: HTTPStatus, why: str) -> AcsError:
    code = "8583" if status is HTTPStatus.PRECONDITION_FAILED else "8523"
    return AcsError(status, code, f"Repeatability: {why}.", headers={"Repeatability-Result": "rejected"})
