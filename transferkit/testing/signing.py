"""Signs callbacks as a provider does, and forges tokens as an attacker would.

A test or an emulator creates a `CallbackSigner`, serves its OpenID document and its keys, and signs callbacks
with it. The receiver under test fetches both documents and verifies callbacks as in production.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from transferkit.provider.clock import Clock, SystemClock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["CallbackSigner", "Forgery"]

_BITS = 2048
_EXPONENT = 65537
_LIFETIME = timedelta(minutes=5)  # published for ACS and observed on Graph
_DAY_SECONDS = 86_400
_OVERSIZED_CHARACTERS = 100_000

Sign = Callable[[bytes], bytes]


class Forgery(StrEnum):
    """Tokens that a receiver must reject; each is wrong in one way."""

    NONE_ALGORITHM = "none_algorithm"
    """`alg` is `none`, and there is no signature."""
    HS256_WITH_PUBLIC_KEY = "hs256_with_public_key"
    """An HMAC whose key is the published public key."""
    PS256 = "ps256"
    """Signed with the right key, but with another algorithm."""
    WRONG_KEY = "wrong_key"
    """Signed with another key, with the id of a published key."""
    UNKNOWN_KEY_ID = "unknown_key_id"
    """Signed with a key that is not published, with a new id in each token."""
    NO_KEY_ID = "no_key_id"
    TAMPERED = "tampered"
    """The claims were changed after they were signed."""
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_TENANT = "wrong_tenant"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NO_EXPIRY = "no_expiry"
    OVERSIZED = "oversized"


@final
class CallbackSigner:
    """A provider's signing keys, for one test or emulator.

    `issuer` is the issuer of tokens that name no other. The newest key signs; all keys are published until
    they are withdrawn. Keys are created on first use.
    """

    def __init__(self, *, issuer: str, clock: Clock | None = None) -> None:
        self.issuer = issuer
        self._clock = clock or SystemClock()
        self._keys: list[_Key] = []

    @property
    def key_id(self) -> str:
        """The `kid` of the current signing key."""
        return self._key.id

    def token(
        self,
        *,
        audience: str,
        tenant_id: str | None = None,
        issuer: str | None = None,
        lifetime: timedelta | float = _LIFETIME,
        claims: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """A signed token (RS256), valid from now for `lifetime` (seconds or a timedelta).

        `claims` and `headers` replace or add to the usual ones; None removes one.
        """
        key = self._key
        return _compact(
            _merged(_header(key), headers),
            self._claims(audience, tenant_id, issuer or self.issuer, _span(lifetime), claims),
            key.rs256,
        )

    def authorization(
        self,
        *,
        audience: str,
        tenant_id: str | None = None,
        issuer: str | None = None,
        lifetime: timedelta | float = _LIFETIME,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """The value of the `Authorization` header with a fresh token."""
        token = self.token(
            audience=audience, tenant_id=tenant_id, issuer=issuer, lifetime=lifetime, claims=claims
        )
        return f"Bearer {token}"

    def forge(self, forgery: Forgery, *, audience: str, tenant_id: str | None = None) -> str:
        """A token that is valid except for what `forgery` names."""
        key, other_key = self._key, _Key()
        claims = self._claims(audience, tenant_id, self.issuer, _LIFETIME, None)
        sent_claims = _merged(claims, _wrong_claims(forgery, claims))
        header: dict[str, Any] = _header(key)
        sign: Sign = key.rs256
        match forgery:
            case Forgery.NONE_ALGORITHM:
                header, sign = {"alg": "none", "typ": "JWT"}, lambda _: b""
            case Forgery.HS256_WITH_PUBLIC_KEY:
                header, sign = header | {"alg": "HS256"}, key.hs256_of_public_key
            case Forgery.PS256:
                header, sign = header | {"alg": "PS256"}, key.ps256
            case Forgery.WRONG_KEY:
                sign = other_key.rs256
            case Forgery.UNKNOWN_KEY_ID:
                header, sign = _header(other_key), other_key.rs256
            case Forgery.NO_KEY_ID:
                del header["kid"]
            case Forgery.TAMPERED:
                genuine = key.rs256(_signing_input(header, claims))
                sign = lambda _: genuine  # noqa: E731 - the signature of the original claims
        return _compact(header, sent_claims, sign)

    def rotate(self, *, withdraw: bool = False) -> None:
        """Create a new signing key; `withdraw` removes the older keys from `jwks`."""
        self._keys = [_Key()] if withdraw else [*self._keys, _Key()]

    def jwks(self) -> dict[str, Any]:
        """The published keys, which are served at the `jwks_uri` of the OpenID document (RFC 7517)."""
        _ = self._key
        return {"keys": [key.jwk() for key in self._keys]}

    def openid_configuration(self, base_url: str) -> dict[str, Any]:
        """The OpenID document for keys at `{base_url}/keys`."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{base_url.rstrip('/')}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        }

    async def fetch(self, url: str, *, ca_file: Path | None = None, public: bool = False) -> bytes:  # noqa: ARG002 - the signature of `Fetch`
        """Return either document without a network: `AsyncClient(…, fetch_keys=signer.fetch)`.

        A URL that ends in `/keys` returns the keys; any other returns the OpenID document.
        """
        document = self.jwks() if url.endswith("/keys") else self.openid_configuration(url)
        return json.dumps(document).encode()

    @property
    def _key(self) -> _Key:
        if not self._keys:
            self._keys.append(_Key())
        return self._keys[-1]

    def _claims(
        self,
        audience: str,
        tenant_id: str | None,
        issuer: str,
        lifetime: timedelta,
        more: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        now = int(self._clock.now().timestamp())
        usual = {
            "iss": issuer,
            "aud": audience,
            "tid": tenant_id,
            "nbf": now,
            "exp": now + int(lifetime.total_seconds()),
        }
        return _merged(usual, more)


@final
class _Key:
    """One RSA key."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex

    @cached_property
    def _private(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)

    def jwk(self) -> dict[str, Any]:
        numbers = self._private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.id,
            "n": _base64url(numbers.n.to_bytes(_BITS // 8)),
            "e": _base64url(numbers.e.to_bytes(3)),
        }

    def rs256(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def ps256(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return self._private.sign(message, pss, hashes.SHA256())

    def hs256_of_public_key(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        pem = self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return hmac.digest(pem, message, hashlib.sha256)


def _wrong_claims(forgery: Forgery, claims: Mapping[str, Any]) -> dict[str, Any]:
    wrong: dict[Forgery, dict[str, Any]] = {
        Forgery.TAMPERED: {"sub": "other-subject"},
        Forgery.WRONG_ISSUER: {"iss": "https://issuer.example"},
        Forgery.WRONG_AUDIENCE: {"aud": str(uuid.uuid4())},
        Forgery.WRONG_TENANT: {"tid": str(uuid.uuid4())},
        Forgery.EXPIRED: {"nbf": claims["nbf"] - _DAY_SECONDS, "exp": claims["exp"] - _DAY_SECONDS},
        Forgery.NOT_YET_VALID: {"nbf": claims["nbf"] + _DAY_SECONDS, "exp": claims["exp"] + _DAY_SECONDS},
        Forgery.NO_EXPIRY: {"exp": None},
        Forgery.OVERSIZED: {"padding": "x" * _OVERSIZED_CHARACTERS},
    }
    return wrong.get(forgery, {})


def _header(key: _Key) -> dict[str, Any]:
    # Graph sends `cty`, although the payload is not nested; some strict libraries reject it.
    return {"alg": "RS256", "kid": key.id, "typ": "JWT", "cty": "JWT"}


def _merged(usual: Mapping[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **(more or {})}.items() if value is not None}


def _span(lifetime: timedelta | float) -> timedelta:
    return lifetime if isinstance(lifetime, timedelta) else timedelta(seconds=lifetime)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bytes:
    return ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims)).encode()


def _compact(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Sign) -> str:
    """A JWS in compact form (RFC 7515). Libraries refuse to create the forged ones."""
    signed = _signing_input(header, claims)
    return f"{signed.decode()}.{_base64url(sign(signed))}"
