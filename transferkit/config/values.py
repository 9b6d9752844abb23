"""Converts the values of a configuration to the types of its settings classes, strictly.

Text is not accepted for a number, except from an environment variable, which has only text. Every problem of
a table is reported with its key, its value and what is accepted. No secret is resolved or shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, final, get_args, get_origin, get_type_hints

from attrs import NOTHING, evolve, fields, frozen

from transferkit._util.redaction import MASK, redact
from transferkit.errors import Problem
from transferkit.provider.secret import Secret

__all__ = ["EnvText", "Limit", "read_table", "show", "unknown_key"]

_FORMS: Final = 'text, { env = "NAME" } or { file = "path" }'
"""The forms of a secret."""


class EnvText(str):
    """The value of an environment variable, which may stand for a number."""

    __slots__ = ()


@final
@frozen
class Limit:
    """Restricts the values of an annotated type to those that `allows` accepts; `accepts` says which."""

    accepts: str
    allows: Callable[[Any], bool]


def read_table(data: object, cls: type[Any], key: str, base: Path, problems: list[Problem]) -> Any:
    """Make a settings object from a table, or add what is wrong to `problems` and return None.

    `cls` is an attrs class. Its fields are of type `str`, `bool`, `int`, `float`, `timedelta` (seconds),
    `Path` (relative to `base`), `Secret`, a `StrEnum`, `tuple[str, ...]` or a protocol (for an object from
    Python), or one of these and `None`. Raises `TypeError` for another type.
    """
    if not isinstance(data, Mapping):
        problems.append(Problem(key, f"{show(data)} is not a table", "a table"))
        return None
    values: dict[str, Any] = {}
    found = [*_unknown_keys(data, cls, key), *_read_fields(data, cls, key, base, values)]
    if found:
        problems.extend(found)
        return None
    try:
        settings = cls(**values)
    except Exception as error:  # noqa: BLE001 - a validator of an adapter's settings may raise anything
        problems.append(Problem(key, redact(str(error))))
        return None
    names = (attribute.name for attribute in fields(cls))
    secrets = {name: value for name in names if isinstance(value := getattr(settings, name), Secret)}
    return evolve(settings, **{name: evolve(value, key=f"{key}.{name}") for name, value in secrets.items()})


def _unknown_keys(data: Mapping[str, Any], cls: type[Any], key: str) -> Iterator[Problem]:
    known = [attribute.name for attribute in fields(cls)]
    for name in data:
        if name not in known:
            yield unknown_key(f"{key}.{name}", known)


def unknown_key(key: str, known: Collection[str]) -> Problem:
    """The problem of a key, written with its tables, whose last part is none of the known ones."""
    name = key.rpartition(".")[2].lower().replace("-", "_")
    similar = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {similar[0]}?" if similar else ""
    return Problem(key, f"is not a known key{hint}", ", ".join(known))


def _read_fields(
    data: Mapping[str, Any], cls: type[Any], key: str, base: Path, values: dict[str, Any]
) -> Iterator[Problem]:
    """Put each field's value into `values`, or yield its problem."""
    hints = get_type_hints(cls, include_extras=True)
    for attribute in fields(cls):
        name, hint = attribute.name, hints[attribute.name]
        if name in data:
            try:
                values[name] = _read(data[name], hint, base)
            except _Invalid as error:
                yield Problem(f"{key}.{name}", str(error), error.accepts)
        elif attribute.default is NOTHING:
            yield Problem(f"{key}.{name}", "is missing", _reader(_without_none(hint))[1])


def show(value: object) -> str:
    """A value as problems show it, without phone numbers and secrets."""
    return redact(repr(str(value) if isinstance(value, EnvText) else value))


# --- one value ----------------------------------------------------------------------------------------


class _Invalid(Exception):
    """A value that its key does not accept."""

    def __init__(self, message: str, accepts: str) -> None:
        super().__init__(message)
        self.accepts = accepts


def _read(data: Any, hint: Any, base: Path) -> Any:
    kind, limit = _without_none(hint), None
    if data is None and kind is not hint:
        return None
    if get_origin(kind) is Annotated:
        kind, limit = get_args(kind)
    reader, accepts = _reader(kind)
    try:
        value = reader(data, kind, base)
    except (TypeError, ValueError, OverflowError):
        hidden = kind is Secret or _is_protocol(kind)
        message = f"a {type(data).__name__} is not accepted" if hidden else f"got {show(data)}"
        raise _Invalid(message, accepts) from None
    if limit is not None and not limit.allows(value):
        shown = show(_without_secrets(data) if isinstance(data, str) else data)
        raise _Invalid(f"got {shown}", limit.accepts)
    return value


def _without_none(hint: Any) -> Any:
    """`X` for the type `X | None`, and for `X`."""
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    return hint


def _without_secrets(url: str) -> str:
    """A URL, or text that was meant as one, without its user name, query and fragment."""
    url = re.sub("//.*@", f"//{MASK}@", url, flags=re.DOTALL)
    return re.sub("([?#]).*", rf"\1{MASK}", url, flags=re.DOTALL)


# The readers raise `TypeError`, `ValueError` or `OverflowError` for a value that is not accepted.


def _read_text(data: Any, _: type = str, __: object = None) -> str:
    if not isinstance(data, str) or not data.strip():  # a key with empty text is not one that is left out
        raise ValueError
    return str(data)


def _read_texts(data: Any, _: type, __: Path) -> tuple[str, ...]:
    if isinstance(data, EnvText):
        data = [part.strip() for part in data.split(",") if part.strip()]
    if not isinstance(data, (list, tuple)) or not data:
        raise ValueError
    return tuple(_read_text(item) for item in data)


def _read_bool(data: Any, _: type, __: Path) -> bool:
    if isinstance(data, EnvText) and data.lower() in {"true", "false", "1", "0"}:
        return data.lower() in {"true", "1"}
    if not isinstance(data, bool):
        raise TypeError
    return data


def _read_number(data: Any, kind: type, _: object = None) -> Any:
    accepted = (EnvText, int) if kind is int else (EnvText, int, float)
    if isinstance(data, bool) or not isinstance(data, accepted):
        raise TypeError
    return kind(data)


def _read_seconds(data: Any, _: type, __: Path) -> timedelta:
    seconds = _read_number(data, float)
    if not 0 <= seconds < timedelta.max.total_seconds():
        raise ValueError
    return timedelta(seconds=seconds)


def _read_path(data: Any, _: type, base: Path) -> Path:
    if not isinstance(data, (str, Path)) or not str(data).strip():
        raise ValueError
    return base / data


def _read_enum(data: Any, kind: type[StrEnum], _: Path) -> StrEnum:
    return kind(_read_text(data))


def _read_object(data: Any, kind: type, _: Path) -> object:
    if isinstance(data, type) or not isinstance(data, kind):
        raise TypeError
    return data


def _read_secret(data: Any, _: type, base: Path) -> Secret:
    match data:
        case str(text) | {"env": str(text)} | {"file": str(text)} if not text.strip():
            raise _Invalid("got ''", _FORMS)
        case str():
            return Secret(value=str(data))
        case {"env": str(name), **rest} if not rest:
            return Secret(env=str(name))
        case {"file": str(name), **rest} if not rest:
            return Secret(file=base / str(name))
        case _:
            raise ValueError


_Reader = Callable[[Any, Any, Path], Any]
_TYPES: Final[Mapping[Any, tuple[_Reader, str]]] = {
    str: (_read_text, "text, not empty"),
    tuple[str, ...]: (_read_texts, "a list of text, one or more, not empty"),
    bool: (_read_bool, "true or false"),
    int: (_read_number, "a whole number"),
    float: (_read_number, "a number"),
    timedelta: (_read_seconds, "seconds, not negative"),
    Path: (_read_path, "a path"),
    Secret: (_read_secret, _FORMS),
}


def _reader(kind: Any) -> tuple[_Reader, str]:
    """The function that reads a value of this type, and in words what it accepts."""
    if kind in _TYPES:
        return _TYPES[kind]
    if _is_protocol(kind):
        return _read_object, f"a {kind.__name__} object, from Python only"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _read_enum, ", ".join(member.value for member in kind)
    raise TypeError(f"settings cannot have a field of type {kind}")


def _is_protocol(kind: Any) -> bool:
    """Whether a field of this type takes an object from Python code, which no file can contain."""
    return bool(getattr(kind, "_is_protocol", False))
