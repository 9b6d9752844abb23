"""Removing calls that are over and done with, in steps that wait for nobody and that nobody waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from transferkit.stores.postgres.session import Session

__all__ = ["prune"]

# The first time a call was heard of never changes, so that an index of it costs nothing afterwards; a call
# whose last event is old is no younger.
_DONE_WITH: Final = """
    c.created_at < %s AND c.recorded_at < %s AND NOT c.open
    AND NOT EXISTS (SELECT 1 FROM tk.legs l WHERE l.provider = c.provider AND l.id = c.id)
    AND EXISTS (SELECT 1 FROM tk.events e WHERE e.call = c.number)
    AND NOT EXISTS (
        SELECT 1 FROM tk.events e
        JOIN tk.cursors k ON k.partition = e.partition AND k.position < e.position
        JOIN tk.consumer_groups g ON g.name = k.name AND g.seen_at >= %s WHERE e.call = c.number
    ) AND NOT EXISTS (
        SELECT 1 FROM tk.events e JOIN tk.parked p USING (partition, position)
        JOIN tk.consumer_groups g ON g.name = p.name AND g.seen_at >= %s WHERE e.call = c.number
    )
"""
# What is locked is handed to the next statement by the server itself: no lock waits for this process.
_LOCK: Final = (
    "SELECT set_config('transferkit.pruned', array_agg(number)::text, true) FROM ("  # noqa: S608 - our own words
    "SELECT c.number FROM tk.calls c WHERE" + _DONE_WITH + "ORDER BY c.created_at LIMIT %s"
    " FOR UPDATE OF c SKIP LOCKED) locked"
)
_REMOVE: Final = (
    "WITH gone AS (DELETE FROM tk.calls c WHERE"  # noqa: S608 - the same
    + _DONE_WITH
    + "AND c.number = ANY(nullif(current_setting('transferkit.pruned'), '')::bigint[]) RETURNING number),"
    " events AS (DELETE FROM tk.events WHERE call IN (SELECT number FROM gone)),"
    " marks AS (DELETE FROM tk.marks WHERE call IN (SELECT number FROM gone)),"
    " requests AS (DELETE FROM tk.requests WHERE call IN (SELECT number FROM gone))"
    " SELECT number FROM gone"
)


async def prune(session: Session, before: datetime, idle_since: datetime, limit: int) -> int:
    """What `Store.prune` does, within a transaction.

    It locks calls that nobody else has locked, and then looks again: nothing comes to a call while it is
    locked. No partition's row is touched.
    """
    done_with = (before, before, idle_since, idle_since)
    session.execute(_LOCK, (*done_with, limit))
    removed = session.execute(_REMOVE, done_with)
    await session.commit()
    return len(removed.rows)
