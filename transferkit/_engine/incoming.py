"""Redirects of an incoming call, made from its event."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Concatenate, ParamSpec

from attrs import evolve

from transferkit.events import CallIncoming
from transferkit.requests import Call, Redirect

__all__ = ["redirect_of"]

P = ParamSpec("P")


def _accepting_events(
    make: Callable[Concatenate[Call | str, P], Redirect],
) -> Callable[Concatenate[CallIncoming | Call | str, P], Redirect]:
    def redirect(call: CallIncoming | Call | str, /, *args: P.args, **kwargs: P.kwargs) -> Redirect:
        if not isinstance(call, CallIncoming):
            return make(call, *args, **kwargs)
        request = make(call.call, *args, **kwargs)
        return evolve(
            request,
            incoming_context=request.incoming_context or call.incoming_context,
            source=request.source or call.source,
        )

    parameters = dict(signature(make).parameters)
    parameters["call"] = parameters["call"].replace(annotation="CallIncoming | Call | str")
    redirect.__signature__ = signature(make).replace(parameters=[*parameters.values()])  # type: ignore[attr-defined]
    return redirect


redirect_of = _accepting_events(Redirect)
"""`Redirect`, which also accepts the event of the incoming call, and takes what a provider needs from it."""
