"""What a step of the machine decides; the store commits all of it at once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import final

from attrs import field, frozen

from transferkit._lifecycle.state import CallState
from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit.events import Event, Outcome
from transferkit.requests import Redirect, Request

__all__ = ["CallKey", "Decision", "Due", "Lease", "Opened", "Work"]


@final
@frozen(order=True)
class CallKey:
    """A call as the store names it: the adapter's name and the call id in its canonical form."""

    provider: str
    id: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.id}"


class Work(StrEnum):
    """What some process must do for an open transfer when its time comes."""

    SUBMIT = "submit"
    INSPECT = "inspect"
    GRACE = "grace"
    DEADLINE = "deadline"


@final
@frozen
class Lease:
    """Who does a piece of work, and until when nobody else may."""

    owner: str
    until: datetime


@final
@frozen(kw_only=True)
class Due:
    """One piece of due work; `lease` where somebody is already at it."""

    transfer_id: str
    work: Work
    at: datetime
    lease: Lease | None = None


@final
@frozen(kw_only=True)
class Opened:
    """A request as it is stored, once. `legs` are the calls it occupies until its outcome.

    `trace` is what led to it, in W3C's form (`traceparent`, `tracestate`), for whoever goes on with it.
    """

    id: str
    call: CallKey
    request: Request
    fingerprint: str
    at: datetime
    legs: tuple[CallKey, ...]
    trace: FrozenMap[str] = field(default=EMPTY)

    @property
    def is_redirect(self) -> bool:
        """Whether this is a redirect rather than a transfer."""
        return isinstance(self.request, Redirect)


@final
@frozen(kw_only=True)
class Decision:
    """The outcome of one step.

    * `events`: to append to the call's stream, numbered.
    * `due`, `cleared`: due work to set (replacing what stands) and to clear.
    * `opened`: a request to store; its legs and idempotency key must be free.
    * `outcome`: the terminal event of a transfer, whose legs become free.
    * `mark`: what to remember of the delivery that was observed.
    * `proceed`: the attempt may be sent.
    * `duplicate`: the delivery was seen before; nothing changed.
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
