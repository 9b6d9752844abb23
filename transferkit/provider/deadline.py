"""Until when an attempt may be sent, checked once more immediately before its bytes leave.

A token, a connection or a suspended machine can take longer than an attempt has. `Submission.deadline` is the
limit; an adapter checks it last of all, when the connection is there:

    with submission.deadline.in_force():
        ...                     # token, connection; then, right before the request is written:
        check_deadline()        # raises DeadlinePassed, which `submit` lets through

HTTP clients have a place for that. httpx: the argument `extensions=CHECKED` of a request. aiohttp: a subclass
of `ClientRequest` whose `send` calls `check_deadline`, as the session's `request_class`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from time import monotonic
from typing import Any, Final, final

from attrs import define, field

from transferkit.events import Basis, FailureReason
from transferkit.provider.clock import Clock, SystemClock
from transferkit.provider.facts import Result
from transferkit.provider.results import NotSent

__all__ = ["CHECKED", "Deadline", "DeadlinePassed", "check_deadline"]


class DeadlinePassed(BaseException):
    """The request was not sent, as it was too late. `answer` says so to the life cycle.

    No `Exception`, as cancellation is none: nothing on the way may take it for an error of the network.
    """

    def __init__(self, until: datetime) -> None:
        message = f"the request was not ready to be sent by {until:%H:%M:%S} UTC, so it was not sent"
        super().__init__(message)
        self.answer = NotSent(
            result=Result(
                reason=FailureReason.TIMEOUT,
                message=message,
                advice="Check what took so long: a token, a connection, or this process. A longer deadline, "
                "or lifecycle.lease if that is shorter, gives it more time.",
                basis=Basis.LOCAL,
            )
        )


@final
@define(eq=False)
class Deadline:
    """Until when an attempt may be sent: by the wall clock, and by as much of monotonic time as is left now.

    The wall clock shows that a machine slept; monotonic time, that the wall clock was set back.
    """

    until: datetime
    clock: Clock = field(factory=SystemClock, repr=False)
    _monotonic_until: float = field(init=False, repr=False)
    _may_have_left: bool = field(init=False, repr=False, default=True)

    def __attrs_post_init__(self) -> None:
        self._monotonic_until = monotonic() + (self.until - self.clock.now()).total_seconds()

    def check(self) -> None:
        """Raise `DeadlinePassed` if it is too late."""
        if self.clock.now() >= self.until or monotonic() >= self._monotonic_until:
            raise DeadlinePassed(self.until)
        self._may_have_left = True

    def passed(self) -> DeadlinePassed | None:
        """What to raise if the deadline ends the attempt now; None if the request may have been written."""
        return None if self._may_have_left else DeadlinePassed(self.until)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let `check_deadline` check this one, in this task. Until that passes, nothing may be written."""
        token = _in_force.set(self)
        self._may_have_left = False
        try:
            yield
        finally:
            _in_force.reset(token)


_in_force: ContextVar[Deadline | None] = ContextVar("transferkit_deadline", default=None)


def check_deadline() -> None:
    """Raise `DeadlinePassed` if it is too late for what this task sends. Queries have no deadline."""
    deadline = _in_force.get()
    if deadline is not None:
        deadline.check()


async def _trace(name: str, info: object) -> None:  # noqa: ARG001 - httpcore gives both
    if name.endswith(".send_request_headers.started"):
        check_deadline()


CHECKED: Final[dict[str, Any]] = {"trace": _trace}
"""The extensions of a request of httpx, with which the deadline is checked when the connection is there.

:meta hide-value:
"""
