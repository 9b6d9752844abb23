"""The store's contract. Its heart is one verb: `apply` runs the pure step inside one transaction.

Dedup, state, events, due work and the request's own row are committed together or not at all; the
conformance suite `transferkit.testing.StoreContract` says so for every store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
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
    "needed_provider",
    "within",
]

Step = Callable[[CallKey, CallState, Input, str | None], Decision]

Position = NewType("Position", str)
"""A place in the store's log. Opaque: only the store that gave it can compare it."""


@final
@frozen(kw_only=True)
class Applied:
    """What one input did, committed: the call's state after it and the events that it appended."""

    state: CallState = field(repr=False)
    events: tuple[Event, ...]
    proceed: bool = False
    duplicate: bool = False


@final
@frozen(kw_only=True)
class StoredTransfer:
    """A request as stored, and its outcome once there is one."""

    opened: Opened
    outcome: Outcome | None = None


class LegOccupied(Exception):
    """A leg of the request belongs to an open transfer."""

    def __init__(self, leg: CallKey, transfer_id: str) -> None:
        super().__init__(f"{leg} belongs to {transfer_id}")
        self.leg = leg
        self.transfer_id = transfer_id


class KeyUsed(Exception):
    """The request's idempotency key is known."""

    def __init__(self, stored: StoredTransfer) -> None:
        super().__init__(f"the key belongs to {stored.opened.id}")
        self.stored = stored


class CommitUnknown(StoreError):
    """Nobody knows whether a transaction was committed, and it may still become so."""


def needed_provider(call: CallKey, work: Work) -> str | None:
    """The provider whose adapter a call's piece of work takes; None where any process can do it."""
    return call.provider if work in _WITH_ADAPTER else None


_WITH_ADAPTER: Final = frozenset({Work.SUBMIT, Work.INSPECT})


def delivery_key(happened: Input) -> str | None:
    """The key under which this input's delivery is recognised, where it is one."""
    if isinstance(happened, Observed) and happened.fact.delivery:
        return happened.fact.delivery.key
    return None


def within(position: Position, end: Position) -> Position:
    """The place itself, or the end of the log as far as that lies before it.

    That happens if the store lost its last commits, in a fail-over to a server that had not received them. A
    place is a whole number, or one for each part of the log that grows by itself, joined by dashes.
    """
    places = zip(position.split("-"), end.split("-"), strict=True)
    return Position("-".join(str(min(int(one), int(other))) for one, other in places))


class Store(ABC):
    """Keeps transfers, events and due work. Safe for concurrent tasks.

    Every method may raise `StoreError`; after that nothing of the call is kept, unless it is `CommitUnknown`.
    A row that this version cannot read concerns only the reader of that row: where one value is asked for,
    the method raises `UnreadableRow`, and in a list of events an `UnreadableEvent` takes the event's place.
    """

    poll: ClassVar[timedelta | None] = None
    """How often to look for what other processes wrote; None where the store is this process's alone."""

    partitions: int = 16
    """Into how many partitions the log is divided for consumer groups; never changes for one store."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready. Opening an open store does nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every resource; waiting readers return. The store may be opened again."""

    @abstractmethod
    async def apply_all(self, inputs: Sequence[tuple[CallKey, Input]], step: Step) -> tuple[Applied, ...]:
        """Run `step` for each input in order and commit all that follows in one transaction.

        For each: read the call's state and the mark of an earlier same delivery, decide, then write the
        state, the events, the mark, due work, the opened request or the outcome. An opened request whose
        idempotency key is known raises `KeyUsed`, then one with an occupied leg `LegOccupied`. A call whose
        state cannot be read raises `UnreadableRow`. If anything raises, `step` included, nothing is written.
        """

    async def apply(self, call: CallKey, happened: Input, step: Step) -> Applied:
        """`apply_all` for one input."""
        (applied,) = await self.apply_all([(call, happened)], step)
        return applied

    @abstractmethod
    async def state(self, call: CallKey) -> CallState:
        """The call's state; a fresh one for a call never heard of. Raises `UnreadableRow`."""

    @abstractmethod
    async def transfer(self, transfer_id: str) -> StoredTransfer | None:
        """A stored request by its id. Raises `UnreadableRow`."""

    async def outcomes(self, transfer_ids: Collection[str]) -> dict[str, Outcome | None]:
        """The outcomes of stored requests by their ids; None for one that has none, or is not stored."""
        found = {transfer_id: await self.transfer(transfer_id) for transfer_id in transfer_ids}
        return {transfer_id: stored and stored.outcome for transfer_id, stored in found.items()}

    @abstractmethod
    async def call_events(self, call: CallKey) -> tuple[Event, ...]:
        """The call's events, in sequence. Raises `UnreadableRow` if one of them cannot be read."""

    @abstractmethod
    async def lease_due(
        self, *, now: datetime, lease: Lease, limit: int, providers: Collection[str] | None = None
    ) -> tuple[Due, ...]:
        """Take up to `limit` pieces of work that are due and that nobody holds, oldest first.

        They are nobody else's until `lease.until`. Finishing work is the step's matter: it clears the row
        or sets it anew. Of submissions and inspections only those for `providers` are taken, whose adapters
        the asker has; None is for all. Work of a kind that this version does not know is left to newer ones.
        """

    @abstractmethod
    async def next_due(self, *, providers: Collection[str] | None = None) -> datetime | None:
        """When `lease_due` for these providers may next find something; None while there is no such work."""

    @abstractmethod
    async def end_of_log(self) -> Position:
        """The place after the last event."""

    @abstractmethod
    async def read(
        self, after: Position | None, *, limit: int = 100
    ) -> tuple[tuple[Position, Event | UnreadableEvent], ...]:
        """Events after a place, in the log's order: per call, that of `sequence`.

        With None, from the oldest that is kept. Whoever reads on goes past an `UnreadableEvent`.
        """

    @abstractmethod
    async def wait(self, after: Position, *, timeout: float) -> None:
        """Return when there may be events after a place, at the latest after `timeout` seconds.

        A hint: it may return early, and at once when the store closes.
        """

    # --- consumer groups ----------------------------------------------------------------------------

    @abstractmethod
    async def open_group(self, group: str, *, start: GroupStart) -> None:
        """Make the group known; does nothing to one that is."""

    @abstractmethod
    async def hold(
        self, group: str, member: Lease, *, now: datetime, busy: Collection[int] = ()
    ) -> frozenset[int]:
        """Renew a consumer's lease, and settle which partitions it holds from now on.

        In one transaction: forget consumers whose lease has ended by `now`, give up what is more than the
        fair share among those that live (never a partition in `busy`), take partitions that nobody holds up
        to that share, each with a new epoch. `member.owner` names the consumer.
        """

    @abstractmethod
    async def begin_next(
        self, group: str, owner: str, *, done: GroupDelivery | None, now: datetime, max_attempts: int
    ) -> Begun:
        """Acknowledge `done` and begin the next event of the partitions that `owner` holds.

        One transaction. Released events come first, then the oldest of the log. Beginning an event that was
        begun before counts as another attempt; one that had `max_attempts` is parked and the next is begun.
        An event that cannot be read is begun, counted and parked in the same way: `Begun.unreadable`.
        """

    @abstractmethod
    async def acknowledge(self, delivery: GroupDelivery, owner: str) -> bool:
        """The event is dealt with. False where the partition has changed hands: nothing moves then."""

    @abstractmethod
    async def leave(self, group: str, owner: str, *, unused: GroupDelivery | None = None) -> None:
        """Give up the lease and all partitions. `unused` was begun, but its attempt shall not count."""

    @abstractmethod
    async def groups(self) -> tuple[GroupStatus, ...]:
        """Every group, by name."""

    @abstractmethod
    async def parked(self, group: str) -> tuple[ParkedEvent, ...]:
        """The group's parked events, the oldest first."""

    @abstractmethod
    async def release(self, group: str, event_id: str) -> bool:
        """Have a parked event delivered once more, its attempts forgotten; False where there is none."""

    @abstractmethod
    async def remove_group(self, group: str) -> bool:
        """Forget a group, its cursors and its parked events; False where there is none."""

    # --- retention ----------------------------------------------------------------------------------

    @abstractmethod
    async def prune(self, *, before: datetime, idle_since: datetime, limit: int = 100) -> int:
        """Remove up to `limit` calls that are over and done with; returns how many that was.

        A call goes as a whole: its state, events, marks, requests and their keys. It goes when it has no open
        transfer (also as a consult leg), its last event was recorded before `before`, and every group has
        passed it and parked none of its events. A group that no consumer was at since `idle_since` holds
        nothing back.
        """
