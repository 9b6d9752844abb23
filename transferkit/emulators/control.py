"""The API under `/_emulator/` by which tests and people in other processes direct an emulator.

JSON in, JSON out, from this machine only, never on behalf of somebody else's web page:

    GET    calls | requests | callbacks | faults | scenarios
    POST   calls                     {"callback_url"?, "group"?}      an established call: {"id"}
    POST   ring                      {"callback_url"?}                an incoming call: {"call_id", "incoming_context"}
    POST   calls/{id}/hang_up        the caller hangs up
    POST   calls/{id}/answer         the target that rings picks up: {"rang"}
    POST   calls/{id}/decline        the target that rings declines: {"rang"}
    POST   calls/{id}/decide         {"scenario"}                     the ringing ends like that: {"rang"}
    POST   faults                    {"fault": "reset_after,match=transfer"}
    DELETE faults                    nothing goes wrong any longer
    POST   chaos                     {"seed", "rate"?}
    POST   reset                     forgets what was recorded, and clears the faults

Without a `callback_url`, the emulator's own `callback_url` is meant.
"""  # noqa: E501 - a table

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from attrs import asdict

from transferkit._util.frozenmap import thaw
from transferkit.emulators.faults import Fault
from transferkit.emulators.records import EmulatedRequest, Reply
from transferkit.emulators.wire import ClientGone, read_request, send_reply
from transferkit.provider.urls import is_loopback
from transferkit.testing.scenarios import SCENARIOS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from transferkit.emulators.kit import EmulatedProvider

__all__ = ["PREFIX", "serve_control"]

PREFIX: Final = "/_emulator/"

Said = Mapping[str, Any]

_STRANGER: Final = Reply(
    status=HTTPStatus.FORBIDDEN, body={"error": "only this machine's own programs may direct an emulator"}
)


class _Unacceptable(Exception):
    """A request that cannot be fulfilled; the text says why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


async def serve_control(emulator: EmulatedProvider, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request to the control API."""
    try:
        request = await read_request(scope, receive)
    except ClientGone:
        return
    try:
        reply = _directed(emulator, request) if _is_local(scope, request) else _STRANGER
    except _Unacceptable as error:
        reply = Reply(status=error.status, body={"error": str(error)})
    await send_reply(reply, send)


def _is_local(scope: Scope, request: EmulatedRequest) -> bool:
    """Whether it comes from this machine, by a name of this machine, and from no other site's page."""
    client = scope.get("client")
    if client is None or not is_loopback(client[0]):
        return False
    if not is_loopback(urlsplit(request.base_url).hostname or ""):
        return False  # some name that was made to point here
    return request.headers.get("origin", request.base_url) == request.base_url


def _directed(emulator: EmulatedProvider, request: EmulatedRequest) -> Reply:
    parts = request.path.removeprefix(PREFIX).strip("/").split("/")
    match request.method, parts:
        case "GET", ["calls" | "requests" | "callbacks" | "faults" | "scenarios" as what]:
            return Reply(status=HTTPStatus.OK, body=_LISTS[what](emulator))
        case "DELETE", ["faults"]:
            emulator.faults.clear()
            emulator.journal.wake()
            return Reply(status=HTTPStatus.NO_CONTENT)
        case "POST", ["calls", call_id, "hang_up" | "answer" | "decline" | "decide" as verb]:
            return _about_call(emulator, unquote(call_id), verb, _said(request))
        case "POST", ["calls" | "ring" | "faults" | "chaos" | "reset" as verb]:
            reply = _VERBS[verb](emulator, _said(request))
            emulator.journal.wake()
            return reply
        case _:
            raise _Unacceptable(
                HTTPStatus.NOT_FOUND, f"no {request.method} of that: see transferkit.emulators.control"
            )


def _said(request: EmulatedRequest) -> Said:
    if not request.body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Unacceptable(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        said = request.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise _Unacceptable(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return said


def _about_call(emulator: EmulatedProvider, call_id: str, verb: str, said: Said) -> Reply:
    if call_id not in {call.id for call in emulator.calls()}:
        raise _Unacceptable(HTTPStatus.NOT_FOUND, "there is no such call")
    match verb:
        case "hang_up":
            emulator.hang_up(call_id)
            emulator.journal.wake()
            return Reply(status=HTTPStatus.NO_CONTENT)
        case "answer":
            rang = emulator.answer_target(call_id)
        case "decline":
            rang = emulator.decline_target(call_id)
        case _:
            try:
                rang = emulator.decide(call_id, str(said.get("scenario")))
            except (KeyError, ValueError):
                names = ", ".join(line.name for line in SCENARIOS)
                raise _Unacceptable(HTTPStatus.BAD_REQUEST, f"scenario: expected one of {names}") from None
    return Reply(status=HTTPStatus.OK, body={"rang": rang})


def _place(emulator: EmulatedProvider, said: Said) -> Reply:
    call_id = emulator.place_call(callback_url=_address(emulator, said), group=said.get("group") is True)
    return Reply(status=HTTPStatus.CREATED, body={"id": call_id})


def _ring(emulator: EmulatedProvider, said: Said) -> Reply:
    ringing = emulator.ring(callback_url=_address(emulator, said, incoming=True))
    return Reply(status=HTTPStatus.CREATED, body=asdict(ringing))


def _address(emulator: EmulatedProvider, said: Said, *, incoming: bool = False) -> str:
    address = said.get("callback_url")
    if address is None and emulator.callback_url is not None:
        address = emulator.callback_url + (emulator.incoming_path if incoming else "")
    if not isinstance(address, str) or urlsplit(address).scheme not in {"http", "https"}:
        raise _Unacceptable(
            HTTPStatus.BAD_REQUEST, "callback_url: say where the callbacks go (http or https)"
        )
    return address


def _break(emulator: EmulatedProvider, said: Said) -> Reply:
    try:
        emulator.faults.add(Fault.parse(str(said.get("fault", ""))))
    except ValueError as error:
        raise _Unacceptable(HTTPStatus.BAD_REQUEST, f"fault: {error}") from None
    return Reply(status=HTTPStatus.CREATED, body=_LISTS["faults"](emulator))


def _chaos(emulator: EmulatedProvider, said: Said) -> Reply:
    try:
        emulator.faults.chaos(seed=int(said["seed"]), rate=float(said.get("rate", 0.1)))
    except (KeyError, TypeError, ValueError):
        raise _Unacceptable(HTTPStatus.BAD_REQUEST, "seed: a whole number; rate: from 0 to 1") from None
    return Reply(status=HTTPStatus.OK, body=_LISTS["faults"](emulator))


def _reset(emulator: EmulatedProvider, _: Said) -> Reply:
    emulator.reset()
    return Reply(status=HTTPStatus.NO_CONTENT)


_VERBS: Final[Mapping[str, Callable[[EmulatedProvider, Said], Reply]]] = {
    "calls": _place,
    "ring": _ring,
    "faults": _break,
    "chaos": _chaos,
    "reset": _reset,
}
_LISTS: Final[Mapping[str, Callable[[EmulatedProvider], Any]]] = {
    "calls": lambda emulator: [
        {**_plain(call), "target_rings": call.id in emulator.ringing_targets} for call in emulator.calls()
    ],
    "requests": lambda emulator: [_plain(request) for request in emulator.requests],
    "callbacks": lambda emulator: [_plain(callback) for callback in emulator.callbacks],
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


def _plain(value: Any) -> dict[str, Any]:
    """A record as JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(thaw(asdict(value)), default=str))
    return plain
