"""Texts and times as SQLite's columns and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["instant", "key", "micros", "text"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def key(value: str) -> str | bytes:
    """Text to look up by. SQLite's text is UTF-8, which has no lone surrogates: such text becomes bytes."""
    if value.isascii():
        return value
    data = value.encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return value


def text(value: str | bytes) -> str:
    """What `key` was given."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


def micros(time: datetime) -> int:
    """A time as microseconds since 1970, so that SQLite compares instants."""
    return (time - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """The time that `micros` was given, in UTC."""
    return _EPOCH + value * _MICROSECOND
