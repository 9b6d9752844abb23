"""Consumer groups: their values, and the decisions that every store makes in the same way.

The log is divided into partitions by call, so that the events of one call stay in order however many
consumers share a group. A consumer owns partitions for as long as it renews its lease. The epoch of a
partition grows whenever its owner changes: an acknowledgement from an earlier epoch is stale and changes
nothing.

`share_partitions` and `deliver` are pure. A store reads the rows that they need and writes what they return.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import final
from zlib import crc32

from attrs import field, frozen

from transferkit._lifecycle import CallKey
from transferkit.events import Event
from transferkit.stores.unreadable import UnreadableEvent

__all__ = [
    "Begun",
    "Delivered",
    "GroupDelivery",
    "GroupStart",
    "GroupStatus",
    "ParkedEvent",
    "Waiting",
    "deliver",
    "fair_share",
    "parked_id",
    "partition_of",
    "share_partitions",
]


class GroupStart(StrEnum):
    """Where a new group starts reading. Ignored for a group that exists."""

    BEGINNING = "beginning"
    """With the oldest event that is stored."""
    NOW = "now"
    """With the next event."""


@final
@frozen(kw_only=True)
class GroupDelivery:
    """An event as it was delivered to one consumer. Pass it back to acknowledge the event.

    `attempt` counts from 1 how often the group began this event without an acknowledgement. `released`: the
    event was parked before, so that its acknowledgement does not move the partition's cursor.
    """

    event: Event
    group: str
    partition: int
    epoch: int
    position: int
    attempt: int
    released: bool = False


@final
@frozen(kw_only=True)
class ParkedEvent:
    """An event that failed too often and was parked, so that the events behind it could be delivered.

    `id` is what `release` takes: the event's id, or an id made from its position if it could not be read when
    it was parked. `released`: it will be delivered once more, and is then removed or parked again.
    """

    group: str
    id: str
    event: Event | UnreadableEvent
    attempts: int
    parked_at: datetime
    released: bool = False


@final
@frozen(kw_only=True)
class Begun:
    """The result of asking for the next event.

    `delivery` is the event that was begun. If that event cannot be read, `unreadable` is set instead: the
    attempt has failed and there is nothing to acknowledge. If both are None, there is nothing to do now.
    `following` are the events after it in its partition, which were begun with it: the consumer handles them
    in this order, and acknowledges the last one that it has handled.
    `stale`: the event to acknowledge belongs to another consumer by now and will be delivered again.
    `parked`: the events that were parked before one could be begun.
    """

    delivery: GroupDelivery | None = None
    following: tuple[GroupDelivery, ...] = ()
    unreadable: UnreadableEvent | None = None
    stale: bool = False
    parked: tuple[ParkedEvent, ...] = ()


@final
@frozen(kw_only=True)
class GroupStatus:
    """A group's numbers. `lag`: events not acknowledged; `oldest`: the time of the first of them."""

    name: str
    lag: int
    parked: int
    members: int
    oldest: datetime | None = None
    seen_at: datetime | None = field(default=None)
    """When a consumer last renewed its lease."""


# --- partitions -------------------------------------------------------------------------------------


def partition_of(call: CallKey, partitions: int) -> int:
    """The partition that a call's events belong to; the same in every process."""
    return crc32(f"{call.provider}\0{call.id}".encode("utf-8", "surrogatepass")) % partitions


def fair_share(partitions: int, members: int, rank: int = 0) -> int:
    """How many partitions the consumer of that rank (from 0) may own among `members`.

    The shares of all ranks add up to all partitions and differ by at most one.
    """
    each, left = divmod(partitions, max(members, 1))
    return each + (rank < left)


def share_partitions(
    owners: Sequence[str | None], *, member: str, members: Collection[str], busy: Collection[int]
) -> tuple[list[int], list[int]]:
    """Which partitions a member must release, and which unowned ones it takes.

    `owners` are the partitions' owners by partition number. `members` are the consumers with a lease.
    Partitions in `busy` are never released.
    """
    share = fair_share(len(owners), len(members), sorted(members).index(member))
    own = [partition for partition, owner in enumerate(owners) if owner == member]
    unowned = [partition for partition, owner in enumerate(owners) if owner is None]
    idle = [partition for partition in reversed(own) if partition not in busy]
    return idle[: max(len(own) - share, 0)], unowned[: max(share - len(own), 0)]


# --- deliveries -------------------------------------------------------------------------------------


@final
@frozen(kw_only=True)
class Waiting:
    """An event that a consumer may begin: a released one, or the first one after a partition's cursor.

    `id` is the id under which it is, or would be, parked. `attempts` counts how often it was begun, since its
    release if it was released. `alone`: no other event may be begun with it, because the attempt at it, or at
    a batch that contained it, has failed before.
    """

    id: str
    event: Event | UnreadableEvent
    partition: int
    position: int
    epoch: int
    attempts: int
    released: bool = False
    alone: bool = False

    def delivery(self, event: Event, group: str) -> GroupDelivery:
        """The delivery of this event, which was read."""
        return GroupDelivery(
            event=event,
            group=group,
            partition=self.partition,
            epoch=self.epoch,
            position=self.position,
            attempt=self.attempts + 1,
            released=self.released,
        )


@final
@frozen
class Delivered:
    """The decision about waiting events: those to park, the one to begin, and those that follow it."""

    park: tuple[Waiting, ...]
    begin: Waiting | None
    following: tuple[Waiting, ...] = ()

    @property
    def last(self) -> int:
        """The position of the last event that is begun."""
        begun = (*self.following, self.begin)
        return max(waiting.position for waiting in begun if waiting is not None)

    def parked_events(self, group: str, now: datetime) -> tuple[ParkedEvent, ...]:
        """The parked events, to report."""
        return tuple(
            ParkedEvent(
                group=group,
                id=waiting.id,
                event=waiting.event,
                attempts=waiting.attempts,
                parked_at=now,
            )
            for waiting in self.park
        )

    def begun(self, group: str, *, stale: bool, parked: Iterable[ParkedEvent]) -> Begun:
        """The result to return to the consumer."""
        waiting, parked = self.begin, tuple(parked)
        if waiting is None:
            return Begun(stale=stale, parked=parked)
        if isinstance(waiting.event, UnreadableEvent):
            return Begun(unreadable=waiting.event, stale=stale, parked=parked)
        following = tuple(
            one.delivery(one.event, group)
            for one in self.following
            if not isinstance(one.event, UnreadableEvent)
        )
        return Begun(
            delivery=waiting.delivery(waiting.event, group), following=following, stale=stale, parked=parked
        )


def deliver(waiting: Iterable[Waiting], *, max_attempts: int) -> Delivered:
    """Begin the first event that has attempts left, and park those before it that have none.

    A released event has one attempt. The events behind the first one are begun with it, up to one that must
    be begun alone. A failure of the batch counts as an attempt at its first event, so there is no batch if an
    event has only one attempt.
    """
    park: list[Waiting] = []
    rest = iter(waiting)
    for candidate in rest:
        if candidate.attempts < (1 if candidate.released else max_attempts):
            batch = max_attempts > 1 and not _is_alone(candidate)
            following = takewhile(lambda one: not _is_alone(one), rest) if batch else ()
            return Delivered(tuple(park), candidate, tuple(following))
        park.append(candidate)
    return Delivered(tuple(park), None)


def _is_alone(waiting: Waiting) -> bool:
    return waiting.alone or waiting.released or isinstance(waiting.event, UnreadableEvent)


def parked_id(event: Event | UnreadableEvent) -> str:
    """The id under which an event is parked. The id in an unreadable row may also be another event's."""
    if isinstance(event, UnreadableEvent):
        return f"unreadable-{event.partition}-{event.position}"
    return str(event.id)
