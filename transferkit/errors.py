"""What can go wrong, for the person who reads it at 3 a.m.

    TransferKitError
    ├── UsageError                   the caller's side: nothing was sent, nothing was recorded
    │   ├── InvalidRequest           the request cannot be carried as it stands (every problem listed)
    │   ├── TransferInProgress       the call already has an open transfer; names it
    │   ├── IdempotencyConflict      the key was used for another request; names the transfer
    │   ├── TransferNotFound         no transfer of that id in the store
    │   └── ClientClosed             the client is not open
    ├── CallbackError                somebody else's side: what arrived cannot be used
    │   ├── MalformedCallback        the body does not say what its provider publishes; names the place
    │   ├── CallbackNotVerified      the sender was checked and is not the provider
    │   └── SenderNotChecked         the sender could not be checked, for example without the signing keys
    └── StoreError                   the store could not keep or give back what it must

    ConfigError                      outside the root on purpose: code that shrugs off a failed
    ├── AdapterNotFound              transfer must not shrug off a wrong configuration
    └── DuplicateAdapter

A provider's refusal is no exception: after the request is recorded it is a `TransferFailed` event.
No message here holds a phone number, a token or a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal

from attrs import field as attr_field
from attrs import frozen

from transferkit._util.redaction import redact, safe_repr

__all__ = [
    "AdapterNotFound",
    "CallbackError",
    "CallbackNotVerified",
    "ClientClosed",
    "ConfigError",
    "DuplicateAdapter",
    "IdempotencyConflict",
    "InvalidRequest",
    "Problem",
    "RefusalCause",
    "SenderNotChecked",
    "StoreError",
    "TransferInProgress",
    "TransferKitError",
    "TransferNotFound",
    "UsageError",
]


@frozen
class Problem:
    """One thing wrong with a request or a configuration: where, what, and what would be right."""

    field: str = attr_field(repr=safe_repr)
    message: str = attr_field(repr=safe_repr)
    accepts: str | None = attr_field(default=None, repr=safe_repr)

    def __str__(self) -> str:
        # Each by itself: a key's name before our own words is no key before its value.
        accepted = f" (accepted: {redact(self.accepts)})" if self.accepts else ""
        return f"{redact(self.field)}: {redact(self.message)}{accepted}"


def _listed(heading: str, problems: Iterable[Problem]) -> str:
    return "\n".join([heading, *(f"  - {problem}" for problem in problems)])


class TransferKitError(Exception):
    """Root of what transferkit raises while it works. `ConfigError` stands outside."""


class UsageError(TransferKitError):
    """The request was not taken: nothing was sent and nothing was recorded."""


class InvalidRequest(UsageError, ValueError):
    """The provider cannot carry this request accurately. `problems` has all of the reasons.

    Raised before any I/O, by `submit`, `transfer`, `redirect` and `preview`.
    """

    def __init__(self, provider: str, problems: Sequence[Problem]) -> None:
        self.provider = provider
        self.problems = tuple(problems)
        super().__init__(_listed(f"{provider} cannot carry this request; nothing was sent:", self.problems))

    def __reduce__(self) -> tuple[type[InvalidRequest], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.provider, self.problems)


class TransferInProgress(UsageError):
    """The call, or the consult leg, is part of a transfer that has no outcome yet.

    `transfer_id` is that transfer: await its outcome with `client.outcome(transfer_id)`.
    """

    def __init__(self, call: str, transfer_id: str) -> None:
        self.call = call
        self.transfer_id = transfer_id
        super().__init__(
            f"call {redact(call)} is part of the open transfer {transfer_id}; nothing was sent. "
            f"Await that transfer's outcome first"
        )

    def __reduce__(self) -> tuple[type[TransferInProgress], tuple[str, str]]:
        return type(self), (self.call, self.transfer_id)


class IdempotencyConflict(UsageError):
    """The idempotency key belongs to another request. `transfer_id` is what that request started."""

    def __init__(self, key: str, transfer_id: str) -> None:
        self.key = key
        self.transfer_id = transfer_id
        super().__init__(
            f"idempotency key {safe_repr(key)} was used for another request, transfer {transfer_id}; "
            f"nothing was sent. Use a new key for a new request"
        )

    def __reduce__(self) -> tuple[type[IdempotencyConflict], tuple[str, str]]:
        return type(self), (self.key, self.transfer_id)


class TransferNotFound(UsageError, LookupError):
    """The store has no such transfer: another store, or older than its retention."""

    def __init__(self, transfer_id: str) -> None:
        self.transfer_id = transfer_id
        super().__init__(
            f"no transfer {safe_repr(transfer_id)} in this store; "
            f"to look by call: transferkit events --call ID"
        )

    def __reduce__(self) -> tuple[type[TransferNotFound], tuple[str]]:
        return type(self), (self.transfer_id,)


class ClientClosed(UsageError, RuntimeError):
    """The client is not open: use it inside `async with`."""


class CallbackError(TransferKitError):
    """A callback cannot be used. The receiver answers it with an error status and logs why."""


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
"""Why a callback was refused: the settings name nothing to verify it with; the URL has no secret, or a wrong
one, or the secret is not set; there is no token, or none that can be read; the signing keys are missing; or
something in the token is wrong (its key id, signature, times, issuer, audience, tenant or sender)."""


class CallbackNotVerified(CallbackError):
    """The sender of a callback was checked and is not the provider: answered 401. `cause` is for alerts."""

    def __init__(self, message: str, *, cause: RefusalCause) -> None:
        self.cause: RefusalCause = cause
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), cause=self.cause), self.args


class SenderNotChecked(CallbackError):
    """The sender of a callback could not be checked: answered 503. `cause` is for alerts.

    `retry_after` is when a repetition of the callback can be checked at the earliest.
    """

    def __init__(self, message: str, *, cause: RefusalCause, retry_after: timedelta = timedelta(0)) -> None:
        self.cause: RefusalCause = cause
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), cause=self.cause, retry_after=self.retry_after), self.args


class StoreError(TransferKitError):
    """The store could not keep or give back what it must; nothing was acknowledged."""


class ConfigError(Exception):
    """The configuration is wrong; `problems` names each key, its value and what is accepted."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(_listed(f"{source}: configuration is not usable:", self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.source, self.problems)


class AdapterNotFound(ConfigError):
    """No installed distribution offers this provider."""


class DuplicateAdapter(ConfigError):
    """Two installed distributions offer the same provider name."""
