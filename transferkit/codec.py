"""Conversion of values to JSON and back without loss, for stores, the command line and fingerprints.

An identifier is its raw id, or an object with `id` and the fields that the raw id does not contain. A time is
ISO 8601, a time span is seconds. An event has its `kind`, a request its `type`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from hashlib import sha256
from types import NoneType
from typing import Any, TypeVar, get_args

from attrs import evolve, fields
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from transferkit._util.frozenmap import FrozenMap, freeze, thaw
from transferkit.events import Event, event_class
from transferkit.identifiers import Identifier, PhoneNumber, parse_identifier
from transferkit.requests import CommonFields, Request

__all__ = ["decode", "encode", "fingerprint", "to_json_line"]

T = TypeVar("T")

_SORTED = json.JSONEncoder(sort_keys=True)
_NOT_IN_RAW_ID = ("tenant_id", "display_name", "cloud", "anonymous")
_REQUESTS: dict[str, type[Request]] = {cls.kind.value: cls for cls in get_args(Request)}


def encode(value: object) -> Any:
    """Return a value of this library as JSON (dicts, lists, text, numbers)."""
    return _converter().unstructure(value)


def decode(cls: type[T], data: object) -> T:
    """Return the value that `encode` wrote. Raises `ValueError` or a cattrs error for other data."""
    return _converter().structure(data, cls)


def to_json_line(event: Event) -> str:
    """Return an event as one line of JSON."""
    return json.dumps(encode(event), ensure_ascii=False)


def fingerprint(request: Request) -> str:
    """Return a digest that is equal for equal requests, whatever their idempotency keys."""
    content = encode(request)
    content.pop("idempotency_key", None)
    return sha256(_SORTED.encode(content).encode()).hexdigest()


def _write_identifier(identifier: Identifier) -> Any:
    """Return the raw id if it is complete, else an object with the fields that it does not contain."""
    raw_id = identifier.raw_id
    parsed = parse_identifier(raw_id)
    if parsed == identifier:
        return raw_id
    more = {name: getattr(identifier, name, None) for name in _NOT_IN_RAW_ID}
    return {
        "id": raw_id,
        **{name: _plain(value) for name, value in more.items() if value != getattr(parsed, name, None)},
    }


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _read_identifier(data: object, _: type) -> Identifier:
    if isinstance(data, str):
        return parse_identifier(data)
    if not isinstance(data, Mapping):
        raise TypeError("an identifier is its raw id, or an object with an id")
    parsed = parse_identifier(str(data["id"]))
    names = {attribute.name for attribute in fields(type(parsed))}
    more = {name: data[name] for name in _NOT_IN_RAW_ID if name in data and name in names}
    return evolve(parsed, **more)


def _read_number(data: object, cls: type) -> PhoneNumber:
    identifier = _read_identifier(data, cls)
    if not isinstance(identifier, PhoneNumber):
        raise TypeError("not a phone number")
    return identifier


def _read_time(data: object, _: type) -> datetime:
    time = datetime.fromisoformat(str(data))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read_json_map(data: object, cls: Any) -> Any:
    if not isinstance(data, Mapping):
        raise TypeError("expected a JSON object")
    item = (get_args(cls) or (Any,))[-1]
    if item in {Any, object, str}:
        return freeze(data)
    return FrozenMap({str(key): _converter().structure(value, item) for key, value in data.items()})


@cache
def _converter() -> Converter:
    converter = Converter(omit_if_default=True, forbid_extra_keys=True)
    converter.register_unstructure_hook_func(_is(Identifier), _write_identifier)
    converter.register_structure_hook_func(_is(Identifier), _read_identifier)
    converter.register_structure_hook_func(lambda cls: cls is PhoneNumber, _read_number)  # goes before
    converter.register_unstructure_hook_func(_is(Enum), _plain)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, _read_time)
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_structure_hook(timedelta, lambda data, _: timedelta(seconds=float(data)))
    converter.register_structure_hook_func(_is_map, _read_json_map)
    converter.register_unstructure_hook_func(_is_map, _write_map)
    _tag(converter, Event, "kind", lambda value: value.kind, event_class)
    _tag(converter, CommonFields, "type", lambda value: value.kind.value, _REQUESTS.__getitem__)
    converter.register_structure_hook_func(
        _is_union_of_events, lambda data, _: None if data is None else converter.structure(data, Event)
    )
    converter.register_structure_hook_func(
        lambda cls: cls == Request, lambda data, _: converter.structure(data, _REQUESTS[data["type"]])
    )
    return converter


def _write_map(value: object) -> Any:
    if isinstance(value, FrozenMap) and any(isinstance(item, Identifier) for item in value.values()):
        return {key: _write_identifier(item) for key, item in value.items()}
    return thaw(value)


def _is(base: type) -> Any:
    return lambda cls: isinstance(cls, type) and issubclass(cls, base)


def _is_union_of_events(cls: Any) -> bool:
    kinds = [kind for kind in get_args(cls) if kind is not NoneType]
    return len(kinds) > 1 and all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds)


def _is_map(cls: Any) -> bool:
    origin = getattr(cls, "__origin__", cls)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _tag(converter: Converter, base: type, key: str, tag: Any, find: Any) -> None:
    """Write `base` and its subclasses with a tag, and read the class by the tag."""

    def write_for(cls: type) -> Any:
        plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(
            cls, converter, _cattrs_omit_if_default=True
        )

        return lambda value: {key: tag(value), **plain(value)}

    def read_for(_: type) -> Any:
        plain: dict[type, Any] = {}

        def read(data: Any, _cls: type) -> Any:
            found = find(data[key])
            if found not in plain:
                plain[found] = make_dict_structure_fn(found, converter, _cattrs_forbid_extra_keys=True)
            return plain[found]({name: value for name, value in data.items() if name != key}, found)

        return read

    converter.register_unstructure_hook_factory(_is(base), write_for)
    converter.register_structure_hook_factory(_is(base), read_for)
