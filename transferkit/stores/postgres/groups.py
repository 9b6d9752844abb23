"""Consumer groups: what one transaction reads and writes of their cursors, members and parked events.

A member's row is the lock of all that it holds: whoever reads as it, gives back for it or takes from it when
its lease has ended has locked that row. What nobody holds changes hands under the lock of the group's row.
Two of these transactions wait for this process while they hold locks (`hold` and `begin_next`): the others of
the group wait for a process that stops there until the server ends its transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from attrs import evolve

from transferkit._lifecycle import Lease
from transferkit.stores.consumer_groups import (
    Begun,
    GroupDelivery,
    GroupStart,
    GroupStatus,
    ParkedEvent,
    begin,
    fair_share,
    parked_id,
)
from transferkit.stores.postgres.calls import event_of
from transferkit.stores.postgres.columns import lookup, text, utc, written
from transferkit.stores.postgres.session import Answer, Rows, Session

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

_NEXT: Final = (
    "SELECT k.epoch, k.begun, k.attempts,"
    " e.partition, e.position, e.sequence, c.provider, c.id, e.event"
    " FROM tk.cursors k CROSS JOIN LATERAL ("
    "  SELECT * FROM tk.events WHERE partition = k.partition AND position > k.position"
    "  ORDER BY position LIMIT 1"
    " ) e JOIN tk.calls c ON c.number = e.call"
    " WHERE k.name = %s AND k.owner = %s ORDER BY e.number LIMIT 1"
)
_RELEASED: Final = (
    "SELECT k.epoch, p.event_id, p.attempts,"
    " e.partition, e.position, e.sequence, c.provider, c.id, e.event"
    " FROM tk.parked p JOIN tk.events e USING (partition, position) JOIN tk.calls c ON c.number = e.call"
    " JOIN tk.cursors k ON k.name = p.name AND k.partition = p.partition"
    " WHERE p.name = %s AND p.released AND k.owner = %s ORDER BY e.number"
)
_DONE_WITH: Final = (
    "WITH moved AS ("
    "  UPDATE tk.cursors SET position = begun, begun = NULL, attempts = 0"
    "  WHERE name = %s AND partition = %s AND owner = %s AND epoch = %s AND begun = %s RETURNING 1"
    ") SELECT 1 FROM moved UNION ALL"
    " SELECT 1 FROM tk.cursors"
    " WHERE name = %s AND partition = %s AND owner = %s AND epoch = %s AND position >= %s"
)
_DONE_WITH_RELEASED: Final = (
    "WITH held AS ("
    "  SELECT name, partition FROM tk.cursors"
    "  WHERE name = %s AND partition = %s AND owner = %s AND epoch = %s"
    "), gone AS ("
    "  DELETE FROM tk.parked p USING held"
    "  WHERE p.name = held.name AND p.partition = held.partition AND p.position = %s AND p.released"
    ") SELECT 1 FROM held WHERE NOT EXISTS ("
    "  SELECT 1 FROM tk.parked p WHERE p.name = held.name AND p.partition = held.partition"
    "  AND p.position = %s AND NOT p.released"
    ")"
)


async def open_group(session: Session, group: str, start: GroupStart) -> None:
    """What `Store.open_group` does, in one statement."""
    session.execute(
        "WITH made AS ("
        "  INSERT INTO tk.consumer_groups (name) VALUES (%s) ON CONFLICT DO NOTHING RETURNING name"
        ")"
        " INSERT INTO tk.cursors (name, partition, position)"
        " SELECT made.name, p.partition, CASE WHEN %s THEN p.position ELSE 0 END FROM made, tk.partitions p",
        (written(group), start is GroupStart.NOW),
    )


async def remove_group(session: Session, group: str) -> bool:
    """What `Store.remove_group` does, in one statement."""
    removed = session.execute("DELETE FROM tk.consumer_groups WHERE name = %s RETURNING 1", (written(group),))
    await session.commit()
    return bool(removed.rows)


# --- holding ------------------------------------------------------------------------------------------


async def hold(
    session: Session, group: str, member: Lease, now: datetime, busy: Collection[int]
) -> frozenset[int]:
    """What `Store.hold` does, within a transaction."""
    name, owner = written(group), written(member.owner)
    known = session.execute(
        "UPDATE tk.consumer_groups SET seen_at = %s WHERE name = %s RETURNING 1", (now, name)
    )
    session.execute(
        "INSERT INTO tk.members SELECT name, %s, %s FROM tk.consumer_groups WHERE name = %s"
        " ON CONFLICT (name, owner) DO UPDATE SET until = excluded.until",
        (owner, member.until, name),
    )
    session.execute(
        "DELETE FROM tk.members WHERE name = %s AND until <= %s AND owner <> %s", (name, now, owner)
    )
    session.execute(
        "UPDATE tk.cursors SET owner = NULL WHERE name = %s"
        " AND owner NOT IN (SELECT owner FROM tk.members WHERE name = %s)",
        (name, name),
    )
    counted = session.execute(
        "SELECT count(*), count(*) FILTER (WHERE owner < %s) FROM tk.members WHERE name = %s", (owner, name)
    )
    listed = session.execute(
        "SELECT partition, owner FROM tk.cursors WHERE name = %s ORDER BY partition", (name,)
    )
    await session.send()
    if not known.rows:
        return frozenset()
    ((members, rank),) = counted.rows
    holders = listed.rows
    mine = [partition for partition, holder in holders if holder == owner]
    share = fair_share(len(holders), members, rank)
    spare = [partition for partition in reversed(mine) if partition not in busy][: max(len(mine) - share, 0)]
    free = [partition for partition, holder in holders if holder is None][: max(share - len(mine), 0)]
    if spare:
        session.execute(
            "UPDATE tk.cursors SET owner = NULL WHERE name = %s AND partition = ANY(%s)", (name, spare)
        )
    if free:
        session.execute(
            "UPDATE tk.cursors SET owner = %s, epoch = epoch + 1 WHERE name = %s AND partition = ANY(%s)",
            (owner, name, free),
        )
    return frozenset(mine).difference(spare).union(free)


async def leave(session: Session, group: str, owner: str, unused: GroupDelivery | None) -> None:
    """What `Store.leave` does, within a transaction."""
    name, holder = written(group), written(owner)
    session.execute("DELETE FROM tk.members WHERE name = %s AND owner = %s", (name, holder))
    if unused is not None and unused.released:
        session.execute(
            "UPDATE tk.parked p SET attempts = 0 FROM tk.cursors c"
            " WHERE p.name = %s AND p.partition = %s AND p.position = %s AND p.released"
            " AND c.name = p.name AND c.partition = p.partition AND c.owner = %s AND c.epoch = %s",
            (name, unused.partition, unused.position, holder, unused.epoch),
        )
    elif unused is not None:
        session.execute(
            "UPDATE tk.cursors SET attempts = attempts - 1"
            " WHERE name = %s AND partition = %s AND begun = %s AND owner = %s AND epoch = %s",
            (name, unused.partition, unused.position, holder, unused.epoch),
        )
    session.execute("UPDATE tk.cursors SET owner = NULL WHERE name = %s AND owner = %s", (name, holder))


# --- delivering ---------------------------------------------------------------------------------------


async def begin_next(
    session: Session,
    group: str,
    owner: str,
    *,
    done: GroupDelivery | None,
    now: datetime,
    max_attempts: int,
) -> Begun:
    """What `Store.begin_next` does, within a transaction."""
    name, holder = written(group), written(owner)
    _lock(session, name, holder)
    moved = None if done is None else _acknowledge(session, done, owner)
    released = session.execute(_RELEASED, (name, holder))
    first = session.execute(_NEXT, (name, holder))
    await session.send()
    stale = moved is not None and not moved.rows
    aside: list[ParkedEvent] = []
    begun = _begin_released(session, group, released.rows, now, aside)
    rows = first.rows
    while rows and begun is None:
        ((epoch, begun_before, attempts, *row),) = rows
        partition, position, *_ = row
        event = event_of(row)
        if begun_before != position:
            attempts = 0
        if attempts >= max_attempts:
            aside_id = parked_id(event)
            session.execute(
                "INSERT INTO tk.parked (name, partition, position, event_id, attempts, parked_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (name, partition, position, lookup(aside_id), attempts, now),
            )
            session.execute(
                "UPDATE tk.cursors SET position = %s, begun = NULL, attempts = 0"
                " WHERE name = %s AND partition = %s",
                (position, name, partition),
            )
            aside.append(ParkedEvent(group=group, id=aside_id, event=event, attempts=attempts, parked_at=now))
            rows = await session.rows(_NEXT, (name, holder))
            continue
        session.execute(
            "UPDATE tk.cursors SET begun = %s, attempts = %s WHERE name = %s AND partition = %s",
            (position, attempts + 1, name, partition),
        )
        begun = begin(
            event,
            group=group,
            partition=partition,
            epoch=epoch,
            position=position,
            attempt=attempts + 1,
        )
    return evolve(begun or Begun(), stale=stale, parked=tuple(aside))


def _lock(session: Session, name: str, holder: str) -> None:
    session.execute(
        "SELECT 1 FROM tk.members WHERE name = %s AND owner = %s FOR NO KEY UPDATE", (name, holder)
    )


def _begin_released(
    session: Session, group: str, rows: Rows, now: datetime, aside: list[ParkedEvent]
) -> Begun | None:
    """Begin the oldest released event; one that was begun since its release is parked again."""
    name = written(group)
    for epoch, aside_id, attempts, *row in rows:
        partition, position, *_ = row
        event = event_of(row)
        where = (name, partition, position)
        if attempts:
            session.execute(
                "UPDATE tk.parked SET released = false, parked_at = %s"
                " WHERE name = %s AND partition = %s AND position = %s",
                (now, *where),
            )
            aside.append(
                ParkedEvent(group=group, id=text(aside_id), event=event, attempts=attempts, parked_at=now)
            )
            continue
        session.execute(
            "UPDATE tk.parked SET attempts = 1 WHERE name = %s AND partition = %s AND position = %s", where
        )
        return begin(
            event,
            group=group,
            partition=partition,
            epoch=epoch,
            position=position,
            attempt=1,
            released=True,
        )
    return None


async def acknowledge(session: Session, delivery: GroupDelivery, owner: str) -> bool:
    """What `Store.acknowledge` does, within a transaction."""
    _lock(session, written(delivery.group), written(owner))
    moved = _acknowledge(session, delivery, owner)
    await session.commit()
    return bool(moved.rows)


def _acknowledge(session: Session, delivery: GroupDelivery, owner: str) -> Answer:
    """What moves on past the event; it gives a row unless the partition has changed hands."""
    held = (written(delivery.group), delivery.partition, written(owner), delivery.epoch)
    if delivery.released:
        return session.execute(_DONE_WITH_RELEASED, (*held, delivery.position, delivery.position))
    return session.execute(_DONE_WITH, (*held, delivery.position, *held, delivery.position))


# --- what was set aside, and how far it is ------------------------------------------------------------


async def release(session: Session, group: str, event_id: str) -> bool:
    """What `Store.release` does, in one statement."""
    at = (written(group), lookup(event_id))
    released = session.execute(
        "WITH released AS ("
        "  UPDATE tk.parked SET released = true, attempts = 0"
        "  WHERE name = %s AND event_id = %s AND NOT released RETURNING 1"
        ") SELECT 1 FROM tk.parked WHERE name = %s AND event_id = %s",
        (*at, *at),
    )
    await session.commit()
    return bool(released.rows)


async def parked(session: Session, group: str) -> tuple[ParkedEvent, ...]:
    """The group's parked events, the oldest first."""
    rows = await session.rows(
        "SELECT p.event_id, p.attempts, p.parked_at, p.released,"
        " e.partition, e.position, e.sequence, c.provider, c.id, e.event"
        " FROM tk.parked p JOIN tk.events e USING (partition, position) JOIN tk.calls c ON c.number = e.call"
        " WHERE p.name = %s ORDER BY e.number",
        (written(group),),
    )
    return tuple(
        ParkedEvent(
            group=group,
            id=text(aside_id),
            event=event_of(row),
            attempts=attempts,
            parked_at=utc(parked_at),
            released=released,
        )
        for aside_id, attempts, parked_at, released, *row in rows
    )


async def groups(session: Session) -> tuple[GroupStatus, ...]:
    """Every group, by name."""
    rows = await session.rows(
        "SELECT g.name, g.seen_at, waiting.lag,"
        " (SELECT count(*) FROM tk.parked p WHERE p.name = g.name),"
        " (SELECT count(*) FROM tk.members m WHERE m.name = g.name),"
        " e.partition, e.position, e.sequence, c.provider, c.id, e.event"
        " FROM tk.consumer_groups g"
        " CROSS JOIN LATERAL ("
        "  SELECT count(*) AS lag FROM tk.cursors k"
        "  JOIN tk.events e ON e.partition = k.partition AND e.position > k.position WHERE k.name = g.name"
        " ) waiting LEFT JOIN LATERAL ("
        "  SELECT e.* FROM tk.cursors k CROSS JOIN LATERAL ("
        "   SELECT * FROM tk.events WHERE partition = k.partition AND position > k.position"
        "   ORDER BY position LIMIT 1"
        "  ) e WHERE k.name = g.name ORDER BY e.number LIMIT 1"
        " ) e ON true LEFT JOIN tk.calls c ON c.number = e.call"
    )
    found = (
        GroupStatus(
            name=text(name),
            lag=lag,
            parked=aside,
            members=members,
            oldest=event_of(oldest).time if lag else None,
            seen_at=utc(seen_at) if seen_at else None,
        )
        for name, seen_at, lag, aside, members, *oldest in rows
    )
    return tuple(sorted(found, key=lambda status: status.name))
