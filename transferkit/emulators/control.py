"""The control API under `/_emulator/`, with which tests and other processes control an emulator.

Requests and responses are JSON. Only this machine may use it, and no web page of another site.

    GET    calls | requests | callbacks | faults | scenarios
    POST   calls                     {"callback_url"?, "group"?}   place an established call: {"id"}
    POST   ring                      {"callback_url"?}             an incoming call: {"call_id", "incoming_context"}
    POST   calls/{id}/hang_up        the caller hangs up
    POST   calls/{id}/answer         the ringing target answers: {"rang"}
    POST   calls/{id}/decline        the ringing target declines: {"rang"}
    POST   calls/{id}/end_ringing    {"scenario"}                  the ringing ends as in this scenario: {"rang"}
    POST   faults                    {"fault": "reset_after,match=transfer"}
    DELETE faults                    switch all faults off
    POST   chaos                     {"seed", "rate"?}             random faults
    POST   reset                     delete the recorded requests and callbacks, switch all faults off

The default of `callback_url` is the emulator's own. `rang` is false if no target of the call was ringing.
An error has the body {"error"}.
"""  # noqa: E501 - a table

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import asdict

from transferkit._util.frozenmap import thaw
from transferkit.emulators.base import EmulatorBase
from transferkit.emulators.faults import Fault
from transferkit.emulators.records import EmulatedRequest, Reply
from transferkit.provider.urls import is_loopback, split_url
from transferkit.testing.scenarios import SCENARIOS

__all__ = ["CONTROL_PREFIX", "serve_control"]

CONTROL_PREFIX: Final = "/_emulator/"

Body = Mapping[str, Any]


class _RequestError(Exception):
    """A request that cannot be executed; `status` and the text are the response."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def serve_control(
    emulator: EmulatorBase, request: EmulatedRequest, *, client: tuple[str, int] | None
) -> Reply:
    """Answer one request to the control API from this client address."""
    if not _is_local(request, client):
        error = "the control API is only for programs on this machine"
        return Reply(status=HTTPStatus.FORBIDDEN, body={"error": error})
    try:
        reply = _execute(emulator, request)
    except _RequestError as failure:
        return Reply(status=failure.status, body={"error": str(failure)})
    if request.method != "GET":
        emulator.journal.notify()
    return reply


def _is_local(request: EmulatedRequest, client: tuple[str, int] | None) -> bool:
    """Whether a program on this machine sent the request, to a name of this machine, from no other site."""
    if client is None or not is_loopback(client[0]):
        return False
    if not is_loopback(urlsplit(request.base_url).hostname or ""):
        return False  # DNS rebinding
    return request.headers.get("origin", request.base_url) == request.base_url


def _execute(emulator: EmulatorBase, request: EmulatedRequest) -> Reply:
    match request.method, request.path.removeprefix(CONTROL_PREFIX).strip("/").split("/"):
        case "GET", ["calls" | "requests" | "callbacks" | "faults" | "scenarios" as name]:
            return Reply(status=HTTPStatus.OK, body=_LISTS[name](emulator))
        case "DELETE", ["faults"]:
            emulator.faults.clear()
            return Reply(status=HTTPStatus.NO_CONTENT)
        case "POST", ["calls", call_id, "hang_up" | "answer" | "decline" | "end_ringing" as action]:
            return _execute_on_call(emulator, unquote(call_id), action, _body(request))
        case "POST", ["calls" | "ring" | "faults" | "chaos" | "reset" as action]:
            return _ACTIONS[action](emulator, _body(request))
        case _:
            raise _RequestError(
                HTTPStatus.NOT_FOUND,
                f"{request.method} {request.path} does not exist: see transferkit.emulators.control",
            )


def _body(request: EmulatedRequest) -> Body:
    if not request.body:
        return {}
    if request.content_type != "application/json":
        raise _RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _RequestError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return body


def _execute_on_call(emulator: EmulatorBase, call_id: str, action: str, body: Body) -> Reply:
    if call_id not in {call.id for call in emulator.calls()}:
        raise _RequestError(HTTPStatus.NOT_FOUND, f"there is no call {call_id}")
    match action:
        case "hang_up":
            emulator.hang_up(call_id)
            return Reply(status=HTTPStatus.NO_CONTENT)
        case "answer":
            rang = emulator.answer_target(call_id)
        case "decline":
            rang = emulator.decline_target(call_id)
        case _:
            try:
                rang = emulator.end_ringing(call_id, str(body.get("scenario")))
            except (KeyError, ValueError):
                names = ", ".join(line.name for line in SCENARIOS)
                raise _RequestError(HTTPStatus.BAD_REQUEST, f"scenario: must be one of {names}") from None
    return Reply(status=HTTPStatus.OK, body={"rang": rang})


def _place_call(emulator: EmulatorBase, body: Body) -> Reply:
    url = _callback_url(emulator, body)
    call_id = emulator.place_call(callback_url=url, group=body.get("group") is True)
    return Reply(status=HTTPStatus.CREATED, body={"id": call_id})


def _ring(emulator: EmulatorBase, body: Body) -> Reply:
    ringing = emulator.ring(callback_url=_callback_url(emulator, body, path=emulator.incoming_path))
    return Reply(status=HTTPStatus.CREATED, body=asdict(ringing))


def _callback_url(emulator: EmulatorBase, body: Body, *, path: str = "") -> str:
    url = body.get("callback_url")
    if url is None and emulator.callback_url is not None:
        url = emulator.callback_url + path
    if not isinstance(url, str) or split_url(url).scheme not in {"http", "https"}:
        raise _RequestError(HTTPStatus.BAD_REQUEST, "callback_url: must be an http or https address")
    return url


def _add_fault(emulator: EmulatorBase, body: Body) -> Reply:
    try:
        emulator.faults.add(Fault.parse(str(body.get("fault", ""))))
    except ValueError as error:
        raise _RequestError(HTTPStatus.BAD_REQUEST, f"fault: {error}") from None
    return Reply(status=HTTPStatus.CREATED, body=_LISTS["faults"](emulator))


def _start_chaos(emulator: EmulatorBase, body: Body) -> Reply:
    try:
        emulator.faults.chaos(seed=int(body["seed"]), rate=float(body.get("rate", 0.1)))
    except (KeyError, TypeError, ValueError):
        message = "seed: must be an integer; rate: must be a number from 0 to 1"
        raise _RequestError(HTTPStatus.BAD_REQUEST, message) from None
    return Reply(status=HTTPStatus.OK, body=_LISTS["faults"](emulator))


def _reset(emulator: EmulatorBase, _: Body) -> Reply:
    emulator.reset()
    return Reply(status=HTTPStatus.NO_CONTENT)


_ACTIONS: Final[Mapping[str, Callable[[EmulatorBase, Body], Reply]]] = {
    "calls": _place_call,
    "ring": _ring,
    "faults": _add_fault,
    "chaos": _start_chaos,
    "reset": _reset,
}
_LISTS: Final[Mapping[str, Callable[[EmulatorBase], Any]]] = {
    "calls": lambda emulator: [
        {**_as_json(call), "target_rings": call.id in emulator.ringing_targets} for call in emulator.calls()
    ],
    "requests": lambda emulator: [_as_json(request) for request in emulator.requests],
    "callbacks": lambda emulator: [_as_json(callback) for callback in emulator.callbacks],
    "faults": lambda emulator: {
        "active": [str(fault) for fault in emulator.faults.active],
        "chaos_seed": emulator.faults.seed,
    },
    "scenarios": lambda _: [
        {
            "name": line.name,
            "number": line.number.number,
            "object_id": line.object_id,
            "description": line.description,
        }
        for line in SCENARIOS
    ],
}


def _as_json(value: Any) -> dict[str, Any]:
    converted: dict[str, Any] = json.loads(json.dumps(thaw(asdict(value)), default=str))
    return converted
