"""JSON values read in any spelling that Microsoft's services use. Nothing here raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["folded", "is_object", "number", "text_of"]

_MOST = 2**31 - 1  # Int32, in both published schemas


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is a JSON object. A dict and the usual other types are recognised without an ABC."""
    if isinstance(value, dict):
        return True
    return value is not None and not isinstance(value, (str, list)) and isinstance(value, Mapping)


def folded(value: object) -> dict[str, Any]:
    """A JSON object by its names in lower case, without nulls; empty for anything else.

    Names are spelled differently over time (`subcode`, `subCode`), and absent and null mean the same here.
    """
    if not isinstance(value, dict) and not is_object(value):
        return {}
    found: dict[str, Any] = {}
    for name, item in value.items():  # a comprehension takes longer before Python 3.12
        if item is not None:
            found[name.lower()] = item
    return found


def text_of(value: object) -> str | None:
    """`value` if it is text and not empty."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> int | None:
    """A whole number, also one that is written as text."""
    if type(value) is not int:  # nearly all are; a bool is not
        value = _whole(value)
    return value if value is not None and abs(value) <= _MOST else None


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and len(value) <= len(str(_MOST)):
        return int(value) if value.removeprefix("-").isdigit() else None
    return None
