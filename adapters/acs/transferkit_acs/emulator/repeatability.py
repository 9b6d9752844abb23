"""OASIS Repeatable Requests 1.0: executed once under one id, however often they are sent.

The window and the answers are those that ACS publishes (learn.microsoft.com rest/api/communication). As
recorded, a repetition is answered with the present state, not with the first response, and only some
operations confirm that they were executed as repeatable (`Repeatability-Result: accepted`).
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
from transferkit_acs.emulator.refusals import Refusal

__all__ = ["Answer", "RepeatableRequests"]

Answer = Callable[[], Reply]
"""How an executed request is answered, at first and whenever it is repeated."""

_WINDOW = timedelta(minutes=5)
_RANDOM_UUID = 4
_SERVER_ERRORS = 500


@final
@frozen(kw_only=True)
class _Known:
    """A request that was executed or refused under its id."""

    fingerprint: tuple[str, str, str]
    first_sent: datetime
    answer: Answer


@final
class RepeatableRequests:
    """Remembers requests by `Repeatability-Request-ID` for as long as they may be repeated."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def once(
        self, request: EmulatedRequest, execute: Callable[[], Answer], *, confirmed: bool, now: datetime
    ) -> Reply:
        """Execute a request that is new and answer it; answer again one that is not. Raises `Refusal`.

        `confirmed` is whether a success carries `Repeatability-Result`.
        """
        found = _repeatable(request, now=now)
        if found is None:
            return execute()()
        request_id, first_sent = found
        self._forget(now)
        fingerprint = request.method, request.raw_target, sha256(request.body).hexdigest()
        known = self._known.get(request_id)
        if known is None:
            answer = _execute(execute)
            known = _Known(fingerprint=fingerprint, first_sent=first_sent, answer=answer)
            self._known[request_id] = known
        elif known.fingerprint != fingerprint:
            raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID belongs to another request")
        reply = known.answer()
        if not confirmed or reply.status >= HTTPStatus.BAD_REQUEST:
            return reply
        return evolve(reply, headers={**reply.headers, "Repeatability-Result": "accepted"})

    def _forget(self, now: datetime) -> None:
        """Let go of what nobody may repeat any more."""
        for request_id, known in list(self._known.items()):
            if abs(now - known.first_sent) > _WINDOW:
                del self._known[request_id]


def _execute(execute: Callable[[], Answer]) -> Answer:
    """A refusal is repeated like a success; what may pass (throttling, a server's error) is not."""
    try:
        return execute()
    except Refusal as refusal:
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS or refusal.status >= _SERVER_ERRORS:
            raise
        reply = refusal.reply
        return lambda: reply


def _repeatable(request: EmulatedRequest, *, now: datetime) -> tuple[str, datetime] | None:
    """The request's id and when it was first sent; None where it is not repeatable. Raises `Refusal`."""
    request_id = request.headers.get("repeatability-request-id")
    first_sent = request.headers.get("repeatability-first-sent")
    if request_id is None and first_sent is None:
        return None
    if request_id is None or first_sent is None:
        raise _rejected(HTTPStatus.BAD_REQUEST, "one of the two repeatability headers is missing")
    if not _is_random_uuid(request_id):
        raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID is no version 4 UUID")
    date = http_date(first_sent)
    if date is None:
        raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-First-Sent is no HTTP date")
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


def _rejected(status: HTTPStatus, why: str) -> Refusal:
    code = "8583" if status is HTTPStatus.PRECONDITION_FAILED else "8523"
    return Refusal(status, code, f"Repeatability: {why}.", headers={"Repeatability-Result": "rejected"})
