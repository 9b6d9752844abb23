"""JSON objects of Microsoft's services, in any letter case and with values of any type.

Names differ over time (`subcode`, `subCode`), numbers are also written as text, and a member that is null
means the same as one that is absent. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, final

__all__ = ["JsonObject", "normal_word", "number_of", "text_of"]

_MOST = 2**31 - 1  # Int32, in both published schemas


@final
class JsonObject(dict[str, Any]):
    """The members of a JSON object that are not null, by names in lower case; empty for any other value.

    The methods take names in lower case.
    """

    def __init__(self, value: object) -> None:
        members = value.items() if isinstance(value, Mapping) else ()
        super().__init__((name.lower(), item) for name, item in members if item is not None)

    def child(self, name: str) -> JsonObject:
        """A member that is an object, else an empty one."""
        return JsonObject(self.get(name))

    def array(self, name: str) -> list[Any]:
        """A member that is an array, else an empty one."""
        found = self.get(name)
        return found if isinstance(found, list) else []

    def text(self, name: str) -> str | None:
        """A member that is text and not empty, or a whole number as text."""
        return text_of(self.get(name)) or None

    def number(self, name: str) -> int | None:
        """A member that is a whole number, or such a number as text."""
        return number_of(self.get(name))

    def flag(self, name: str) -> bool | None:
        """A member that is true or false."""
        found = self.get(name)
        return found if isinstance(found, bool) else None

    def time(self, name: str) -> datetime | None:
        """A member that is an ISO 8601 time, in UTC. A time without an offset is in UTC."""
        try:
            found = datetime.fromisoformat(self.get(name))  # type: ignore[arg-type]  # raises TypeError
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return None


def normal_word(word: object) -> str:
    """A word of an enumeration in lower case, without hyphens and underscores; empty for any other value.

    `transferAccepted`, `TransferAccepted` and `transfer-accepted` are one word.
    """
    return word.replace("-", "").replace("_", "").lower() if isinstance(word, str) else ""


def text_of(value: object) -> str | None:
    """A text, or a whole number as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def number_of(value: object) -> int | None:
    """A whole number of 32 bits, also if it is written as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and len(value) <= len(str(_MOST)):
        value = int(value) if value.removeprefix("-").isdigit() else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) <= _MOST else None
