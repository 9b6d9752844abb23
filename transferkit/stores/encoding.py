"""Values of this library as the JSON text that a store keeps, and back."""

from __future__ import annotations

import json
from typing import Final, TypeVar

from transferkit._lifecycle import CallKey, CallState, Opened
from transferkit._util.redaction import safe_id
from transferkit.codec import decode, encode
from transferkit.events import Event, Outcome
from transferkit.stores.contract import StoredTransfer
from transferkit.stores.unreadable import UnreadableEvent, UnreadableRow, unreadable_event

__all__ = ["event_from_json", "request_from_json", "state_from_json", "to_json"]

T = TypeVar("T")

_WRITER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def to_json(value: object) -> str:
    """A value as JSON in ASCII, which escapes text that a database cannot store (NUL, lone surrogates)."""
    return _WRITER.encode(encode(value))


def event_from_json(
    stored: str, *, call: CallKey, sequence: int, partition: int, position: int
) -> Event | UnreadableEvent:
    """The event that `to_json` wrote, or what to return in its place if this version cannot read it."""
    try:
        return decode(Event, _parsed(stored))
    except Exception as error:  # noqa: BLE001 - cattrs raises many types; each means that the row is unreadable
        return unreadable_event(
            stored, error, call=call, sequence=sequence, partition=partition, position=position
        )


def state_from_json(stored: str, *, call: CallKey) -> CallState:
    """The call's state that `to_json` wrote. Raises `UnreadableRow`."""
    return _read(CallState, stored, f"the state of call {_shown(call)}", call)


def request_from_json(opened: str, outcome: str | None, *, transfer_id: str, call: CallKey) -> StoredTransfer:
    """A request and its outcome, if it has one. Raises `UnreadableRow`."""
    of = f"of transfer {safe_id(transfer_id)} (call {_shown(call)})"
    # The class of an outcome depends on its kind, as for every event.
    ended = None if outcome is None else _read(Event, outcome, f"the outcome {of}", call)
    return StoredTransfer(
        opened=_read(Opened, opened, f"the request {of}", call),
        outcome=ended if isinstance(ended, Outcome) else None,
    )


def _read(cls: type[T], stored: str, what: str, call: CallKey) -> T:
    try:
        return decode(cls, _parsed(stored))
    except Exception as error:  # noqa: BLE001 - as above
        # `from None`: the text of the cause quotes the data.
        raise UnreadableRow(f"{what} cannot be read ({type(error).__name__})", call) from None


def _parsed(stored: str) -> object:
    if not stored.isascii():
        raise ValueError("the stored JSON is not ASCII")
    return json.loads(stored)


def _shown(call: CallKey) -> str:
    return f"{call.provider}:{safe_id(call.id)}"
