"""The published paths, and the checks before an operation is executed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, final

from attrs import frozen

from transferkit.emulators import EmulatedRequest
from transferkit.emulators.schema import Record, find_problems
from transferkit.provider.json import read_json
from transferkit_acs.emulator import schema
from transferkit_acs.emulator.errors import AcsError, invalid
from transferkit_acs.emulator.operations import Operations
from transferkit_acs.emulator.repeatability import Respond
from transferkit_acs.settings import ApiVersion

__all__ = ["Route", "execution", "route_for"]

Ids = Mapping[str, str]


@final
@frozen(kw_only=True)
class Route:
    """One published operation; `body` is the shape of its body, None if it has no body.

    `confirmed` is whether recorded responses have the header `Repeatability-Result`. Those of transfer, add
    participant, remove participant and terminate do; those of create (since 2023), answer and reject do not.
    """

    method: str
    path: re.Pattern[str]
    run: Callable[[Operations, Ids, Any, ApiVersion], Respond]
    body: Record | None = None
    repeatable: bool = False
    confirmed: bool = False
    since: ApiVersion = ApiVersion.V2023_03_06


_CALLS = "/calling/callConnections"
_CALL = f"{_CALLS}/(?P<call>[^/:]+)"


def _post(
    path: str,
    run: Callable[[Operations, Ids, Any, ApiVersion], Respond],
    body: Record | None = None,
    *,
    confirmed: bool = False,
    repeatable: bool = True,
    since: ApiVersion = ApiVersion.V2023_03_06,
) -> Route:
    return Route(
        method="POST",
        path=re.compile(path),
        run=run,
        body=body,
        repeatable=repeatable,
        confirmed=confirmed,
        since=since,
    )


def _other(method: str, path: str, run: Callable[[Operations, Ids, Any, ApiVersion], Respond]) -> Route:
    return Route(method=method, path=re.compile(path), run=run)


# ACS REST 2023-03-06 to 2026-03-12.
_ROUTES = (
    _post(_CALLS, lambda do, _, body, version: do.create(body, version), schema.CREATE),
    _post(f"{_CALLS}:answer", lambda do, _, body, version: do.answer(body, version), schema.ANSWER),
    _post(f"{_CALLS}:reject", lambda do, _, body, __: do.reject(body), schema.REJECT),
    _post(f"{_CALLS}:redirect", lambda do, _, body, __: do.redirect(body), schema.REDIRECT),
    _other("GET", _CALL, lambda do, ids, _, version: do.get(ids["call"], version)),
    _other("DELETE", _CALL, lambda do, ids, _, __: do.hang_up(ids["call"], for_everyone=False)),
    _post(
        f"{_CALL}:terminate",
        lambda do, ids, _, __: do.hang_up(ids["call"], for_everyone=True),
        confirmed=True,
    ),
    _post(
        f"{_CALL}:hold",
        lambda do, ids, body, version: do.hold(ids["call"], body, version),
        schema.HOLD,
        repeatable=False,
        since=ApiVersion.V2024_09_15,
    ),
    _post(
        f"{_CALL}:unhold",
        lambda do, ids, body, version: do.unhold(ids["call"], body, version),
        schema.UNHOLD,
        repeatable=False,
        since=ApiVersion.V2024_09_15,
    ),
    _post(
        f"{_CALL}:transferToParticipant",
        lambda do, ids, body, version: do.transfer(ids["call"], body, version),
        schema.TRANSFER,
        confirmed=True,
    ),
    _other("GET", f"{_CALL}/participants", lambda do, ids, _, version: do.participants(ids["call"], version)),
    _other(
        "GET",
        f"{_CALL}/participants/(?P<participant>.+)",
        lambda do, ids, _, version: do.participant(ids["call"], ids["participant"], version),
    ),
    _post(
        f"{_CALL}/participants:add",
        lambda do, ids, body, version: do.add(ids["call"], body, version),
        schema.ADD_PARTICIPANT,
        confirmed=True,
    ),
    _post(
        f"{_CALL}/participants:remove",
        lambda do, ids, body, version: do.remove(ids["call"], body, version),
        schema.REMOVE_PARTICIPANT,
        confirmed=True,
    ),
    _post(
        f"{_CALL}/participants:cancelAddParticipant",
        lambda do, ids, body, version: do.cancel_add(ids["call"], body, version),
        schema.CANCEL_ADD_PARTICIPANT,
        since=ApiVersion.V2023_10_15,
    ),
    _post(
        f"{_CALL}/participants:moveHere",
        lambda do, ids, body, version: do.move_here(ids["call"], body, version),
        schema.MOVE_PARTICIPANTS,
        since=ApiVersion.V2026_03_12,
    ),
)

_NOT_EMULATED = re.compile(
    rf"{_CALLS}:connect|{_CALL}(?:/participants)?:[A-Za-z]+|/calling/recordings(?:[/:].*)?"
)


def route_for(request: EmulatedRequest, version: ApiVersion) -> tuple[Route, Ids]:
    """The operation of a request, and the ids in its path. Raises `AcsError`."""
    matches = ((route, route.path.fullmatch(request.path)) for route in _ROUTES if version >= route.since)
    found = [(route, match) for route, match in matches if match]
    for route, match in found:
        if route.method == request.method:
            return route, match.groupdict()
    if found:
        raise AcsError(HTTPStatus.METHOD_NOT_ALLOWED, "405", "Method not allowed.")
    if _NOT_EMULATED.fullmatch(request.path):
        raise AcsError(HTTPStatus.NOT_IMPLEMENTED, "501", "The emulator does not offer this operation.")
    raise AcsError(HTTPStatus.NOT_FOUND, "404", "Resource not found.")


def execution(
    route: Route, operations: Operations, request: EmulatedRequest, ids: Ids, version: ApiVersion
) -> Callable[[], Respond]:
    """A function that checks the body and executes the request. It raises `AcsError`."""

    def execute() -> Respond:
        body = None if route.body is None else _checked(request, route.body, version)
        return route.run(operations, ids, body, version)

    return execute


def _checked(request: EmulatedRequest, record: Record, version: ApiVersion) -> Any:
    """The fields of the body that the API version has. Raises `AcsError`."""
    if request.content_type != "application/json":
        raise AcsError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "415", "The body must be application/json.")
    try:
        body = read_json(request.body)
    except (ValueError, RecursionError):
        raise invalid("request is not JSON") from None
    if problems := find_problems(record, body, version=version):
        raise invalid(*map(str, problems), target=problems[0].path or None)
    return record.known_fields(body, version)
