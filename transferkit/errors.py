"""The exceptions that transferkit raises.

    TransferKitError
    ├── UsageError                   the application's request; nothing was sent or recorded
    │   ├── InvalidRequest           the provider does not support the request; lists every problem
    │   ├── TransferInProgress       the call already has an open transfer; names it
    │   ├── IdempotencyConflict      the key was used for a different request; names its transfer
    │   ├── AgentNotConnected        the agent has not answered, so there is nobody to complete with
    │   ├── ConsultationDecided      the consultation was decided otherwise, or is over
    │   ├── RouteEnded               the route is over, so it cannot be cancelled
    │   ├── TransferNotFound         the store has no transfer with this id
    │   └── ClientClosed             the client is not open
    ├── CallNotConnected             a call did not connect, or that is not known
    ├── CallbackError                a received callback
    │   ├── MalformedCallback        the body does not have the documented form; names the place
    │   ├── CallbackNotVerified      the sender is not the provider
    │   └── SenderNotChecked         the sender could not be verified, for example without signing keys
    └── StoreError                   the store could not read or write

    ConfigError                      not a TransferKitError, so that code that handles a failed
    ├── AdapterNotFound              transfer does not hide a wrong configuration
    └── DuplicateAdapter

A rejection by the provider is not an exception but a `TransferFailed` event, because the request is recorded
before it is sent. No message contains a phone number, a token or a key.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal

from attrs import field as attr_field
from attrs import frozen

from transferkit._util.redaction import redact, safe_repr

__all__ = [
    "AdapterNotFound",
    "AgentNotConnected",
    "CallNotConnected",
    "CallbackError",
    "CallbackNotVerified",
    "ClientClosed",
    "ConfigError",
    "ConsultationDecided",
    "DuplicateAdapter",
    "IdempotencyConflict",
    "InvalidRequest",
    "Problem",
    "RefusalCause",
    "RouteEnded",
    "SenderNotChecked",
    "StoreError",
    "TransferInProgress",
    "TransferKitError",
    "TransferNotFound",
    "UsageError",
]


@frozen
class Problem:
    """One problem of a request or a configuration: the field, what is wrong, and what is accepted."""

    field: str = attr_field(repr=safe_repr)
    message: str = attr_field(repr=safe_repr)
    accepts: str | None = attr_field(default=None, repr=safe_repr)

    def __str__(self) -> str:
        # Each part separately: in "password: is missing", the message is not a password.
        accepted = f" (accepted: {redact(self.accepts)})" if self.accepts else ""
        return f"{redact(self.field)}: {redact(self.message)}{accepted}"


def _listed(heading: str, problems: Iterable[Problem]) -> str:
    return "\n".join([heading, *(f"  - {problem}" for problem in problems)])


class _Error(Exception):
    """An exception that is pickled by its attributes, whatever arguments its constructor has."""

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class TransferKitError(_Error):
    """The base class of all exceptions of transferkit except `ConfigError`."""


class UsageError(TransferKitError):
    """The request was not accepted: nothing was sent and nothing was recorded."""


class InvalidRequest(UsageError, ValueError):
    """The provider does not support the request as it is. `problems` lists every reason.

    Raised by `submit`, `transfer`, `redirect` and `preview`, before any I/O.
    """

    def __init__(self, provider: str, problems: Sequence[Problem]) -> None:
        self.provider = provider
        self.problems = tuple(problems)
        super().__init__(
            _listed(f"{provider} does not support this request; nothing was sent:", self.problems)
        )


class TransferInProgress(UsageError):
    """The call or its consultation leg belongs to a transfer without an outcome.

    `transfer_id`: that transfer. Wait for its outcome with `client.outcome(transfer_id)`.
    """

    def __init__(self, call: str, transfer_id: str) -> None:
        self.call = call
        self.transfer_id = transfer_id
        super().__init__(
            f"call {redact(call)} belongs to the open transfer {transfer_id}; nothing was sent. "
            f"Wait for the outcome of that transfer first"
        )


class IdempotencyConflict(UsageError):
    """The idempotency key was used for a different request. `transfer_id`: the transfer of that request."""

    def __init__(self, key: str, transfer_id: str) -> None:
        self.key = key
        self.transfer_id = transfer_id
        super().__init__(
            f"idempotency key {safe_repr(key)} was used for a different request, transfer {transfer_id}; "
            f"nothing was sent. Use a new key for a new request"
        )


class AgentNotConnected(UsageError):
    """A consultation cannot be completed before the agent has answered. `consultation_id`: which one."""

    def __init__(self, consultation_id: str) -> None:
        self.consultation_id = consultation_id
        super().__init__(
            f"the agent has not answered consultation {consultation_id}, so it cannot be completed. "
            "Wait for `answered()` first"
        )


class ConsultationDecided(UsageError):
    """A consultation was decided otherwise before, or is over.

    * `consultation_id`: which one.
    * `kind`: the kind of its outcome, such as "consultation.failed"; None if it has none yet.
    """

    def __init__(self, consultation_id: str, kind: str | None = None) -> None:
        self.consultation_id = consultation_id
        self.kind = kind
        state = f"is over ({kind})" if kind else "was decided otherwise before"
        super().__init__(f"consultation {consultation_id} {state}. `outcome()` returns how it ended")


class RouteEnded(UsageError):
    """A route cannot be cancelled because it is over. `kind`: that of its outcome, "route.completed" say."""

    def __init__(self, route_id: str, kind: str | None = None) -> None:
        self.route_id = route_id
        self.kind = kind
        super().__init__(f"route {route_id} is over ({kind}), so it cannot be cancelled")


class TransferNotFound(UsageError, LookupError):
    """The store has no transfer with this id. It may be in another store, or older than the retention."""

    def __init__(self, transfer_id: str) -> None:
        self.transfer_id = transfer_id
        super().__init__(
            f"the store has no transfer {safe_repr(transfer_id)}. "
            f"Look it up by its call: transferkit events --call ID"
        )


class ClientClosed(UsageError, RuntimeError):
    """The client is not open. Use it inside `async with`."""


class CallNotConnected(TransferKitError):
    """A call that was answered or placed did not connect, or that is not known.

    `reason`: the value of a `FailureReason` if the provider, or transferkit, stated a failure.
    """

    def __init__(self, call: str, message: str, reason: str | None = None) -> None:
        self.call = call
        self.reason = reason
        super().__init__(f"call {redact(call)} is not connected: {redact(message)}")


class CallbackError(TransferKitError):
    """A received callback cannot be used. The receiver logs the reason and responds with an error status."""


RefusalCause = Literal[
    "settings",
    "no_secret",
    "secret",
    "no_token",
    "token",
    "keys",
    "key",
    "signature",
    "time",
    "issuer",
    "audience",
    "tenant",
    "sender",
]
"""Why a callback was rejected.

* `settings`: the configuration does not allow verification.
* `no_secret`, `secret`: the URL has no secret, or the wrong one, or the secret is not set.
* `no_token`, `token`: there is no bearer token, or it cannot be read.
* `keys`: the signing keys could not be fetched.
* `key`, `signature`, `time`, `issuer`, `audience`, `tenant`, `sender`: this part of the token is wrong.
"""


class CallbackNotVerified(CallbackError):
    """The sender of a callback is not the provider. The response is 401. `cause`: for alerts."""

    def __init__(self, message: str, *, cause: RefusalCause) -> None:
        self.cause: RefusalCause = cause
        super().__init__(message)


class SenderNotChecked(CallbackError):
    """The sender of a callback could not be verified. The response is 503. `cause`: for alerts.

    `retry_after`: after which time a repetition of the callback can be verified at the earliest.
    """

    def __init__(self, message: str, *, cause: RefusalCause, retry_after: timedelta = timedelta(0)) -> None:
        self.cause: RefusalCause = cause
        self.retry_after = retry_after
        super().__init__(message)


class StoreError(TransferKitError):
    """The store could not read or write. Nothing was acknowledged."""


class ConfigError(_Error):
    """The configuration is wrong. `problems` names each key, what is wrong, and what is accepted."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(_listed(f"{source}: the configuration is not usable:", self.problems))


class AdapterNotFound(ConfigError):
    """No installed distribution has an adapter for this provider."""


class DuplicateAdapter(ConfigError):
    """Two installed distributions have an adapter with the same provider name."""
