"""As much of Entra as the adapter needs: the OpenID document, the token endpoint, a machine's own endpoint.

learn.microsoft.com entra v2-oauth2-client-creds-grant-flow, certificate-credentials and managed-identities
how-to-use-vm-token, and the codes of entra reference-error-codes.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, final
from urllib.parse import parse_qs
from uuid import uuid4

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Entra"]

_LIFETIME = 3599
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_THUMBPRINTS = {"x5t": "SHA1", "x5t#S256": "SHA256"}

Reply = tuple[int, dict[str, Any]]


@final
class Entra:
    """The tenants it knows, the one application that they all know, and the tokens it issued."""

    def __init__(self, *, client_id: str, client_secret: str, scopes: frozenset[str]) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._certificates: list[Certificate] = []
        self._identities: set[str | None] = set()
        self._tenants: set[str] = set()
        self._issued: dict[str, str] = {}

    def add_tenant(self, tenant: str) -> None:
        """Let this tenant exist."""
        self._tenants.add(tenant.lower())

    def add_certificate(self, pem: str) -> None:
        """Let the application prove itself with that certificate's private key, too."""
        from cryptography.x509 import load_pem_x509_certificate

        self._certificates.append(load_pem_x509_certificate(pem.encode()))

    def add_identity(self, client_id: str | None) -> None:
        """Give the machine a managed identity; None is the system's."""
        self._identities.add(client_id)

    def openid_document(self, base_url: str, tenant: str) -> Reply:
        """Where a tenant's tokens are to be had."""
        if tenant.lower() not in self._tenants:
            return _error(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")
        here = f"{base_url}/{tenant}"
        return 200, {
            "issuer": f"{here}/v2.0",
            "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
            "token_endpoint": f"{here}/oauth2/v2.0/token",
            "jwks_uri": f"{here}/discovery/v2.0/keys",
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, tenant: str, form: bytes, *, here: str) -> Reply:
        """Answer a token request that came to the address `here`, whose body is a form."""
        fields = {name: values[-1] for name, values in parse_qs(form.decode("utf-8", "replace")).items()}
        if tenant.lower() not in self._tenants:
            return _error(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if fields.get("grant_type") != "client_credentials":
            return _error(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        if fields.get("client_id", "").lower() != self._client_id.lower():
            return _error(400, "unauthorized_client", 700016, "The application is not in this directory.")
        if unproved := self._unproved(fields, here):
            return unproved
        if fields.get("scope") not in self._scopes:
            return _error(400, "invalid_scope", 70011, "The scope is not valid.")
        return 200, {
            "token_type": "Bearer",
            "expires_in": _LIFETIME,
            "ext_expires_in": _LIFETIME,
            "access_token": self._issue(tenant),
        }

    def machine_token(self, query: Mapping[str, str], *, metadata: str | None, tenant: str) -> Reply:
        """Answer as the machine's own endpoint does, with a token of the machine's tenant."""
        if metadata != "true":
            return _unmanaged("Required metadata header not specified")
        if f"{query.get('resource', '')}/.default" not in self._scopes:
            return _unmanaged("The resource is not known")
        if query.get("client_id") not in self._identities:
            return _unmanaged("Identity not found")
        return 200, {
            "token_type": "Bearer",
            "expires_in": str(_LIFETIME),  # as text, published so
            "resource": query["resource"],
            "access_token": self._issue(tenant),
        }

    def _issue(self, tenant: str) -> str:
        token = f"emulated.{secrets.token_urlsafe(24)}"
        self._issued[token] = tenant.lower()
        return token

    def _unproved(self, fields: Mapping[str, str], here: str) -> Reply | None:
        """The error where neither the secret nor an assertion is good."""
        if "client_assertion" in fields:
            typed = fields.get("client_assertion_type") == _ASSERTION
            good, number, why = typed and self._is_ours(fields["client_assertion"], here), 700027, "signature"
        else:
            given = fields.get("client_secret", "").encode()
            good, number, why = secrets.compare_digest(given, self._client_secret.encode()), 7000215, "secret"
        return None if good else _error(401, "invalid_client", number, f"Invalid client {why} provided.")

    def _is_ours(self, assertion: str, here: str) -> bool:
        """Whether a registered certificate signed it, for this application and this address, just now."""
        import jwt

        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(
                assertion,
                _signer(header, self._certificates),
                algorithms=["PS256", "RS256"],
                audience=here,
                issuer=self._client_id,
                options={"require": ["aud", "exp", "iss", "jti", "sub"]},
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["sub"] == self._client_id)

    def tenant_of(self, authorization: str) -> str | None:
        """The tenant (in lower case) that the bearer token was issued for; None for anybody else's."""
        scheme, _, token = authorization.partition(" ")
        return self._issued.get(token.strip()) if scheme.lower() == "bearer" else None

    def revoke(self) -> None:
        """Let no token that was issued so far be good any longer."""
        self._issued.clear()


def _signer(header: Mapping[str, Any], certificates: Iterable[Certificate]) -> Any:
    """The public key of the certificate that the assertion's header names by its thumbprint."""
    import jwt
    from cryptography.hazmat.primitives import hashes

    for certificate in certificates:
        for name, algorithm in _THUMBPRINTS.items():
            digest = certificate.fingerprint(getattr(hashes, algorithm)())
            if str(header.get(name, "")).rstrip("=") == urlsafe_b64encode(digest).decode().rstrip("="):
                return certificate.public_key()
    raise jwt.InvalidKeyError("no such certificate")


def _unmanaged(message: str) -> Reply:
    return 400, {"error": "invalid_request", "error_description": message}


def _error(status: int, error: str, number: int, message: str) -> Reply:
    now = datetime.now(UTC)
    trace, correlation = str(uuid4()), str(uuid4())
    return status, {
        "error": error,
        "error_description": f"AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation}",
        "error_codes": [number],
        "timestamp": f"{now:%Y-%m-%d %H:%M:%S}Z",
        "trace_id": trace,
        "correlation_id": correlation,
    }
