"""Values of this library as the text that a store keeps, and back."""

from __future__ import annotations

import json
from typing import Final, TypeVar, final

from transferkit._lifecycle import CallKey, CallState, Opened
from transferkit._util.redaction import safe_id
from transferkit.codec import decode, encode
from transferkit.events import Event, Outcome
from transferkit.stores.contract import StoredTransfer
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["StateCache", "event_from_json", "request_from_json", "state_from_json", "to_json"]

T = TypeVar("T")

_STATES_KEPT: Final = 1024
_WRITER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def to_json(value: object) -> str:
    """A value as JSON in ASCII: what text cannot be stored otherwise (NUL, lone surrogates) is escaped."""
    return _WRITER.encode(encode(value))


def event_from_json(stored: str) -> Event:
    """The event that `to_json` wrote. Raises any `Exception` for what this version cannot read."""
    return decode(Event, _parsed(stored))


def state_from_json(stored: str, *, call: CallKey) -> CallState:
    """The call's state that `to_json` wrote. Raises `UnreadableRow`."""
    return _read(CallState, stored, f"the state of call {_shown(call)}", call)


def request_from_json(opened: str, outcome: str | None, *, transfer_id: str, call: CallKey) -> StoredTransfer:
    """A request, and its outcome once there is one. Raises `UnreadableRow`."""
    of = f"of transfer {safe_id(transfer_id)} (call {_shown(call)})"
    # An outcome is read as any event is: by its kind.
    ended = None if outcome is None else _read(Event, outcome, f"the outcome {of}", call)
    return StoredTransfer(
        opened=_read(Opened, opened, f"the request {of}", call),
        outcome=ended if isinstance(ended, Outcome) else None,
    )


def _read(cls: type[T], stored: str, what: str, call: CallKey) -> T:
    try:
        return decode(cls, _parsed(stored))
    except Exception as error:  # noqa: BLE001 - cattrs has many kinds, and all mean the same here
        # Without the cause: its text quotes the data.
        raise UnreadableRow(f"{what} cannot be read ({type(error).__name__})", call) from None


def _parsed(stored: str) -> object:
    if not stored.isascii():
        raise ValueError("is not what `to_json` writes")
    return json.loads(stored)


def _shown(call: CallKey) -> str:
    return f"{call.provider}:{safe_id(call.id)}"


@final
class StateCache:
    """The last states that were written, each beside its JSON: what is stored as such need not be decoded."""

    def __init__(self) -> None:
        self._known: dict[CallKey, tuple[str, CallState]] = {}

    def read(self, call: CallKey, stored: str) -> CallState:
        """The state of the call. Raises `UnreadableRow`."""
        known = self._known.get(call)
        return known[1] if known and known[0] == stored else state_from_json(stored, call=call)

    def write(self, call: CallKey, state: CallState) -> str:
        """The state's JSON."""
        stored = to_json(state)
        self._known.pop(call, None)
        self._known[call] = stored, state
        if len(self._known) > _STATES_KEPT:
            del self._known[next(iter(self._known))]
        return stored
