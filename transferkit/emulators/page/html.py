"""Markup that is escaped by construction: only what `element` made is markup, all else is text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final, final

__all__ = ["Child", "Html", "button", "element", "fragment", "text"]

_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})
# Neither HTML nor SVG can say them, not even escaped. Bidirectional controls make text look like another.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@final
class Html(str):
    """Markup. `element`, `fragment` and `text` make it, nobody else."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def text(value: object) -> Html:
    """Any text, as it is to be read."""
    return Html(escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))))


def fragment(*children: Child) -> Html:
    """Several children without an element around them."""
    return Html("".join(_rendered(child) for child in children))


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. Text children are escaped, elements are not, None is left out.

    Attribute names: `class_` is class, `aria_label` is aria-label. True is an attribute without a value,
    False and None are none at all.
    """
    said = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{text(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{said}>")
    return Html(f"<{tag}{said}>{fragment(*children)}</{tag}>")


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _rendered(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int, float)):
        return text(child)
    return fragment(*child)


def button(verb: str, label: str, token: str, *, key: str = "", said: str = "", **fields: str) -> Html:
    """A form of one button; `key` tells it from its like when it is drawn anew, `said` is its title."""
    hidden = {"token": token, **fields}
    return element(
        "form",
        [element("input", type="hidden", name=name, value=value) for name, value in hidden.items()],
        element("button", label, type="submit", id=f"{verb}-{key}" if key else None, title=said or None),
        method="post",
        action=f"/do/{verb}",
    )
