"""The state of an open route, which is stored with the state of its call."""

from __future__ import annotations

from datetime import datetime
from typing import final

from attrs import field, frozen

from transferkit._lifecycle.opened import Opened, part_id
from transferkit._lifecycle.rules import Rules
from transferkit._util.redaction import safe_repr
from transferkit.events import AttemptFailure
from transferkit.reasons import FailureReason

__all__ = ["OpenRoute", "PlannedAttempt", "attempt_id"]


def attempt_id(route_id: str, number: int) -> str:
    """Return the id of the transfer or consultation that is attempt `number` of a route."""
    return part_id(route_id, f"attempt/{number}")


@final
@frozen(kw_only=True)
class PlannedAttempt:
    """An attempt that was not made yet: the request, as it was planned with the route."""

    opened: Opened
    rules: Rules
    dropped: tuple[str, ...] = ()


@final
@frozen(kw_only=True)
class OpenRoute:
    """A route without an outcome.

    * `number`: of the attempt in progress, from 1; `current`: its id.
    * `failures`: the attempts that failed. `left`: the calls that they may have left.
    """

    id: str
    on: tuple[FailureReason, ...]
    operation_context: str | None = field(default=None, repr=safe_repr)
    requested_at: datetime
    remaining: tuple[PlannedAttempt, ...]
    number: int = 0
    current: str | None = None
    failures: tuple[AttemptFailure, ...] = ()
    left: tuple[str, ...] = field(default=(), repr=safe_repr)
    cancelled: bool = False
