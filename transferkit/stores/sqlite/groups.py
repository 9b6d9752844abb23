"""Consumer groups: what one transaction reads and writes of their cursors, members and parked events."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

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
from transferkit.stores.sqlite.calls import end_of_log, event_at
from transferkit.stores.sqlite.columns import instant, key, micros, text
from transferkit.stores.sqlite.session import Session

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


def open_group(session: Session, group: str, start: GroupStart, partitions: int) -> None:
    """What `Store.open_group` does, within a transaction."""
    made = session.run("INSERT OR IGNORE INTO consumer_groups (name) VALUES (?)", (key(group),))
    if made:
        position = end_of_log(session) if start is GroupStart.NOW else 0
        session.run_each(
            "INSERT INTO cursors (name, partition, position) VALUES (?, ?, ?)",
            [(key(group), partition, position) for partition in range(partitions)],
        )


def remove_group(session: Session, group: str) -> bool:
    """What `Store.remove_group` does, within a transaction."""
    return session.run("DELETE FROM consumer_groups WHERE name = ?", (key(group),)) > 0


# --- holding ----------------------------------------------------------------------------------------


def hold(session: Session, group: str, member: Lease, now: datetime, busy: Collection[int]) -> frozenset[int]:
    """What `Store.hold` does, within a transaction."""
    name, owner = key(group), key(member.owner)
    if not session.run("UPDATE consumer_groups SET seen_at = ? WHERE name = ?", (micros(now), name)):
        return frozenset()
    session.run(
        "INSERT INTO members VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until",
        (name, owner, micros(member.until)),
    )
    session.run(
        "DELETE FROM members WHERE name = ? AND until <= ? AND owner <> ?", (name, micros(now), owner)
    )
    session.run(
        "UPDATE cursors SET owner = NULL WHERE name = ?"
        " AND owner NOT IN (SELECT owner FROM members WHERE name = ?)",
        (name, name),
    )
    members, rank = session.one(
        "SELECT count(*), count(*) FILTER (WHERE owner < ?) FROM members WHERE name = ?", (owner, name)
    )
    holders = session.rows("SELECT partition, owner FROM cursors WHERE name = ? ORDER BY partition", (name,))
    mine = [partition for partition, holder in holders if holder == owner]
    share = fair_share(len(holders), members, rank)
    spare = [partition for partition in reversed(mine) if partition not in busy][: max(len(mine) - share, 0)]
    free = [partition for partition, holder in holders if holder is None][: max(share - len(mine), 0)]
    session.run_each(
        "UPDATE cursors SET owner = NULL WHERE name = ? AND partition = ?",
        [(name, partition) for partition in spare],
    )
    session.run_each(
        "UPDATE cursors SET owner = ?, epoch = epoch + 1 WHERE name = ? AND partition = ?",
        [(owner, name, partition) for partition in free],
    )
    return frozenset(mine).difference(spare).union(free)


def leave(session: Session, group: str, owner: str, unused: GroupDelivery | None) -> None:
    """What `Store.leave` does, within a transaction."""
    name, holder = key(group), key(owner)
    if unused is not None and _is_current(session, unused, owner):
        if unused.released:
            session.run(
                "UPDATE parked SET attempts = 0 WHERE name = ? AND position = ? AND released",
                (name, unused.position),
            )
        else:
            session.run(
                "UPDATE cursors SET attempts = attempts - 1 WHERE name = ? AND partition = ? AND begun = ?",
                (name, unused.partition, unused.position),
            )
    session.run("DELETE FROM members WHERE name = ? AND owner = ?", (name, holder))
    session.run("UPDATE cursors SET owner = NULL WHERE name = ? AND owner = ?", (name, holder))


def _is_current(session: Session, delivery: GroupDelivery, owner: str) -> bool:
    row = session.row(
        "SELECT 1 FROM cursors WHERE name = ? AND partition = ? AND owner = ? AND epoch = ?",
        (key(delivery.group), delivery.partition, key(owner), delivery.epoch),
    )
    return row is not None


# --- delivering -------------------------------------------------------------------------------------


def begin_next(
    session: Session,
    group: str,
    owner: str,
    *,
    done: GroupDelivery | None,
    now: datetime,
    max_attempts: int,
) -> Begun:
    """What `Store.begin_next` does, within a transaction."""
    stale = done is not None and not acknowledge(session, done, owner)
    aside: list[ParkedEvent] = []
    begun = _begin_released(session, group, owner, now, aside)
    while begun is None:
        row = session.row(
            # CROSS JOIN keeps the order: each partition's first event is one look into its index.
            "SELECT c.partition, c.epoch, c.begun, c.attempts, e.position, e.event FROM cursors c"
            " CROSS JOIN events e ON e.position = ("
            "  SELECT min(position) FROM events WHERE partition = c.partition AND position > c.position"
            " ) WHERE c.name = ? AND c.owner = ? ORDER BY e.position LIMIT 1",
            (key(group), key(owner)),
        )
        if row is None:
            break
        partition, epoch, begun_before, attempts, position, stored = row
        event = event_at(session, position, stored)
        if begun_before != position:
            attempts = 0
        if attempts >= max_attempts:
            aside_id = parked_id(event)
            session.run(
                "INSERT INTO parked (name, position, event_id, attempts, parked_at) VALUES (?, ?, ?, ?, ?)",
                (key(group), position, key(aside_id), attempts, micros(now)),
            )
            _move(session, group, partition, position)
            aside.append(ParkedEvent(group=group, id=aside_id, event=event, attempts=attempts, parked_at=now))
            continue
        session.run(
            "UPDATE cursors SET begun = ?, attempts = ? WHERE name = ? AND partition = ?",
            (position, attempts + 1, key(group), partition),
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


def _move(session: Session, group: str, partition: int, position: int) -> None:
    session.run(
        "UPDATE cursors SET position = ?, begun = NULL, attempts = 0 WHERE name = ? AND partition = ?",
        (position, key(group), partition),
    )


def _begin_released(
    session: Session, group: str, owner: str, now: datetime, aside: list[ParkedEvent]
) -> Begun | None:
    """Begin the oldest released event; one that was begun since its release is parked again."""
    rows = session.rows(
        "SELECT p.position, p.event_id, p.attempts, e.event, e.partition, c.epoch FROM parked p"
        " JOIN events e USING (position)"
        " JOIN cursors c ON c.name = p.name AND c.partition = e.partition"
        " WHERE p.name = ? AND p.released AND c.owner = ? ORDER BY p.position",
        (key(group), key(owner)),
    )
    for position, aside_id, attempts, stored, partition, epoch in rows:
        event = event_at(session, position, stored)
        if attempts:
            session.run(
                "UPDATE parked SET released = 0, parked_at = ? WHERE name = ? AND position = ?",
                (micros(now), key(group), position),
            )
            aside.append(
                ParkedEvent(group=group, id=text(aside_id), event=event, attempts=attempts, parked_at=now)
            )
            continue
        session.run("UPDATE parked SET attempts = 1 WHERE name = ? AND position = ?", (key(group), position))
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


def acknowledge(session: Session, delivery: GroupDelivery, owner: str) -> bool:
    """What `Store.acknowledge` does, within a transaction."""
    if not _is_current(session, delivery, owner):
        return False
    name, position = key(delivery.group), delivery.position
    if delivery.released:
        session.run("DELETE FROM parked WHERE name = ? AND position = ? AND released", (name, position))
        return session.row("SELECT 1 FROM parked WHERE name = ? AND position = ?", (name, position)) is None
    cursor, begun = session.one(
        "SELECT position, begun FROM cursors WHERE name = ? AND partition = ?", (name, delivery.partition)
    )
    if begun == position:
        _move(session, delivery.group, delivery.partition, position)
    return bool(begun == position or cursor >= position)


# --- what was set aside, and how far it is ----------------------------------------------------------


def release(session: Session, group: str, event_id: str) -> bool:
    """What `Store.release` does, within a transaction."""
    at = (key(group), key(event_id))
    session.run(
        "UPDATE parked SET released = 1, attempts = 0 WHERE name = ? AND event_id = ? AND NOT released", at
    )
    return session.row("SELECT 1 FROM parked WHERE name = ? AND event_id = ?", at) is not None


def parked(session: Session, group: str) -> tuple[ParkedEvent, ...]:
    """The group's parked events, the oldest first."""
    rows = session.rows(
        "SELECT position, event, event_id, attempts, parked_at, released"
        " FROM parked JOIN events USING (position)"
        " WHERE name = ? ORDER BY position",
        (key(group),),
    )
    return tuple(
        ParkedEvent(
            group=group,
            id=text(aside_id),
            event=event_at(session, position, stored),
            attempts=attempts,
            parked_at=instant(parked_at),
            released=bool(released),
        )
        for position, stored, aside_id, attempts, parked_at, released in rows
    )


def groups(session: Session) -> tuple[GroupStatus, ...]:
    """Every group, by name."""
    rows = session.rows("SELECT name, seen_at FROM consumer_groups")
    return tuple(sorted((_status(session, *row) for row in rows), key=lambda status: status.name))


def _status(session: Session, name: str | bytes, seen_at: int | None) -> GroupStatus:
    lag, oldest = session.one(
        "SELECT count(*), min(e.position) FROM cursors c"
        " CROSS JOIN events e ON e.partition = c.partition AND e.position > c.position WHERE c.name = ?",
        (name,),
    )
    first = session.row("SELECT event FROM events WHERE position = ?", (oldest,))
    (aside,) = session.one("SELECT count(*) FROM parked WHERE name = ?", (name,))
    (members,) = session.one("SELECT count(*) FROM members WHERE name = ?", (name,))
    return GroupStatus(
        name=text(name),
        lag=lag,
        parked=aside,
        members=members,
        oldest=event_at(session, oldest, first[0]).time if first else None,
        seen_at=None if seen_at is None else instant(seen_at),
    )
