"""Requests about an incoming call, made from its event."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Concatenate, ParamSpec, TypeVar

from attrs import evolve

from transferkit.events import CallIncoming
from transferkit.requests import AnswerCall, Call, Redirect, RejectCall

__all__ = ["answer_of", "redirect_of", "reject_of"]

P = ParamSpec("P")
R = TypeVar("R", Redirect, AnswerCall, RejectCall)


def _accepting_events(
    make: Callable[Concatenate[Call | str, P], R],
) -> Callable[Concatenate[CallIncoming | Call | str, P], R]:
    def request_of(call: CallIncoming | Call | str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not isinstance(call, CallIncoming):
            return make(call, *args, **kwargs)
        request = make(call.call, *args, **kwargs)
        request = evolve(request, incoming_context=request.incoming_context or call.incoming_context)
        if isinstance(request, Redirect):
            request = evolve(request, source=request.source or call.source)
        return request

    _show_event_parameter(request_of, make)
    return request_of


def _show_event_parameter(function: Callable[..., object], make: Callable[..., object]) -> None:
    """Have `help` show the parameters of `make`, with the event as the first."""
    parameters = dict(signature(make).parameters)
    parameters["call"] = parameters["call"].replace(annotation="CallIncoming | Call | str")
    function.__signature__ = signature(make).replace(parameters=[*parameters.values()])  # type: ignore[attr-defined]


redirect_of = _accepting_events(Redirect)
"""`Redirect`, which also accepts the event of the incoming call, and takes what a provider needs from it."""
answer_of = _accepting_events(AnswerCall)
"""`AnswerCall`, which also accepts the event of the incoming call."""
reject_of = _accepting_events(RejectCall)
"""`RejectCall`, which also accepts the event of the incoming call."""
