"""Credential objects that an application brings along, such as those of azure-identity.

`TokenCredential` is the part of azure-core's `TokenCredential` and `AsyncTokenCredential` that is used here,
so this package needs no azure-core. `error_result` classifies azure-core's exceptions by their class names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from inspect import isawaitable, iscoroutinefunction
from math import isfinite
from typing import Any, Protocol, final, runtime_checkable

from attrs import frozen

from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.results import NotSent, Rejected
from transferkit.provider.secret import redact

__all__ = ["AccessToken", "Token", "TokenCredential", "error_result", "token_of"]

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


class AccessToken(Protocol):
    """A token, and when it expires in seconds since the epoch: azure-core's `AccessToken`."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> int: ...


@runtime_checkable
class TokenCredential(Protocol):
    """An azure-core `TokenCredential` or `AsyncTokenCredential`, or any object with its `get_token`."""

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: Any
    ) -> AccessToken | Awaitable[AccessToken]:
        """Return a token for the scopes."""
        ...


@final
@frozen(repr=False)
class Token:
    """A bearer token, and when it expires in seconds since the epoch."""

    value: str
    expires_on: int


class UnusableToken(Exception):
    """What a credential object returned is no access token. The text contains nothing of it."""


async def token_of(
    credential: TokenCredential, scope: str, *, tenant: str | None, claims: str | None, timeout: float
) -> Token:
    """Get a token from the credential: in a thread if it is synchronous, else awaited for at most `timeout`.

    A thread cannot be stopped, so there is no time limit for it: the caller shares it until it ends. The
    credential receives `tenant_id` and `claims` only where they are known. Raises what it raises, and
    `UnusableToken`.
    """
    options = {"tenant_id": tenant, "claims": claims}
    given = {name: value for name, value in options.items() if value is not None}
    if iscoroutinefunction(credential.get_token):
        found: Any = credential.get_token(scope, **given)
    else:
        found = await asyncio.to_thread(credential.get_token, scope, **given)
    if isawaitable(found):
        async with asyncio.timeout(timeout):
            found = await found
    return _checked(getattr(found, "token", None), getattr(found, "expires_on", None))


def _checked(value: Any, expires_on: Any) -> Token:
    if not (isinstance(value, str) and value.strip() and value.isascii() and value.isprintable()):
        raise UnusableToken("the credential object returned no text that can be sent as a token")
    if not (isinstance(expires_on, (int, float)) and isfinite(expires_on)):
        raise UnusableToken("the credential object returned a token without a number in expires_on")
    return Token(value, int(expires_on))


def error_result(error: Exception, *, key: str) -> Rejected | NotSent | None:
    """What an exception of a credential object means; None for a failure to reach the token authority.

    * `ClientAuthenticationError` without a connection failure or a server error beneath it: `Rejected`, with
      the credential's message. Its basis is stated if the token authority responded.
    * A `ClientAuthenticationError` or `HttpResponseError` with status 429 or 5xx: `NotSent`.
    * `ValueError` and `TypeError`, for example because of an invalid tenant id: `Rejected`.
    * `UnusableToken`: `Rejected`.
    """
    if isinstance(error, UnusableToken):
        unusable = Result(
            message=str(error),
            reason=FailureReason.UNAUTHORIZED,
            advice=f"Check the credential object in {key}.",
            basis=Basis.LOCAL,
        )
        return Rejected(result=unusable)
    advice = f"Check the credential object in {key}; the message is from that credential."
    chain = _chain(error)
    statuses = [status for each in chain if (status := _status(each)) is not None]
    if any(status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS for status in statuses):
        message = f"the token authority responded with status {statuses[0]}"
        result = Result(
            message=message, reason=FailureReason.PROVIDER_ERROR, advice="Try again later.", basis=Basis.LOCAL
        )
        return NotSent(result=result)
    if any(_is(each, "ServiceRequestError", "ServiceResponseError") for each in chain):
        return None
    if _is(error, "ClientAuthenticationError", "HttpResponseError") or isinstance(
        error, (ValueError, TypeError)
    ):
        message = " ".join(str(getattr(error, "message", None) or error).split())  # azure-core's str has more
        refused = Result(
            message=redact(message) or type(error).__name__,
            reason=FailureReason.UNAUTHORIZED,
            advice=advice,
            basis=Basis.STATED if statuses else Basis.LOCAL,
        )
        return Rejected(result=refused)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and the causes before it. They may form a circle (`raise error from error`)."""
    found = [error]
    while (earlier := found[-1].__cause__ or found[-1].__context__) is not None and earlier not in found:
        found.append(earlier)
    return found


def _is(error: BaseException, *names: str) -> bool:
    return any(cls.__name__ in names for cls in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """The HTTP status of the response that an azure-core error carries."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None
