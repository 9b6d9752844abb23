"""Access tokens of Microsoft Entra, fetched off the event loop and cached for each tenant."""

from __future__ import annotations

import asyncio
import time
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.http import misconfigured, unconnected
from transferkit.provider.results import NotSent, Rejected
from transferkit_microsoft.credentials import Token, error_result, token_of
from transferkit_microsoft.entra import Source, open_session, open_source, read_token, refusal_of
from transferkit_microsoft.settings import EntraSettings

if TYPE_CHECKING:
    import requests

__all__ = ["OWN_TENANT_ONLY", "Tokens"]

OWN_TENANT_ONLY: Final = (
    "A managed identity gets tokens of its own tenant only: use a client_secret or certificate of an "
    "application that the call's tenant consented to."
)

_CACHED_SECONDS: Final = 60.0
"""How long a token is used before its source is queried again, which decides when to renew it."""
_SPARE_SECONDS: Final = 300.0
"""A token that expires sooner is not cached: msal and azure-core renew it by then."""

Key = tuple[str | None, str, str | None]
"""Tenant, scope and claims challenge."""


@final
class Tokens:
    """Gets the tokens of one provider's settings. Concurrent requests for one token share one query.

    Opens nothing before the first token. A credential object in the settings is never closed: it belongs to
    the application.
    """

    def __init__(self, settings: EntraSettings) -> None:
        self._settings = settings
        self._sources: dict[str | None, Source] = {}
        self._cached: dict[tuple[str | None, str], tuple[Token, float]] = {}
        """Tokens by tenant and scope, each with the monotonic time until which it is used."""
        self._running: dict[Key, asyncio.Task[Token | Rejected | NotSent]] = {}
        self._session: requests.Session | None = None
        self._session_lock = Lock()

    async def get(
        self, scope: str, tenant: str | None = None, *, claims: str | None = None
    ) -> Token | Rejected | NotSent:
        """A token for `scope` of `tenant`, or of the default tenant; or why there is none.

        * `Rejected`: the token authority refused, or the configuration cannot be used. Secrets are read again
          for the next token.
        * `NotSent`: the token authority could not be reached within `timeout`, or cannot issue tokens now.

        `claims` is a claims challenge of the provider (learn.microsoft.com
        entra/identity-platform/claims-challenge).
        """
        if not self._settings.reaches(tenant):
            result = Result(reason=FailureReason.TENANT_MISMATCH, advice=OWN_TENANT_ONLY, basis=Basis.LOCAL)
            return Rejected(result=result)
        key = self._tenant(tenant), scope, claims
        cached, until = self._cached.get(key[:2], (None, 0.0))
        if cached is not None and claims is None and monotonic() < until:
            return cached
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.create_task(self._fetch(key))
            running.add_done_callback(lambda _: self._running.pop(key, None))
        try:
            # `timeout` limits each HTTP request of msal; this limits all of them, and the wait for a thread.
            async with asyncio.timeout(self._settings.timeout):
                return await asyncio.shield(running)
        except TimeoutError as error:
            return self._unreached(error)

    def forget(self, tenant: str | None) -> None:
        """Drop what is cached for a tenant, because the provider refused its token."""
        tenant = self._tenant(tenant)
        self._sources.pop(tenant, None)
        self._cached = {key: cached for key, cached in self._cached.items() if key[0] != tenant}

    async def aclose(self) -> None:
        """Wait for running queries, at most `timeout`, and close connections. They open again when needed."""
        if self._running:  # a query in a thread that hangs would never end
            await asyncio.wait(self._running.values(), timeout=self._settings.timeout)
        self._sources.clear()
        self._cached.clear()
        if self._session is not None:
            self._session.close()
            self._session = None

    def _tenant(self, tenant: str | None) -> str | None:
        """The tenant whose token it is; None for a managed identity, which has one tenant."""
        return None if self._settings.managed_identity else tenant or self._settings.default_tenant

    async def _fetch(self, key: Key) -> Token | Rejected | NotSent:
        tenant, scope, claims = key
        credential = self._settings.credential
        found: Token | Rejected | NotSent
        try:
            if credential is None:
                found = await asyncio.to_thread(self._acquire, tenant, scope, claims)
            else:
                found = await token_of(
                    credential, scope, tenant=tenant, claims=claims, timeout=self._settings.timeout
                )
        except ConfigError as error:
            return misconfigured(error)
        except Exception as error:  # noqa: BLE001 - msal and credentials let any exception through
            found = self._failure(error, tenant)
        if isinstance(found, Rejected):
            self.forget(tenant)
        if isinstance(found, Token):
            seconds = min(found.expires_on - time.time() - _SPARE_SECONDS, _CACHED_SECONDS)
            self._cached[tenant, scope] = found, monotonic() + seconds
        return found

    def _acquire(self, tenant: str | None, scope: str, claims: str | None) -> Token | Rejected | NotSent:
        """Query msal, in a thread."""
        with self._session_lock:
            if self._session is None:
                self._session = open_session(self._settings)
        source = self._sources.get(tenant)
        if source is None:
            source = self._sources[tenant] = open_source(self._settings, tenant, self._session)
        return read_token(source(scope, claims), self._settings)

    def _failure(self, error: Exception, tenant: str | None) -> Rejected | NotSent:
        if self._settings.credential is not None:
            refusal = error_result(error, key=f"{self._settings.table}.credential")
        else:
            refusal = refusal_of(error, self._settings, tenant)
        return refusal or self._unreached(error)

    def _unreached(self, error: Exception) -> NotSent:
        return unconnected(
            error,
            to="the token authority",
            check=f"authority and ca_file of [{self._settings.table}]",
            otherwise="the token authority gave no usable response",
        )
