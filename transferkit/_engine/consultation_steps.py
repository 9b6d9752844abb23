"""The call steps that a consultation consists of, and the check that its provider supports all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import assert_never

from attrs import evolve

from transferkit._lifecycle.consultation_state import Wanted
from transferkit.errors import Problem
from transferkit.provider.adapter import Adapter
from transferkit.provider.capabilities import Plan
from transferkit.requests import (
    Call,
    Consultation,
    HangUp,
    Hold,
    Join,
    JoinSide,
    OnUnsupported,
    PlaceCall,
    RequestKind,
    Resume,
    Step,
)

__all__ = ["plan_consultation", "step_request"]


def step_request(wanted: Wanted, request: Consultation, *, agent_call: Call, adapter: Adapter) -> Step:
    """Return the request of a step. `agent_call` is the agent's call, for the steps that need it."""
    call, deadline, on_unsupported = request.call, request.deadline, request.on_unsupported
    match wanted:
        case Wanted.HOLD:
            return Hold(
                call,
                participant=request.participant,
                participant_id=request.participant_id,
                deadline=deadline,
                on_unsupported=on_unsupported,
            )
        case Wanted.RESUME:
            return Resume(
                call,
                participant=request.participant,
                participant_id=request.participant_id,
                deadline=deadline,
                on_unsupported=on_unsupported,
            )
        case Wanted.PLACE_CALL:
            return PlaceCall(
                request.to,
                provider=call.provider,
                caller_id=request.caller_id,
                context=request.context,
                ring_timeout=_accepted_ring_timeout(request, adapter),
                deadline=request.ring_timeout + deadline,
                on_unsupported=on_unsupported,
            )
        case Wanted.JOIN:
            on_callers_call = adapter.capabilities.join_side is JoinSide.CALLER
            return Join(
                call if on_callers_call else agent_call,
                other=(agent_call if on_callers_call else call).id,
                to=request.to,
                participant=request.participant,
                participant_id=request.participant_id,
                deadline=deadline,
                on_unsupported=on_unsupported,
            )
        case Wanted.HANG_UP:
            return HangUp(agent_call, deadline=deadline)
        case Wanted.QUERY:
            raise ValueError("a query is not a step")
    assert_never(wanted)


def _accepted_ring_timeout(request: Consultation, adapter: Adapter) -> timedelta | None:
    """Return the ring timeout if the provider can apply it as well. The consultation always applies it."""
    support = adapter.capabilities.support(RequestKind.PLACE_CALL)
    limit = support and support.fields.get("ring_timeout")
    if limit is None or [*limit.problems("ring_timeout", request.ring_timeout)]:
        return None
    return request.ring_timeout


def plan_consultation(request: Consultation, adapter: Adapter, plan: Callable[[Step], Plan]) -> Plan:
    """Check all steps of a consultation, before any of them is needed. `plan` checks one."""
    dropped: list[str] = []
    problems = [
        Problem(name, "is not supported for a consultation", "leave it out")
        for name in ("callback_uri", "extra")
        if getattr(request, name)
    ]
    if request.hold and request.on_unsupported is OnUnsupported.DROP and not _can_hold(adapter):
        request, dropped = evolve(request, hold=False), ["hold"]
    for wanted in _steps(request):
        # The agent's call has no id yet: the caller's stands for it.
        step = step_request(wanted, request, agent_call=request.call, adapter=adapter)
        planned = plan(step)
        problems += [_of_step(problem, wanted) for problem in planned.problems]
        dropped += planned.dropped
    return Plan(
        request=request,
        problems=tuple(dict.fromkeys(problems)),
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _can_hold(adapter: Adapter) -> bool:
    return {RequestKind.HOLD, RequestKind.RESUME} <= adapter.capabilities.steps.keys()


def _steps(request: Consultation) -> Iterator[Wanted]:
    if request.hold:
        yield from (Wanted.HOLD, Wanted.RESUME)
    yield from (Wanted.PLACE_CALL, Wanted.HANG_UP, Wanted.JOIN)


def _of_step(problem: Problem, wanted: Wanted) -> Problem:
    """Return the problem of a step as one of the consultation, which has no field `request`."""
    if problem.field != "request":
        return problem
    if wanted in {Wanted.HOLD, Wanted.RESUME}:
        return Problem("hold", problem.message, "False, or a provider that can hold calls")
    return problem
