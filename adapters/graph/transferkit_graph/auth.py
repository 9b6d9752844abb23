"""Tokens for Graph, one cache a tenant: fetched off the event loop, one question for everybody who asks."""

from __future__ import annotations

import asyncio
import json
import logging
from time import monotonic
from typing import Any, final

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.http import misconfigured, unconnected
from transferkit.provider.results import NotSent, Rejected
from transferkit_graph.credentials import HttpClients, Source, open_source, require
from transferkit_graph.log_events import GraphLogEvent
from transferkit_graph.settings import CredentialKind, GraphSettings

__all__ = ["OWN_TENANT_ONLY", "Tokens"]

OWN_TENANT_ONLY = (
    "A managed identity's tokens are of its own tenant only: carry this call with a client_secret or a "
    "certificate of an application that the call's tenant knows."
)

_log = logging.getLogger("transferkit.graph")

_TRUSTED_SECONDS = 60.0
"""For how long a token is used before msal is asked again, which knows when to renew it."""
_SPARE_SECONDS = 300.0
"""A token with less life than this is always asked for, as msal itself renews it by then."""

_PASSING = frozenset({"temporarily_unavailable", "server_error"})


@final
class Tokens:
    """Gets bearer tokens. Concurrent askers of one tenant share one question."""

    def __init__(self, settings: GraphSettings) -> None:
        self._settings = settings
        self._http = HttpClients(settings)
        self._sources: dict[str | None, Source] = {}
        self._known: dict[str | None, tuple[str, float]] = {}
        """Tokens, and until when they may be used unasked: a question costs a thread's turn."""
        self._asking: dict[str | None, asyncio.Task[str | Rejected | NotSent]] = {}

    async def bearer(self, tenant: str | None) -> str | Rejected | NotSent:
        """A token for the call's tenant, or why there is none.

        `Rejected` where the authority or the configuration says no, `NotSent` where nobody could be asked.
        """
        if not self._settings.reaches(tenant):
            return Rejected(
                result=Result(reason=FailureReason.TENANT_MISMATCH, advice=OWN_TENANT_ONLY, basis=Basis.LOCAL)
            )
        tenant = self._key(tenant)
        try:
            require(self._settings, tenant)
        except ConfigError as error:
            return misconfigured(error)
        token, until = self._known.get(tenant, ("", 0.0))
        if monotonic() < until:
            return token
        asking = self._asking.get(tenant)
        if asking is None:
            asking = asyncio.create_task(self._ask(tenant))
            self._asking[tenant] = asking
            asking.add_done_callback(lambda _: self._asking.pop(tenant, None))
        try:
            # The limit of each request to the authority; there may be several, and a wait for a thread.
            async with asyncio.timeout(self._settings.timeout):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            return _unreached(error)

    def forget(self, tenant: str | None) -> None:
        """Begin anew next time, secrets included: somebody did not like what came of the last time."""
        self._sources.pop(self._key(tenant), None)
        self._known.pop(self._key(tenant), None)

    async def aclose(self) -> None:
        """Close connections."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._sources.clear()
        self._known.clear()
        self._http.close()

    def _key(self, tenant: str | None) -> str | None:
        """Whose token it is: a tenant's, or the managed identity's."""
        if self._settings.credential is CredentialKind.MANAGED_IDENTITY:
            return None
        return tenant or self._settings.default_tenant

    async def _ask(self, tenant: str | None) -> str | Rejected | NotSent:
        try:
            return await asyncio.to_thread(self._acquire, tenant)
        except RuntimeError as error:  # there is no thread to be had
            return _unreached(error)

    def _acquire(self, tenant: str | None) -> str | Rejected | NotSent:
        """Ask, in a thread. Whatever goes wrong, nothing has been sent to Graph."""
        try:
            source = self._sources.get(tenant)
            if source is None:
                source = self._sources[tenant] = open_source(self._settings, tenant, self._http)
            said = source()
            answer = _read(said, self._settings)
        except ConfigError as error:
            return misconfigured(error)
        except Exception as error:  # noqa: BLE001 - msal lets its HTTP client's errors through, whichever
            return self._failed(error, tenant)
        if isinstance(answer, Rejected):  # a secret or certificate that is renewed is to be read anew
            self.forget(tenant)
        if isinstance(answer, str):
            self._known[tenant] = answer, monotonic() + _unasked_seconds(said)
        return answer

    def _failed(self, error: Exception, tenant: str | None) -> Rejected | NotSent:
        from msal.managed_identity import ManagedIdentityError

        _log.debug("no token: %s", type(error).__name__, extra={"event": GraphLogEvent.NO_TOKEN})
        if isinstance(error, ManagedIdentityError):
            return _refused(
                f"no managed identity here ({type(error).__name__})",
                "Give the machine a managed identity, or the application a client_secret or certificate.",
            )
        # A plain ValueError is msal's word for an authority that knows no such tenant, or that is none.
        unknown = type(error) is ValueError and not isinstance(error.__context__, json.JSONDecodeError)
        if tenant is not None and unknown:
            return _refused(
                f"no token authority at {self._settings.authority_of(tenant)}",
                "Check providers.graph.tenant_id and providers.graph.cloud.",
            )
        return _unreached(error)


def _unasked_seconds(said: Any) -> float:
    """For how long the token may be used without asking msal."""
    life = said.get("expires_in")
    return min(life - _SPARE_SECONDS, _TRUSTED_SECONDS) if isinstance(life, (int, float)) else 0.0


def _unreached(error: Exception) -> NotSent:
    return unconnected(
        error,
        to="the token authority",
        check="cloud, authority and ca_file of [providers.graph]",
        otherwise="the token authority gave no usable answer",
    )


def _refused(message: str, advice: str) -> Rejected:
    return Rejected(
        result=Result(message=message, reason=FailureReason.UNAUTHORIZED, advice=advice, basis=Basis.LOCAL)
    )


def _read(answer: Any, settings: GraphSettings) -> str | Rejected | NotSent:
    """Raises as odd answers make it."""
    token = answer.get("access_token")
    if isinstance(token, str) and token:
        return token
    error = answer.get("error")
    said = answer.get("error_description") or error
    keys = {
        CredentialKind.CLIENT_SECRET: "client_id, client_secret and tenant_id",
        CredentialKind.CERTIFICATE: "client_id, certificate and tenant_id",
        CredentialKind.MANAGED_IDENTITY: "managed_identity, and that this machine has it",
        None: "client_id",
    }[settings.credential]
    result = Result(
        message=(said if isinstance(said, str) else json.dumps(said)) if said else "no token",
        reason=FailureReason.UNAUTHORIZED,
        advice=f"Check providers.graph.{keys}; the message is Entra's.",
        request_id=answer.get("correlation_id"),
        basis=Basis.STATED if said else Basis.LOCAL,
    )
    return NotSent(result=result) if isinstance(error, str) and error in _PASSING else Rejected(result=result)
