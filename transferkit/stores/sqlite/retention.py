"""Removing calls that are over and done with."""

from __future__ import annotations

from datetime import datetime

from transferkit.stores.sqlite.columns import micros
from transferkit.stores.sqlite.session import Session

__all__ = ["prune"]

_DONE_WITH = """
    WITH passed AS (
        SELECT partition, min(position) AS position FROM cursors
        JOIN consumer_groups USING (name) WHERE seen_at >= :idle_since GROUP BY partition
    )
    SELECT number, last.position FROM calls c
    JOIN events last ON last.position = (SELECT max(position) FROM events WHERE call = c.number)
    LEFT JOIN passed ON passed.partition = last.partition
    WHERE c.open = 0 AND c.recorded_at < :before
    AND (passed.position IS NULL OR passed.position >= last.position)
    AND NOT EXISTS (SELECT 1 FROM legs WHERE legs.provider = c.provider AND legs.id = c.id)
    AND NOT EXISTS (
        SELECT 1 FROM events e JOIN parked p USING (position) JOIN consumer_groups g USING (name)
        WHERE e.call = c.number AND g.seen_at >= :idle_since
    )
    LIMIT :limit
"""


def prune(session: Session, before: datetime, idle_since: datetime, limit: int) -> int:
    """What `Store.prune` does, within a transaction. All that belongs to a call goes with its row."""
    rows = session.rows(
        _DONE_WITH, {"before": micros(before), "idle_since": micros(idle_since), "limit": limit}
    )
    if rows:
        highest = max(position for _, position in rows)
        session.run("UPDATE meta SET pruned = max(pruned, ?)", (highest,))
    session.run_each("DELETE FROM calls WHERE number = ?", [(number,) for number, _ in rows])
    return len(rows)
