"""What authenticates requests: the access key of a connection string, or tokens of Microsoft Entra."""

from __future__ import annotations

import time
from typing import Any, Final, final

from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from transferkit_microsoft.credentials import Token
from transferkit_microsoft.entra import client_credential
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
    """There is no token. `answer` is what that means for the request that needs it."""

    def __init__(self, answer: Rejected | NotSent) -> None:
        super().__init__(answer.result.message)
        self.answer = answer


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
    return _with_token(settings) if settings.connection_string is None else _with_access_key(settings)


def _with_access_key(settings: AcsSettings) -> tuple[str, AzureKeyCredential]:
    problems: list[Problem] = []
    try:
        settings.ssl_context()  # the SDK would fail in the middle of a request
    except ConfigError as error:
        problems.extend(error.problems)
    try:
        read = settings.read_connection_string()
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(settings.table, problems)
    endpoint = read.endpoint if settings.endpoint is None else settings.shown_endpoint
    return endpoint, AzureKeyCredential(read.access_key)


def _with_token(settings: AcsSettings) -> tuple[str, EntraCredential]:
    if not settings.uses_entra:
        problem = Problem(f"{settings.table}.connection_string", "is missing", _ANY_KIND)
        raise ConfigError(settings.table, [problem])
    problems: list[Problem] = []
    if settings.endpoint is None:
        problems.append(Problem(f"{settings.table}.endpoint", "is missing; a token of Entra needs it"))
    try:
        client_credential(settings, settings.default_tenant)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(settings.table, problems)
    return settings.shown_endpoint, EntraCredential(settings)
