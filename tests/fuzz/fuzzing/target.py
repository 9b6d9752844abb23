"""What a target of the fuzzing is, and what of it is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from random import Random
from typing import Any

Case = dict[str, Any]
"""A case as JSON; bytes are text in latin-1."""


class Target(ABC):
    """Something that reads what strangers write.

    `make` makes a case, from nothing but the random numbers; `check` raises whatever breaks its promises.
    """

    name: str
    weight: int
    """Its share of a run, in percent."""
    cases_each: int = 1
    """As how many cases one that `make` makes counts."""

    @abstractmethod
    def make(self, random: Random) -> Case:
        """A case to check, and to keep should it break something."""

    @abstractmethod
    async def check(self, case: Case) -> None:
        """Raises anything at all where a promise is broken."""


def promised(condition: object, what: str) -> None:
    """Raises `AssertionError` that says which promise is broken."""
    if not condition:
        raise AssertionError(what)


def installed(distribution: str) -> bool:
    """Whether an adapter can be fuzzed here."""
    return find_spec(distribution) is not None


def as_text(data: bytes) -> str:
    """Bytes as a case keeps them."""
    return data.decode("latin-1")


def as_bytes(text: str) -> bytes:
    """The bytes that a case keeps."""
    return text.encode("latin-1")
