"""The store contract: `Store`, and the values that it takes and returns.

The central method is `apply_all`. It runs the life cycle's pure step and commits everything that the step
decided (state, events, delivery marks, due work, requests) in one transaction. Every store must pass the
conformance suite `transferkit.testing.StoreContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final, NewType, final

from attrs import field, frozen

from transferkit._lifecycle import CallKey, CallState, Decision, Due, Input, Lease, Observed, Opened, Work
from transferkit.errors import StoreError
from transferkit.events import Event, Outcome
from transferkit.stores.consumer_groups import Begun, GroupDelivery, GroupStart, GroupStatus, ParkedEvent
from transferkit.stores.unreadable import UnreadableEvent

__all__ = [
    "Applied",
    "CommitUnknown",
    "KeyUsed",
    "LegOccupied",
    "Position",
    "Step",
    "Store",
    "StoredTransfer",
    "delivery_key",
    "in_order",
    "needed_provider",
    "within",
]

Step = Callable[[CallKey, CallState, Input, str | None], Decision]

Position = NewType("Position", str)
"""A position in the store's log. It is opaque: only the store that returned it can compare it."""


@final
@frozen(kw_only=True)
class Applied:
    """The committed result of one input: the call's new state and the events that were appended.

    `due_at`: when the first of the due work that was set can be leased; None if none was set.
    """

    state: CallState = field(repr=False)
    events: tuple[Event, ...]
    due_at: datetime | None = None
    proceed: bool = False
    duplicate: bool = False


@final
@frozen(kw_only=True)
class StoredTransfer:
    """A stored request, and its outcome if it has one."""

    opened: Opened
    outcome: Outcome | None = None


class LegOccupied(Exception):
    """A leg of the request belongs to an open transfer."""

    def __init__(self, leg: CallKey, transfer_id: str) -> None:
        super().__init__(f"{leg} belongs to {transfer_id}")
        self.leg = leg
        self.transfer_id = transfer_id


class KeyUsed(Exception):
    """The request's idempotency key was used before."""

    def __init__(self, stored: StoredTransfer) -> None:
        super().__init__(f"the key belongs to {stored.opened.id}")
        self.stored = stored


class CommitUnknown(StoreError):
    """A transaction may or may not have been committed. It may also be committed later."""


def needed_provider(call: CallKey, work: Work) -> str | None:
    """The provider whose adapter is needed for this work; None if any process can do it."""
    return call.provider if work in _WITH_ADAPTER else None


def in_order(leased: Iterable[Due]) -> tuple[Due, ...]:
    """Due work in the order in which `Store.lease_due` returns it."""
    return tuple(sorted(leased, key=lambda due: (due.at, due.transfer_id, due.work)))


_WITH_ADAPTER: Final = frozenset({Work.SUBMIT, Work.INSPECT, Work.ADVANCE})


def delivery_key(happened: Input) -> str | None:
    """The key that identifies this input's delivery; None if the input is not a delivery."""
    if isinstance(happened, Observed) and happened.fact.delivery:
        return happened.fact.delivery.key
    return None


def within(position: Position, end: Position) -> Position:
    """The position, moved back to the end of the log where it is beyond the end.

    A position is beyond the end if the store lost its last commits, for example in a failover to a server
    that had not received them. A position consists of one number for each part of the log that grows
    separately, joined by dashes.
    """
    pairs = zip(position.split("-"), end.split("-"), strict=True)
    return Position("-".join(str(min(int(number), int(last))) for number, last in pairs))


class Store(ABC):
    """Stores transfers, events and due work. Safe for concurrent tasks.

    Every method may raise `StoreError`, which means that nothing of the call was recorded, except for its
    subclass `CommitUnknown`. A row that this version cannot read affects only the reader of that row: a
    method that returns one value raises `UnreadableRow`; a list of events contains an `UnreadableEvent`
    instead.
    """

    poll: ClassVar[timedelta | None] = None
    """How often to look for what other processes wrote; None if no other process can use the store."""

    partitions: int = 16
    """The number of partitions of the log for consumer groups. It never changes for an existing store."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. Opening an open store does nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Release every resource. Waiting readers return. The store may be opened again."""

    @abstractmethod
    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        """Run `step` for each input in order, and commit all results in one transaction.

        For each input: read the call's state and the mark of an earlier delivery with the same key, run the
        step, then write the state, events, mark, due work, opened request and outcome. Raises `KeyUsed` if
        the idempotency key of an opened request was used before, then `LegOccupied` if one of its legs
        belongs to an open transfer, and `UnreadableRow` for a call whose state cannot be read. If anything
        raises, `step` included, nothing is written.
        """

    async def apply(self, call: CallKey, happened: Input, step: Step) -> Applied:
        """`apply_all` for one input."""
        (applied,) = await self.apply_all([(call, happened)], step)
        return applied

    @abstractmethod
    async def state(self, call: CallKey) -> CallState:
        """The call's state; a new state for an unknown call. Raises `UnreadableRow`."""

    @abstractmethod
    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        """A stored request by its id. Raises `UnreadableRow`."""

    async def outcomes(self, transfer_ids: Collection[str]) -> dict[str, Outcome | None]:
        """The outcomes of requests by id; None for a request that is open or not stored."""
        found = {transfer_id: await self.transfer(transfer_id) for transfer_id in transfer_ids}
        return {transfer_id: stored and stored.outcome for transfer_id, stored in found.items()}

    @abstractmethod
    async def open_transfers(self, provider: str) -> tuple[str, ...]:
        """The ids of the transfers and redirects of a provider that have no outcome yet, in any order."""

    @abstractmethod
    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        """The call's events, in sequence. Raises `UnreadableRow` if one of them cannot be read."""

    @abstractmethod
    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        """Lease up to `limit` pieces of due work that are not leased, first what has been free longest.

        They are returned in the order of their times, then of their ids and kinds.
        No other caller receives them until `lease.until`. Work is finished by a step, which clears or
        replaces its row. `providers` limits submissions and inspections to these providers (None: all). Work
        of a kind that this version does not know is left to newer versions.
        """

    @abstractmethod
    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        """When `lease_due` may next return work for these providers; None if there is no such work."""

    @abstractmethod
    async def drop_due(self, transfer_id: str) -> None:
        """Delete the due work of a request that is not stored. Does nothing if the request is stored."""

    @abstractmethod
    async def end_of_log(self) -> Position:
        """The position after the last event."""

    @abstractmethod
    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        """Events after a position, in the order of the log; events of one call in the order of `sequence`.

        `after=None` reads from the oldest event that is stored.
        """

    @abstractmethod
    async def wait(self, after: Position, *, timeout: float) -> None:
        """Return when there may be events after the position, at the latest after `timeout` seconds.

        It may return early, and returns at once when the store closes.
        """

    # --- leases -------------------------------------------------------------------------------------

    @abstractmethod
    async def take_lease(self, name: str, lease: Lease, *, now: datetime) -> bool:
        """Take or renew the lease of this name. Returns whether `lease.owner` has it until `lease.until`.

        It is refused while another owner has the lease and its time has not ended by `now`. Names are any
        text; the owner of a name is the one process that may do what the name stands for.
        """

    @abstractmethod
    async def drop_lease(self, name: str, owner: str) -> None:
        """Give the lease up, so that another process can take it at once. Does nothing if it is not ours."""

    # --- consumer groups ----------------------------------------------------------------------------

    @abstractmethod
    async def open_group(self, group: str, *, start: GroupStart) -> None:
        """Create the group. Does nothing if it exists."""

    @abstractmethod
    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        """Renew a consumer's lease and return the partitions that it owns from now on.

        In one transaction: remove consumers whose lease has ended by `now`, release partitions above this
        consumer's fair share (never one in `busy`), and take unowned partitions up to that share, each with a
        new epoch. `member.owner` names the consumer.
        """

    @abstractmethod
    async def begin_next(
        self,
        group: str,
        owner: str,
        *,
        done: GroupDelivery | None,
        now: datetime,
        max_attempts: int,
        limit: int = 1,
    ) -> Begun:
        """Acknowledge `done` and begin the next event of the partitions that `owner` owns.

        One transaction. Released events come first, then the oldest event of the log. Beginning an event
        again counts as another attempt. An event that had `max_attempts` attempts is parked, and the next one
        is begun. An event that cannot be read is begun, counted and parked in the same way:
        `Begun.unreadable`.

        Up to `limit` events of one partition are begun together. If this batch ends without an
        acknowledgement, that counts as an attempt at its first event, and all its events are begun alone from
        then on. The end of a batch that was acknowledged in part is returned unused.
        """

    @abstractmethod
    async def acknowledge(
        self, delivery: GroupDelivery, owner: str, *, received: GroupDelivery | None = None
    ) -> bool:
        """Mark the event, and those of its batch before it, as processed.

        False, with no effect, if the partition has another owner by now. `received`: a later event of the
        batch that the consumer still handles; it counts as begun alone. The others are returned unused.
        """

    @abstractmethod
    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        """Give up the lease and all partitions. The attempt of `unused`, which was begun, is not counted."""

    @abstractmethod
    async def groups(self) -> tuple[GroupStatus, ...]:
        """Every group, by name."""

    @abstractmethod
    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        """The group's parked events, the oldest first."""

    @abstractmethod
    async def release(self, group: str, event_id: str) -> bool:
        """Deliver a parked event once more, with its attempts reset. False if it is not parked."""

    @abstractmethod
    async def remove_group(self, group: str) -> bool:
        """Delete a group with its cursors and parked events. False if there is no such group."""

    # --- retention ----------------------------------------------------------------------------------

    @abstractmethod
    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        """Delete up to `limit` finished calls; returns how many were deleted.

        A call is deleted as a whole: state, events, marks, requests and their keys. It is deleted if it has
        no open transfer (also as a consultation leg), its last event was recorded before `before`, and every
        group has acknowledged its events and parked none of them. Groups without a consumer since
        `idle_since` are ignored.
        """
