"""Builds escaped markup: only the results of `element`, `fragment` and `text` are markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final, final

__all__ = ["Child", "Html", "button", "element", "fragment", "text"]

_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})
# HTML and SVG do not allow them, even escaped; bidirectional controls can disguise text.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@final
class Html(str):
    """Markup. Only `element`, `fragment` and `text` create it."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def text(value: object) -> Html:
    """Escaped text."""
    return Html(escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))))


def fragment(*children: Child) -> Html:
    """Several children without a parent element."""
    return Html("".join(_rendered(child) for child in children))


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. Text children are escaped, elements are not, None is omitted.

    Attribute names: `class_` is class, `aria_label` is aria-label. True is an attribute without a value;
    attributes with False or None are omitted.
    """
    rendered = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{text(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{rendered}>")
    return Html(f"<{tag}{rendered}>{fragment(*children)}</{tag}>")


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


def button(action: str, label: str, token: str, *, key: str = "", title: str = "", **fields: str) -> Html:
    """A form with one button; with `key` the button has an id, which keeps the focus when it is replaced."""
    hidden = {"token": token, **fields}
    return element(
        "form",
        [element("input", type="hidden", name=name, value=value) for name, value in hidden.items()],
        element("button", label, type="submit", id=f"{action}-{key}" if key else None, title=title or None),
        method="post",
        action=f"/do/{action}",
    )
