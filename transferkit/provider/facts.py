"""Facts: what a provider's callback says, in terms that are the same for every provider.

An adapter's `decode` returns facts. A fact has an event, and signals for the life cycle of a transfer. The
life cycle machine decides which events are published.
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
from transferkit.requests import RequestKind

__all__ = ["Delivery", "Fact", "MalformedCallback", "RequestKind", "Result", "Signal"]


class Signal(StrEnum):
    """What a fact reports about a transfer or redirect, or about the call."""

    STARTED = "started"
    """The provider is transferring the call."""
    ACCEPTED = "accepted"
    """The transfer target accepted; on Graph, a failure may still follow."""
    SUCCEEDED = "succeeded"
    """The provider states success."""
    FAILED = "failed"
    """The provider states failure."""
    RETURNED = "returned"
    """The call is connected again. That proves nothing, but leads to a query."""
    CALL_ENDED = "call_ended"
    """The application's leg ended."""
    CALL_TRANSFERRED = "call_transferred"
    """The application's leg ended because a transfer of the call succeeded. The provider reports which one
    in a callback of its own, so this is never a verdict."""


@final
@frozen(kw_only=True)
class Result:
    """What the provider said about a request or a call: codes, message, and what they mean.

    * `reason`, `advice`: the meaning of the codes in the adapter's tables.
    * `request_id`: the provider's id of the request, for its support.
    * `basis`: `Basis.LOCAL` if the failure happened on our side and the provider said nothing.
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
    """The key by which a repeated delivery is recognized.

    `exact`: the provider numbers its deliveries, so an equal key is always a repetition. If it does not, the
    key is made from the content, and a later transfer of the call may cause the same content again.
    """

    key: str
    exact: bool = True


@final
@frozen(kw_only=True)
class Fact:
    """One statement of a callback about one call.

    * `event`: the event to publish for the fact itself, not yet recorded.
    * `names_call`: whether the callback contains the call's id. If not, `event.call_id` only takes its place,
      and no request can use it.
    * `operation`: the kind of request that the verdict in `signals` is about; None if it can be any.
    * `transfer_id`: the transfer that the callback's address, or an id in it, names.
    * `placed_by`: the step that placed the call, if the callback's address names it. The receiver sets it.
    * `echoes_context`: the provider repeats the operation context that it received with the request, so
      `event.operation_context` identifies the transfer.
    * `content`: a digest that is equal for verdicts with the same content, whatever their message ids. Set it
      if the provider's verdicts do not name their transfer.
    * `ends_with_verdict`: the provider states a success in the end of the call itself, so that an end
      without one proves that the transfer of a call of two parties did not succeed.
    * `target`, `transferee`: as the provider states them.
    * `call_alive`: whether the caller is still on the application's leg, if the fact says so.
    * `tenant_id`: the verified tenant of the callback.
    """

    event: Event
    names_call: bool = True
    signals: tuple[Signal, ...] = ()
    result: Result | None = None
    delivery: Delivery | None = None
    transfer_id: str | None = None
    placed_by: str | None = None
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
        """When it happened, aware and in UTC."""
        return self.event.time


class MalformedCallback(CallbackError, ValueError):
    """A callback body does not have the form that its provider documents. `where` is the place in the body.

    `facts` are the facts of the valid elements of the same body, which are recorded anyway.
    """

    def __init__(self, provider: str, where: str, message: str, *, facts: Sequence[Fact] = ()) -> None:
        self.provider = provider
        self.where = where
        self.message = message
        self.facts = tuple(facts)
        super().__init__(redact(f"{provider} callback, {where}: {message}"))
