"""The life cycle of routes: a third pure machine. Its state is part of that of the call.

An attempt is a transfer or a consultation of the same call. In the step in which an attempt gets its outcome,
the route requests the next attempt or publishes its own outcome, so that no process can come in between.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from attrs import evolve

from transferkit._lifecycle.decision import Decision, Work
from transferkit._lifecycle.inputs import Requested, RouteCancelled
from transferkit._lifecycle.opened import Opened
from transferkit._lifecycle.route_state import OpenRoute
from transferkit._lifecycle.transition import Transition
from transferkit.events import (
    AttemptFailure,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    Event,
    Outcome,
    RouteAttempt,
    RouteCompleted,
    RouteExpired,
    RouteFailed,
    RouteRequested,
    RouteReturned,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.requests import Route

__all__ = ["RouteOver", "cancel_route", "continue_route", "open_route"]

OpenAttempt = Callable[[Transition, Requested], Opened]
"""Opens an attempt of a route, and returns its request."""


class RouteOver(Exception):
    """The route has its outcome. Nothing changes."""


def open_route(transition: Transition, requested: Requested, open_attempt: OpenAttempt) -> Decision:
    """Open the route and its first attempt."""
    opened = requested.opened
    request = opened.request
    assert isinstance(request, Route)  # noqa: S101 - `step` chose this function by the type
    route = OpenRoute(
        id=opened.id,
        on=request.on or (),
        operation_context=request.operation_context,
        requested_at=transition.at,
        remaining=requested.attempts,
    )
    transition.state = evolve(transition.state, route=route)
    _publish(transition, route, RouteRequested, targets=request.targets)
    first = _next_attempt(transition, route, open_attempt)
    return transition.decide(opened=(opened, first))


def continue_route(transition: Transition, decision: Decision, open_attempt: OpenAttempt) -> Decision:
    """Return the decision with what follows for the route from the outcome of its current attempt."""
    route = transition.state.route
    outcome = next(
        (outcome for outcome in transition.outcomes if route and outcome.transfer_id == route.current), None
    )
    if route is None or outcome is None:
        return decision
    transition.clear_due(route.id, Work.ADVANCE)  # the attempt has its parent advanced, which happens here
    route = _update(transition, route, left=(*route.left, *getattr(outcome, "left", ())))
    opened = _apply_outcome(transition, route, outcome, open_attempt)
    return transition.decide(
        opened=(*decision.opened, *opened),
        mark=decision.mark,
        proceed=decision.proceed,
        duplicate=decision.duplicate,
    )


def cancel_route(transition: Transition, cancelled: RouteCancelled) -> OpenRoute:
    """Record that no further attempt is made, and return the route. Raises `RouteOver`."""
    route = transition.state.route
    if route is None or route.id != cancelled.route_id:
        raise RouteOver(cancelled.route_id)
    return _update(transition, route, cancelled=True, remaining=())


def _apply_outcome(
    transition: Transition, route: OpenRoute, outcome: Outcome, open_attempt: OpenAttempt
) -> tuple[Opened, ...]:
    """Publish the outcome of the route, or return the request of the next attempt."""
    match outcome:
        case TransferCompleted() | ConsultationCompleted():
            _finish(transition, route, RouteCompleted, outcome, target=outcome.target)
        case TransferExpired() | ConsultationExpired():
            _finish(
                transition,
                route,
                RouteExpired,
                outcome,
                evidence=outcome.evidence,
                call_alive=outcome.call_alive,
            )
        case ConsultationCancelled():
            _return(transition, route, outcome)
        case TransferFailed() | ConsultationFailed():
            return _apply_failure(transition, route, outcome, open_attempt)
        case _:  # no other request is an attempt
            pass
    return ()


def _apply_failure(
    transition: Transition,
    route: OpenRoute,
    failure: TransferFailed | ConsultationFailed,
    open_attempt: OpenAttempt,
) -> tuple[Opened, ...]:
    """Continue only if the caller is proven to be with the application, and the reason allows it."""
    known = AttemptFailure(
        number=route.number,
        attempt_id=str(route.current),
        target=failure.target,
        reason=failure.reason,
        basis=failure.basis,
    )
    route = _update(transition, route, failures=(*route.failures, known))
    if failure.call_alive is True and (failure.reason in route.on or route.cancelled):
        if route.remaining:
            return (_next_attempt(transition, route, open_attempt),)
        _return(transition, route, failure)
    else:
        _finish(
            transition,
            route,
            RouteFailed,
            failure,
            reason=failure.reason,
            call_alive=failure.call_alive,
            advice=failure.advice,
            request_id=failure.request_id,
        )
    return ()


def _next_attempt(transition: Transition, route: OpenRoute, open_attempt: OpenAttempt) -> Opened:
    planned, *remaining = route.remaining
    route = _update(
        transition,
        route,
        number=route.number + 1,
        current=planned.opened.id,
        remaining=tuple(remaining),
    )
    (target,) = planned.opened.request.targets
    _publish(
        transition, route, RouteAttempt, number=route.number, attempt_id=planned.opened.id, target=target
    )
    opened = evolve(planned.opened, at=transition.at)
    return open_attempt(
        transition,
        Requested(at=transition.at, opened=opened, rules=planned.rules, dropped=planned.dropped),
    )


def _return(transition: Transition, route: OpenRoute, last: Outcome) -> None:
    _finish(
        transition,
        route,
        RouteReturned,
        last,
        cancelled=route.cancelled or isinstance(last, ConsultationCancelled),
    )


def _finish(
    transition: Transition, route: OpenRoute, event: type[Outcome], last: Outcome, **fields: Any
) -> None:
    """Append the one terminal event. What the provider said is that of the last attempt."""
    fields = {
        "number": route.number,
        "attempt_id": route.current,
        "left": route.left,
        "failures": route.failures,
        "basis": last.basis,
        "code": last.code,
        "subcode": last.subcode,
        "message": last.message,
        "elapsed": max(transition.at - route.requested_at, timedelta(0)),
        **fields,
    }
    transition.outcomes.append(_publish(transition, route, event, **fields))
    transition.state = evolve(transition.state, route=None)
    transition.clear_due(route.id)


def _publish(transition: Transition, route: OpenRoute, event: type[Event], **fields: Any) -> Any:
    return transition.append(
        event(
            time=transition.at,
            provider=transition.call.provider,
            call_id=transition.call.id,
            transfer_id=route.id,
            operation_context=route.operation_context,
            **fields,
        )
    )


def _update(transition: Transition, route: OpenRoute, **changes: Any) -> OpenRoute:
    route = evolve(route, **changes)
    transition.state = evolve(transition.state, route=route)
    return route
