"""What authenticates requests: the access key of a connection string, or tokens of Microsoft Entra."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final, final

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.entra import client_credential
from transferkit_microsoft.settings import run_all
from transferkit_microsoft.tokens import Tokens

from transferkit.errors import ConfigError, Problem
from transferkit.provider.results import NotSent, Rejected
from transferkit_acs.settings import AcsSettings

__all__ = ["EntraCredential", "NoToken", "connect", "placeholder"]

_ANY_KIND: Final = (
    "a connection string; or endpoint with managed_identity or credential; or endpoint, tenant_id and "
    "client_id with client_secret, certificate or client_assertion"
)


class NoToken(Exception):
    """There is no token. `result` is what that means for the request that needs it."""

    def __init__(self, result: Rejected | NotSent) -> None:
        super().__init__(result.result.message)
        self.result = result


class _Credential(AsyncTokenCredential):
    async def close(self) -> None:
        """There is nothing to close."""

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@final
class EntraCredential(_Credential):
    """The configured credential as the SDK needs it: an azure-core `AsyncTokenCredential`."""

    def __init__(self, settings: AcsSettings) -> None:
        self._tokens = Tokens(settings)

    async def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        """A token for the one scope in `scopes`. Raises `NoToken`."""
        found = await self._tokens.get(*scopes, claims=claims)
        if not isinstance(found, Token):
            raise NoToken(found)
        return AccessToken(found.value, found.expires_on)

    def forget(self) -> None:
        """Drop cached tokens, because ACS refused one."""
        self._tokens.forget(None)

    async def close(self) -> None:
        """Close connections."""
        await self._tokens.aclose()


@final
class _PlaceholderToken(_Credential):
    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("placeholder", int(time.time()) + 86_400)


def placeholder(settings: AcsSettings) -> AzureKeyCredential | AsyncTokenCredential:
    """A credential of the configured kind that contains no secret, for a request that is not sent."""
    return _PlaceholderToken() if settings.uses_entra else AzureKeyCredential("cGxhY2Vob2xkZXI=")


def connect(settings: AcsSettings) -> tuple[str, AzureKeyCredential | EntraCredential]:
    """The endpoint and the credential for it.

    Resolves secrets. Raises `ConfigError` that names every key that is missing or unusable.
    """
    table = settings.table
    if settings.connection_string is not None:
        read, _ = run_all(table, settings.read_connection_string, settings.ssl_context)
        endpoint = read.endpoint if settings.endpoint is None else settings.shown_endpoint
        return endpoint, AzureKeyCredential(read.access_key)
    if not settings.uses_entra:
        raise ConfigError(table, [Problem(f"{table}.connection_string", "is missing", _ANY_KIND)])

    def require_endpoint() -> None:
        if settings.endpoint is None:
            problem = Problem(f"{table}.endpoint", "is missing; a token of Entra needs it")
            raise ConfigError(table, [problem])

    run_all(table, require_endpoint, partial(client_credential, settings, settings.default_tenant))
    return settings.shown_endpoint, EntraCredential(settings)
