"""Bearer tokens of callbacks: read from the request, and believed only if everything about them is right.

A token is a JWT signed with RS256, whatever it says itself. Its header is not believed but for the key's id.
`cty: JWT`, which Graph sends although nothing is nested, is passed over.

A token says who sends, not what: no provider signs the body. Whoever gets hold of a token may send another
body with it until it expires, five minutes later: so have callbacks come over TLS, and log no header of them.
The same body again is a repetition, which changes nothing.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from attrs import frozen

from transferkit._util.redaction import safe_repr
from transferkit.errors import CallbackNotVerified
from transferkit.provider.adapter import TokenPolicy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWS

__all__ = [
    "Signed",
    "SignedTokens",
    "bearer_token",
    "check",
    "key_id_of",
    "shown",
    "signed_claims",
]

_ALGORITHM = "RS256"
_LARGEST = 16_384  # real ones have one or two thousand characters
_BEARER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)", re.IGNORECASE)
_SHOWN = 80
_MOST_SIGNED = 256
_MOST_HEADERS = 64


@cache
def _jws() -> PyJWS:
    from jwt import PyJWS

    return PyJWS(algorithms=[_ALGORITHM])


def bearer_token(headers: Mapping[str, str]) -> str:
    """The one token of the request, header names in lower case. Raises `CallbackNotVerified`."""
    header = headers.get("authorization")
    if not header:
        raise CallbackNotVerified("there is no Authorization header", cause="no_token")
    if len(header) > _LARGEST:
        raise CallbackNotVerified(
            f"the Authorization header is longer than {_LARGEST} characters", cause="token"
        )
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        raise CallbackNotVerified(
            "the Authorization header is not one bearer token in the form of a JWT", cause="token"
        )
    return found[1]


def key_id_of(token: str) -> str:
    """Which key the token says it is signed with. Raises `CallbackNotVerified`.

    Read here, as PyJWT would take the whole token apart for it, and does that in `signed_claims` anyway.
    """
    return _key_id_in(token.partition(".")[0])


@lru_cache(maxsize=_MOST_HEADERS)  # one key's tokens begin alike
def _key_id_in(segment: str) -> str:
    try:
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        raise CallbackNotVerified("the token is not a JWT", cause="token") from None
    if not isinstance(header, dict):
        raise CallbackNotVerified("the token is not a JWT", cause="token")
    if header.get("alg") != _ALGORITHM:
        raise CallbackNotVerified(
            f"the token's algorithm is {shown(header.get('alg'))}, not {_ALGORITHM}", cause="token"
        )
    if "crit" in header or "b64" in header:
        raise CallbackNotVerified("the token's header demands an extension (crit, b64)", cause="token")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise CallbackNotVerified("the token names no key (kid)", cause="token")
    return key_id


def check(claims: Mapping[str, Any], *, policy: TokenPolicy, now: datetime, skew: timedelta) -> None:
    """Hold signed claims against the time and the policy.

    Raises `CallbackNotVerified`, whose message quotes the claims: the signature comes first, so that what it
    quotes was said by a holder of the key.
    """
    _check_times(claims, now=now.timestamp(), skew=skew.total_seconds())
    _check_origin(claims, policy)


def signed_claims(token: str, key: RSAPublicKey) -> Mapping[str, Any]:
    """What the holder of the key signed, be it outdated or meant for others.

    Raises `CallbackNotVerified`, whose message is for the log and has no token in it.
    """
    from jwt import PyJWTError

    try:
        payload = _jws().decode(token, key, algorithms=[_ALGORITHM])
    except (PyJWTError, ValueError, RecursionError):
        raise CallbackNotVerified("the token's signature is wrong", cause="signature") from None
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise CallbackNotVerified("the token's claims are not JSON", cause="token") from None
    if not isinstance(claims, dict):
        raise CallbackNotVerified("the token's claims are not a JSON object", cause="token")
    return claims


@final
@frozen(eq=False, repr=False)
class Signed:
    """A token whose signature is right: by which key, and what was signed."""

    key_id: str
    key: RSAPublicKey
    claims: Mapping[str, Any]


@final
class SignedTokens:
    """The last tokens whose signatures were right: a sender may use one for as long as it is valid.

    What is remembered, by the digest of the `Authorization` header, follows from that and the key alone.
    Whether the key is still published, the time and the policy are looked at for every callback.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Signed] = {}

    def find(self, header: str) -> Signed | None:
        """What is known of a header of these very characters."""
        return self._known.get(_digest(header)) if len(header) <= _LARGEST else None

    def add(self, header: str, signed: Signed) -> None:
        """Remember it, in the place of the oldest where there are too many."""
        digest = _digest(header)
        self._known.pop(digest, None)
        self._known[digest] = signed
        if len(self._known) > _MOST_SIGNED:
            del self._known[next(iter(self._known))]


def _digest(header: str) -> bytes:
    return sha256(header.encode("utf-8", "surrogatepass")).digest()


def _check_times(claims: Mapping[str, Any], *, now: float, skew: float) -> None:
    expires = _seconds(claims, "exp")
    if expires is None:
        raise CallbackNotVerified("the token does not say when it expires (exp)", cause="time")
    if now >= expires + skew:
        raise CallbackNotVerified(
            f"the token expired {now - expires:.0f} s ago; is this machine's clock right?", cause="time"
        )
    begins = _seconds(claims, "nbf")
    if begins is not None and now < begins - skew:
        raise CallbackNotVerified(
            f"the token is valid only in {begins - now:.0f} s; is this machine's clock right?", cause="time"
        )


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        seconds = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise CallbackNotVerified(f"the token's {name} is not a time", cause="time")
    return seconds


def _check_origin(claims: Mapping[str, Any], policy: TokenPolicy) -> None:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in policy.issuers:
        raise CallbackNotVerified(
            f"the issuer {shown(issuer)} is not one of {', '.join(policy.issuers)}", cause="issuer"
        )
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(_same(one, (policy.audience,)) for one in audiences):
        raise CallbackNotVerified(
            f"the audience {shown(audience)} is not {policy.audience}", cause="audience"
        )
    if policy.tenant_claim is not None:
        tenant = claims.get(policy.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise CallbackNotVerified(f"the token names no tenant ({policy.tenant_claim})", cause="tenant")
        if policy.allowed_tenants and not _same(tenant, policy.allowed_tenants):
            raise CallbackNotVerified(
                f"the tenant {shown(tenant)} is not among the allowed ones", cause="tenant"
            )
    if policy.sender_claims:
        sender = next((claims[name] for name in policy.sender_claims if name in claims), None)
        if not _same(sender, policy.allowed_senders):
            raise CallbackNotVerified(f"the application {shown(sender)} may not send here", cause="sender")


def _same(value: object, allowed: tuple[str, ...]) -> bool:
    """Whether it is one of these ids, in whichever letter case."""
    return isinstance(value, str) and value.lower() in {one.lower() for one in allowed}


def shown(value: object) -> str:
    """Somebody else's text in a log line: short, and quoted so that it cannot pretend to be another line."""
    if not isinstance(value, str):
        return "missing" if value is None else f"a {type(value).__name__}"
    return safe_repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
