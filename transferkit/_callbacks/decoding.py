"""Decoding a callback, and the one check that what it says can be stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import evolve

from transferkit.provider.adapter import Adapter, Callback
from transferkit.provider.facts import Fact, MalformedCallback, Signal

__all__ = ["decode_callback"]

_MAX_DEPTH = 64
"""The deepest nesting that is accepted; the callbacks that providers publish have less than ten levels."""


def decode_callback(adapter: Adapter, callback: Callback) -> tuple[list[Fact], MalformedCallback | None]:
    """The facts that can be stored, and the first problem of the rest, if there is one.

    An adapter may use a JSON parser that accepts more than a store does, so `raw` of each event is checked.
    One bad element does not cost the others.
    """
    problem: MalformedCallback | None = None
    try:
        decoded: Sequence[Fact] = adapter.decode(callback)
    except MalformedCallback as error:
        decoded, problem = error.facts, error
    except RecursionError:
        return [], MalformedCallback(adapter.name, "body", "is nested too deeply")
    facts: list[Fact] = []
    for number, fact in enumerate(decoded):
        message = _storage_problem(fact.event.raw)
        if message is None:
            facts.append(evolve(fact, placed_by=callback.placed_by) if callback.placed_by else fact)
        elif problem is None:
            problem = MalformedCallback(adapter.name, f"event {number}", message)
    if problem is not None:
        problem = MalformedCallback(adapter.name, problem.where, problem.message, facts=facts)
    return _without_ended_calls(facts), problem


def _storage_problem(raw: object) -> str | None:
    """Why JSON cannot be stored and encoded again, although a parser accepted it; None if it can be."""
    level = [raw]
    for _ in range(_MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError:  # a lone surrogate
                    return "has text that is not Unicode"
            elif isinstance(value, float) and not math.isfinite(value):
                return "has a number that is not finite"
            elif isinstance(value, Mapping):
                below += [*value, *value.values()]
            elif isinstance(value, (tuple, list)):
                below += value
        if not below:
            return None
        level = below
    return f"is nested more than {_MAX_DEPTH} deep"


def _without_ended_calls(facts: list[Fact]) -> list[Fact]:
    """The facts, with `call_alive=False` on the failures of a call whose end the same callback reports."""
    ended = {fact.event.call_id for fact in facts if Signal.CALL_ENDED in fact.signals}
    return [
        evolve(fact, call_alive=False)
        if Signal.FAILED in fact.signals and fact.event.call_id in ended
        else fact
        for fact in facts
    ]
