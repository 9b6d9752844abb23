"""What a JSON value has to look like: small checks, put together into the types of Graph's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transferkit.provider.urls import is_loopback, split_url

__all__ = [
    "Check",
    "Unacceptable",
    "address",
    "any_of",
    "boolean",
    "list_of",
    "one_of",
    "record",
    "text",
    "typed",
    "whole",
]

Check = Callable[[object, str], None]
"""Raises `Unacceptable` for a bad value; the second argument says where it stands."""


class Unacceptable(Exception):
    """A body that Graph answers with 400; the text says where and why, for people."""


def text(value: object, where: str) -> None:
    """Any text but the empty one."""
    if not isinstance(value, str) or not value:
        raise Unacceptable(f"{where}: expected text")


def boolean(value: object, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise Unacceptable(f"{where}: expected true or false")


def address(value: object, where: str) -> None:
    """Where callbacks go: https, as Graph asks for; on this very machine also without TLS."""
    text(value, where)
    parts = split_url(str(value))
    if not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
        raise Unacceptable(f"{where}: expected an https address")


def whole(least: int, most: int) -> Check:
    """A whole number in that range."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Unacceptable(f"{where}: expected a whole number from {least} to {most}")

    return check


def one_of(*words: str) -> Check:
    """One of these words, in whichever letter case."""
    known = {word.lower() for word in words}

    def check(value: object, where: str) -> None:
        if not isinstance(value, str) or value.lower() not in known:
            raise Unacceptable(f"{where}: expected one of {', '.join(words)}")

    return check


def typed(*names: str) -> Check:
    """The name of one of these types, with or without its number sign."""
    return one_of(*(f"{mark}microsoft.graph.{name}" for name in names for mark in ("#", "")))


def list_of(item: Check, least: int, most: int) -> Check:
    """A list of so many of these."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Unacceptable(f"{where}: expected a list of {least} to {most}")
        for index, each in enumerate(value):
            item(each, f"{where}[{index}]")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """An object of these fields and no others; an optional field may be null."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise Unacceptable(f"{where}: expected an object")
        for name in required:
            if value.get(name) is None:
                raise Unacceptable(f"{where}.{name}: is missing")
        for name, item in value.items():
            known = required.get(name) or optional.get(name)
            if known is None:
                raise Unacceptable(f"{where}.{name}: is no property of this type")
            if item is not None:
                known(item, f"{where}.{name}")

    return check


def any_of(checks: Mapping[str, Check]) -> Check:
    """An object that is of one of these types, as its `@odata.type` says."""
    types = {name.lower(): check for name, check in checks.items()}

    def check(value: object, where: str) -> None:
        given: Any = value.get("@odata.type") if isinstance(value, Mapping) else None
        name = given.rpartition(".")[2].lower() if isinstance(given, str) else ""
        if name not in types:
            raise Unacceptable(f"{where}: expected a type, one of {', '.join(checks)}")
        types[name](value, where)

    return check
