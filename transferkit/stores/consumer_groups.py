"""Consumer groups as a store keeps them: who reads what, how far, and what was set aside.

The log is divided into partitions by call, so that each call's events stay in order however many consumers
share a group. A consumer holds partitions for as long as it renews its lease. A partition's epoch grows
whenever it changes hands: an acknowledgement of an earlier epoch is stale and moves nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import final
from zlib import crc32

from attrs import field, frozen

from transferkit._lifecycle import CallKey
from transferkit.events import Event
from transferkit.stores.unreadable import UnreadableEvent

__all__ = [
    "Begun",
    "GroupDelivery",
    "GroupStart",
    "GroupStatus",
    "ParkedEvent",
    "begin",
    "fair_share",
    "parked_id",
    "partition_of",
]


class GroupStart(StrEnum):
    """Where a new group begins to read; without meaning for one that exists."""

    BEGINNING = "beginning"
    """With the oldest event that is kept."""
    NOW = "now"
    """With the next event."""


@final
@frozen(kw_only=True)
class GroupDelivery:
    """An event as one consumer got it; what is given back to acknowledge it.

    `attempt` counts from 1 how often the group began this event without an acknowledgement. `released`
    where it was parked before: then the partition's cursor is not concerned.
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
    """An event that was set aside after too many attempts, so that those behind it could go on.

    `id` is what `release` takes: the event's own, or one made of its place where it could not be read when it
    was parked. `released`: it will be delivered once more, after which it is gone or parked again.
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
    """What asking for the next event brought.

    `delivery` is the event that was begun; `unreadable` takes its place if that event cannot be read, and
    then the attempt has failed and there is nothing to acknowledge. Both None: nothing to do now. `stale`:
    what was to be acknowledged belongs to another consumer by now and will be delivered again. `parked`: what
    was set aside on the way.
    """

    delivery: GroupDelivery | None = None
    unreadable: UnreadableEvent | None = None
    stale: bool = False
    parked: tuple[ParkedEvent, ...] = ()


def parked_id(event: Event | UnreadableEvent) -> str:
    """The id to park an event under: what an unreadable row shows need not be the id of that event alone."""
    if isinstance(event, UnreadableEvent):
        return f"unreadable-{event.partition}-{event.position}"
    return str(event.id)


def begin(
    event: Event | UnreadableEvent,
    *,
    group: str,
    partition: int,
    epoch: int,
    position: int,
    attempt: int,
    released: bool = False,
) -> Begun:
    """What beginning this event brings."""
    if isinstance(event, UnreadableEvent):
        return Begun(unreadable=event)
    return Begun(
        delivery=GroupDelivery(
            event=event,
            group=group,
            partition=partition,
            epoch=epoch,
            position=position,
            attempt=attempt,
            released=released,
        )
    )


@final
@frozen(kw_only=True)
class GroupStatus:
    """A group at a glance. `lag`: events that it has not acknowledged; `oldest`: the time of the first."""

    name: str
    lag: int
    parked: int
    members: int
    oldest: datetime | None = None
    seen_at: datetime | None = field(default=None)
    """When a consumer was last at it."""


def partition_of(call: CallKey, partitions: int) -> int:
    """The partition that a call's events belong to; the same in every process."""
    return crc32(f"{call.provider}\0{call.id}".encode("utf-8", "surrogatepass")) % partitions


def fair_share(partitions: int, members: int, rank: int = 0) -> int:
    """How many partitions the consumer of that rank (from 0) may hold among `members`.

    The shares of all ranks add up to all partitions, and differ by one at most.
    """
    each, left = divmod(partitions, max(members, 1))
    return each + (rank < left)
