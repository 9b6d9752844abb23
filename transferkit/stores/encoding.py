"""Values of this library as the text that a store keeps, and back."""

from __future__ import annotations

import json
from typing import Final, TypeVar, final

from transferkit.codec import decode, encode
from transferkit.errors import StoreError
from transferkit.lifecycle import CallState

__all__ = ["StateCache", "from_json", "to_json"]

T = TypeVar("T")

_STATES_KEPT: Final = 1024
_WRITER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def to_json(value: object) -> str:
    """A value as JSON in ASCII: what text cannot be stored otherwise (NUL, lone surrogates) is escaped."""
    return _WRITER.encode(encode(value))


def from_json(cls: type[T], stored: str) -> T:
    """The value that `to_json` wrote. Raises `StoreError` for what this version cannot read."""
    try:
        return decode(cls, json.loads(stored))
    except Exception as error:  # noqa: BLE001 - cattrs has many kinds, and all mean the same here
        # Without the cause: its text quotes the data.
        raise StoreError(
            f"the store holds a {cls.__name__} that cannot be read ({type(error).__name__}). "
            "What to do: was it written by a newer transferkit? Then upgrade this process"
        ) from None


@final
class StateCache:
    """The last states that were written, each beside its JSON: what is stored as such need not be decoded."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, CallState]] = {}

    def read(self, number: int, stored: str) -> CallState:
        """The state of the call of that number. Raises as `from_json` does."""
        known = self._known.get(number)
        return known[1] if known and known[0] == stored else from_json(CallState, stored)

    def write(self, number: int, state: CallState) -> str:
        """The state's JSON."""
        stored = to_json(state)
        self.keep(number, stored, state)
        return stored

    def keep(self, number: int, stored: str, state: CallState) -> None:
        """Remember the state of the call of that number, and how it was written."""
        self._known.pop(number, None)
        self._known[number] = stored, state
        if len(self._known) > _STATES_KEPT:
            del self._known[next(iter(self._known))]
