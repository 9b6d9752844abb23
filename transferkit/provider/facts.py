"""What a provider's callback says, in neutral words: an adapter's `decode` returns facts.

A fact carries an event, and the signals that it contains for a life cycle. The life cycle machine decides
which of the two is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit._util.redaction import redact, safe_repr
from transferkit.errors import CallbackError
from transferkit.events import Basis, Event, FailureReason
from transferkit.identifiers import Identifier

__all__ = ["Delivery", "Fact", "MalformedCallback", "RequestKind", "Result", "Signal"]


class RequestKind(StrEnum):
    """The kinds of request that have a life cycle."""

    TRANSFER = "transfer"
    REDIRECT = "redirect"


class Signal(StrEnum):
    """What a fact means to the open transfer or redirect of its call."""

    STARTED = "started"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    """The provider states success."""
    FAILED = "failed"
    """The provider states failure."""
    RETURNED = "returned"
    """The call looks connected again: a reason to query the provider, not a proof."""
    CALL_ENDED = "call_ended"
    """The application's leg ended."""
    CALL_TRANSFERRED = "call_transferred"
    """The application's leg ended because a transfer of the call succeeded. The provider reports which one
    in a callback of its own, so this is never a verdict."""


@final
@frozen(kw_only=True)
class Result:
    """A provider's own words about something, and what its code table makes of them.

    `basis` is `Basis.LOCAL` where the provider said nothing, because the failure happened on this side.
    """

    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)
    reason: FailureReason = FailureReason.UNKNOWN
    advice: str | None = field(default=None, repr=safe_repr)
    request_id: str | None = None
    basis: Basis = Basis.STATED


@final
@frozen
class Delivery:
    """How a repeated delivery is recognised.

    `exact`: the provider numbers its deliveries, so an equal key is a repetition, whenever it comes.
    Otherwise the key is made from the content, which a later transfer may honestly repeat.
    """

    key: str
    exact: bool = True


@final
@frozen(kw_only=True)
class Fact:
    """One thing that one callback said about one call.

    * `event`: the event that is published when the fact changes no life cycle; not yet recorded.
    * `operation`: the kind of request that the verdict in `signals` is about; None if it can be either.
    * `transfer_id`: the transfer that the callback's address, or an id in it, names.
    * `echoes_context`: the provider repeats the operation context that it received with the request, so
      `event.operation_context` identifies the transfer.
    * `content`: equal for verdicts that say the same in other words or under another message id. Set by
      adapters whose verdicts name no transfer.
    * `ends_with_verdict`: the provider states a success in the end of the call itself, so that an end
      without one proves that the transfer of a call of two parties did not succeed.
    * `target`, `transferee`: as the provider states them.
    * `call_alive`: whether the caller is still on the application's leg, if the fact says so.
    * `tenant_id`: the verified tenant of the callback.
    """

    event: Event
    signals: tuple[Signal, ...] = ()
    result: Result | None = None
    delivery: Delivery | None = None
    transfer_id: str | None = None
    operation: RequestKind | None = None
    echoes_context: bool = False
    content: str | None = None
    ends_with_verdict: bool = False
    target: Identifier | None = None
    transferee: Identifier | None = None
    call_alive: bool | None = None
    tenant_id: str | None = None

    @property
    def time(self) -> datetime:
        """When it happened."""
        return self.event.time


class MalformedCallback(CallbackError, ValueError):
    """A callback body that its provider's publications do not cover; `where` is the place in it.

    `facts` holds what the rest of the same body did say: one bad element costs no good one.
    """

    def __init__(self, provider: str, where: str, message: str, *, facts: Sequence[Fact] = ()) -> None:
        self.provider = provider
        self.where = where
        self.message = message
        self.facts = tuple(facts)
        super().__init__(redact(f"{provider} callback, {where}: {message}"))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.provider, self.where, self.message), {"facts": self.facts}
