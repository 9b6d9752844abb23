"""How an application proves its identity to Microsoft Entra, and the msal clients that get its tokens.

An application's registration gets tokens of every tenant that consented to it (learn.microsoft.com
entra/identity-platform/v2-oauth2-client-creds-grant-flow). A managed identity belongs to the machine and gets
tokens of its own tenant only (entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
Everything here may block.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from transferkit.errors import ConfigError, Problem
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import NotSent, Rejected
from transferkit_microsoft.certificates import read_certificate
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.settings import CredentialKind, EntraSettings, run_all

if TYPE_CHECKING:
    import requests

__all__ = [
    "Source",
    "client_credential",
    "open_session",
    "open_source",
    "read_secrets",
    "read_token",
    "refusal_of",
]

Source = Callable[[str, str | None], Any]
"""Gets a token for a scope and, if given, a claims challenge. Blocks; returns what msal returns, a dict."""

_SYSTEM: Final = "system"
_UNAVAILABLE: Final = frozenset({"server_error", "temporarily_unavailable"})  # RFC 6749, section 4.1.2.1
# A machine's own endpoint responds with these while it is not ready: how-to-use-vm-token, "Error handling".
_MACHINE_UNREADY: Final = frozenset({404, 410, 429})
_THROTTLED: Final = frozenset({429})
_SERVER_ERRORS: Final = 500


class AuthorityUnavailable(Exception):
    """The token authority cannot issue tokens at the moment. `status` is the HTTP status of its response."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def client_credential(settings: EntraSettings, tenant: str | None) -> Any:
    """Resolve the secrets and return what msal calls the client credential; None if there is no registration.

    Raises `ConfigError` that names every key that is missing or unusable.
    """

    def require_keys() -> None:
        if problems := list(_missing(settings, tenant)):
            raise ConfigError(settings.table, problems)

    read = partial(read_secrets, settings)
    *_, credential = run_all(settings.table, require_keys, settings.ssl_context, read)
    if settings.client_assertion is not None:  # it expires, so msal reads it again for each token
        return {"client_assertion": settings.client_assertion.resolve}
    return credential


def read_secrets(settings: EntraSettings) -> Any:
    """Resolve the secrets of the registration and read the certificate. Raises `ConfigError`."""
    if settings.certificate is not None:
        secrets = filter(None, (settings.certificate, settings.certificate_password))
        texts = run_all(settings.table, *(secret.resolve for secret in secrets))
        return read_certificate(*texts, table=settings.table)
    secret = settings.client_secret or settings.client_assertion
    return secret and secret.resolve()


def _missing(settings: EntraSettings, tenant: str | None) -> Iterator[Problem]:
    if settings.uses_registration:
        for key, value in (("tenant_id", tenant), ("client_id", settings.client_id)):
            if value is None:
                yield Problem(f"{settings.table}.{key}", "is missing")
    if settings.credential_kind is None:
        yield Problem(f"{settings.table}.client_secret", "is missing", f"one of {', '.join(CredentialKind)}")


def open_session(settings: EntraSettings) -> requests.Session:
    """The HTTP client beneath msal: with a time limit, and with `ca_file` before REQUESTS_CA_BUNDLE.

    It raises `AuthorityUnavailable` for responses that msal would read as a refusal. msal requires requests
    for some managed identities.
    """
    import requests

    machine = settings.managed_identity is not None
    unready = _MACHINE_UNREADY if machine else _THROTTLED

    def check(response: requests.Response, **_: Any) -> None:
        if response.status_code in unready or response.status_code >= _SERVER_ERRORS:
            raise AuthorityUnavailable(response.status_code)

    session = requests.Session()
    session.trust_env = not machine  # no proxy leads to the machine's own endpoint
    session.verify = verify = True if settings.ca_file is None else str(settings.ca_file)
    session.request = partial(session.request, timeout=settings.timeout, verify=verify)  # type: ignore[method-assign]
    session.hooks["response"].append(check)
    return session


def open_source(settings: EntraSettings, tenant: str | None, session: requests.Session) -> Source:
    """The source of one tenant's tokens, which queries the token authority for its endpoints.

    Raises `ConfigError`, and what msal and its HTTP client raise.
    """
    import msal

    credential = client_credential(settings, tenant)
    if settings.managed_identity is not None:
        identity = (
            msal.SystemAssignedManagedIdentity()
            if settings.managed_identity == _SYSTEM
            else msal.UserAssignedManagedIdentity(client_id=settings.managed_identity)
        )
        client = msal.ManagedIdentityClient(identity, http_client=session)
        return lambda scope, claims: client.acquire_token_for_client(
            resource=scope.removesuffix("/.default"), claims_challenge=claims
        )
    application = msal.ConfidentialClientApplication(
        settings.client_id,
        authority=settings.authority_of(tenant or ""),
        client_credential=credential,
        instance_discovery=False,  # it would query the global cloud about authorities of other clouds
        http_client=session,
    )
    return lambda scope, claims: application.acquire_token_for_client([scope], claims_challenge=claims)


def read_token(answer: Any, settings: EntraSettings) -> Token | Rejected | NotSent:
    """Read msal's return value. Raises if its types are not those that msal documents."""
    token = answer.get("access_token")
    if isinstance(token, str) and token:
        return Token(token, int(time.time()) + int(answer.get("expires_in") or 0))
    error = answer.get("error")
    description = answer.get("error_description") or error
    message = description or "the response contains no token"
    result = Result(
        message=message if isinstance(message, str) else json.dumps(message),
        reason=FailureReason.UNAUTHORIZED,
        advice=_advice(settings),
        request_id=answer.get("correlation_id"),
        basis=Basis.STATED if description else Basis.LOCAL,
    )
    if isinstance(error, str) and error in _UNAVAILABLE:
        return NotSent(result=evolve(result, reason=FailureReason.PROVIDER_ERROR))
    return Rejected(result=result)


def refusal_of(error: Exception, settings: EntraSettings, tenant: str | None) -> Rejected | None:
    """What an exception of msal means if another attempt is useless; None if it may pass.

    msal raises a plain `ValueError` for an authority that does not exist or does not know the tenant, and a
    `JSONDecodeError` below it for a response that is not JSON.
    """
    from msal.managed_identity import ManagedIdentityError

    unknown = type(error) is ValueError and not isinstance(error.__context__, json.JSONDecodeError)
    if isinstance(error, ManagedIdentityError):
        where = "no managed identity is available here"
    elif unknown and settings.managed_identity is None:
        where = f"no token authority at {settings.authority_of(tenant or '')}"
    else:
        return None
    return Rejected(
        result=Result(
            message=f"{where} ({type(error).__name__})",
            reason=FailureReason.UNAUTHORIZED,
            advice=_advice(settings),
            basis=Basis.LOCAL,
        )
    )


def _advice(settings: EntraSettings) -> str:
    kind = settings.credential_kind or CredentialKind.CLIENT_SECRET
    if kind is CredentialKind.MANAGED_IDENTITY:
        return f"Check managed_identity in [{settings.table}], and that this machine has that identity."
    return f"Check tenant_id, client_id and {kind} in [{settings.table}]; the message is from Entra."
