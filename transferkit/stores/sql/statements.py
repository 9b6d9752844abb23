"""Named SQL statements, read from the packages' `.sql` files, and operations that run them.

A section of a file begins with `-- name: NAME`. In its text `tk.` stands for the schema and `:name` for a
value. The statements of `transferkit.stores.sql` serve both stores; each store adds those that differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, Final, TypeVar, final

from attrs import Factory, frozen

__all__ = [
    "COMMIT",
    "Columns",
    "Operation",
    "Rows",
    "Statement",
    "named_statements",
    "query",
    "schema_statements",
]

T = TypeVar("T")

Rows = list[tuple[Any, ...]]

_SECTION: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)


@final
@frozen
class Statement:
    """The name of a statement and its values."""

    name: str
    values: Mapping[str, object] = Factory(dict)


COMMIT: Final = Statement("commit")
"""Ends the transaction of an operation, in one message with the statements before it."""

Operation = Generator[Sequence[Statement], Sequence[Rows], T]
"""What a store method does, without input and output, so that both stores can share it.

It yields statements to run together, and receives the rows of each.
"""


def query(name: str, **values: object) -> Operation[Rows]:
    """Run one statement and return its rows; for `yield from`."""
    (rows,) = yield [Statement(name, values)]
    return rows


@final
@frozen
class Columns:
    """How a database stores values: `value` converts the value of a name, `text` and `time` read columns."""

    value: Callable[[str, object], object]
    text: Callable[[Any], str]
    time: Callable[[Any], datetime]


def named_statements(package: str) -> dict[str, str]:
    """The statements of a package's `.sql` files (except `schema.sql`) by name."""
    found: dict[str, str] = {}
    for file in files(package).iterdir():
        if file.name.endswith(".sql") and file.name != "schema.sql":
            _, *sections = _SECTION.split(file.read_text("utf-8"))
            found.update(zip(sections[::2], map(_without_comments, sections[1::2]), strict=True))
    return found


def schema_statements(package: str) -> Sequence[str]:
    """The statements of a package's `schema.sql`, in order."""
    text = _without_comments((files(package) / "schema.sql").read_text("utf-8"))
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def _without_comments(text: str) -> str:
    return _COMMENT.sub("", text).strip()
