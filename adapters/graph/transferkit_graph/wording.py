"""How Graph writes what it says: names, words and numbers whose form differs over time, read as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from transferkit.signals import Result
from transferkit_graph.reasons import of_call

__all__ = ["chain_id", "folded", "is_object", "normal", "number", "result_info", "text_of"]

_CHAIN_HEADERS = ("x-microsoft-skype-chain-id", "scenario-id")
_MOST = 2**31 - 1  # the schema's Int32


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is a JSON object. A dict and what usually stands in its place are told without an ABC."""
    if isinstance(value, dict):
        return True
    return value is not None and not isinstance(value, (str, list)) and isinstance(value, Mapping)


def folded(value: object) -> dict[str, Any]:
    """A JSON object by its names in lower case, without nulls; empty for anything else.

    Graph spells names differently over time (`subcode`, `subCode`), and absent and null mean the same here.
    """
    if not isinstance(value, dict) and not is_object(value):
        return {}
    found: dict[str, Any] = {}
    for name, item in value.items():  # a comprehension takes longer before Python 3.12
        if item is not None:
            found[name.lower()] = item
    return found


def text_of(value: object) -> str | None:
    """`value` if it is text that says something."""
    return value if isinstance(value, str) and value else None


def result_info(call: Mapping[str, Any]) -> Result | None:
    """The `resultInfo` of a (folded) call, where it has one."""
    info = folded(call.get("resultinfo"))
    if not info:
        return None
    return of_call(number(info.get("code")), number(info.get("subcode")), text_of(info.get("message")))


def chain_id(headers: Mapping[str, str]) -> str | None:
    """The call chain's id in the headers of an answer or a callback."""
    return next((headers[name] for name in _CHAIN_HEADERS if headers.get(name)), None)


def normal(word: object) -> str:
    """An enum word of Graph's as one: `transferAccepted`, `TransferAccepted` and `transfer-accepted` are."""
    return word.replace("-", "").replace("_", "").lower() if isinstance(word, str) else ""


def number(value: object) -> int | None:
    """A whole number, which Graph also writes as text."""
    if type(value) is not int:  # as nearly all are; a bool is not
        value = _whole(value)
    return value if value is not None and abs(value) <= _MOST else None


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and len(value) <= len(str(_MOST)):
        return int(value) if value.removeprefix("-").isdigit() else None
    return None
