"""What the emulator checks before it looks at a body: the signature, the api-version, repeatability."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, final
from uuid import UUID

from attrs import field, frozen

__all__ = ["Refusal", "RepeatableRequests", "check_signature", "signature_of"]

_WINDOW = timedelta(minutes=5)
_RANDOM_UUID = 4
_HMAC_VALIDATION_ERROR = "7509"


class Refusal(Exception):
    """An answer other than success, with the published error body."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"error": {"code": code, "message": message}}


@final
@frozen(kw_only=True)
class SignedRequest:
    """What a signature covers. `target` is path and query as they stand in the request line."""

    method: str
    target: str
    host: str
    date: str
    content_hash: str

    @property
    def text(self) -> str:
        """The string to sign (learn.microsoft.com, "HMAC header tutorial")."""
        return f"{self.method}\n{self.target}\n{self.date};{self.host};{self.content_hash}"


def signature_of(access_key: str, text: str) -> str:
    """The signature of a string to sign, by a base64 access key."""
    key = base64.b64decode(access_key)
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def check_signature(
    access_key: str, *, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Raise `Refusal` unless the request carries a valid signature. Header names in lower case."""
    authorization = headers.get("authorization", "")
    if not authorization.startswith("HMAC-SHA256 "):
        raise Refusal(HTTPStatus.UNAUTHORIZED, "7501", "The token was not issued for this resource.")
    date, content_hash = headers.get("x-ms-date", ""), headers.get("x-ms-content-sha256", "")
    if not _is_http_date(date):
        raise _unsigned("x-ms-date is missing or is no HTTP date")
    if content_hash != base64.b64encode(hashlib.sha256(body).digest()).decode():
        raise _unsigned("x-ms-content-sha256 does not match the body")
    signed = SignedRequest(
        method=method, target=target, host=headers.get("host", ""), date=date, content_hash=content_hash
    )
    names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"
    expected = f"HMAC-SHA256 {names}&Signature={signature_of(access_key, signed.text)}"
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise _unsigned("the signature does not match")


def _unsigned(why: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, _HMAC_VALIDATION_ERROR, f"HMAC validation failed: {why}.")


def _is_http_date(text: str) -> bool:
    return _http_date(text) is not None


def _http_date(text: str) -> datetime | None:
    """A date in the form that HTTP prefers, which ends in GMT (RFC 9110, section 5.6.7)."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if text.endswith(" GMT") and date.tzinfo is not None else None


@final
@frozen(kw_only=True)
class _Known:
    """A request that was executed or refused under its id."""

    fingerprint: tuple[str, str]
    status: int
    body: Any


@final
@frozen
class RepeatableRequests:
    """Remembers requests by `Repeatability-Request-ID` (OASIS Repeatable Requests 1.0)."""

    _known: dict[str, _Known] = field(factory=dict)

    def check(self, headers: Mapping[str, str], *, now: datetime) -> str | None:
        """The request's id, None where the request is not repeatable. Raises `Refusal`."""
        request_id = headers.get("repeatability-request-id")
        first_sent = headers.get("repeatability-first-sent")
        if request_id is None and first_sent is None:
            return None
        if request_id is None or first_sent is None:
            raise _rejected(HTTPStatus.BAD_REQUEST, "one of the two repeatability headers is missing")
        if not _is_random_uuid(request_id):
            raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID is no version 4 UUID")
        date = _http_date(first_sent)
        if date is None:
            raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-First-Sent is no HTTP date")
        if abs(now - date) > _WINDOW:
            raise _rejected(
                HTTPStatus.PRECONDITION_FAILED, "Repeatability-First-Sent is not within 5 minutes of now"
            )
        return request_id.lower()

    def recall(self, request_id: str | None, *, target: str, body: bytes) -> tuple[int, Any] | None:
        """The answer that the same request got before. Raises `Refusal` where it was another request."""
        known = self._known.get(request_id or "")
        if known is None:
            return None
        if known.fingerprint != _fingerprint(target, body):
            raise _rejected(HTTPStatus.BAD_REQUEST, "Repeatability-Request-ID belongs to another request")
        return known.status, known.body

    def remember(self, request_id: str | None, *, target: str, body: bytes, status: int, answer: Any) -> None:
        """Keep how a request was answered."""
        if request_id is not None:
            self._known[request_id] = _Known(
                fingerprint=_fingerprint(target, body), status=status, body=answer
            )


def _fingerprint(target: str, body: bytes) -> tuple[str, str]:
    return target, hashlib.sha256(body).hexdigest()


def _is_random_uuid(text: str) -> bool:
    try:
        return UUID(text).version == _RANDOM_UUID
    except ValueError:
        return False


def _rejected(status: HTTPStatus, why: str) -> Refusal:
    code = "8583" if status is HTTPStatus.PRECONDITION_FAILED else "8523"
    return Refusal(status, code, f"Repeatability: {why}.", headers={"Repeatability-Result": "rejected"})
