"""Checks of JSON request bodies against the shapes that a provider publishes.

    transfer = Record(
        required={"target": Record(required={"id": filled_text})},
        optional={"context": text},
        since={"context": "2023-10-15"},
    )
    problems = find_problems(transfer, body, version="2026-03-12")

A check is a function that yields a `Problem` for each mistake in a value. Checks combine into larger checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from attrs import frozen

from transferkit._util.frozenmap import EMPTY

__all__ = [
    "Check",
    "Problem",
    "Record",
    "anything_in_an_object",
    "boolean",
    "filled_text",
    "find_problems",
    "integer",
    "list_of",
    "map_of",
    "one_of",
    "or_null",
    "text",
]


@final
@frozen
class Problem:
    """One mistake: the path of the value in the body (`targets[0].id`, empty for the body) and a message."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'the body'} {self.message}"


Check = Callable[[object, str, str], Iterator[Problem]]
"""Arguments: the value, its path in the body, and the API version of the request."""


def find_problems(check: Check, body: object, *, version: str = "") -> list[Problem]:
    """All problems of a request body, in the order of its fields; missing fields come last."""
    return list(check(body, "", version))


def _value_check(is_valid: Callable[[Any], bool], message: str) -> Check:
    def check(value: object, path: str, _: str) -> Iterator[Problem]:
        if not is_valid(value):
            yield Problem(path, message)

    return check


text = _value_check(lambda value: isinstance(value, str), "must be text")
filled_text = _value_check(lambda value: isinstance(value, str) and value != "", "must be non-empty text")
boolean = _value_check(lambda value: isinstance(value, bool), "must be true or false")
anything_in_an_object = _value_check(lambda value: isinstance(value, Mapping), "must be an object")


def integer(least: int, most: int) -> Check:
    """An integer in this range, both ends included."""
    return _value_check(
        lambda value: type(value) is int and least <= value <= most,
        f"must be an integer from {least} to {most}",
    )


def one_of(*words: str) -> Check:
    """One of these words, in upper or lower case."""
    known = {word.lower() for word in words}
    return _value_check(
        lambda value: isinstance(value, str) and value.lower() in known, f"must be one of {', '.join(words)}"
    )


def or_null(check: Check) -> Check:
    """A value that satisfies `check`, or null."""

    def nullable(value: object, path: str, version: str) -> Iterator[Problem]:
        return iter(()) if value is None else check(value, path, version)

    return nullable


def list_of(item: Check, *, least: int = 0, most: int) -> Check:
    """A list of `least` to `most` values that each satisfy `item`."""

    def check(value: object, path: str, version: str) -> Iterator[Problem]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            yield Problem(path, f"must be a list of {least} to {most} elements")
            return
        for index, each in enumerate(value):
            yield from item(each, f"{path}[{index}]", version)

    return check


def map_of(item: Check) -> Check:
    """An object with any field names, whose values each satisfy `item`."""

    def check(value: object, path: str, version: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, "must be an object")
            return
        for name, each in value.items():
            yield from item(each, _join(path, name), version)

    return check


@final
@frozen(kw_only=True)
class Record:
    """An object with these fields and no others; a `Check`.

    `since` gives the API version that introduced a field; requests of an older version may carry the field,
    which is ignored. Versions compare as text (`2023-10-15`).
    """

    required: Mapping[str, Check] = EMPTY
    optional: Mapping[str, Check] = EMPTY
    since: Mapping[str, str] = EMPTY

    def __call__(self, value: object, path: str, version: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, "must be an object")
            return
        for name, item in value.items():
            check = self.required.get(name) or self.optional.get(name)
            if check is None:
                yield Problem(_join(path, name), "is not a known field")
            elif self.has(name, version):
                yield from check(item, _join(path, name), version)
        for name in self.required:
            if name not in value:
                yield Problem(_join(path, name), "is required")

    def has(self, name: str, version: str) -> bool:
        """Whether the field exists in this API version."""
        return self.since.get(name, "") <= version

    def known_fields(self, value: Mapping[str, Any], version: str) -> dict[str, Any]:
        """The fields of `value` that exist in this API version."""
        return {name: item for name, item in value.items() if self.has(name, version)}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
