"""Rows that this version cannot read: a newer transferkit wrote them, or they are damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, final

from attrs import field, frozen

from transferkit._lifecycle import CallKey
from transferkit._util.redaction import safe_id, safe_repr
from transferkit.codec import decode
from transferkit.errors import StoreError
from transferkit.events import Event, event_class

__all__ = ["UNREADABLE_ADVICE", "UnreadableEvent", "UnreadableRow", "readable", "unreadable_event"]

UNREADABLE_ADVICE: Final = (
    "What to do: upgrade this process if a newer transferkit wrote it; if not, restore the row from a backup"
)
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)


@final
@frozen(kw_only=True)
class UnreadableEvent:
    """Takes the place of an event whose row cannot be read. Only its position and its call are certain.

    `id`, `kind`, `transfer_id` and `time` are what could still be read from the row. `problem` says what is
    wrong with the row, and quotes no other data of it.
    """

    provider: str
    call_id: str = field(repr=safe_repr)
    sequence: int
    partition: int
    position: int
    problem: str
    id: str | None = None
    kind: str | None = None
    transfer_id: str | None = None
    time: datetime | None = None

    def __str__(self) -> str:
        return (
            f"event {self.sequence} of call {self.provider}:{safe_id(self.call_id)} cannot be read "
            f"(position {self.position} of the log, partition {self.partition}): {self.problem}"
        )


class UnreadableRow(StoreError):
    """One row cannot be read. Other rows are not affected. `call` is the call that the row belongs to."""

    def __init__(self, what: str, call: CallKey | None = None) -> None:
        super().__init__(f"{what}. {UNREADABLE_ADVICE}")
        self.what = what
        self.call = call

    def __reduce__(self) -> tuple[type[UnreadableRow], tuple[str, CallKey | None]]:
        return type(self), (self.what, self.call)


def readable(event: Event | UnreadableEvent) -> Event:
    """The event. Raises `UnreadableRow` if it cannot be read."""
    if isinstance(event, UnreadableEvent):
        raise UnreadableRow(str(event), CallKey(event.provider, event.call_id))
    return event


def unreadable_event(
    stored: str, error: Exception, *, call: CallKey, sequence: int, partition: int, position: int
) -> UnreadableEvent:
    """The replacement for an event whose stored JSON raised `error`."""
    row = _object(stored)
    kind, time = _name(row.get("kind")), None
    with suppress(Exception):  # cattrs raises many types of errors
        time = decode(datetime, row["time"])
    return UnreadableEvent(
        provider=call.provider,
        call_id=call.id,
        sequence=sequence,
        partition=partition,
        position=position,
        problem=_problem(row, kind, error),
        id=_name(row.get("id")),
        kind=kind,
        transfer_id=_name(row.get("transfer_id")),
        time=time,
    )


def _object(stored: str) -> Mapping[str, Any]:
    """The row's JSON object; empty if the row is not a JSON object."""
    with suppress(ValueError, RecursionError):
        row = json.loads(stored)
        if isinstance(row, dict):
            return row
    return {}


def _name(value: object) -> str | None:
    """The value if it is an id or a kind as this library writes them. Anything else may be private data."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) and safe_id(value) == value else None


def _problem(row: Mapping[str, Any], kind: str | None, error: Exception) -> str:
    if not row:
        return "it is not a JSON object"
    try:
        event_class(kind or "")
    except KeyError:
        return f"this version has no kind {kind!r}" if kind else "it has no kind"
    return f"its fields are not those of {kind} in this version ({type(error).__name__})"
