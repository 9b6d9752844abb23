"""The result of a step. A store commits all of it in one transaction."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit._lifecycle.state import CallState
from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit.events import Event, Outcome
from transferkit.requests import Request

__all__ = ["CallKey", "Decision", "Due", "Lease", "Opened", "Work"]


@final
@frozen
class CallKey:
    """The key of a call in the store: the provider's name and the call id in its canonical form."""

    provider: str
    id: str

    def __lt__(self, other: CallKey) -> bool:
        """Stores lock rows in this order. attrs would compare much slower."""
        return (self.provider, self.id) < (other.provider, other.id)

    def __str__(self) -> str:
        return f"{self.provider}:{self.id}"


class Work(StrEnum):
    """The kinds of due work of an open request."""

    SUBMIT = "submit"
    """Send the request."""
    INSPECT = "inspect"
    """Query the provider about the call."""
    GRACE = "grace"
    """Expire the grace period after the end of the call or before a failure is published."""
    DEADLINE = "deadline"
    ADVANCE = "advance"
    """Continue a request that consists of other requests, because one of them may have an outcome."""


@final
@frozen
class Lease:
    """The process that owns a piece of due work, and until when no other process may take it."""

    owner: str
    until: datetime


@final
@frozen(kw_only=True)
class Due:
    """One piece of due work. `lease` is set while a process owns it."""

    transfer_id: str
    work: Work
    at: datetime
    lease: Lease | None = None

    @property
    def free_at(self) -> datetime:
        """When a process may lease the work."""
        return self.at if self.lease is None else max(self.at, self.lease.until)


@final
@frozen(kw_only=True)
class Opened:
    """A request as it is stored, once.

    * `legs`: the calls that it occupies until its outcome.
    * `parent`: the id of the request that this one is a part of.
    * `trace`: the W3C trace context (`traceparent`, `tracestate`) in which it was requested.
    """

    id: str
    call: CallKey
    request: Request
    fingerprint: str
    at: datetime
    legs: tuple[CallKey, ...]
    parent: str | None = None
    trace: FrozenMap[str] = field(default=EMPTY)


@final
@frozen(kw_only=True)
class Decision:
    """What follows from one input.

    * `state`: the call's new state.
    * `events`: events to append to the call's stream, numbered.
    * `due`: due work to set. It replaces work of the same transfer and kind. `cleared`: due work to delete.
    * `opened`: a request to store. Its legs and idempotency key must be free.
    * `outcome`: the terminal event of a transfer, whose legs become free.
    * `mark`: the mark to store with the delivery that was observed.
    * `proceed`: the attempt may be sent.
    * `duplicate`: the delivery was observed before; nothing changed.
    """

    state: CallState
    events: tuple[Event, ...] = ()
    due: tuple[Due, ...] = ()
    cleared: tuple[tuple[str, Work], ...] = ()
    opened: Opened | None = None
    outcome: Outcome | None = None
    mark: str | None = None
    proceed: bool = False
    duplicate: bool = False
