"""What a provider supports, as a value, and the plan of a request: what is wrong and what will be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, final

from attrs import evolve, field, fields, frozen

from transferkit.errors import Problem
from transferkit.provider.limits import Limit
from transferkit.requests import Call, CallingContext, OnUnsupported, Redirect, Request, Transfer

__all__ = ["Capabilities", "Plan", "plan"]

# Fields that transferkit itself handles: they are supported for every provider, and a limit is optional.
_CORE_FIELDS = frozenset(
    {"call", "source", "operation_context", "idempotency_key", "deadline", "extra", "on_unsupported"}
)
# A request without one of these would be a different request.
_NEVER_DROPPED = frozenset({"to", "transferee", "participant_id", "replaces", "incoming_context"})
_CONTEXT = "context."


@final
@frozen(kw_only=True)
class Capabilities:
    """What one provider supports with its settings.

    * `transfer`, `redirect`: the supported fields of the request and what they accept; None if the provider
      does not support the operation. The parts of a calling context are separate fields: `context.sip`,
      `context.voip`, `context.teams`. A limit of `call` applies to the call id.
    * `repeatable_for`: how long after the first attempt the provider recognizes the same request and does not
      execute it twice. None if the provider does not promise that.
    * `redirect_completes_on_acceptance`: the provider sends no callback after it accepted a redirect.
    """

    transfer: Mapping[str, Limit] | None = field(default=None, hash=False)
    redirect: Mapping[str, Limit] | None = field(default=None, hash=False)
    repeatable_for: timedelta | None = None
    redirect_completes_on_acceptance: bool = False


@final
@frozen(kw_only=True)
class Plan:
    """A request that was checked against capabilities.

    * `request`: what will be sent, without the dropped fields.
    * `problems`: why it cannot be sent; empty if it can.
    * `dropped`: the unsupported fields that the application allowed to be left out.
    """

    request: Request
    problems: tuple[Problem, ...] = ()
    dropped: tuple[str, ...] = ()


def plan(request: Request, capabilities: Capabilities) -> Plan:
    """Check `request` against `capabilities` and return all problems. Pure; never raises."""
    is_transfer = isinstance(request, Transfer)
    operation = "a transfer" if is_transfer else "a redirect"
    limits = capabilities.transfer if is_transfer else capabilities.redirect
    if limits is None:
        return Plan(request=request, problems=(Problem("request", f"{operation} is not supported"),))
    problems: list[Problem] = []
    dropped: list[str] = []
    for name, value in _given_fields(request):
        limit = limits.get(name)
        if limit is not None:
            problems.extend(limit.problems(name, value))
        elif name in _CORE_FIELDS:
            continue
        elif request.on_unsupported is OnUnsupported.DROP and name not in _NEVER_DROPPED:
            dropped.append(name)
        else:
            supported = f"leave it out; the fields are {', '.join(sorted(limits))}"
            problems.append(Problem(name, f"is not supported for {operation}", supported))
    return Plan(request=_without(request, dropped), problems=tuple(problems), dropped=tuple(dropped))


def _given_fields(request: Request) -> Iterator[tuple[str, Any]]:
    """Yield the fields that have a value, by the names that capabilities use."""
    for attribute in fields(type(request)):
        value = getattr(request, attribute.name)
        if isinstance(value, Call):
            yield attribute.name, value.id
        elif isinstance(value, CallingContext):
            for part in ("sip", "voip", "teams"):
                if getattr(value, part):
                    yield f"{_CONTEXT}{part}", getattr(value, part)
        elif value is not None and value != ():
            yield attribute.name, value


def _without(request: Request, dropped: list[str]) -> Request:
    changes: dict[str, Any] = {name: None for name in dropped if not name.startswith(_CONTEXT)}
    parts = {name.removeprefix(_CONTEXT): None for name in dropped if name.startswith(_CONTEXT)}
    if parts:
        changes["context"] = evolve(request.context, **parts)
    if isinstance(request, Redirect):  # two calls, because type checkers reject a union
        return evolve(request, **changes)
    return evolve(request, **changes)
