"""What a provider supports, as a value, and the plan of a request: what is wrong and what will be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, final

from attrs import evolve, field, fields, fields_dict, frozen

from transferkit.errors import Problem
from transferkit.provider.limits import Limit
from transferkit.requests import Call, CallingContext, JoinSide, OnUnsupported, Request, RequestKind

__all__ = ["Capabilities", "Plan", "Support", "plan"]

# Fields that transferkit itself handles: they are supported for every provider, and a limit is optional.
_CORE_FIELDS = frozenset(
    {
        "call",
        "source",
        "provider",
        "step_id",
        "operation_context",
        "idempotency_key",
        "deadline",
        "extra",
        "on_unsupported",
    }
)
# A request without one of these would be a different request.
_NEVER_DROPPED = frozenset(
    {"to", "transferee", "participant", "participant_id", "replaces", "other", "incoming_context", "leave"}
)
_CONTEXT = "context."
_NAMES: Mapping[RequestKind, str] = {
    RequestKind.TRANSFER: "a transfer",
    RequestKind.REDIRECT: "a redirect",
    RequestKind.ANSWER: "answering a call",
    RequestKind.REJECT: "rejecting a call",
    RequestKind.PLACE_CALL: "placing a call",
    RequestKind.HOLD: "holding a call",
    RequestKind.RESUME: "resuming a call",
    RequestKind.JOIN: "joining two calls",
    RequestKind.HANG_UP: "hanging up",
}


@final
@frozen(kw_only=True)
class Support:
    """How a provider supports one kind of request.

    * `fields`: the supported fields and what they accept. The parts of a calling context are separate fields:
      `context.sip`, `context.voip`, `context.teams`. A limit of `call` applies to the call id.
    * `repeatable_for`: how long after the first attempt the provider recognizes the same request and does not
      execute it twice. None if the provider does not promise that.
    * `completes_on_acceptance`: the provider sends no callback after it accepted the request.
    """

    fields: Mapping[str, Limit] = field(hash=False)
    repeatable_for: timedelta | None = None
    completes_on_acceptance: bool = False


@final
@frozen(kw_only=True)
class Capabilities:
    """What one provider supports with its settings.

    * `transfer`, `redirect`: the supported fields of the request, as in `Support`; None if the provider does
      not support the operation. `repeatable_for` and `redirect_completes_on_acceptance` apply to them.
    * `steps`: the call steps that the provider supports.
    * `join_side`: on which of the two calls a join is performed and reported.
    """

    transfer: Mapping[str, Limit] | None = field(default=None, hash=False)
    redirect: Mapping[str, Limit] | None = field(default=None, hash=False)
    repeatable_for: timedelta | None = None
    redirect_completes_on_acceptance: bool = False
    steps: Mapping[RequestKind, Support] = field(factory=dict, hash=False)
    join_side: JoinSide = JoinSide.CALLER

    def support(self, kind: RequestKind) -> Support | None:
        """Return how a kind of request is supported; None if it is not."""
        if kind is RequestKind.TRANSFER:
            limits, completes = self.transfer, False
        elif kind is RequestKind.REDIRECT:
            limits, completes = self.redirect, self.redirect_completes_on_acceptance
        else:
            return self.steps.get(kind)
        if limits is None:
            return None
        return Support(fields=limits, repeatable_for=self.repeatable_for, completes_on_acceptance=completes)


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
    operation = _NAMES[request.kind]
    support = capabilities.support(request.kind)
    if support is None:
        return Plan(request=request, problems=(Problem("request", f"{operation} is not supported"),))
    limits = support.fields
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
            supported = f"leave it out; the fields are {', '.join(sorted(limits)) or 'none'}"
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
        elif value is not None and value != () and not (request.kind.is_step and value == attribute.default):
            yield attribute.name, value


def _without(request: Request, dropped: list[str]) -> Request:
    if not dropped:
        return request
    defaults = fields_dict(type(request))
    changes: dict[str, Any] = {
        name: defaults[name].default for name in dropped if not name.startswith(_CONTEXT)
    }
    parts = {name.removeprefix(_CONTEXT): None for name in dropped if name.startswith(_CONTEXT)}
    if parts:
        changes["context"] = evolve(request.context, **parts)  # type: ignore[union-attr] # it was given
    changed: Request = evolve(request, **changes)
    return changed
