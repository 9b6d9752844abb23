"""Text and times of this library as PostgreSQL's columns and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from transferkit._lifecycle import CallKey

__all__ = ["array", "arrays", "call_columns", "lookup", "text", "utc", "written"]

_ESCAPED: Final = ('"', "#")
_MOST: Final = 1024
"""Bytes that an index carries for certain, beside a second such column."""


def written(value: str) -> str:
    """Any text, as text that PostgreSQL takes: it has no NUL and no lone surrogates. `text` reads it."""
    if value.startswith(_ESCAPED) or "\0" in value or not _is_unicode(value):
        return json.dumps(value)
    return value


def text(value: str) -> str:
    """What `written` was given."""
    return str(json.loads(value)) if value.startswith('"') else value


def lookup(value: str) -> str:
    """As `written`, for a column that is only ever compared: what is too long for an index is digested."""
    plain = written(value)
    if len(plain.encode()) <= _MOST:
        return plain
    return f"#sha256:{sha256(plain.encode()).hexdigest()}"


def call_columns(call: CallKey) -> tuple[str, str]:
    """A call's provider and id, to compare."""
    return lookup(call.provider), lookup(call.id)


def arrays(rows: Iterable[Sequence[object]], width: int) -> tuple[str, ...]:
    """Rows as one array for each column, as text that the statement casts.

    Written here because psycopg's own way takes several times as long for JSON, which is what we have.
    """
    columns = [*zip(*rows, strict=True)]
    return tuple(map(array, columns)) if columns else ("{}",) * width


def array(values: Iterable[object]) -> str:
    """One array: of texts, numbers, truths, times and None."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, datetime):
        return f'"{value.isoformat()}"'
    return "NULL" if value is None else str(value)


def utc(time: datetime) -> datetime:
    """A time as the connection gave it, in UTC whatever time zone the connection has."""
    return time.astimezone(UTC)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
