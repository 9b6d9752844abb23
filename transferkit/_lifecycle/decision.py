"""The result of a step. A store commits all of it in one transaction."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import final

from attrs import frozen

from transferkit._lifecycle.opened import Opened
from transferkit._lifecycle.state import CallState
from transferkit.events import Event, Outcome

__all__ = ["Decision", "Due", "Lease", "Work"]


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
class Decision:
    """What follows from one input.

    * `state`: the call's new state.
    * `events`: events to append to the call's stream, numbered.
    * `due`: due work to set. It replaces work of the same transfer and kind. `cleared`: due work to delete.
    * `outcomes`: terminal events of requests, whose legs become free.
    * `opened`: requests to store. Their legs and idempotency keys must be free.
    * `mark`: the mark to store with the delivery that was observed.
    * `proceed`: the attempt may be sent.
    * `duplicate`: the delivery was observed before; nothing changed.
    """

    state: CallState
    events: tuple[Event, ...] = ()
    due: tuple[Due, ...] = ()
    cleared: tuple[tuple[str, Work], ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    opened: tuple[Opened, ...] = ()
    mark: str | None = None
    proceed: bool = False
    duplicate: bool = False
