"""How large the tables are, for whoever watches over them."""

from __future__ import annotations

from typing import final

from attrs import frozen

from transferkit.stores.postgres.session import Session

__all__ = ["TableFigures", "table_figures"]


@final
@frozen(kw_only=True)
class TableFigures:
    """A table as the server's statistics have it. Rows are estimates; `bytes` has its indexes in it.

    `dead_rows` are versions that vacuuming has not removed yet: where they keep growing, look for a
    transaction that was left open.
    """

    name: str
    rows: int
    dead_rows: int
    bytes: int


async def table_figures(session: Session) -> tuple[TableFigures, ...]:
    """Each table of the store, the largest first."""
    rows = await session.rows(
        "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        " WHERE schemaname = 'tk' ORDER BY 4 DESC, 1"
    )
    return tuple(
        TableFigures(name=name, rows=live, dead_rows=dead, bytes=size) for name, live, dead, size in rows
    )
