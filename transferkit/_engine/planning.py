"""Planning: checks a request against its provider's capabilities, and completes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote
from uuid import uuid4

from attrs import evolve

from transferkit._engine.consultation_steps import plan_consultation
from transferkit._lifecycle import CallKey, Opened
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import fingerprint
from transferkit.errors import InvalidRequest, Problem
from transferkit.provider.adapter import Adapter
from transferkit.provider.capabilities import Plan
from transferkit.requests import Call, Consultation, PlaceCall, Request, RequestKind, Transfer

__all__ = ["call_key", "plan_request"]


def plan_request(
    request: Request,
    *,
    adapters: Mapping[str, Adapter],
    provider: str,
    public_url: str | None,
    at: datetime,
    trace: FrozenMap[str],
    parent: str | None = None,
    transfer_id: str | None = None,
) -> tuple[Opened, tuple[str, ...]]:
    """Return the request as it is recorded, and the names of the fields that may be and were dropped.

    `provider` is the default provider. `parent` is the id of the request that this one is a part of, and
    `transfer_id` the id to give it (a new one by default). Raises `InvalidRequest` with every problem.
    """
    provider = request.call.provider or provider
    adapter = _adapter(provider, adapters)
    transfer_id = transfer_id or str(uuid4())
    if isinstance(request, PlaceCall):
        request = evolve(request, provider=provider, step_id=transfer_id)
    elif request.call.provider != provider:
        request = evolve(request, call=evolve(request.call, provider=provider))

    def plan(request: Request) -> Plan:
        return adapter.plan(_with_callback(request, adapter, public_url, transfer_id))

    planned = (
        plan_consultation(request, adapter, plan) if isinstance(request, Consultation) else plan(request)
    )
    legs = [CallKey(provider, adapter.canonical_call_id(id_)) for id_ in _calls(request)]
    problems = [*planned.problems]
    if len(set(legs)) < len(legs):
        same = "is the call that is to be transferred"
        problems.append(Problem("replaces", same, "the id of the other call, with the target"))
    if problems:
        raise InvalidRequest(provider, problems)
    opened = Opened(
        id=transfer_id,
        call=legs[0],
        request=planned.request,
        fingerprint=fingerprint(_with_ids_of(legs, request)),
        at=at,
        legs=tuple(legs),
        parent=parent,
        trace=trace,
    )
    return opened, planned.dropped


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


def _calls(request: Request) -> list[str]:
    """The ids of the calls that the request occupies."""
    if isinstance(request, Transfer) and request.replaces is not None:
        return [request.call.id, request.replaces]
    return [request.call.id]


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
    return request
