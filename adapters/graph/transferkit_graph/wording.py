"""How Graph writes what it says: names, words and numbers whose form differs over time, read as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferkit_microsoft.codes import call_end
from transferkit_microsoft.lenient import folded, number, text_of

from transferkit.provider.facts import Result

__all__ = ["chain_id", "normal", "result_info"]

_CHAIN_HEADERS = ("x-microsoft-skype-chain-id", "scenario-id")


def result_info(call: Mapping[str, Any]) -> Result | None:
    """The `resultInfo` of a (folded) call, where it has one."""
    info = folded(call.get("resultinfo"))
    if not info:
        return None
    code, subcode = number(info.get("code")), number(info.get("subcode"))
    return call_end(code, subcode, message=text_of(info.get("message")))


def chain_id(headers: Mapping[str, str]) -> str | None:
    """The call chain's id in the headers of an answer or a callback."""
    return next((headers[name] for name in _CHAIN_HEADERS if headers.get(name)), None)


def normal(word: object) -> str:
    """An enum word of Graph's as one: `transferAccepted`, `TransferAccepted` and `transfer-accepted` are."""
    return word.replace("-", "").replace("_", "").lower() if isinstance(word, str) else ""
