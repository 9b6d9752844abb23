"""Values of this library as PostgreSQL's columns, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from transferkit.stores.sql.statements import Columns

__all__ = ["COLUMNS", "Table", "arrays", "text", "value"]

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Columns and rows."""

_ESCAPED: Final = ('"', "#")
_LONGEST: Final = 1024
"""The length in bytes that an index can always store, beside a second such column."""
_ONLY_COMPARED: Final = frozenset({"provider", "providers", "call_id", "key", "event_id"})
"""Values that are written and compared, but never shown: long ones are stored as a digest."""


def value(name: str, given: object) -> object:
    """A value as it is stored and compared."""
    if isinstance(given, list):
        return [value(name, item) for item in given]
    if not isinstance(given, str):
        return given
    stored = _escaped(given)
    if name in _ONLY_COMPARED and len(stored.encode()) > _LONGEST:
        return f"#sha256:{sha256(stored.encode()).hexdigest()}"
    return stored


def _escaped(given: str) -> str:
    """PostgreSQL's text has no NUL and no lone surrogates: text with one is stored as a JSON string."""
    if not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError:
            return json.dumps(given)
    return json.dumps(given) if given.startswith(_ESCAPED) or "\0" in given else given


def text(stored: str) -> str:
    """The text that `value` was given."""
    return str(json.loads(stored)) if stored.startswith('"') else stored


def _time(stored: datetime) -> datetime:
    """The time in UTC, whatever time zone the connection has."""
    return stored.astimezone(UTC)


COLUMNS: Final = Columns(value=value, text=text, time=_time)


def arrays(tables: Mapping[str, Table]) -> dict[str, object]:
    """The columns and rows of some tables as one array for each column, named `table_column`.

    An array is text that the server reads: psycopg's own conversion takes several times as long for JSON.
    """
    found: dict[str, object] = {}
    for table, (columns, rows) in tables.items():
        for i, column in enumerate(columns):
            elements = [_element(value(column, row[i])) for row in rows] if rows else ()
            found[f"{table}_{column}"] = f"{{{','.join(elements)}}}"
    return found


def _element(stored: object) -> str:
    if isinstance(stored, str):
        return '"' + stored.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(stored, datetime):
        return f'"{stored.isoformat()}"'
    return "NULL" if stored is None else str(stored)
