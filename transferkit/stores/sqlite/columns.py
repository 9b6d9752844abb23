"""Values of this library as SQLite's columns, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final

from transferkit.stores.sql.statements import Columns

__all__ = ["COLUMNS", "stored"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _value(_name: str, given: object) -> object:
    """`Columns.value`."""
    return stored(given)


def stored(given: object) -> object:
    """A value as it is stored and compared.

    SQLite's text is UTF-8, which has no lone surrogates: text with one is stored as bytes. Times are
    microseconds since 1970, lists are JSON arrays for `json_each`.
    """
    if isinstance(given, str):
        return given if given.isascii() else _utf8(given)
    if isinstance(given, datetime):
        return (given - _EPOCH) // _MICROSECOND
    return json.dumps(given) if isinstance(given, list) else given


def _utf8(given: str) -> str | bytes:
    data = given.encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return given


def _text(column: str | bytes) -> str:
    """The text that `stored` was given."""
    return column if isinstance(column, str) else column.decode("utf-8", "surrogatepass")


def _time(column: int) -> datetime:
    """The time that `stored` was given, in UTC."""
    return _EPOCH + column * _MICROSECOND


COLUMNS: Final = Columns(value=_value, text=_text, time=_time)
