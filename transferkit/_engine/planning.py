"""Planning: checks a request against its provider's capabilities, and completes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import uuid4

from attrs import evolve

from transferkit._lifecycle import CallKey, Opened
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import fingerprint
from transferkit.errors import InvalidRequest, Problem
from transferkit.provider.adapter import Adapter
from transferkit.requests import Request, Transfer

__all__ = ["plan_request"]


def plan_request(
    request: Request,
    *,
    adapters: Mapping[str, Adapter],
    provider: str,
    public_url: str | None,
    at: datetime,
    trace: FrozenMap[str],
) -> tuple[Opened, tuple[str, ...]]:
    """Return the request as it is recorded, and the names of the fields that may be and were dropped.

    `provider` is the default provider. Raises `InvalidRequest` with every problem.
    """
    provider = request.call.provider or provider
    adapter = adapters.get(provider)
    if adapter is None:
        known = ", ".join(sorted(adapters))
        raise InvalidRequest(provider, [Problem("call", f"no provider {provider!r} is configured", known)])
    transfer_id = str(uuid4())
    if request.call.provider != provider:
        request = evolve(request, call=evolve(request.call, provider=provider))
    planned = adapter.plan(_with_callback(request, adapter, public_url, transfer_id))
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
        trace=trace,
    )
    return opened, planned.dropped


def _calls(request: Request) -> list[str]:
    """The ids of the calls that the request occupies."""
    if isinstance(request, Transfer) and request.replaces is not None:
        return [request.call.id, request.replaces]
    return [request.call.id]


def _with_callback(request: Request, adapter: Adapter, public_url: str | None, transfer_id: str) -> Request:
    """Give the transfer a callback address of its own, if the provider supports one."""
    limits = adapter.capabilities.transfer
    if (
        public_url is None
        or request.callback_uri is not None
        or not isinstance(request, Transfer)
        or limits is None
        or "callback_uri" not in limits
    ):
        return request
    return evolve(request, callback_uri=f"{public_url.rstrip('/')}/{adapter.name}/{transfer_id}")


def _with_ids_of(legs: list[CallKey], request: Request) -> Request:
    """Return the request with the ids of its calls in their canonical form."""
    if request.call.id != legs[0].id:
        request = evolve(request, call=evolve(request.call, id=legs[0].id))
    if isinstance(request, Transfer) and len(legs) > 1 and request.replaces != legs[1].id:
        request = evolve(request, replaces=legs[1].id)
    return request
