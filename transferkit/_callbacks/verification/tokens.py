"""Bearer tokens of callbacks: read from the request, and accepted only if signature and claims are right.

A token is a JWT that is signed with RS256. Nothing in its header is trusted but the id of the key. `cty:
JWT`, which Graph sends although nothing is nested, is ignored.

A token identifies the sender, not the body: no provider signs the body. Whoever obtains a token can send
another body with it until it expires, about five minutes later. Therefore receive callbacks over TLS and log
none of their headers. The same body again is a repetition, which changes nothing.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from transferkit._util.redaction import safe_repr
from transferkit.errors import CallbackNotVerified
from transferkit.provider.adapter import TokenPolicy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWS

__all__ = ["bearer_token", "check_claims", "key_id_of", "quoted", "signed_claims"]

_ALGORITHM = "RS256"
_MAX_LENGTH = 16_384  # published tokens have one or two thousand characters
_BEARER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)", re.IGNORECASE)
_MAX_QUOTED = 80


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of a request; header names are in lower case. Raises `CallbackNotVerified`."""
    header = headers.get("authorization")
    if not header:
        raise CallbackNotVerified("there is no Authorization header", cause="no_token")
    if len(header) > _MAX_LENGTH:
        raise CallbackNotVerified(
            f"the Authorization header is longer than {_MAX_LENGTH} characters", cause="token"
        )
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        raise CallbackNotVerified(
            "the Authorization header is not one bearer token in the form of a JWT", cause="token"
        )
    return found[1]


def key_id_of(token: str) -> str:
    """The id of the key that the token claims to be signed with. Raises `CallbackNotVerified`."""
    segment = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise CallbackNotVerified("the token is not a JWT", cause="token")
    if header.get("alg") != _ALGORITHM:
        raise CallbackNotVerified(
            f"the token's algorithm is {quoted(header.get('alg'))}, not {_ALGORITHM}", cause="token"
        )
    if "crit" in header or "b64" in header:
        raise CallbackNotVerified("the token's header requires an extension (crit, b64)", cause="token")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise CallbackNotVerified("the token names no key (kid)", cause="token")
    return key_id


def signed_claims(token: str, key: RSAPublicKey) -> Mapping[str, Any]:
    """The claims that the owner of the key signed, before any check of them.

    Raises `CallbackNotVerified`. Its message is for the log and contains no part of the token.
    """
    from jwt import PyJWTError

    try:
        payload = _signatures().decode(token, key, algorithms=[_ALGORITHM])
    except (PyJWTError, ValueError, RecursionError):
        raise CallbackNotVerified("the token's signature is wrong", cause="signature") from None
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise CallbackNotVerified("the token's claims are not JSON", cause="token") from None
    if not isinstance(claims, dict):
        raise CallbackNotVerified("the token's claims are not a JSON object", cause="token")
    return claims


@cache
def _signatures() -> PyJWS:
    """The check of signatures. Making it makes every algorithm of PyJWT."""
    from jwt import PyJWS

    return PyJWS()


def check_claims(claims: Mapping[str, Any], *, policy: TokenPolicy, now: datetime, skew: timedelta) -> None:
    """Check signed claims against the time and the policy.

    Raises `CallbackNotVerified`. Its message quotes claims, so check the signature first: then only the owner
    of the key can write to the log.
    """
    _check_times(claims, now=now.timestamp(), skew=skew.total_seconds())
    _check_origin(claims, policy)


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
            f"the issuer {quoted(issuer)} is not one of {', '.join(policy.issuers)}", cause="issuer"
        )
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(_is_one_of(value, (policy.audience,)) for value in audiences):
        raise CallbackNotVerified(
            f"the audience {quoted(audience)} is not {policy.audience}", cause="audience"
        )
    if policy.tenant_claim is not None:
        tenant = claims.get(policy.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise CallbackNotVerified(f"the token names no tenant ({policy.tenant_claim})", cause="tenant")
        if policy.allowed_tenants and not _is_one_of(tenant, policy.allowed_tenants):
            raise CallbackNotVerified(
                f"the tenant {quoted(tenant)} is not one of the allowed tenants", cause="tenant"
            )
    if policy.sender_claims:
        sender = next((claims[name] for name in policy.sender_claims if name in claims), None)
        if not _is_one_of(sender, policy.allowed_senders):
            raise CallbackNotVerified(
                f"the application {quoted(sender)} is not one of the allowed senders", cause="sender"
            )


def _is_one_of(value: object, allowed: tuple[str, ...]) -> bool:
    """Whether a value is one of these ids, ignoring letter case."""
    return isinstance(value, str) and value.lower() in {id_.lower() for id_ in allowed}


def quoted(value: object) -> str:
    """A sender's text for a log line: short, redacted, and escaped so that it stays on its line."""
    if not isinstance(value, str):
        return "missing" if value is None else f"a {type(value).__name__}"
    return safe_repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}…")
