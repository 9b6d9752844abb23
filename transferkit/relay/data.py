"""The data of an event as other programs receive it: one table of fields for the JSON and for its schema.

The fields come from the event classes. What identifies people is left out, unless `[relay]` includes it:

* raw: texts and maps that the provider wrote and that may contain anything (`raw`, SIP and VoIP headers).
* names: display names.
* numbers: identifiers that can be dialled, and phone numbers in texts.

A field without a value is absent. A time is RFC 3339, a time span is seconds, an identifier is an object.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, Union, final, get_args, get_origin, get_type_hints

from attrs import fields, frozen, has

from transferkit._util.frozenmap import thaw
from transferkit._util.redaction import redact
from transferkit.config import RelayConfig
from transferkit.events import Event
from transferkit.identifiers import CommunicationUser, Identifier, TeamsApp, TeamsExtensionUser, TeamsUser

__all__ = ["JsonObject", "definitions", "event_data", "event_schema", "type_name"]

JsonObject: TypeAlias = dict[str, Any]


_Write: TypeAlias = Callable[[Any, RelayConfig], Any]

_ASSIGNED: Final = (TeamsUser, TeamsApp, CommunicationUser, TeamsExtensionUser)
"""Identifiers whose ids a directory assigns. All others may be dialled: a new class is left out."""


@final
@frozen
class _Kind:
    """How values of one type are written, and their JSON Schema."""

    write: _Write
    schema: JsonObject


@final
@frozen
class _Field:
    """One field of a class. `needs` is the key of `[relay]` without which the field is left out."""

    name: str
    kind: _Kind
    required: bool
    needs: str | None


def event_data(event: Event, config: RelayConfig) -> JsonObject:
    """Return an event as JSON. Every key is a property of `event_schema`."""
    return {"kind": event.kind, **_object(event, config)}


def event_schema(cls: type[Event]) -> JsonObject:
    """Return the JSON Schema of an event class. It refers to the `definitions`."""
    schema = _object_schema(cls)
    return {
        **schema,
        "properties": {"kind": {"const": cls.kind}, **schema["properties"]},
        "required": ["kind", *schema["required"]],
    }


def definitions(classes: tuple[type[Event], ...]) -> dict[str, JsonObject]:
    """Return the schemas that those of the classes refer to: enums, identifiers and parts of events."""
    found: dict[str, JsonObject] = {}
    pending: list[Any] = [hint for cls in classes for hint in get_type_hints(cls).values()]
    while pending:
        hint = pending.pop()
        pending += get_args(hint)
        if not isinstance(hint, type) or hint.__name__ in found:
            continue
        if issubclass(hint, Enum):
            found[hint.__name__] = {"type": "string", "enum": [member.value for member in hint]}
        elif issubclass(hint, Identifier):
            found[Identifier.__name__] = _IDENTIFIER
        elif has(hint) and not issubclass(hint, Event):
            found[hint.__name__] = _object_schema(hint)
            pending += get_type_hints(hint).values()
    return dict(sorted(found.items()))


def type_name(cls: type[Identifier]) -> str:
    """The `type` of an identifier in the data: `phone_number` for `PhoneNumber`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


# --- classes ------------------------------------------------------------------------------------------


def _object(value: Any, config: RelayConfig) -> JsonObject:
    written: JsonObject = {}
    for part in _fields_of(type(value)):
        content = getattr(value, part.name)
        if content is None or (part.needs is not None and not getattr(config, part.needs)):
            continue
        result = part.kind.write(content, config)
        if result not in (None, [], {}):
            written[part.name] = result
    return written


def _object_schema(cls: type[Any]) -> JsonObject:
    parts = _fields_of(cls)
    return {
        "title": cls.__name__,
        "description": inspect.getdoc(cls) or "",
        "type": "object",
        "properties": {part.name: part.kind.schema for part in parts},
        "required": [part.name for part in parts if part.required],
    }


def _fields_of(cls: type[Any]) -> tuple[_Field, ...]:
    found = _TABLES.get(cls)
    if found is None:
        found = _TABLES[cls] = tuple(_read_fields(cls))
    return found


_TABLES: Final[dict[type[Any], tuple[_Field, ...]]] = {}


def _read_fields(cls: type[Any]) -> Iterator[_Field]:
    hints, cls_is_event = get_type_hints(cls), issubclass(cls, Event)
    for attribute in fields(cls):
        hint, optional = _without_none(hints[attribute.name])
        needs = _needs(attribute.name, hint, hidden=attribute.repr is False)
        try:
            kind = _kind(hint, exact=cls_is_event and attribute.name in _IDS)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{attribute.name}: {error}") from None
        always = not optional and needs is None and get_origin(hint) is not tuple
        yield _Field(attribute.name, kind, always, needs)


def _needs(name: str, hint: Any, *, hidden: bool) -> str | None:
    """The key of `[relay]` that includes a field. A field that a `repr` hides contains a name or anything."""
    if name.endswith("display_name"):
        return "names"
    return "raw" if hidden or _is_map(hint) else None


_IDS: Final = frozenset({"id", "call_id", "correlation_id", "transfer_id"})
"""The fields of an event whose texts stay as they are, because they say what the event belongs to."""


# --- types --------------------------------------------------------------------------------------------


def _kind(hint: Any, *, exact: bool = False) -> _Kind:
    """Raises `TypeError` for a type that has no JSON form here."""
    if get_origin(hint) is tuple:
        item = _kind(get_args(hint)[0], exact=exact)
        return _Kind(
            lambda values, config: [item.write(value, config) for value in values],
            {"type": "array", "items": item.schema},
        )
    if _is_map(hint):
        return _Kind(lambda value, _: thaw(value), {"type": "object"})
    if hint is str:
        return _EXACT_TEXT if exact else _TEXT
    return _PLAIN.get(hint) or _kind_of_class(hint)


def _kind_of_class(hint: Any) -> _Kind:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Kind(lambda value, _: value.value, _reference(hint))
    if isinstance(hint, type) and issubclass(hint, Identifier):
        return _Kind(_write_identifier, _reference(Identifier))
    if isinstance(hint, type) and has(hint):
        return _Kind(_object, _reference(hint))
    raise TypeError(f"events cannot have a field of type {hint}: add its JSON form to transferkit.relay.data")


def _reference(cls: type[Any]) -> JsonObject:
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _without_none(hint: Any) -> tuple[Any, bool]:
    """`X` and True for the type `X | None`; the type itself and False for another."""
    if get_origin(hint) in {Union, UnionType}:
        options = [option for option in get_args(hint) if option is not NoneType]
        if len(options) == 1:
            return options[0], True
    return hint, False


def _is_map(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _write_text(text: str, config: RelayConfig) -> str:
    return text if config.numbers else redact(text)


def _write_time(time: datetime, _: RelayConfig) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _write_identifier(identifier: Identifier, config: RelayConfig) -> JsonObject:
    raw_id = identifier.raw_id
    assigned = isinstance(identifier, _ASSIGNED) and redact(raw_id) == raw_id
    shown = {
        "id": raw_id if assigned or config.numbers else None,
        "tenant_id": getattr(identifier, "tenant_id", None),
        "display_name": getattr(identifier, "display_name", None) if config.names else None,
    }
    return {"type": type_name(type(identifier)), **{key: text for key, text in shown.items() if text}}


_TEXT: Final = _Kind(_write_text, {"type": "string"})
_EXACT_TEXT: Final = _Kind(lambda text, _: text, {"type": "string"})
_PLAIN: Final[Mapping[Any, _Kind]] = {
    bool: _Kind(lambda value, _: value, {"type": "boolean"}),
    int: _Kind(lambda value, _: value, {"type": "integer"}),
    datetime: _Kind(_write_time, {"type": "string", "format": "date-time"}),
    timedelta: _Kind(
        lambda value, _: value.total_seconds(), {"type": "number", "description": "A time span in seconds."}
    ),
}
_IDENTIFIER: Final[JsonObject] = {
    "title": Identifier.__name__,
    "description": "A participant of a call. `id` is absent if it is a number or address that is left out.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "id": {"type": "string"},
        "tenant_id": {"type": "string"},
        "display_name": {"type": "string"},
    },
    "required": ["type"],
}
