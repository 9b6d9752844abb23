"""The requests that the attempts of a route are."""

from __future__ import annotations

from transferkit.requests import Attempt, Consultation, Route, Transfer

__all__ = ["attempt_request"]


def attempt_request(route: Route, attempt: Attempt) -> Transfer | Consultation:
    """Return the request of an attempt: a consultation if it limits the ringing, else a blind transfer.

    The caller is not put on hold: nobody talks to the target before the caller does.
    """
    if attempt.ring_timeout is None:
        return Transfer(
            route.call,
            to=attempt.to,
            caller_id=attempt.caller_id,
            context=attempt.context,
            deadline=route.deadline,
            extra=route.extra,
            on_unsupported=route.on_unsupported,
        )
    return Consultation(
        route.call,
        to=attempt.to,
        caller_id=attempt.caller_id,
        context=attempt.context,
        ring_timeout=attempt.ring_timeout,
        join_on_answer=True,
        hold=False,
        extra=route.extra,
        on_unsupported=route.on_unsupported,
    )
