"""One consumer group of the memory store: its cursors, members and parked events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import final

from attrs import define, evolve

from transferkit._lifecycle import Lease
from transferkit.stores.consumer_groups import (
    Begun,
    GroupDelivery,
    GroupStatus,
    ParkedEvent,
    Waiting,
    deliver,
    parked_id,
    share_partitions,
)
from transferkit.stores.memory.log import Entry, MemoryLog

__all__ = ["MemoryGroup"]


@define
class _Cursor:
    """A group's progress in one partition.

    `begun` to `begun_to` is the batch that the owner handles, `attempts` are those at its first event. Events
    up to `alone_to` are begun alone, because a batch with them failed.
    """

    position: int
    epoch: int = 0
    owner: str | None = None
    begun: int | None = None
    begun_to: int = 0
    alone_to: int = 0
    attempts: int = 0

    def begin(self, position: int, attempt: int, *, last: int) -> None:
        self._note_failure()
        self.begun, self.begun_to, self.attempts = position, last, attempt

    def park(self, position: int) -> None:
        self._note_failure()
        self.move(position)

    def _note_failure(self) -> None:
        if self.begun is not None:
            self.alone_to = max(self.alone_to, self.begun_to)

    def move(self, position: int) -> None:
        self.position, self.begun, self.begun_to, self.attempts = position, None, 0, 0

    def is_alone(self, position: int) -> bool:
        return position <= max(self.begun_to, self.alone_to)

    def attempts_of(self, position: int) -> int:
        return self.attempts if self.begun == position else 0


@define
class _Parked:
    """A parked event with its place. The `attempts` of a released one count from its release."""

    partition: int
    position: int
    parked: ParkedEvent


@final
class MemoryGroup:
    """A group's whole state. Each method is one transaction, because nothing else runs meanwhile."""

    def __init__(self, name: str, log: MemoryLog, *, partitions: int, position: int) -> None:
        self.name = name
        self.seen_at: datetime | None = None
        self._log = log
        self._cursors = [_Cursor(position) for _ in range(partitions)]
        self._members: dict[str, datetime] = {}
        self._parked: dict[str, _Parked] = {}

    # --- members ------------------------------------------------------------------------------------

    def hold(self, member: Lease, *, now: datetime, busy: Collection[int]) -> frozenset[int]:
        """Renew a lease and distribute the partitions; see `Store.hold`."""
        self.seen_at = now
        self._members[member.owner] = member.until
        for owner in [owner for owner, until in self._members.items() if until <= now]:
            if owner != member.owner:
                self._remove_member(owner)
        owners = [cursor.owner for cursor in self._cursors]
        released, taken = share_partitions(owners, member=member.owner, members=self._members, busy=busy)
        for partition in released:
            self._cursors[partition].owner = None
        for partition in taken:
            self._cursors[partition].owner = member.owner
            self._cursors[partition].epoch += 1
        return frozenset(self._owned_by(member.owner))

    def leave(self, owner: str, unused: GroupDelivery | None) -> None:
        """Give up the lease and all partitions; see `Store.leave`."""
        if unused is not None and self._is_current(unused, owner):
            cursor, released = self._cursors[unused.partition], self._released(unused)
            if released is not None:
                released.parked = evolve(released.parked, attempts=0)
            elif not unused.released and cursor.begun == unused.position:
                cursor.attempts -= 1
                cursor.begun_to = unused.position if cursor.attempts else 0
        self._remove_member(owner)

    def _remove_member(self, owner: str) -> None:
        self._members.pop(owner, None)
        for partition in self._owned_by(owner):
            self._cursors[partition].owner = None

    def _owned_by(self, owner: str) -> list[int]:
        return [partition for partition, cursor in enumerate(self._cursors) if cursor.owner == owner]

    # --- deliveries ---------------------------------------------------------------------------------

    def begin_next(self, owner: str, *, now: datetime, max_attempts: int, limit: int, stale: bool) -> Begun:
        """Begin the next event of the partitions that `owner` owns; see `Store.begin_next`."""
        parked: list[ParkedEvent] = []
        while True:
            delivered = deliver(self._waiting(owner, limit), max_attempts=max_attempts)
            events = delivered.parked_events(self.name, now)
            parked += events
            for waiting, event in zip(delivered.park, events, strict=True):
                self._parked[event.id] = _Parked(waiting.partition, waiting.position, event)
                if not waiting.released:
                    self._cursors[waiting.partition].park(waiting.position)
            if delivered.begin is not None:
                self._count_attempt(delivered.begin, last=delivered.last)
            if delivered.begin is not None or not events:
                return delivered.begun(self.name, stale=stale, parked=parked)

    def _waiting(self, owner: str, limit: int) -> Iterator[Waiting]:
        """The released events, then those of the owner's partition whose first event is the oldest."""
        for released in self._by_position():
            if released.parked.released and self._cursors[released.partition].owner == owner:
                yield Waiting(
                    id=released.parked.id,
                    event=released.parked.event,
                    partition=released.partition,
                    position=released.position,
                    epoch=self._cursors[released.partition].epoch,
                    attempts=released.parked.attempts,
                    released=True,
                )
        first = [(entry.position, owned) for owned in self._owned_by(owner) for entry in self._next(owned, 1)]
        if not first:
            return
        _, partition = min(first)
        cursor = self._cursors[partition]
        for entry in self._next(partition, limit):
            yield Waiting(
                id=parked_id(entry.event),
                event=entry.event,
                partition=partition,
                position=entry.position,
                epoch=cursor.epoch,
                attempts=cursor.attempts_of(entry.position),
                alone=cursor.is_alone(entry.position),
            )

    def _next(self, partition: int, limit: int) -> Sequence[Entry]:
        """The first events after the partition's cursor; none at the end of the log."""
        return self._log.of_partition(partition, self._cursors[partition].position, limit)

    def _count_attempt(self, waiting: Waiting, *, last: int) -> None:
        if waiting.released:
            released = self._parked[waiting.id]
            released.parked = evolve(released.parked, attempts=waiting.attempts + 1)
        else:
            self._cursors[waiting.partition].begin(waiting.position, waiting.attempts + 1, last=last)

    def acknowledge(self, delivery: GroupDelivery, owner: str, received: GroupDelivery | None = None) -> bool:
        """Move on past an event; see `Store.acknowledge`."""
        if not self._is_current(delivery, owner):
            return False
        if delivery.released:
            if self._released(delivery) is not None:
                del self._parked[str(delivery.event.id)]
            return str(delivery.event.id) not in self._parked
        cursor = self._cursors[delivery.partition]
        if cursor.begun is not None and cursor.begun <= delivery.position <= cursor.begun_to:
            cursor.move(delivery.position)
        if received is not None and cursor.begun is None and cursor.position < received.position:
            cursor.begin(received.position, received.attempt, last=received.position)
        return cursor.position >= delivery.position

    def _is_current(self, delivery: GroupDelivery, owner: str) -> bool:
        cursor = self._cursors[delivery.partition]
        return cursor.owner == owner and cursor.epoch == delivery.epoch

    def _released(self, delivery: GroupDelivery) -> _Parked | None:
        """The parked event of a delivery, if it is still released."""
        parked = self._parked.get(str(delivery.event.id)) if delivery.released else None
        return parked if parked is not None and parked.parked.released else None

    # --- parked events and status -------------------------------------------------------------------

    def _by_position(self) -> Sequence[_Parked]:
        return sorted(self._parked.values(), key=lambda parked: parked.position)

    def parked(self) -> tuple[ParkedEvent, ...]:
        """The parked events, the oldest first."""
        return tuple(parked.parked for parked in self._by_position())

    def release(self, event_id: str) -> bool:
        """Deliver a parked event once more; see `Store.release`."""
        parked = self._parked.get(event_id)
        if parked is not None and not parked.parked.released:
            parked.parked = evolve(parked.parked, released=True, attempts=0)
        return parked is not None

    def status(self) -> GroupStatus:
        """The group's numbers."""
        waiting = [
            entry
            for partition, cursor in enumerate(self._cursors)
            for entry in self._log.of_partition(partition, cursor.position)
        ]
        oldest = min(waiting, key=lambda entry: entry.position, default=None)
        return GroupStatus(
            name=self.name,
            lag=len(waiting),
            parked=len(self._parked),
            members=len(self._members),
            oldest=oldest.event.time if oldest else None,
            seen_at=self.seen_at,
        )

    def has_passed(self, partition: int, entries: Sequence[Entry]) -> bool:
        """Whether the group has acknowledged all of a call's events and parked none of them."""
        return all(
            entry.position <= self._cursors[partition].position and parked_id(entry.event) not in self._parked
            for entry in entries
        )

    def forget_events(self, entries: Sequence[Entry]) -> None:
        """Remove these events from the parked ones."""
        for entry in entries:
            self._parked.pop(parked_id(entry.event), None)
