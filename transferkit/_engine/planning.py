"""Planning: checks a request against its provider's capabilities, and completes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import final
from urllib.parse import quote
from uuid import uuid4

from attrs import evolve, frozen

from transferkit._engine.consultation_steps import plan_consultation
from transferkit._engine.route_attempts import attempt_request
from transferkit._lifecycle import CallKey, Opened
from transferkit._lifecycle.route_state import attempt_id
from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit.codec import fingerprint
from transferkit.config.routes import RouteConfig
from transferkit.errors import InvalidRequest, Problem
from transferkit.provider.adapter import Adapter
from transferkit.provider.capabilities import Plan
from transferkit.requests import Call, Consultation, Join, PlaceCall, Request, RequestKind, Route, Transfer
from transferkit.requests.routes import MOVES_ON

__all__ = ["Planned", "call_key", "calls_of", "plan_request"]


@final
@frozen(kw_only=True)
class Planned:
    """A request as it is recorded.

    * `dropped`: the names of the fields that may be and were dropped.
    * `attempts`: those of a route.
    """

    opened: Opened
    dropped: tuple[str, ...] = ()
    attempts: tuple[Planned, ...] = ()


def plan_request(
    request: Request,
    *,
    adapters: Mapping[str, Adapter],
    provider: str,
    public_url: str | None,
    at: datetime,
    trace: FrozenMap[str],
    routes: Mapping[str, RouteConfig] = EMPTY,
    parent: str | None = None,
    transfer_id: str | None = None,
) -> Planned:
    """Return the request as it is recorded.

    `provider` is the default provider, and `routes` are those of the configuration. `parent` is the id of the
    request that this one is a part of, and `transfer_id` the id to give it (a new one by default). Raises
    `InvalidRequest` with every problem.
    """
    provider = request.call.provider or provider
    adapter = _adapter(provider, adapters)
    transfer_id = transfer_id or str(uuid4())
    if isinstance(request, PlaceCall):
        request = evolve(request, provider=provider, step_id=transfer_id)
    elif request.call.provider != provider:
        request = evolve(request, call=evolve(request.call, provider=provider))
    attempts: tuple[Planned, ...] = ()
    given = request

    def plan(request: Request) -> Plan:
        return adapter.plan(_with_callback(request, adapter, public_url, transfer_id))

    if isinstance(request, Route):
        request = _with_configured_route(request, routes)
        plan_attempt = partial(
            plan_request,
            adapters=adapters,
            provider=provider,
            public_url=public_url,
            at=at,
            trace=trace,
            parent=transfer_id,
        )
        attempts = _plan_attempts(request, transfer_id, plan_attempt)
        planned = Plan(request=request)
    elif isinstance(request, Consultation):
        planned = plan_consultation(request, adapter, plan)
    else:
        planned = plan(request)
    legs = calls_of(request, provider, adapter)
    problems = [*planned.problems]
    if len(set(legs)) < len(legs):
        field, same = "replaces", "is the call that is to be transferred"
        if isinstance(request, Join):
            field, same = "other", "is the same call"
        problems.append(Problem(field, same, "the id of the other call, with the target"))
    if problems:
        raise InvalidRequest(provider, problems)
    opened = Opened(
        id=transfer_id,
        call=legs[0],
        request=planned.request,
        fingerprint=fingerprint(_with_ids_of(legs, given)),
        at=at,
        legs=tuple(legs),
        parent=parent,
        trace=trace,
    )
    return Planned(opened=opened, dropped=planned.dropped, attempts=attempts)


def _with_configured_route(route: Route, routes: Mapping[str, RouteConfig]) -> Route:
    """Return the route with the attempts of the configured route that it names. Raises `InvalidRequest`."""
    if route.attempts and route.name is not None:
        problem = Problem("name", "is used instead of attempts, and both are given", "leave one of them out")
        raise InvalidRequest(str(route.call.provider), [problem])
    if route.attempts:
        return evolve(route, on=MOVES_ON if route.on is None else route.on)
    configured = routes.get(str(route.name))
    if configured is None:
        known = ", ".join(sorted(routes)) or "none is configured: add a [routes.NAME] table"
        problem = Problem("name", f"no route {route.name!r} is configured", known)
        raise InvalidRequest(str(route.call.provider), [problem])
    return evolve(route, attempts=configured.attempts, on=configured.on if route.on is None else route.on)


def _plan_attempts(route: Route, route_id: str, plan_attempt: Callable[..., Planned]) -> tuple[Planned, ...]:
    """Plan all attempts of a route, which occupies the call itself. Raises `InvalidRequest`."""
    attempts: list[Planned] = []
    problems: list[Problem] = []
    if route.callback_uri is not None:
        problem = "is not supported for a route, whose attempts must not share an address"
        problems.append(Problem("callback_uri", problem, "leave it out"))
    for number, attempt in enumerate(route.attempts, start=1):
        request = attempt_request(route, attempt)
        try:
            planned = plan_attempt(request, transfer_id=attempt_id(route_id, number))
        except InvalidRequest as invalid:
            where = f"attempts[{number - 1}]"
            problems += [evolve(problem, field=f"{where}.{problem.field}") for problem in invalid.problems]
        else:
            attempts.append(evolve(planned, opened=evolve(planned.opened, legs=())))
    if problems:
        raise InvalidRequest(str(route.call.provider), problems)
    return tuple(attempts)


def call_key(call: Call, adapters: Mapping[str, Adapter]) -> CallKey:
    """Return the key of a call with a provider. Raises `InvalidRequest` if the provider is not configured."""
    provider = call.provider or ""
    return CallKey(provider, _adapter(provider, adapters).canonical_call_id(call.id))


def _adapter(provider: str, adapters: Mapping[str, Adapter]) -> Adapter:
    adapter = adapters.get(provider)
    if adapter is None:
        known = ", ".join(sorted(adapters))
        raise InvalidRequest(provider, [Problem("call", f"no provider {provider!r} is configured", known)])
    return adapter


def calls_of(request: Request, provider: str, adapter: Adapter) -> list[CallKey]:
    """The calls that a request is about, its own first: a transfer that replaces, and a join, have two."""
    ids = [request.call.id]
    if isinstance(request, Transfer) and request.replaces is not None:
        ids.append(request.replaces)
    elif isinstance(request, Join):
        ids.append(request.other)
    return [CallKey(provider, adapter.canonical_call_id(id_)) for id_ in ids]


def _with_callback(request: Request, adapter: Adapter, public_url: str | None, transfer_id: str) -> Request:
    """Give the request the address for its callbacks, if the provider supports one.

    The callbacks of a placed call arrive at `/calls/<step id>`. Those of an answered call arrive at
    `/calls/<id of the incoming call>`, because answering may give the call another id. Every other request
    has an address of its own for its verdict.
    """
    support = adapter.capabilities.support(request.kind)
    if (
        public_url is None
        or request.callback_uri is not None
        or support is None
        or "callback_uri" not in support.fields
        or request.kind is RequestKind.REDIRECT
    ):
        return request
    address = f"{public_url.rstrip('/')}/{adapter.name}"
    match request.kind:
        case RequestKind.ANSWER:
            incoming = adapter.canonical_call_id(request.call.id)
            address = f"{address}/calls/{quote(incoming, safe='')}"
        case RequestKind.PLACE_CALL:
            address = f"{address}/calls/{transfer_id}"
        case _:
            address = f"{address}/{transfer_id}"
    return evolve(request, callback_uri=address)


def _with_ids_of(legs: list[CallKey], request: Request) -> Request:
    """Return the request as it is compared with an earlier one: ids of calls are in their canonical form."""
    if isinstance(request, PlaceCall):
        return evolve(request, step_id=None)
    if request.call.id != legs[0].id:
        request = evolve(request, call=evolve(request.call, id=legs[0].id))
    if isinstance(request, Transfer) and len(legs) > 1 and request.replaces != legs[1].id:
        request = evolve(request, replaces=legs[1].id)
    if isinstance(request, Join) and request.other != legs[1].id:
        request = evolve(request, other=legs[1].id)
    return request
