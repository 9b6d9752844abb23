"""Reading somebody else's JSON without ever failing on it: names in any letter case, values of any type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from transferkit_microsoft.lenient import number

from transferkit.provider import json

__all__ = ["instant_of", "member", "number_of", "read_json", "text_of"]


def read_json(body: bytes) -> Any:
    """A JSON value, of any depth. Raises `ValueError` that says what is wrong."""
    try:
        return json.read_json(body)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


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
    """A member that is a whole number, or such a number as text."""
    return number(member(value, name))


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
