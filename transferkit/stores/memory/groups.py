"""One consumer group of the memory store: cursors, holders, and what was set aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import final

from attrs import define, evolve

from transferkit._lifecycle import Lease
from transferkit.stores.consumer_groups import (
    Begun,
    GroupDelivery,
    GroupStatus,
    ParkedEvent,
    begin,
    fair_share,
    parked_id,
)
from transferkit.stores.memory.log import Entry, MemoryLog

__all__ = ["MemoryGroup"]


@define
class _Slot:
    """One partition as the group sees it. `begun` is the event at work, `attempts` how often it was begun."""

    cursor: int
    epoch: int = 0
    owner: str | None = None
    begun: int | None = None
    attempts: int = 0

    def move(self, position: int) -> None:
        self.cursor, self.begun, self.attempts = position, None, 0


@define
class _Aside:
    """A parked event and its place. `attempts` of a released one are those since its release."""

    partition: int
    position: int
    parked: ParkedEvent


@final
class MemoryGroup:
    """A group's whole state. Each method is one transaction because nothing else runs meanwhile."""

    def __init__(self, name: str, log: MemoryLog, *, partitions: int, cursor: int) -> None:
        self.name = name
        self.seen_at: datetime | None = None
        self._log = log
        self._slots = [_Slot(cursor) for _ in range(partitions)]
        self._members: dict[str, datetime] = {}
        self._aside: dict[str, _Aside] = {}

    # --- holding ------------------------------------------------------------------------------------

    def hold(self, member: Lease, *, now: datetime, busy: Collection[int]) -> frozenset[int]:
        """Renew a lease and settle its partitions; see `Store.hold`."""
        self.seen_at = now
        self._members[member.owner] = member.until
        for owner in [owner for owner, until in self._members.items() if until <= now]:
            if owner != member.owner:
                self._forget(owner)
        rank = sorted(self._members).index(member.owner)
        share = fair_share(len(self._slots), len(self._members), rank)
        mine = self._held_by(member.owner)
        for partition in [partition for partition in reversed(mine) if partition not in busy]:
            if len(mine) > share:
                mine.remove(partition)
                self._slots[partition].owner = None
        for partition, slot in enumerate(self._slots):
            if len(mine) < share and slot.owner is None:
                slot.owner, slot.epoch = member.owner, slot.epoch + 1
                mine.append(partition)
        return frozenset(mine)

    def leave(self, owner: str, unused: GroupDelivery | None) -> None:
        """Give up the lease and all partitions; see `Store.leave`."""
        if unused is not None and self._is_current(unused, owner):
            self._uncount(unused)
        self._forget(owner)

    def _held_by(self, owner: str) -> list[int]:
        return [partition for partition, slot in enumerate(self._slots) if slot.owner == owner]

    def _forget(self, owner: str) -> None:
        self._members.pop(owner, None)
        for partition in self._held_by(owner):
            self._slots[partition].owner = None

    # --- delivering ---------------------------------------------------------------------------------

    def begin_next(self, owner: str, *, now: datetime, max_attempts: int) -> Begun:
        """Begin the next event of the partitions that `owner` holds; see `Store.begin_next`."""
        held = self._held_by(owner)
        parked: list[ParkedEvent] = []
        begun = self._begin_released(held, now, parked)
        while begun is None:
            found = [
                (entry.position, partition, entry) for partition in held if (entry := self._next(partition))
            ]
            if not found:
                break
            _, partition, entry = min(found, key=lambda one: one[0])
            begun = self._begin(partition, entry, now, max_attempts, parked)
        return evolve(begun or Begun(), parked=tuple(parked))

    def _next(self, partition: int) -> Entry | None:
        return self._log.next_in(partition, self._slots[partition].cursor)

    def _begin(
        self, partition: int, entry: Entry, now: datetime, max_attempts: int, parked: list[ParkedEvent]
    ) -> Begun | None:
        """Begin the event, or park it if it had its attempts."""
        slot = self._slots[partition]
        attempts = slot.attempts if slot.begun == entry.position else 0
        if attempts >= max_attempts:
            aside = ParkedEvent(
                group=self.name,
                id=parked_id(entry.event),
                event=entry.event,
                attempts=attempts,
                parked_at=now,
            )
            self._aside[aside.id] = _Aside(partition, entry.position, aside)
            parked.append(aside)
            slot.move(entry.position)
            return None
        slot.begun, slot.attempts = entry.position, attempts + 1
        return begin(
            entry.event,
            group=self.name,
            partition=partition,
            epoch=slot.epoch,
            position=entry.position,
            attempt=slot.attempts,
        )

    def _begin_released(
        self, held: Collection[int], now: datetime, parked: list[ParkedEvent]
    ) -> Begun | None:
        """Begin the oldest released event; one that was begun since its release is parked again."""
        for aside in self._by_place():
            if not aside.parked.released or aside.partition not in held:
                continue
            if aside.parked.attempts:
                aside.parked = evolve(aside.parked, released=False, parked_at=now)
                parked.append(aside.parked)
                continue
            aside.parked = evolve(aside.parked, attempts=1)
            return begin(
                aside.parked.event,
                group=self.name,
                partition=aside.partition,
                epoch=self._slots[aside.partition].epoch,
                position=aside.position,
                attempt=1,
                released=True,
            )
        return None

    def acknowledge(self, delivery: GroupDelivery, owner: str) -> bool:
        """Move on past an event; see `Store.acknowledge`."""
        slot = self._slots[delivery.partition]
        if not self._is_current(delivery, owner):
            return False
        if delivery.released:
            aside = self._aside.get(str(delivery.event.id))
            if aside is not None and aside.parked.released:
                del self._aside[str(delivery.event.id)]
            return aside is None or aside.parked.released
        if slot.begun == delivery.position:
            slot.move(delivery.position)
        return slot.cursor >= delivery.position

    def _is_current(self, delivery: GroupDelivery, owner: str) -> bool:
        slot = self._slots[delivery.partition]
        return slot.owner == owner and slot.epoch == delivery.epoch

    def _uncount(self, delivery: GroupDelivery) -> None:
        slot = self._slots[delivery.partition]
        if delivery.released:
            aside = self._aside.get(str(delivery.event.id))
            if aside is not None and aside.parked.released:
                aside.parked = evolve(aside.parked, attempts=0)
        elif slot.begun == delivery.position:
            slot.attempts -= 1

    # --- what was set aside, and how far it is ------------------------------------------------------

    def _by_place(self) -> Sequence[_Aside]:
        return sorted(self._aside.values(), key=lambda aside: aside.position)

    def parked(self) -> tuple[ParkedEvent, ...]:
        """What is set aside, the oldest first."""
        return tuple(aside.parked for aside in self._by_place())

    def release(self, event_id: str) -> bool:
        """Have a parked event delivered once more; see `Store.release`."""
        aside = self._aside.get(event_id)
        if aside is not None and not aside.parked.released:
            aside.parked = evolve(aside.parked, released=True, attempts=0)
        return aside is not None

    def status(self) -> GroupStatus:
        """The group at a glance."""
        waiting = [entry for partition in range(len(self._slots)) if (entry := self._next(partition))]
        oldest = min(waiting, key=lambda entry: entry.position, default=None)
        return GroupStatus(
            name=self.name,
            lag=sum(self._log.count_in(partition, slot.cursor) for partition, slot in enumerate(self._slots)),
            parked=len(self._aside),
            members=len(self._members),
            oldest=oldest.event.time if oldest else None,
            seen_at=self.seen_at,
        )

    def has_passed(self, partition: int, entries: Sequence[Entry]) -> bool:
        """Whether the group is done with all of a call's events: acknowledged, and none set aside."""
        return all(
            entry.position <= self._slots[partition].cursor and parked_id(entry.event) not in self._aside
            for entry in entries
        )

    def forget_events(self, entries: Sequence[Entry]) -> None:
        """Let go of what was set aside of these; they are being removed."""
        for entry in entries:
            self._aside.pop(parked_id(entry.event), None)
