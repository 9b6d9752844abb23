"""Reading somebody else's JSON without ever failing on it: names in any letter case, values of any type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from transferkit import wire

__all__ = ["instant_of", "member", "number_of", "read_json", "text_of"]

_DEEPEST = 64
_LARGEST = 2**53


def read_json(body: bytes) -> Any:
    """A JSON value that can be stored and written again. Raises `ValueError` that says what is wrong."""
    try:
        value, beyond_doubt = wire.read_json(body)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        raise ValueError("is not JSON") from None
    if not beyond_doubt:
        _check(value, depth=0)
    return value


def _check(value: object, *, depth: int) -> None:
    """Refuse what Python's parser lets through and JSON or a store would not."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth=depth)
            _check(item, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth=depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("has a number that is not finite")
    elif isinstance(value, str) and not _is_unicode(value):
        raise ValueError("has text that is not Unicode")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def member(value: object, name: str) -> Any:
    """The member of that name in any letter case, the exact one first; None where there is none."""
    # A dict and what is absent are told at once, an abstract class is not.
    if value is None or (not isinstance(value, dict) and not isinstance(value, Mapping)):
        return None
    if name in value:
        return value[name]
    folded = name.lower()
    for key in value:
        if key.lower() == folded:
            return value[key]
    return None


def text_of(value: object, name: str) -> str | None:
    """A member that is text, or a number as text."""
    found = member(value, name)
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else None


def number_of(value: object, name: str) -> int | None:
    """A member that is a whole number of sane size, or such a number as text."""
    found = member(value, name)
    if type(found) is int:  # no bool is
        return found if abs(found) <= _LARGEST else None
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < len(str(_LARGEST)):
        return int(found)
    return None


def instant_of(value: object, name: str) -> datetime | None:
    """A member that is an ISO 8601 time, in UTC; without an offset it is meant so."""
    found = member(value, name)
    if not isinstance(found, str):
        return None
    try:
        time = datetime.fromisoformat(found)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
