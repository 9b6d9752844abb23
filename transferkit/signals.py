"""What a provider's callback says, in neutral words: an adapter's `decode` makes facts of it.

A fact carries the event that it is when no life cycle has a use for it, and the signals that it is to a
life cycle. Which of the two reaches the stream is the life cycle machine's decision.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit._redact import safe_repr
from transferkit.events import Event, FailureReason
from transferkit.identifiers import Identifier

__all__ = ["Delivery", "Fact", "Result", "Signal"]


class Signal(StrEnum):
    """What a fact means to the open transfer or redirect of its call."""

    STARTED = "started"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    """The provider states success."""
    FAILED = "failed"
    """The provider states failure."""
    RETURNED = "returned"
    """The call looks connected again: reason to ask, no proof."""
    CALL_ENDED = "call_ended"
    """The application's leg ended, with no word about the transfer."""


@final
@frozen(kw_only=True)
class Result:
    """A provider's own words about something, and what its code table makes of them."""

    code: int | None = None
    subcode: int | None = None
    message: str | None = field(default=None, repr=safe_repr)
    reason: FailureReason = FailureReason.UNKNOWN
    advice: str | None = field(default=None, repr=safe_repr)
    request_id: str | None = None


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

    * `event`: what it is on the stream when no life cycle claims it, not yet recorded.
    * `transfer_id`: the transfer that the callback's own address names, None where it names none.
    * `echoes_context`: the provider repeats the operation context, so `event.operation_context` tells
      whose verdict this is.
    * `call_wide`: the provider's verdict is about the call as a whole (it was ended by a transfer) and names
      no transfer: the open one's, unless an earlier one of the call succeeded.
    * `redirect_only`: the success in it is a redirect's (somebody else answered) and proves no transfer.
    * `target`, `transferee`: as the provider states them.
    * `call_alive`: whether the caller is still on the application's leg, where the fact says.
    * `tenant_id`: the verified tenant of the callback.
    """

    event: Event
    signals: tuple[Signal, ...] = ()
    result: Result | None = None
    delivery: Delivery | None = None
    transfer_id: str | None = None
    echoes_context: bool = False
    call_wide: bool = False
    redirect_only: bool = False
    target: Identifier | None = None
    transferee: Identifier | None = None
    call_alive: bool | None = None
    tenant_id: str | None = None

    @property
    def time(self) -> datetime:
        """When it happened."""
        return self.event.time
