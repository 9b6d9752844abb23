"""The buttons of the page. Each executes an operation of the control API, on one emulator or on all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, final
from urllib.parse import quote

from attrs import frozen

from transferkit.emulators import Emulator
from transferkit.emulators.operations import ControlError, execute

__all__ = ["ACTIONS", "perform"]


@final
@frozen
class _Action:
    """An operation, with `{call_id}` in its path, and the message about its result."""

    method: str
    path: str
    message: Callable[[Any], str]


def _rang(word: str) -> Callable[[Any], str]:
    return lambda result: f"The target {word}." if result["rang"] else "The target is not ringing."


ACTIONS: Final[Mapping[str, _Action]] = {
    "place": _Action("POST", "calls", lambda result: f"Placed the call {result['id']}."),
    "ring": _Action("POST", "ring", lambda result: f"The incoming call {result['call_id']} is ringing."),
    "answer": _Action("POST", "calls/{call_id}/answer", _rang("answered")),
    "decline": _Action("POST", "calls/{call_id}/decline", _rang("declined")),
    "hang_up": _Action("POST", "calls/{call_id}/hang_up", lambda _: "The caller hung up."),
    "add_fault": _Action("POST", "faults", lambda result: f"Switched on: {result['active'][-1]}."),
    "clear_faults": _Action("DELETE", "faults", lambda _: "Switched all faults off."),
    "reset": _Action("POST", "reset", lambda _: "Deleted all records, and switched all faults off."),
}
"""By the last part of the form's address."""


def perform(action: _Action, emulators: Mapping[str, Emulator], form: Mapping[str, str]) -> str:
    """Execute an action with the fields of its form; returns a message about what it did.

    Without a provider it concerns all emulators. Raises `ControlError`.
    """
    provider = form.get("provider")
    if provider and provider not in emulators:
        raise ControlError(HTTPStatus.NOT_FOUND, f"there is no emulator {provider!r}")
    body: dict[str, Any] = {name: value.strip() for name, value in form.items() if value.strip()}
    body["group"] = form.get("group") == "on"
    path = action.path.format(call_id=quote(form.get("call_id", ""), safe=""))
    result: Any = None
    for emulator in [emulators[provider]] if provider else emulators.values():
        if path == "ring" and "callback_url" in body:  # the form has the address below which there are paths
            body["callback_url"] += emulator.incoming_path
        result = execute(emulator, action.method, path, body).body
    return action.message(result)
