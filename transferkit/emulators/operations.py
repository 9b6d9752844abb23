"""The operations of the control API: what tests and other processes can do with an emulator.

`control` serves them, `openapi` documents them, and the buttons of the web page execute them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, final
from urllib.parse import unquote

from attrs import asdict, field, frozen

from transferkit._util.frozenmap import EMPTY, thaw
from transferkit.emulators.base import EmulatorBase
from transferkit.emulators.faults import Fault
from transferkit.emulators.records import Reply
from transferkit.provider.urls import split_url
from transferkit.testing.scenarios import SCENARIOS

__all__ = ["OPERATIONS", "ControlError", "Operation", "execute", "is_callback_url"]

Body = Mapping[str, Any]


class ControlError(Exception):
    """A request that cannot be executed; `status` and the text are the response."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@final
@frozen(kw_only=True)
class Operation:
    """One operation.

    * `path`: below the prefix; `{call_id}` in it is the id of a call that exists.
    * `run`: executes it, given the emulator, the call's id and the body; returns the body of the response.
    * `body`: the properties of the request's body, as JSON schemas; `required` names those without a default.
    * `result`: the JSON schema of the response's body.
    """

    method: str
    path: str
    summary: str
    run: Callable[[EmulatorBase, str, Body], Any] = field(repr=False)
    status: HTTPStatus = HTTPStatus.OK
    body: Mapping[str, Any] = EMPTY
    required: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None


def execute(emulator: EmulatorBase, method: str, path: str, body: Body) -> Reply:
    """Execute the operation with this method and path. Raises `ControlError`."""
    for operation in OPERATIONS:
        pattern = re.escape(operation.path).replace(r"\{call_id\}", "([^/]+)")
        if operation.method == method and (found := re.fullmatch(pattern, path)):
            call_id = unquote(found[1]) if found.groups() else ""
            if call_id and call_id not in {call.id for call in emulator.calls()}:
                raise ControlError(HTTPStatus.NOT_FOUND, f"there is no call {call_id}")
            result = operation.run(emulator, call_id, body)
            if method != "GET":
                emulator.journal.notify()
            return Reply(status=operation.status, body=result)
    known = ", ".join(f"{operation.method} {operation.path}" for operation in OPERATIONS)
    raise ControlError(HTTPStatus.NOT_FOUND, f"{method} {path} does not exist. There are: {known}")


# --- calls ------------------------------------------------------------------------------------------


def _calls(emulator: EmulatorBase, _: str, __: Body) -> Any:
    return [
        {**_as_json(call), "target_rings": call.id in emulator.ringing_targets} for call in emulator.calls()
    ]


def _place_call(emulator: EmulatorBase, _: str, body: Body) -> Any:
    url = _callback_url(emulator, body)
    return {"id": emulator.place_call(callback_url=url, group=body.get("group") is True)}


def _ring(emulator: EmulatorBase, _: str, body: Body) -> Any:
    return asdict(emulator.ring(callback_url=_callback_url(emulator, body, path=emulator.incoming_path)))


def _callback_url(emulator: EmulatorBase, body: Body, *, path: str = "") -> str:
    url = body.get("callback_url")
    if url is None and emulator.callback_url is not None:
        url = emulator.callback_url + path
    if not isinstance(url, str) or not is_callback_url(url):
        raise ControlError(HTTPStatus.BAD_REQUEST, "callback_url: must be an http or https address")
    return url


def is_callback_url(text: str) -> bool:
    """Whether an emulator can post callbacks to this address."""
    parts = split_url(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _hang_up(emulator: EmulatorBase, call_id: str, _: Body) -> None:
    emulator.hang_up(call_id)


def _answer(emulator: EmulatorBase, call_id: str, _: Body) -> Any:
    return {"rang": emulator.answer_target(call_id)}


def _decline(emulator: EmulatorBase, call_id: str, _: Body) -> Any:
    return {"rang": emulator.decline_target(call_id)}


def _end_ringing(emulator: EmulatorBase, call_id: str, body: Body) -> Any:
    try:
        return {"rang": emulator.end_ringing(call_id, str(body.get("scenario")))}
    except (KeyError, ValueError):
        names = ", ".join(line.name for line in SCENARIOS)
        raise ControlError(HTTPStatus.BAD_REQUEST, f"scenario: must be one of {names}") from None


# --- records and faults -----------------------------------------------------------------------------


def _requests(emulator: EmulatorBase, _: str, __: Body) -> Any:
    return [_as_json(request) for request in emulator.requests]


def _callbacks(emulator: EmulatorBase, _: str, __: Body) -> Any:
    return [_as_json(callback) for callback in emulator.callbacks]


def _reset(emulator: EmulatorBase, _: str, __: Body) -> None:
    emulator.reset()


def _faults(emulator: EmulatorBase, _: str, __: Body) -> Any:
    active = [str(fault) for fault in emulator.faults.active]
    return {"active": active, "chaos_seed": emulator.faults.seed}


def _add_fault(emulator: EmulatorBase, call_id: str, body: Body) -> Any:
    try:
        emulator.faults.add(Fault.parse(str(body.get("fault", ""))))
    except ValueError as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, f"fault: {error}") from None
    return _faults(emulator, call_id, body)


def _clear_faults(emulator: EmulatorBase, _: str, __: Body) -> None:
    emulator.faults.clear()


def _start_chaos(emulator: EmulatorBase, call_id: str, body: Body) -> Any:
    try:
        emulator.faults.chaos(seed=int(body["seed"]), rate=float(body.get("rate", 0.1)))
    except (KeyError, TypeError, ValueError):
        message = "seed: must be an integer; rate: must be a number from 0 to 1"
        raise ControlError(HTTPStatus.BAD_REQUEST, message) from None
    return _faults(emulator, call_id, body)


def _scenarios(_: EmulatorBase, __: str, ___: Body) -> Any:
    return [
        {
            "name": line.name,
            "number": line.number.number,
            "object_id": line.object_id,
            "description": line.description,
        }
        for line in SCENARIOS
    ]


def _as_json(value: Any) -> dict[str, Any]:
    converted: dict[str, Any] = json.loads(json.dumps(thaw(asdict(value)), default=str))
    return converted


# --- the operations ---------------------------------------------------------------------------------


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_CALLBACK_URL: Final = _text("Where the callbacks of the call go. The default is the emulator's own.")

OPERATIONS: Final = (
    Operation(method="GET", path="calls", summary="List all calls.", run=_calls, result=_list_of("Call")),
    Operation(
        method="POST",
        path="calls",
        summary="Place an established call, as after the application answered it.",
        run=_place_call,
        status=HTTPStatus.CREATED,
        body={
            "callback_url": _CALLBACK_URL,
            "group": {"type": "boolean", "description": "Whether it is a group call.", "default": False},
        },
        result={"type": "object", "required": ["id"], "properties": {"id": _text("The call's id.")}},
    ),
    Operation(
        method="POST",
        path="ring",
        summary="Let an incoming call ring, and post its callback.",
        run=_ring,
        status=HTTPStatus.CREATED,
        body={"callback_url": _CALLBACK_URL},
        result=_ref("RingingCall"),
    ),
    Operation(
        method="POST",
        path="calls/{call_id}/hang_up",
        summary="Have the caller hang up.",
        run=_hang_up,
        status=HTTPStatus.NO_CONTENT,
    ),
    Operation(
        method="POST",
        path="calls/{call_id}/answer",
        summary="Have the ringing target answer.",
        run=_answer,
        result=_ref("Rang"),
    ),
    Operation(
        method="POST",
        path="calls/{call_id}/decline",
        summary="Have the ringing target decline.",
        run=_decline,
        result=_ref("Rang"),
    ),
    Operation(
        method="POST",
        path="calls/{call_id}/end_ringing",
        summary="Decide how the ringing of the target ends: as in this scenario.",
        run=_end_ringing,
        body={"scenario": _text("The name of a scenario, such as no_answer.")},
        required=("scenario",),
        result=_ref("Rang"),
    ),
    Operation(
        method="GET",
        path="requests",
        summary="List the requests that were received, in order.",
        run=_requests,
        result=_list_of("Request"),
    ),
    Operation(
        method="GET",
        path="callbacks",
        summary="List the callbacks that were sent, in order.",
        run=_callbacks,
        result=_list_of("Callback"),
    ),
    Operation(
        method="GET",
        path="faults",
        summary="List the active faults.",
        run=_faults,
        result=_ref("Faults"),
    ),
    Operation(
        method="POST",
        path="faults",
        summary="Switch a fault on.",
        run=_add_fault,
        status=HTTPStatus.CREATED,
        body={"fault": _text("A fault in its text form, such as reset_after,match=transfer.")},
        required=("fault",),
        result=_ref("Faults"),
    ),
    Operation(
        method="DELETE",
        path="faults",
        summary="Switch all faults off, and chaos too.",
        run=_clear_faults,
        status=HTTPStatus.NO_CONTENT,
    ),
    Operation(
        method="POST",
        path="chaos",
        summary="Apply random faults, the same in each run with the same seed.",
        run=_start_chaos,
        body={
            "seed": {"type": "integer"},
            "rate": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.1},
        },
        required=("seed",),
        result=_ref("Faults"),
    ),
    Operation(
        method="POST",
        path="reset",
        summary="Delete the recorded requests and callbacks, and switch all faults off. The calls stay.",
        run=_reset,
        status=HTTPStatus.NO_CONTENT,
    ),
    Operation(
        method="GET",
        path="scenarios",
        summary="List the scenarios, with the target that selects each of them.",
        run=_scenarios,
        result=_list_of("Scenario"),
    ),
)
