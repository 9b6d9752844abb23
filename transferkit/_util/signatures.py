"""Arguments and docstrings that are written once and shown by several methods."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["documented_by", "takes_arguments_of"]

P = ParamSpec("P")
C = TypeVar("C")
F = TypeVar("F")
V = TypeVar("V")
T = TypeVar("T")


def takes_arguments_of(
    make: Callable[Concatenate[F, P], V],
) -> Callable[
    [Callable[[C, V], Coroutine[Any, Any, T]]], Callable[Concatenate[C, F, P], Coroutine[Any, Any, T]]
]:
    """Decorate a method with one argument, a value, so that callers pass what `make` makes the value from.

    Type checkers, `help` and `inspect.signature` show the parameters of `make`. The first is positional-only.
    """

    def decorate(
        method: Callable[[C, V], Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[C, F, P], Coroutine[Any, Any, T]]:
        @wraps(method)
        async def with_arguments(self: C, call: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return await method(self, make(call, *args, **kwargs))

        own, made = signature(method), signature(make)
        instance = next(iter(own.parameters.values()))
        first, *others = made.parameters.values()
        parameters = [
            parameter.replace(kind=parameter.POSITIONAL_ONLY) for parameter in (instance, first)
        ] + others
        shown = made.replace(parameters=parameters, return_annotation=own.return_annotation)
        with_arguments.__signature__ = shown  # type: ignore[attr-defined]
        return with_arguments

    return decorate


def documented_by(original: Callable[..., object]) -> Callable[[T], T]:
    """Decorate a function with the docstring of another."""

    def decorate(function: T) -> T:
        function.__doc__ = original.__doc__
        return function

    return decorate
