"""The adapter's contract: all that is known about one provider, behind nine verbs.

`plan`, `wire`, `submit`, `inspect` lead out; `route`, `handshake` and `decode` lead in; `check` tells people
whether it will work; `aclose` lets go. An adapter keeps no state of transfers, retries nothing and decides
nothing: it says what happened, and the life cycle machine concludes. `transferkit.testing.AdapterContract` is
the test class that every adapter passes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    "Deliver",
    "HandshakeResponse",
    "Inspection",
    "Submission",
    "TokenPolicy",
]


@final
@frozen(kw_only=True)
class Submission:
    """One sending of a stored request.

    `id` and `first_sent_at` stay the same however often it is sent, also after a crash. `deadline` is until
    when this attempt may leave: an adapter checks it immediately before the request is written, as
    `transferkit.provider.deadline` says. `tenant_id` is the call's verified tenant where one is known.
    """

    id: str
    request: Request
    first_sent_at: datetime
    deadline: Deadline
    tenant_id: str | None = None

    @property
    def operation_context(self) -> str:
        """What to send where the provider repeats a text of the request in its callbacks.

        The application's operation context, or else the transfer's id, so that every verdict says which
        transfer it is about.
        """
        return self.request.operation_context or self.id


@final
@frozen(kw_only=True)
class Inspection:
    """What the provider says of a call when asked."""

    presence: Presence
    result: Result | None = None


@final
@frozen(kw_only=True)
class TokenPolicy:
    """Which bearer tokens of a callback are believed: RS256 only, keys from the OpenID document.

    * `openid_url`: the document, https except on loopback; `ca_file` the only authorities to trust for it.
    * `issuers`, `audience`: `iss` must be one of them as it is written, `aud` must name this one.
    * `tenant_claim`: the claim with the call's tenant, which must be there, and among `allowed_tenants` where
      there are any.
    * `sender_claims`: where the sender's application id may stand; the first that is there must hold one of
      `allowed_senders`. Not looked at where there are none.

    Ids (audience, tenants, senders) are compared without regard to letter case.
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
    """What a callback path means: who must have sent it and how it is answered.

    * `policy`: the token that a callback must carry.
    * `secrets`: one of them must be in the URL's query, once, as `secret_parameter`. With both, both must
      hold. With neither, the configuration lacks what verification needs: everything is refused unless
      callbacks are accepted unverified, and `needs` is what the log says to set.
    * `methods`: what the path takes. A handshake by another method than POST carries no token, as no
      provider publishes one for it, but carries the secret.
    * `transfer_id`: the transfer that the path itself names.
    """

    name: str
    policy: TokenPolicy | None = None
    secrets: tuple[Secret, ...] = ()
    secret_parameter: str = "secret"  # noqa: S105 - the parameter's name
    needs: str = "the provider's settings for callbacks"
    methods: tuple[str, ...] = ("POST",)
    success_status: int = 200
    transfer_id: str | None = None


@final
@frozen(kw_only=True)
class Callback:
    """A callback as `decode` gets it: authenticated, not yet understood. Header names in lower case."""

    body: bytes = field(repr=False)
    received_at: datetime
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    method: str = "POST"
    route: str = ""
    transfer_id: str | None = None
    tenant_id: str | None = None


@final
@frozen(kw_only=True)
class HandshakeResponse:
    """The answer to a provider that asks whether its callbacks are welcome. Nothing is stored for it."""

    status: int = 200
    headers: Mapping[str, str] = EMPTY
    body: bytes = field(default=b"", repr=False)


@final
@frozen(kw_only=True)
class CheckResult:
    """One thing that was looked at before anything depends on it, in words for people. No secret is in them.

    `name` is two or three words; `ok` is None where it was not, or cannot be, found out. `advice` says what
    to do. `clock_skew` is by how much this machine's clock is ahead of the one that answered.
    """

    name: str
    ok: bool | None
    message: str
    advice: str | None = None
    clock_skew: timedelta | None = None


class Deliver(Protocol):
    """Commits what an authenticated callback says; raises `MalformedCallback` and `StoreError`."""

    async def __call__(self, callback: Callback, *, adapter: Adapter) -> tuple[Event, ...]:
        """The events that the callback became."""
        ...


class Adapter(ABC):
    """One provider. Constructed from its own settings; opens nothing before it is first used.

    `name` is the provider's name in configuration and events. `settings_class` is an attrs class, whose
    fields are the keys of `[providers.<name>]`.
    """

    name: ClassVar[str]
    settings_class: ClassVar[type[Any]]
    needs_settings: ClassVar[bool] = True
    """Whether the configuration must have a `[providers.<name>]` table to choose this provider."""
    callback_paths: ClassVar[tuple[str, ...]] = ("",)
    """The paths below `/<name>` that callbacks come to: all that `route` knows, but for transfers' own."""
    noisy_loggers: ClassVar[tuple[str, ...]] = ()
    """Third-party loggers that `transferkit serve` sets to WARNING, such as that of the provider's SDK."""

    @abstractmethod
    def __init__(self, settings: Any, *, clock: Clock | None = None) -> None:
        """Keep the settings. No I/O, no secret is resolved."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What can be carried as configured."""

    def plan(self, request: Request) -> Plan:
        """Hold the request against the capabilities, and against what they cannot say. Pure."""
        return plan(request, self.capabilities)

    @classmethod
    def canonical_call_id(cls, call_id: str) -> str:
        """The form of a call id under which requests and callbacks of one call meet."""
        return call_id

    @abstractmethod
    async def wire(self, submission: Submission) -> WireRequest:
        """The exact request that `submit` would send, credentials masked. Sends and resolves nothing."""

    @abstractmethod
    async def submit(self, submission: Submission) -> SubmitResult:
        """Send once, never after the deadline, and say how it went.

        Raises `DeadlinePassed` if it is too late, and for nothing that a provider or network can do.
        """

    @abstractmethod
    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        """Ask the provider about the call; `Presence.UNKNOWN` where it cannot be asked."""

    async def check(self) -> tuple[CheckResult, ...]:
        """Ask the provider, harmlessly, whether the credentials are good and allow what is needed.

        Raises for nothing that a provider, a network or a configuration can do; shows no secret.
        """
        return ()

    @abstractmethod
    def route(self, path: str) -> CallbackRoute | None:
        """What a callback path below `/<name>` means (`""`, `"/eventgrid"`); None for an unknown one."""

    def refusal_hint(self, route: CallbackRoute, headers: Mapping[str, str]) -> str | None:  # noqa: ARG002
        """What the log adds to why a request was refused at a route: the path that it belongs to, if another.

        Nothing is proved about the request, so the text is the adapter's own and quotes none of it. Header
        names are in lower case.
        """
        return None

    def handshake(self, callback: Callback) -> HandshakeResponse | None:  # noqa: ARG002 - most providers ask nothing
        """The answer where an authenticated request is a handshake; None where it is a callback.

        Pure and total: raises `MalformedCallback`, for a handshake that cannot be answered, and nothing else.
        Every request by another method than POST is a handshake.
        """
        return None

    @classmethod
    @abstractmethod
    def decode(cls, callback: Callback) -> tuple[Fact, ...]:
        """What a callback says. Pure and total: raises `MalformedCallback` and nothing else."""

    def listen(self, deliver: Deliver) -> None:  # noqa: B027 - most adapters need nothing here
        """Called when a client opens: `deliver` takes callbacks that do not come through its receiver.

        For a provider that speaks over a connection of the adapter's own; HTTP callbacks need nothing here.
        """

    async def aclose(self) -> None:  # noqa: B027 - nothing to close is fine
        """Close connections. The adapter may be used again afterwards."""
