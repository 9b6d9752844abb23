"""A statement that is put together from parts."""

from __future__ import annotations

from typing import LiteralString, final

from attrs import Factory, define

__all__ = ["Statement"]


@final
@define
class Statement:
    """A statement as it grows, with its values in order. Its text is fixed words, its values are data."""

    text: LiteralString
    values: list[object] = Factory(list)

    def add(self, part: LiteralString, *values: object) -> None:
        """Add a part at the end."""
        self.text += part
        self.values.extend(values)
