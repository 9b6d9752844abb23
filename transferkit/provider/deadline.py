"""Until when an attempt may be sent, checked immediately before its bytes are written.

Obtaining a token or a connection can take longer than an attempt has, and a machine can be suspended. An
adapter therefore checks the deadline last of all, when the connection exists:

    with submission.deadline.in_force():
        ...                     # obtain a token and a connection; right before the request is written:
        check_deadline()        # raises DeadlinePassed, which `submit` does not catch

With httpx, pass `extensions=CHECKED` to the request. With aiohttp, use a `request_class` whose `send` calls
`check_deadline`.
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
    """The deadline passed before the request was sent. `answer` is the result of the attempt.

    It is not an `Exception`, for the same reason as `CancelledError`: code that handles network errors must
    not handle it.
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
    """Until when an attempt may be sent, by the wall clock and by monotonic time.

    The wall clock counts the time while the machine was suspended. Monotonic time is not affected when the
    wall clock is set back.
    """

    until: datetime
    clock: Clock = field(factory=SystemClock, repr=False)
    _monotonic_until: float = field(init=False, repr=False)
    _may_be_sent: bool = field(init=False, repr=False, default=True)

    def __attrs_post_init__(self) -> None:
        self._monotonic_until = monotonic() + (self.until - self.clock.now()).total_seconds()

    def check(self) -> None:
        """Raise `DeadlinePassed` if the deadline has passed. After that, the request counts as written."""
        if self.clock.now() >= self.until or monotonic() >= self._monotonic_until:
            raise DeadlinePassed(self.until)
        self._may_be_sent = True

    def passed(self) -> DeadlinePassed | None:
        """Return what to raise if the attempt is cancelled now; None if the request may have been written."""
        return None if self._may_be_sent else DeadlinePassed(self.until)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Make this the deadline of `check_deadline` in the current task.

        The adapter promises that it writes nothing before `check_deadline` returned.
        """
        token = _in_force.set(self)
        self._may_be_sent = False
        try:
            yield
        finally:
            _in_force.reset(token)


_in_force: ContextVar[Deadline | None] = ContextVar("transferkit_deadline", default=None)


def check_deadline() -> None:
    """Raise `DeadlinePassed` if the current task's deadline has passed. A query has no deadline."""
    deadline = _in_force.get()
    if deadline is not None:
        deadline.check()


async def _trace(name: str, info: object) -> None:  # noqa: ARG001 - the signature of an httpcore trace hook
    if name.endswith(".send_request_headers.started"):
        check_deadline()


CHECKED: Final[dict[str, Any]] = {"trace": _trace}
"""The `extensions` of an httpx request. They check the deadline when the connection exists.

:meta hide-value:
"""
