"""Tokens of Entra through msal: an application by its secret or certificate, or the machine's own identity.

msal blocks, so it works in a thread; it keeps tokens until they expire.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, final

from attrs import evolve
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.http import unconnected
from transferkit.provider.results import NotSent, Rejected

if TYPE_CHECKING:
    import requests

__all__ = [
    "Application",
    "EntraCredential",
    "MachineIdentity",
    "NoToken",
    "PlaceholderToken",
    "TokenSource",
]

# What an authority answers when it cannot serve, as opposed to when it will not (RFC 6749, section 4.1.2.1).
_UNAVAILABLE = frozenset({"server_error", "temporarily_unavailable"})
# What a machine's own endpoint answers while it is not ready (learn.microsoft.com how-to-use-vm-token).
_UNREADY = frozenset({404, 410, 429})
_SERVER_ERRORS = 500


_NO_ANSWER = "the token authority gave no usable answer"
_CHECK = "endpoint, authority and ca_file of [providers.acs]"


class NoToken(Exception):
    """There is no token. `answer` is what that means for the request that needs it."""

    def __init__(self, answer: Rejected | NotSent) -> None:
        super().__init__(answer.result.message)
        self.answer = answer


class _Unready(Exception):
    """The authority answered that it cannot serve now. `status` is its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class TokenSource(Protocol):
    """Who is asked for tokens. All of it may block."""

    advice: str
    """What to look at where no token is given."""
    absent: str
    """What is said where there is no such source."""

    def ask(self, scope: str, claims: str | None) -> Mapping[str, Any]:
        """A token or an error, as msal words them; raises what msal and its HTTP client raise."""
        ...

    def close(self) -> None:
        """Close connections."""


@final
class Application:
    """An application registered in Entra. `proof` is its secret, or msal's table of a certificate."""

    def __init__(
        self,
        *,
        client_id: str,
        proof: str | Mapping[str, str],
        authority: str,
        timeout: float,
        ca_file: Path | None,
        advice: str,
    ) -> None:
        self.advice = advice
        self.absent = f"no token authority at {authority}"
        self._client_id = client_id
        self._proof = proof
        self._authority = authority
        trust = {} if ca_file is None else {"verify": str(ca_file)}
        self._session = _session(timeout, frozenset({429}), **trust)
        self._app: Any = None

    def ask(self, scope: str, claims: str | None) -> Mapping[str, Any]:
        from msal import ConfidentialClientApplication

        if self._app is None:  # asks the authority for its endpoints
            self._app = ConfidentialClientApplication(
                self._client_id,
                authority=self._authority,
                client_credential=self._proof,
                # The authority is the operator's choice; other clouds need not reach the global one.
                instance_discovery=False,
                http_client=self._session,
            )
        answer: Mapping[str, Any] = self._app.acquire_token_for_client([scope], claims_challenge=claims)
        return answer

    def close(self) -> None:
        self._session.close()


@final
class MachineIdentity:
    """The managed identity of the machine, or one assigned to it by its `client_id`."""

    absent = "no managed identity here"

    def __init__(self, *, client_id: str | None, timeout: float, advice: str) -> None:
        self.advice = advice
        self._client_id = client_id
        self._session = _session(timeout, _UNREADY)
        self._session.trust_env = False  # the machine's own endpoint is behind no proxy
        self._client: Any = None

    def ask(self, scope: str, claims: str | None) -> Mapping[str, Any]:
        from msal import ManagedIdentityClient, SystemAssignedManagedIdentity, UserAssignedManagedIdentity

        if self._client is None:
            identity = (
                UserAssignedManagedIdentity(client_id=self._client_id)
                if self._client_id
                else SystemAssignedManagedIdentity()
            )
            self._client = ManagedIdentityClient(identity, http_client=self._session)
        resource = scope.removesuffix("/.default")
        answer: Mapping[str, Any] = self._client.acquire_token_for_client(
            resource=resource, claims_challenge=claims
        )
        return answer

    def close(self) -> None:
        self._session.close()


def _session(timeout: float, unready: frozenset[int], **trust: Any) -> requests.Session:
    """The HTTP client that msal is given. It waits so long, and raises where nobody could answer."""
    import requests

    def check(response: requests.Response, **_: Any) -> None:  # msal would take some of these for a refusal
        if response.status_code in unready or response.status_code >= _SERVER_ERRORS:
            raise _Unready(response.status_code)

    session = requests.Session()
    # Said of each request, as a session's own word for trust gives way to REQUESTS_CA_BUNDLE.
    session.request = partial(session.request, timeout=timeout, **trust)  # type: ignore[method-assign]
    session.hooks["response"].append(check)
    return session


class _Credential(AsyncTokenCredential):
    """What azure-core asks of a credential beside its tokens."""

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
    """An azure-core `AsyncTokenCredential` around a source of tokens."""

    def __init__(self, source: TokenSource, *, timeout: float) -> None:
        self._source = source
        self._timeout = timeout

    async def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        """A token for the one scope of `scopes`. Raises `NoToken`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._acquire, *scopes, claims=claims)
        except TimeoutError as error:
            raise NoToken(_unreached(error)) from None

    async def close(self) -> None:
        """Close connections."""
        self._source.close()

    def _acquire(self, scope: str, *, claims: str | None) -> AccessToken:
        try:
            return self._read(self._source.ask(scope, claims))
        except NoToken:
            raise
        except Exception as error:  # noqa: BLE001 - msal lets through whatever its HTTP client raises
            if _is_refusal(error):
                why = f"{self._source.absent} ({type(error).__name__})"
                raise NoToken(self._refused(why, basis=Basis.LOCAL)) from None
            raise NoToken(_unreached(error)) from None

    def _read(self, answer: Mapping[str, Any]) -> AccessToken:
        if token := answer.get("access_token"):
            return AccessToken(token, int(time.time()) + int(answer.get("expires_in", 0)))
        said = answer.get("error_description") or answer.get("error")
        refused = self._refused(str(said or "no token"), basis=Basis.STATED if said else Basis.LOCAL)
        if answer.get("error") in _UNAVAILABLE:
            raise NoToken(NotSent(result=evolve(refused.result, reason=FailureReason.PROVIDER_ERROR)))
        raise NoToken(refused)

    def _refused(self, message: str, *, basis: Basis) -> Rejected:
        advice = self._source.advice
        return Rejected(
            result=Result(reason=FailureReason.UNAUTHORIZED, message=message, advice=advice, basis=basis)
        )


def _unreached(error: Exception) -> NotSent:
    return unconnected(error, to="the token authority", check=_CHECK, otherwise=_NO_ANSWER)


def _is_refusal(error: Exception) -> bool:
    """Whether msal says by a plain ValueError that there is no such tenant, authority or identity.

    Other errors are of its HTTP client, or of an answer of another shape than published.
    """
    from msal import ManagedIdentityError

    garbage = isinstance(error.__context__, json.JSONDecodeError)
    return (type(error) is ValueError and not garbage) or isinstance(error, ManagedIdentityError)


@final
class PlaceholderToken(_Credential):
    """Stands in for an Entra credential where a request is shown and not sent."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        """No token at all, for a long time."""
        return AccessToken("placeholder", int(time.time()) + 86_400)
