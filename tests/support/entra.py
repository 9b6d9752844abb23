"""A token authority for tests, and certificates of an application."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["Authority", "FixedCredential", "Papers", "respond"]


@define
class Authority:
    """An ASGI app that issues tokens, as Entra and as a machine's endpoint for managed identities do.

    `response` is what token requests get, `discovery` what requests for the OpenID document get: a status and
    a body, each.
    """

    response: tuple[int, bytes] = (200, json.dumps({"access_token": "a-token", "expires_in": 3600}).encode())
    discovery: tuple[int, bytes] | None = None
    forms: list[dict[str, str]] = field(factory=list)
    """The parameters of the token requests."""
    tenants: list[str] = field(factory=list)
    headers: list[dict[bytes, bytes]] = field(factory=list)
    before: Callable[[str], None] = field(default=lambda _: None)
    """Called with the path of each request before the response."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        self.before(path)
        body = (await receive()).get("body", b"") or scope["query_string"]
        tenant = path.split("/")[1]
        if path.endswith("openid-configuration"):
            base = f"https://{headers[b'host'].decode()}/{tenant}"
            names = ("authorization_endpoint", "token_endpoint", "issuer")
            document = json.dumps({name: f"{base}/{name}" for name in names}).encode()
            status, content = self.discovery or (200, document)
        else:
            self.forms.append({name: values[0] for name, values in parse_qs(body.decode()).items()})
            self.tenants.append(tenant)
            self.headers.append(headers)
            status, content = self.response
        await respond(send, status, content)


async def respond(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a JSON response."""
    lines = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


@define
class Papers:
    """A private key and its certificate, in the forms that files have."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None) -> Papers:
        key = key or rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "transferkit tests")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @property
    def public(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def private(self, password: str | None = None) -> str:
        lock: serialization.KeySerializationEncryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, lock).decode()

    def pem(self, password: str | None = None) -> str:
        return self.public + self.private(password)


@define
class FixedCredential:
    """A credential object whose token needs no authority. `before` is called before each token."""

    token: str = "token-of-nobody"
    before: Callable[[], None] = field(default=lambda: None)
    tenants: list[str | None] = field(factory=list)
    """The tenants whose tokens were requested."""

    async def get_token(self, *_: str, tenant_id: str | None = None, **__: Any) -> FixedToken:
        self.before()
        self.tenants.append(tenant_id)
        return FixedToken(self.token)


@define
class FixedToken:
    token: str
    expires_on: int = 4_000_000_000
