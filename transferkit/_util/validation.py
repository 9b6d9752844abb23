"""attrs converters and validators. Their messages never show the value, as it may be a number or a secret.

A converter returns a value that it does not understand unchanged. The field's validator then refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from attrs import Attribute

from transferkit._util.frozenmap import FrozenMap, freeze

__all__ = ["as_json", "as_map", "as_span", "as_word", "is_a", "is_map_of", "is_text", "is_word", "maybe"]

Validator = Callable[[Any, "Attribute[Any]", Any], None]


def is_a(cls: type[object], *, hint: str | None = None) -> Validator:
    """Require an instance of `cls`. Raises `TypeError` with the field and the given type."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            more = f"; {hint}" if hint else ""
            raise TypeError(f"{attribute.name}: expected {cls.__name__}, got {type(value).__name__}{more}")

    return check


def is_text(*, empty: bool = False) -> Validator:
    """Require text, which may be empty only if `empty` is true."""
    check_type = is_a(str)

    def check(instance: object, attribute: Attribute[Any], value: object) -> None:
        check_type(instance, attribute, value)
        if not value and not empty:
            raise ValueError(f"{attribute.name}: may not be empty")

    return check


def is_word(cls: type[StrEnum]) -> Validator:
    """Require a member of a closed set of words."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            words = ", ".join(cls)
            raise ValueError(f"{attribute.name}: expected one of {words}")  # noqa: TRY004 - a wrong word is a wrong value

    return check


def is_map_of(cls: type[object]) -> Validator:
    """Require a `FrozenMap` whose values are instances of `cls`."""
    wanted = f"a mapping from text to {cls.__name__}"

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, FrozenMap):
            raise TypeError(f"{attribute.name}: expected {wanted}, got {type(value).__name__}")
        wrong = {type(item).__name__ for item in value.values() if not isinstance(item, cls)}
        if wrong:
            raise TypeError(f"{attribute.name}: expected {wanted}, got {', '.join(sorted(wrong))} in it")

    return check


def maybe(validator: Validator) -> Validator:
    """Allow None, and what `validator` allows."""

    def check(instance: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def as_word(cls: type[StrEnum], value: object) -> Any:
    """Convert a word to the member of `cls`."""
    return value if isinstance(value, cls) else next((member for member in cls if member == value), value)


def as_map(value: Any) -> Any:
    """Convert a mapping with text keys to a `FrozenMap`, and None to the empty one."""
    if value is None:
        return FrozenMap()
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return FrozenMap(value)
    return value


def as_json(value: Any) -> Any:
    """Convert a JSON object to a `FrozenMap`, frozen at every depth, and None to the empty one."""
    frozen = as_map(value)
    return freeze(frozen) if isinstance(frozen, FrozenMap) else frozen


def as_span(value: Any) -> Any:
    """Convert a number of seconds to a timedelta."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return timedelta(seconds=value)
        except (OverflowError, ValueError):  # infinite, NaN, or longer than any timedelta
            raise ValueError("a time span is a timedelta or a finite number of seconds") from None
    return value
