"""The part of Entra that an application without a user needs: discovery, tokens, managed identities.

learn.microsoft.com entra v2-oauth2-client-creds-grant-flow, certificate-credentials, access-token-claims,
v2-protocols-oidc and managed-identities how-to-use-vm-token; the codes of entra reference-error-codes.
msal can use it as an `authority` (with or without instance discovery) and as an `oidc_authority`.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, final
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from attrs import frozen

from transferkit.emulators import EmulatedRequest, Reply
from transferkit.provider.clock import Clock
from transferkit.testing.signing import CallbackSigner

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Entra"]

_LIFETIME = timedelta(seconds=3599)
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_THUMBPRINTS = {"x5t": "SHA1", "x5t#S256": "SHA256"}

_MANAGED_IDENTITY = "/metadata/identity/oauth2/token"
_INSTANCES = "/common/discovery/instance"
_TENANT = re.compile(
    r"/(?P<tenant>[^/]+)/(?:"
    r"(?P<openid>(?:v2\.0/)?\.well-known/openid-configuration)|"
    r"(?P<keys>discovery/v2\.0/keys)|"
    r"(?P<token>oauth2/v2\.0/token))"
)


@final
@frozen(kw_only=True)
class _Issued:
    tenant: str
    until: datetime


class _EntraError(Exception):
    """An error response of the token endpoint; `number` is that of the AADSTS code."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.number = number
        self.message = message


@final
class Entra:
    """Tenants with one application, and the tokens that were issued to it.

    `resources` are the audiences of tokens; `home_tenant` is the tenant of the machine's managed identities.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        resources: Collection[str],
        home_tenant: str,
        clock: Clock,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._resources = frozenset(resources)
        self._home_tenant = home_tenant
        self._clock = clock
        self._signer = CallbackSigner(issuer="https://sts.windows.net/", clock=clock)
        self._certificates: list[Certificate] = []
        self._identities: set[str | None] = set()
        self._tenants = {home_tenant.lower()}
        self._issued: dict[str, _Issued] = {}

    def add_tenant(self, tenant: str) -> None:
        """Add a tenant."""
        self._tenants.add(tenant.lower())

    def add_certificate(self, pem: str) -> None:
        """Accept client assertions that are signed with the private key of this certificate (PEM)."""
        from cryptography.x509 import load_pem_x509_certificate

        self._certificates.append(load_pem_x509_certificate(pem.encode()))

    def add_identity(self, client_id: str | None) -> None:
        """Add a managed identity to the machine; None is the system-assigned one."""
        self._identities.add(client_id)

    def tenant_of(self, authorization: str) -> str | None:
        """The tenant of a bearer token, in lower case; None if the token is unknown or expired."""
        scheme, _, token = authorization.partition(" ")
        issued = self._issued.get(token.strip()) if scheme.lower() == "bearer" else None
        return None if issued is None or self._clock.now() >= issued.until else issued.tenant

    def revoke(self) -> None:
        """Invalidate all tokens that were issued so far."""
        self._issued.clear()

    def handle(self, request: EmulatedRequest, *, permissions: Collection[str]) -> Reply | None:
        """Execute a request to Entra, whose tokens grant `permissions`; None if the path is not Entra's."""
        found = _TENANT.fullmatch(request.path)
        if found is None and request.path not in {_MANAGED_IDENTITY, _INSTANCES}:
            return None
        if request.method != ("POST" if found and found["token"] else "GET"):
            return Reply(status=405)
        try:
            return self._execute(request, found, permissions)
        except _EntraError as error:
            return self._error_reply(error, request)

    def _execute(
        self, request: EmulatedRequest, found: re.Match[str] | None, permissions: Collection[str]
    ) -> Reply:
        if request.path == _MANAGED_IDENTITY:
            return self._machine_token(request, permissions)
        if found is None:
            return _instances(request)
        if found["token"]:
            return self._token(found["tenant"], request, permissions)
        self._require_tenant(found["tenant"], "invalid_tenant")
        return self._discovery(found, request)

    # --- discovery ----------------------------------------------------------------------------------

    def _discovery(self, found: re.Match[str], request: EmulatedRequest) -> Reply:
        if found["keys"]:
            return Reply(status=200, body=self._signer.jwks())
        here = f"{request.base_url}/{found['tenant']}"
        document = {
            "issuer": f"{here}/v2.0",
            "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
            "token_endpoint": f"{here}/oauth2/v2.0/token",
            "jwks_uri": f"{here}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return Reply(status=200, body=document)

    def _require_tenant(self, tenant: str, error: str = "invalid_request") -> None:
        if tenant.lower() not in self._tenants:
            raise _EntraError(400, error, 90002, f"Tenant '{tenant}' not found.")

    # --- tokens -------------------------------------------------------------------------------------

    def _token(self, tenant: str, request: EmulatedRequest, permissions: Collection[str]) -> Reply:
        form = request.body.decode("utf-8", "replace")
        fields = {name: values[-1] for name, values in parse_qs(form).items()}
        self._require_tenant(tenant)
        for name in ("grant_type", "client_id", "scope"):
            if name not in fields:
                raise _EntraError(400, "invalid_request", 900144, f"The parameter '{name}' is missing.")
        if fields["grant_type"] != "client_credentials":
            raise _EntraError(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        if fields["client_id"].lower() != self._client_id.lower():
            raise _EntraError(400, "unauthorized_client", 700016, "The application is not in this directory.")
        self._require_proof(fields, f"{request.base_url}{request.path}")
        answer = {
            "token_type": "Bearer",
            "expires_in": _seconds(_LIFETIME),
            "ext_expires_in": _seconds(_LIFETIME),
            "access_token": self._issue(tenant, self._resource(fields["scope"], tenant), permissions),
        }
        return Reply(status=200, body=answer)

    def _resource(self, scope: str, tenant: str) -> str:
        resource, default, rest = scope.partition("/.default")
        if not default or rest:
            raise _EntraError(400, "invalid_scope", 1002012, "The scope must be a resource's /.default.")
        if resource not in self._resources:
            unknown = f"The resource '{resource}' was not found in the tenant '{tenant}'."
            raise _EntraError(400, "invalid_resource", 500011, unknown)
        return resource

    def _require_proof(self, fields: Mapping[str, str], here: str) -> None:
        """Raise `_EntraError` unless the secret or the assertion is valid."""
        if "client_assertion" in fields:
            typed = fields.get("client_assertion_type") == _ASSERTION
            if not (typed and self._is_valid_assertion(fields["client_assertion"], here)):
                raise _EntraError(
                    401, "invalid_client", 700027, "The client assertion's signature is invalid."
                )
        elif "client_secret" not in fields:
            missing = "The parameter 'client_assertion' or 'client_secret' is missing."
            raise _EntraError(401, "invalid_client", 7000218, missing)
        elif not secrets.compare_digest(fields["client_secret"].encode(), self._client_secret.encode()):
            raise _EntraError(401, "invalid_client", 7000215, "Invalid client secret provided.")

    def _is_valid_assertion(self, assertion: str, here: str) -> bool:
        """Whether the assertion is signed with a registered certificate, for this application and address."""
        import jwt

        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(
                assertion,
                _assertion_key(header, self._certificates),
                algorithms=["PS256", "RS256"],
                audience=here,
                issuer=self._client_id,
                options={"require": ["aud", "exp", "iss", "jti", "sub"]},
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["sub"] == self._client_id)

    def _machine_token(self, request: EmulatedRequest, permissions: Collection[str]) -> Reply:
        """The response of the machine's token endpoint, with a token of the machine's tenant."""
        resource = request.query.get("resource", "")
        if request.headers.get("metadata") != "true":
            return _identity_error("Required metadata header not specified")
        if resource not in self._resources:
            return _identity_error("The resource is not known")
        if request.query.get("client_id") not in self._identities:
            return _identity_error("Identity not found")
        answer = {
            "token_type": "Bearer",
            "expires_in": str(_seconds(_LIFETIME)),  # published as text
            "resource": resource,
            "access_token": self._issue(self._home_tenant, resource, permissions),
        }
        return Reply(status=200, body=answer)

    def _issue(self, tenant: str, resource: str, permissions: Collection[str]) -> str:
        """A JWT whose `roles` are the permissions, where an application can read what was granted."""
        token = self._signer.token(
            audience=resource,
            tenant_id=tenant,
            issuer=f"https://sts.windows.net/{tenant}/",
            lifetime=_LIFETIME,
            claims={
                "appid": self._client_id,
                "idtyp": "app",
                "roles": sorted(permissions),
                "uti": secrets.token_urlsafe(16),
                "ver": "1.0",
            },
            headers={"cty": None},
        )
        self._issued[token] = _Issued(tenant=tenant.lower(), until=self._clock.now() + _LIFETIME)
        return token

    def _error_reply(self, error: _EntraError, request: EmulatedRequest) -> Reply:
        trace, now = str(uuid4()), f"{self._clock.now():%Y-%m-%d %H:%M:%SZ}"
        correlation = request.headers.get("client-request-id") or str(uuid4())
        body = {
            "error": error.error,
            "error_description": f"AADSTS{error.number}: {error.message} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {now}",
            "error_codes": [error.number],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{request.base_url}/error?code={error.number}",
        }
        return Reply(status=error.status, body=body)


def _instances(request: EmulatedRequest) -> Reply:
    """Instance discovery: only the emulator itself is a known authority.

    msal omits the port in its request, because real authorities have none.
    """
    authority, here = urlsplit(request.query.get("authorization_endpoint", "")), urlsplit(request.base_url)
    if authority.netloc not in {here.netloc, here.hostname}:
        raise _EntraError(400, "invalid_instance", 50049, "Unknown or invalid instance.")
    tenant = authority.path.strip("/").partition("/")[0]
    body = {
        "tenant_discovery_endpoint": f"{request.base_url}/{tenant}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [
            {
                "preferred_network": here.netloc,
                "preferred_cache": here.netloc,
                "aliases": [here.netloc, here.hostname],
            }
        ],
    }
    return Reply(status=200, body=body)


def _assertion_key(header: Mapping[str, Any], certificates: Iterable[Certificate]) -> Any:
    """The public key of the certificate whose thumbprint is in the header of the assertion."""
    import jwt
    from cryptography.hazmat.primitives import hashes

    for certificate in certificates:
        for name, algorithm in _THUMBPRINTS.items():
            digest = certificate.fingerprint(getattr(hashes, algorithm)())
            if str(header.get(name, "")).rstrip("=") == urlsafe_b64encode(digest).decode().rstrip("="):
                return certificate.public_key()
    raise jwt.InvalidKeyError("no such certificate")


def _identity_error(message: str) -> Reply:
    return Reply(status=400, body={"error": "invalid_request", "error_description": message})


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
