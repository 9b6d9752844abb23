"""The buttons of the page. Each controls one emulator or all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from transferkit.emulators import Emulator, Fault
from transferkit.provider.urls import split_url

__all__ = ["ACTIONS", "ActionError"]

Emulators = Mapping[str, Emulator]
Form = Mapping[str, str]


class ActionError(Exception):
    """An action that cannot be executed; the text is shown on the page."""


def _emulator(emulators: Emulators, form: Form) -> Emulator:
    try:
        return emulators[form.get("provider", "")]
    except KeyError:
        raise ActionError(f"there is no emulator {form.get('provider', '')!r}") from None


def _call(emulators: Emulators, form: Form) -> tuple[Emulator, str]:
    emulator, call_id = _emulator(emulators, form), form.get("call_id", "")
    if call_id not in {call.id for call in emulator.calls()}:
        raise ActionError("the call does not exist")
    return emulator, call_id


def _address(emulator: Emulator, form: Form, path: str = "") -> str:
    address = form.get("callback_url", "").strip() or emulator.callback_url or ""
    parts = split_url(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ActionError("the callback address must be an http or https address")
    return address + path


def _place(emulators: Emulators, form: Form) -> str:
    emulator = _emulator(emulators, form)
    call_id = emulator.place_call(callback_url=_address(emulator, form), group=form.get("group") == "on")
    return f"Placed the call {call_id}."


def _ring(emulators: Emulators, form: Form) -> str:
    emulator = _emulator(emulators, form)
    ringing = emulator.ring(callback_url=_address(emulator, form, emulator.incoming_path))
    return f"The incoming call {ringing.call_id} is ringing."


def _answer(emulators: Emulators, form: Form) -> str:
    emulator, call_id = _call(emulators, form)
    return "The target answered." if emulator.answer_target(call_id) else "The target is not ringing."


def _decline(emulators: Emulators, form: Form) -> str:
    emulator, call_id = _call(emulators, form)
    return "The target declined." if emulator.decline_target(call_id) else "The target is not ringing."


def _hang_up(emulators: Emulators, form: Form) -> str:
    emulator, call_id = _call(emulators, form)
    emulator.hang_up(call_id)
    return "The caller hung up."


def _add_fault(emulators: Emulators, form: Form) -> str:
    try:
        fault = Fault.parse(form.get("fault", ""))
    except ValueError as error:
        raise ActionError(f"fault: {error}") from None
    chosen = form.get("provider", "")
    for emulator in [_emulator(emulators, form)] if chosen else emulators.values():
        emulator.faults.add(fault)
    return f"Switched on: {fault}."


def _clear_faults(emulators: Emulators, _: Form) -> str:
    for emulator in emulators.values():
        emulator.faults.clear()
    return "Switched all faults off."


def _reset(emulators: Emulators, _: Form) -> str:
    for emulator in emulators.values():
        emulator.reset()
    return "Deleted all recorded requests and callbacks, and switched all faults off."


ACTIONS: Final[Mapping[str, Callable[[Emulators, Form], str]]] = {
    "place": _place,
    "ring": _ring,
    "answer": _answer,
    "decline": _decline,
    "hang_up": _hang_up,
    "add_fault": _add_fault,
    "clear_faults": _clear_faults,
    "reset": _reset,
}
"""By the last part of the form's address. Each returns a message about what it did. Raises `ActionError`."""
