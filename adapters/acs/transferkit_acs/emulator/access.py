"""Authentication of requests: a signature with the access key, or an Entra token for ACS."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, final

import jwt
from attrs import frozen

from transferkit.testing.signing import CallbackSigner
from transferkit_acs.emulator.errors import AcsError

__all__ = ["AUDIENCE", "check_signature", "check_token", "http_date", "signature_of"]

AUDIENCE: Final = "https://communication.azure.com/"
"""The audience of Entra's tokens. The SDKs request the scope `https://communication.azure.com//.default`."""

_AUDIENCES = (AUDIENCE, AUDIENCE.rstrip("/"))
_TOKEN_REJECTED = "7501"  # noqa: S105 - an error code
_HMAC_VALIDATION_ERROR = "7509"
_ALGORITHM = "RS256"


@final
@frozen(kw_only=True)
class SignedRequest:
    """What a signature covers. `target` is the path and query of the request line."""

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
    """The signature of a string to sign, with a base64 access key."""
    key = base64.b64decode(access_key)
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def check_signature(
    access_key: str, *, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Raise `AcsError` unless the request has a valid signature. Header names are in lower case."""
    authorization = headers.get("authorization", "")
    if not authorization.startswith("HMAC-SHA256 "):
        raise _unauthorized(_TOKEN_REJECTED, "The request has neither a signature nor a token.")
    date, content_hash = headers.get("x-ms-date", ""), headers.get("x-ms-content-sha256", "")
    if http_date(date) is None:
        raise _unsigned("x-ms-date is missing or not an HTTP date")
    if content_hash != base64.b64encode(hashlib.sha256(body).digest()).decode():
        raise _unsigned("x-ms-content-sha256 does not match the body")
    host = headers.get("host", "")
    for spelling in _spellings(target):
        signed = SignedRequest(
            method=method, target=spelling, host=host, date=date, content_hash=content_hash
        )
        names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"
        expected = f"HMAC-SHA256 {names}&Signature={signature_of(access_key, signed.text)}"
        if hmac.compare_digest(authorization.encode(), expected.encode()):
            return
    raise _unsigned("the signature does not match")


def _spellings(target: str) -> tuple[str, str]:
    """The target as it was sent, and as the async SDK signs it.

    The async SDK signs the colons of a participant's raw id escaped, but sends them unescaped.
    """
    path, mark, query = target.partition("?")
    rest, slash, last = path.rpartition("/")
    return target, f"{rest}{slash}{last.replace(':', '%3A')}{mark}{query}"


def check_token(token: str, issuers: Iterable[CallbackSigner], *, now: datetime) -> None:
    """Raise `AcsError` unless one of `issuers` signed the token, its audience is ACS, and it is valid now."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
        keys = {key["kid"]: (key, issuer.issuer) for issuer in issuers for key in issuer.jwks()["keys"]}
        if key_id not in keys:
            raise _unauthorized(_TOKEN_REJECTED, "The token is not signed by a trusted issuer.")
        key, issuer = keys[key_id]
        claims = jwt.decode(
            token,
            jwt.PyJWK(key, algorithm=_ALGORITHM),
            algorithms=[_ALGORITHM],
            audience=_AUDIENCES,
            issuer=issuer,
            # The times are checked below, by the emulator's clock.
            options={
                "require": ["exp", "nbf"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise _unauthorized(_TOKEN_REJECTED, f"The token is not accepted: {error}.") from None
    if not int(claims["nbf"]) <= now.timestamp() < int(claims["exp"]):
        raise _unauthorized(_TOKEN_REJECTED, "The token is not valid at this time.")


def _unauthorized(code: str, message: str) -> AcsError:
    return AcsError(HTTPStatus.UNAUTHORIZED, code, message)


def _unsigned(why: str) -> AcsError:
    return _unauthorized(_HMAC_VALIDATION_ERROR, f"HMAC validation failed: {why}.")


def http_date(text: str) -> datetime | None:
    """A date in the preferred form of HTTP, which ends in GMT (RFC 9110, section 5.6.7); else None."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if text.endswith(" GMT") and date.tzinfo is not None else None
