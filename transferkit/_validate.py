"""attrs validators whose messages never show the value: it may be a phone number or a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Attribute

__all__ = ["is_a", "is_text", "maybe"]

Validator = Callable[[Any, "Attribute[Any]", Any], None]


def is_a(cls: type[object], *, hint: str | None = None) -> Validator:
    """The value is a `cls`; raises `TypeError` that names the field and what was given."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            more = f"; {hint}" if hint else ""
            raise TypeError(f"{attribute.name}: expected {cls.__name__}, got {type(value).__name__}{more}")

    return check


def is_text(*, empty: bool = False) -> Validator:
    """The value is text, not empty unless allowed."""
    check_type = is_a(str)

    def check(instance: object, attribute: Attribute[Any], value: object) -> None:
        check_type(instance, attribute, value)
        if not value and not empty:
            raise ValueError(f"{attribute.name}: may not be empty")

    return check


def maybe(validator: Validator) -> Validator:
    """None, or what `validator` allows."""

    def check(instance: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check
