"""The adapter contract: everything that is specific to one provider.

Requests: `plan`, `wire`, `submit`, `inspect`, `stated_verdict`. Callbacks: `route`, `handshake`, `decode`;
and `listen` for a provider that sends callbacks over a connection. Operation: `check`, `aclose`.

An adapter keeps no state of transfers, retries nothing and decides no outcome. It reports what happened, and
the life cycle machine draws the conclusions. Every adapter must pass the test class
`transferkit.testing.AdapterContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

from attrs import field, frozen

from transferkit._util.frozenmap import EMPTY
from transferkit.events import Event
from transferkit.provider.capabilities import Capabilities, Plan, plan
from transferkit.provider.deadline import Deadline
from transferkit.provider.facts import Fact, Result
from transferkit.provider.results import Presence, SubmitResult
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Request, WireRequest

if TYPE_CHECKING:
    from transferkit.provider.clock import Clock

__all__ = [
    "Adapter",
    "Callback",
    "CallbackRoute",
    "CheckResult",
    "Connection",
    "ConnectionFailed",
    "Deliver",
    "HandshakeResponse",
    "Inspection",
    "Submission",
    "TokenPolicy",
]


@final
@frozen(kw_only=True)
class Submission:
    """One attempt to send a stored request.

    * `id`: the transfer's id. `id` and `first_sent_at` are the same in every attempt that the provider must
      recognize as a repetition, also after a crash. A provider's idempotency key is made from them.
    * `deadline`: until when this attempt may be sent. The adapter checks it immediately before it writes the
      request; see `transferkit.provider.deadline`.
    * `tenant_id`: the verified tenant of the call, if it is known.
    """

    id: str
    request: Request
    first_sent_at: datetime
    deadline: Deadline
    tenant_id: str | None = None

    @property
    def operation_context(self) -> str:
        """The text to send to a provider that echoes one in its callbacks.

        It is the operation context that the application gave, or else the transfer's id, so that every
        verdict identifies its transfer.
        """
        return self.request.operation_context or self.id


@final
@frozen(kw_only=True)
class Inspection:
    """The result of a query about a call. `result` has the details of the provider's answer, for logs."""

    presence: Presence
    result: Result | None = None


@final
@frozen(kw_only=True)
class TokenPolicy:
    """The bearer tokens that authenticate callbacks. Only RS256 signatures are accepted.

    * `openid_url`: the OpenID configuration document that leads to the signing keys; https, except on
      loopback. `ca_file`: the certificate authorities to trust for it, instead of the system's.
    * `issuers`: the accepted values of `iss`, compared exactly. `audience`: the required value of `aud`.
    * `tenant_claim`: the claim that contains the tenant of the call. If it is set, the token must have it. If
      `allowed_tenants` is not empty, the tenant must be one of them.
    * `sender_claims`: the claims that may contain the sender's application id. If `allowed_senders` is not
      empty, the first claim that the token has must be one of them.

    Audience, tenants and senders are compared without regard to letter case.
    """

    openid_url: str
    issuers: tuple[str, ...]
    audience: str
    tenant_claim: str | None = None
    allowed_tenants: tuple[str, ...] = ()
    sender_claims: tuple[str, ...] = ()
    allowed_senders: tuple[str, ...] = ()
    ca_file: Path | None = None


@final
@frozen(kw_only=True)
class CallbackRoute:
    """How callbacks of one path are authenticated and answered.

    * `policy`: the bearer token that a callback must have.
    * `secrets`: the query parameter `secret_parameter` must appear once and equal one of them. If both
      `policy` and `secrets` are set, both are required. If neither is set, callbacks cannot be verified and
      are rejected, unless the configuration accepts unverified callbacks; `needs` names the settings to add,
      for the log.
    * `methods`: the accepted HTTP methods. A request by another method than POST is a handshake. It needs the
      secret but no token, because no provider documents a token for handshakes.
    * `success_status`: the HTTP status of a successful response.
    * `transfer_id`: the transfer that the path names. `placed_by`: the step that placed the call whose
      callbacks arrive at this path.
    """

    name: str
    policy: TokenPolicy | None = None
    secrets: tuple[Secret, ...] = ()
    secret_parameter: str = "secret"  # noqa: S105 - the parameter's name
    needs: str = "the provider's settings for callbacks"
    methods: tuple[str, ...] = ("POST",)
    success_status: int = 200
    transfer_id: str | None = None
    placed_by: str | None = None


@final
@frozen(kw_only=True)
class Callback:
    """An authenticated HTTP request or message from the provider, before it is decoded.

    Header names are in lower case. `route`, `transfer_id` and `placed_by` are those of its `CallbackRoute`.
    `tenant_id` is verified.
    """

    body: bytes = field(repr=False)
    received_at: datetime
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    method: str = "POST"
    route: str = ""
    transfer_id: str | None = None
    placed_by: str | None = None
    tenant_id: str | None = None


@final
@frozen(kw_only=True)
class HandshakeResponse:
    """The response to a request by which a provider validates the callback URL. Nothing is stored for it."""

    status: int = 200
    headers: Mapping[str, str] = EMPTY
    body: bytes = field(default=b"", repr=False)


@final
@frozen(kw_only=True)
class CheckResult:
    """One line of the result of `transferkit check`. No text in it contains a secret.

    * `name`: two or three words. `message`: what was found. `advice`: what to do about it.
    * `ok`: None if it was not or cannot be determined.
    * `clock_skew`: how far this machine's clock is ahead of the provider's.
    """

    name: str
    ok: bool | None
    message: str
    advice: str | None = None
    clock_skew: timedelta | None = None


class Deliver(Protocol):
    """Decodes and commits an authenticated callback that an adapter received over its own connection."""

    async def __call__(self, callback: Callback, *, adapter: Adapter) -> tuple[Event, ...]:
        """Return the events that were recorded. Raises `MalformedCallback` and `StoreError`."""
        ...


class ConnectionFailed(Exception):
    """A connection could not be opened, or ended. The message says why and what to check, without secrets."""


@final
@frozen(kw_only=True)
class Connection:
    """A connection over which a provider sends callbacks. An open client keeps it open.

    * `name`: what is received over it, such as the provider's address and an application's name there. At any
      time, only one process of those that share a store is connected to a name.
    * `receive`: connects, calls its argument once callbacks can arrive, and passes each callback to the
      `deliver` of `listen`. Returns or raises `ConnectionFailed` when the connection ends; it does not
      connect again by itself.
    """

    name: str
    receive: Callable[[Callable[[], None]], Awaitable[None]] = field(repr=False)


class Adapter(ABC):
    """One provider. Connections are opened when they are first used."""

    name: ClassVar[str]
    """The provider's name in the configuration and in events."""
    settings_class: ClassVar[type[Any]]
    """An attrs class. Its fields are the keys of `[providers.<name>]` in the configuration.

    They are of type `str`, `bool`, `int`, `float`, `timedelta` (seconds), `Path`, `Secret`, a `StrEnum`,
    `tuple[str, ...]` or a runtime-checkable protocol (an object from Python), or one of these and `None`.
    """
    needs_settings: ClassVar[bool] = True
    """Whether the configuration must have a table `[providers.<name>]` to use this provider."""
    callback_paths: ClassVar[tuple[str, ...]] = ("",)
    """The callback paths below `/<name>` that `route` accepts, except those of single transfers."""
    noisy_loggers: ClassVar[tuple[str, ...]] = ()
    """Third-party loggers that `transferkit serve` sets to WARNING, such as that of the provider's SDK."""

    @abstractmethod
    def __init__(self, settings: Any, *, clock: Clock | None = None) -> None:
        """Store the settings, an instance of `settings_class`. Performs no I/O and resolves no secret."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the provider supports with these settings. Read before every request."""

    def plan(self, request: Request) -> Plan:
        """Check a request against the capabilities, before it is recorded.

        Override it for rules that capabilities cannot express. Pure. It reports problems in the plan and does
        not raise for the content of a request.
        """
        return plan(request, self.capabilities)

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        """Return the form of a call id that is the same in requests and callbacks. Must be idempotent."""
        return call_id

    @abstractmethod
    async def wire(self, submission: Submission) -> WireRequest:
        """Return the HTTP request that `submit` would send, with credentials masked.

        Called by `client.preview`. Sends nothing and resolves no secret.
        """

    @abstractmethod
    async def submit(self, submission: Submission) -> SubmitResult:
        """Send the request once and return the result.

        Called after the request is recorded, once for each attempt. Raises `DeadlinePassed` if the deadline
        passes before the request is written. Errors of the provider, the network or the configuration are
        returned, not raised; an exception counts as `MaybeSent`.
        """

    @abstractmethod
    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        """Query the provider about the call.

        Called when a transfer's outcome is in doubt, and before a failure is published that does not say
        whether the call is alive. Returns `Presence.UNKNOWN` if the provider offers no query or gives no
        answer; raises for nothing that a provider or network can do.
        """

    async def stated_verdict(self, call: Call, transfer_id: str) -> Fact | None:  # noqa: ARG002
        """Query what the provider stated about this transfer, if it keeps that; None if it says nothing.

        Called with every inspection of an open transfer, after `inspect`, so that a callback that was lost
        costs no outcome. The fact must name the transfer (`Fact.transfer_id`) and have the same
        `Fact.delivery` key as the callback. Raises for nothing that a provider or network can do.
        """
        return None

    def check_secrets(self) -> None:  # noqa: B027 - an adapter without secrets has nothing to check
        """Resolve the secrets that are configured, and verify that they have the right form.

        Called by `transferkit check`, also with `--offline`: needs no network. Raises `ConfigError`, which
        names the keys and contains no secret.
        """

    async def check(self) -> tuple[CheckResult, ...]:
        """Verify that the provider is reachable and that the credentials are valid and sufficient.

        Called by `transferkit check`. Has no side effects at the provider. Problems are returned as results,
        not raised.
        """
        return ()

    @abstractmethod
    def route(self, path: str) -> CallbackRoute | None:
        """Return the route of a path below `/<name>`, such as `""` or `"/eventgrid"`; None if unknown.

        An adapter that places calls accepts `/calls/<step id>`, and sets `CallbackRoute.placed_by`.
        """

    def refusal_hint(self, route: CallbackRoute, headers: Mapping[str, str]) -> str | None:  # noqa: ARG002
        """Return advice for the log about a request that was rejected at a route, such as the right path.

        The request is not authenticated, so the advice must not quote it. Header names are in lower case.
        """
        return None

    def handshake(self, callback: Callback) -> HandshakeResponse | None:  # noqa: ARG002 - most providers ask nothing
        """Return the response to an authenticated handshake; None if the request is a callback.

        Called before `decode`. Every request by another method than POST is a handshake. Pure. Raises
        `MalformedCallback` for a handshake that cannot be answered, and nothing else.
        """
        return None

    @classmethod
    @abstractmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """Return the facts in an authenticated callback.

        Called before anything is stored. Pure. Raises `MalformedCallback` with the facts of the valid
        elements if others are invalid, and nothing else.
        """

    def listen(self, deliver: Deliver) -> Connection | None:  # noqa: ARG002
        """Return the connection over which callbacks arrive, each to be passed to `deliver`.

        Called when a client opens. None if callbacks arrive over HTTP, or from within this process.
        """
        return None

    async def aclose(self) -> None:  # noqa: B027 - nothing to close is fine
        """Close all connections. Called when the client closes; the adapter may be used again afterwards."""
