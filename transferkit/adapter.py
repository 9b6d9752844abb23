"""The adapter's contract: all that is known about one provider, behind seven verbs.

`plan`, `wire`, `submit`, `inspect` lead out; `route` and `decode` lead in; `aclose` lets go. An adapter keeps
no state of transfers, retries nothing and decides nothing: it says what happened, and the life cycle
machine concludes. `transferkit.testing.AdapterContract` is the test class that every adapter passes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

from attrs import field, frozen

from transferkit.capabilities import Capabilities, Plan, plan
from transferkit.events import Event
from transferkit.frozenmap import EMPTY
from transferkit.lifecycle import Answer, Presence
from transferkit.requests import Call, Request, WireRequest
from transferkit.signals import Fact, Result

if TYPE_CHECKING:
    from transferkit.clock import Clock

__all__ = ["Adapter", "Callback", "CallbackRoute", "Deliver", "Inspection", "Submission", "TokenPolicy"]


@final
@frozen(kw_only=True)
class Submission:
    """One sending of a stored request.

    `id` and `first_sent_at` stay the same however often it is sent, also after a crash. `tenant_id` is
    the call's verified tenant where one is known.
    """

    id: str
    request: Request
    first_sent_at: datetime
    tenant_id: str | None = None


@final
@frozen(kw_only=True)
class Inspection:
    """What the provider says of a call when asked."""

    presence: Presence
    result: Result | None = None


@final
@frozen(kw_only=True)
class TokenPolicy:
    """How a bearer token of a callback is verified: RS256 only, keys from the OpenID document."""

    openid_url: str
    issuers: tuple[str, ...]
    audience: str
    tenant_claim: str | None = None
    allowed_tenants: tuple[str, ...] = ()


@final
@frozen(kw_only=True)
class CallbackRoute:
    """What a callback path means: who must have signed it and how it is answered.

    `policy` None means that the configuration lacks what verification needs: refused unless callbacks are
    accepted unverified. `transfer_id` is the transfer that the path itself names.
    """

    name: str
    policy: TokenPolicy | None
    success_status: int = 200
    transfer_id: str | None = None


@final
@frozen(kw_only=True)
class Callback:
    """A callback as `decode` gets it: authenticated, not yet understood. Header names in lower case."""

    body: bytes = field(repr=False)
    received_at: datetime
    headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    route: str = ""
    transfer_id: str | None = None
    tenant_id: str | None = None


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
    async def submit(self, submission: Submission) -> Answer:
        """Send once and say how it went; raises for nothing that a provider or network can do."""

    @abstractmethod
    async def inspect(self, call: Call, *, tenant_id: str | None = None) -> Inspection:
        """Ask the provider about the call; `Presence.UNKNOWN` where it cannot be asked."""

    @abstractmethod
    def route(self, path: str) -> CallbackRoute | None:
        """What a callback path below `/<name>` means (`""`, `"/eventgrid"`); None for an unknown one."""

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
