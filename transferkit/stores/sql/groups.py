"""Operations on consumer groups. `transferkit.stores.consumer_groups` decides; these read and write rows.

Acknowledging and the end of a lease are conditions of SQL statements, and not of `consumer_groups`, so that
PostgreSQL checks and writes under one lock, without waiting for this process in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from transferkit._lifecycle import Lease
from transferkit.stores.consumer_groups import (
    Begun,
    Delivered,
    GroupDelivery,
    GroupStart,
    GroupStatus,
    ParkedEvent,
    Waiting,
    deliver,
    parked_id,
    share_partitions,
)
from transferkit.stores.sql.calls import event_of
from transferkit.stores.sql.statements import COMMIT, Columns, Operation, Statement, query

__all__ = [
    "acknowledge",
    "begin_next",
    "groups",
    "hold",
    "leave",
    "open_group",
    "parked",
    "release",
    "remove_group",
]


def open_group(group: str, start: GroupStart) -> Operation[None]:
    """`Store.open_group`."""
    start_values = {"group": group, "now": start is GroupStart.NOW}
    yield [Statement("open_group", {"group": group}), Statement("start_group", start_values), COMMIT]


def remove_group(group: str) -> Operation[bool]:
    """`Store.remove_group`."""
    removed, _ = yield [Statement("remove_group", {"group": group}), COMMIT]
    return bool(removed)


# --- members ------------------------------------------------------------------------------------------


def hold(
    columns: Columns, group: str, member: Lease, *, now: datetime, busy: Collection[int]
) -> Operation[frozenset[int]]:
    """`Store.hold`."""
    of = {"group": group, "owner": member.owner}
    known, _, _, _, members, owned = yield [
        Statement("see_group", {"group": group, "now": now}),
        Statement("renew_member", {**of, "until": member.until}),
        Statement("remove_expired_members", {**of, "now": now}),
        Statement("release_partitions_without_member", of),
        Statement("members", of),
        Statement("partition_owners", of),
    ]
    if not known:
        return frozenset()
    owners = [None if owner is None else columns.text(owner) for (owner,) in owned]
    names = [columns.text(name) for (name,) in members]
    released, taken = share_partitions(owners, member=member.owner, members=names, busy=busy)
    yield [
        *(Statement("release_partition", {**of, "partition": partition}) for partition in released),
        *(Statement("take_partition", {**of, "partition": partition}) for partition in taken),
        COMMIT,
    ]
    own = {partition for partition, owner in enumerate(owners) if owner == member.owner}
    return frozenset(own.difference(released).union(taken))


def leave(group: str, owner: str, unused: GroupDelivery | None) -> Operation[None]:
    """`Store.leave`."""
    of = {"group": group, "owner": owner}
    uncount = []
    if unused is not None:
        name = "uncount_released_attempt" if unused.released else "uncount_attempt"
        uncount = [Statement(name, _values(unused, owner))]
    yield [Statement("remove_member", of), *uncount, Statement("release_own_partitions", of), COMMIT]


def _values(delivery: GroupDelivery, owner: str) -> dict[str, object]:
    return {
        "group": delivery.group,
        "owner": owner,
        "partition": delivery.partition,
        "epoch": delivery.epoch,
        "position": delivery.position,
        "attempt": delivery.attempt,
    }


# --- deliveries ---------------------------------------------------------------------------------------


def begin_next(
    columns: Columns,
    group: str,
    owner: str,
    *,
    done: GroupDelivery | None,
    now: datetime,
    max_attempts: int,
    limit: int,
) -> Operation[Begun]:
    """`Store.begin_next`."""
    of = {"group": group, "owner": owner}
    waiting = [Statement("waiting_released", of), Statement("waiting_in_log", {**of, "limit": limit})]
    before = [Statement("lock_member", of), *(_acknowledge(done, owner) if done else ())]
    *rows, released, first = yield [*before, *waiting]
    stale = done is not None and not rows[-1]
    parked: list[ParkedEvent] = []
    while True:
        found = [_waiting(columns, row) for row in (*released, *first)]
        delivered = deliver(found, max_attempts=max_attempts)
        parked += delivered.parked_events(group, now)
        writes = _writes(group, delivered, now)
        if delivered.begin is not None or not writes:
            yield [*writes, COMMIT]
            return delivered.begun(group, stale=stale, parked=parked)
        *_, released, first = yield [*writes, *waiting]


def _waiting(columns: Columns, row: Sequence[Any]) -> Waiting:
    released, epoch, attempts, event_id, alone, *event_row = row
    event = event_of(columns, event_row)
    return Waiting(
        id=columns.text(event_id) if released else parked_id(event),
        event=event,
        partition=event_row[0],
        position=event_row[1],
        epoch=epoch,
        attempts=attempts,
        released=bool(released),
        alone=bool(alone),
    )


def _writes(group: str, delivered: Delivered, now: datetime) -> list[Statement]:
    """What to write of a decision about waiting events."""
    writes: list[Statement] = []
    for waiting in delivered.park:
        values = {
            "group": group,
            "partition": waiting.partition,
            "position": waiting.position,
            "event_id": waiting.id,
            "attempts": waiting.attempts,
            "now": now,
        }
        names = ("park_again",) if waiting.released else ("park", "pass_parked")
        writes += [Statement(name, values) for name in names]
    if (begun := delivered.begin) is not None:
        name = "count_released_attempt" if begun.released else "count_attempt"
        place = {"group": group, "partition": begun.partition, "position": begun.position}
        writes.append(Statement(name, {**place, "attempt": begun.attempts + 1, "last": delivered.last}))
    return writes


def acknowledge(
    delivery: GroupDelivery, owner: str, received: GroupDelivery | None = None
) -> Operation[bool]:
    """`Store.acknowledge`."""
    lock = Statement("lock_member", {"group": delivery.group, "owner": owner})
    begin = [Statement("begin_received", _values(received, owner))] if received else []
    _, _, acknowledged, *_ = yield [lock, *_acknowledge(delivery, owner), *begin, COMMIT]
    return bool(acknowledged)


def _acknowledge(delivery: GroupDelivery, owner: str) -> tuple[Statement, Statement]:
    """Acknowledge an event. The second statement returns a row unless the partition changed its owner."""
    values = _values(delivery, owner)
    if delivery.released:
        return Statement("acknowledge_released", values), Statement("is_released_acknowledged", values)
    return Statement("acknowledge", values), Statement("is_acknowledged", values)


# --- parked events and status -------------------------------------------------------------------------


def release(group: str, event_id: str) -> Operation[bool]:
    """`Store.release`."""
    values = {"group": group, "event_id": event_id}
    _, parked, _ = yield [Statement("release", values), Statement("is_parked", values), COMMIT]
    return bool(parked)


def parked(columns: Columns, group: str) -> Operation[tuple[ParkedEvent, ...]]:
    """`Store.parked`."""
    rows = yield from query("parked", group=group)
    return tuple(
        ParkedEvent(
            group=group,
            id=columns.text(event_id),
            event=event_of(columns, event_row),
            attempts=attempts,
            parked_at=columns.time(parked_at),
            released=bool(released),
        )
        for event_id, attempts, parked_at, released, *event_row in rows
    )


def groups(columns: Columns) -> Operation[tuple[GroupStatus, ...]]:
    """`Store.groups`."""
    rows = yield from query("groups")
    found = [
        GroupStatus(
            name=columns.text(name),
            lag=lag,
            parked=parked,
            members=members,
            oldest=event_of(columns, oldest).time if lag else None,
            seen_at=None if seen_at is None else columns.time(seen_at),
        )
        for name, seen_at, lag, parked, members, *oldest in rows
    ]
    return tuple(sorted(found, key=lambda status: status.name))
