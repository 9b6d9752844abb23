"""As much of Entra as client credentials need: the OpenID document and the token endpoint.

learn.microsoft.com entra v2-oauth2-client-creds-grant-flow, and the codes of entra reference-error-codes.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, final
from urllib.parse import parse_qs
from uuid import uuid4

__all__ = ["Entra"]

_LIFETIME = 3599

Reply = tuple[int, dict[str, Any]]


@final
class Entra:
    """The tenants it knows, the one application that they all know, and the tokens it issued."""

    def __init__(self, *, client_id: str, client_secret: str, scopes: frozenset[str]) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._tenants: set[str] = set()
        self._issued: dict[str, str] = {}

    def add_tenant(self, tenant: str) -> None:
        """Let this tenant exist."""
        self._tenants.add(tenant.lower())

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

    def token(self, tenant: str, form: bytes) -> Reply:
        """Answer a token request, whose body is a form."""
        fields = {name: values[-1] for name, values in parse_qs(form.decode("utf-8", "replace")).items()}
        if tenant.lower() not in self._tenants:
            return _error(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if fields.get("grant_type") != "client_credentials":
            return _error(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        if fields.get("client_id", "").lower() != self._client_id.lower():
            return _error(400, "unauthorized_client", 700016, "The application is not in this directory.")
        if not secrets.compare_digest(fields.get("client_secret", "").encode(), self._client_secret.encode()):
            return _error(401, "invalid_client", 7000215, "Invalid client secret provided.")
        if fields.get("scope") not in self._scopes:
            return _error(400, "invalid_scope", 70011, "The scope is not valid.")
        token = f"emulated.{secrets.token_urlsafe(24)}"
        self._issued[token] = tenant.lower()
        return 200, {
            "token_type": "Bearer",
            "expires_in": _LIFETIME,
            "ext_expires_in": _LIFETIME,
            "access_token": token,
        }

    def tenant_of(self, authorization: str) -> str | None:
        """The tenant (in lower case) that the bearer token was issued for; None for anybody else's."""
        scheme, _, token = authorization.partition(" ")
        return self._issued.get(token.strip()) if scheme.lower() == "bearer" else None

    def revoke(self) -> None:
        """Let no token that was issued so far be good any longer."""
        self._issued.clear()


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
