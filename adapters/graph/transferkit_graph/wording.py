"""How Graph writes what it says: names, words and numbers whose form differs over time, read as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferkit.signals import Result
from transferkit_graph.reasons import of_call

__all__ = ["chain_id", "folded", "normal", "number", "result_info", "text_of"]

_CHAIN_HEADERS = ("x-microsoft-skype-chain-id", "scenario-id")
_MOST = 2**31 - 1  # the schema's Int32


def folded(value: object) -> dict[str, Any]:
    """A JSON object by its names in lower case, without nulls; empty for anything else.

    Graph spells names differently over time (`subcode`, `subCode`), and absent and null mean the same here.
    """
    if not isinstance(value, Mapping):
        return {}
    return {str(name).lower(): item for name, item in value.items() if item is not None}


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
    if isinstance(value, str) and value.isascii() and len(value) <= len(str(_MOST)):
        digits = value.removeprefix("-")
        value = int(value) if digits.isdigit() else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST:
        return None
    return value
