"""Credentials: the access key of a connection string, or tokens of an Entra application through msal."""

from __future__ import annotations

import asyncio
import json
import time
from types import TracebackType
from typing import Any, final

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError

from transferkit.errors import ConfigError, Problem
from transferkit_acs.settings import AcsSettings

__all__ = [
    "AuthorityUnreachable",
    "EntraCredential",
    "PlaceholderToken",
    "TokenRefused",
    "connect",
    "placeholder",
]

# What an authority answers when it cannot serve, as opposed to when it will not (RFC 6749, section 4.1.2.1).
_UNAVAILABLE = frozenset({"server_error", "temporarily_unavailable"})


class TokenRefused(ClientAuthenticationError):
    """The authority answered that it gives no token."""


class AuthorityUnreachable(AzureError):
    """The authority could not be asked for a token."""


def connect(settings: AcsSettings) -> tuple[str, AzureKeyCredential | EntraCredential]:
    """The endpoint and the credential for it. Resolves secrets; raises `ConfigError` for missing ones."""
    if settings.connection_string is not None:
        read = settings.read_connection_string(settings.connection_string)
        endpoint = read.endpoint if settings.endpoint is None else settings.shown_endpoint
        return endpoint, AzureKeyCredential(read.access_key)
    tenant, client, secret = settings.tenant_id, settings.client_id, settings.client_secret
    if settings.endpoint is None or tenant is None or client is None or secret is None:
        raise ConfigError("providers.acs", _missing(settings))
    credential = EntraCredential(
        client_id=client,
        client_secret=secret.resolve(),
        authority=f"{settings.authority.rstrip('/')}/{tenant}",
        timeout=settings.timeout,
    )
    return settings.shown_endpoint, credential


def _missing(settings: AcsSettings) -> list[Problem]:
    if not settings.uses_entra:
        either = "a connection string, or endpoint, tenant_id, client_id and client_secret"
        return [Problem("providers.acs.connection_string", "is missing", either)]
    names = ("endpoint", "tenant_id", "client_id", "client_secret")
    return [
        Problem(f"providers.acs.{name}", "is missing; a token of Entra needs it")
        for name in names
        if getattr(settings, name) is None
    ]


class _Credential(AsyncTokenCredential):
    """What azure-core asks of a credential beside its tokens: there is nothing to close."""

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


@final
class EntraCredential(_Credential):
    """Tokens of an application, by its secret: an azure-core `AsyncTokenCredential` around msal.

    msal blocks, so it works in a thread; it keeps tokens until they expire.
    """

    def __init__(self, *, client_id: str, client_secret: str, authority: str, timeout: float) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._authority = authority
        self._timeout = timeout
        self._app: Any = None

    async def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        """A token for `scopes`. Raises `TokenRefused` or `AuthorityUnreachable`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._acquire, list(scopes), claims)
        except TimeoutError:
            raise AuthorityUnreachable("the token authority did not answer in time") from None

    def _acquire(self, scopes: list[str], claims: str | None) -> AccessToken:
        try:
            if self._app is None:
                self._app = self._open()
            answer = self._app.acquire_token_for_client(scopes=scopes, claims_challenge=claims)
        except json.JSONDecodeError:
            raise AuthorityUnreachable("the token authority's answer is not JSON") from None
        except OSError as error:  # as all errors of msal's HTTP client are
            raise AuthorityUnreachable(
                f"the token authority cannot be reached: {type(error).__name__}"
            ) from None
        except ValueError as error:  # there is no such tenant or authority
            raise TokenRefused(str(error)) from None
        if token := answer.get("access_token"):
            return AccessToken(token, int(time.time()) + int(answer.get("expires_in", 0)))
        message = str(answer.get("error_description") or answer.get("error") or "no token")
        if answer.get("error") in _UNAVAILABLE:
            raise AuthorityUnreachable(message)
        raise TokenRefused(message)

    def _open(self) -> Any:
        """Asks the authority for its endpoints, so it is done where msal may block."""
        import msal

        return msal.ConfidentialClientApplication(
            self._client_id,
            authority=self._authority,
            client_credential=self._client_secret,
            timeout=self._timeout,
        )


@final
class PlaceholderToken(_Credential):
    """Stands in for an Entra credential where a request is shown and not sent."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        """No token at all, for a long time."""
        return AccessToken("placeholder", int(time.time()) + 86_400)


def placeholder(settings: AcsSettings) -> AzureKeyCredential | PlaceholderToken:
    """A credential of the configured sort that holds no secret."""
    return PlaceholderToken() if settings.uses_entra else AzureKeyCredential("cGxhY2Vob2xkZXI=")
