"""The interface of telemetry. These classes do nothing: they are used without OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, final

from transferkit._lifecycle import CallKey, Input, Opened
from transferkit._util.frozenmap import EMPTY, FrozenMap
from transferkit.errors import CallbackNotVerified, SenderNotChecked, StoreError
from transferkit.events import Event
from transferkit.provider.adapter import Inspection
from transferkit.provider.facts import MalformedCallback
from transferkit.provider.results import MaybeSent, NotSent, Rejected, SubmitResult, Submitted
from transferkit.requests import Request
from transferkit.stores import Applied, Store
from transferkit.stores.consumer_groups import GroupDelivery

__all__ = ["CallbackRefused", "Rejection", "Span", "Spawn", "Telemetry", "answer_word"]

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Starts a coroutine in a task of the client."""

_ANSWERS: Mapping[type[SubmitResult], str] = {
    Submitted: "submitted",
    Rejected: "rejected",
    NotSent: "not_sent",
    MaybeSent: "maybe_sent",
}


def answer_word(answer: SubmitResult) -> str:
    """The name of an answer's kind in spans, metrics and log records."""
    return _ANSWERS[type(answer)]


@final
class Rejection(StrEnum):
    """Why a callback was not accepted."""

    UNKNOWN_PATH = "unknown_path"
    METHOD = "method"
    TOO_LARGE = "too_large"
    UNVERIFIED = "unverified"
    NOT_CHECKED = "not_checked"
    MALFORMED = "malformed"
    NOT_STORED = "not_stored"
    FAILED = "failed"

    @classmethod
    def of(cls, error: Exception) -> Rejection:
        """The rejection that an error in the receiver means."""
        match error:
            case CallbackRefused():
                return error.rejection
            case CallbackNotVerified():
                return cls.UNVERIFIED
            case SenderNotChecked():
                return cls.NOT_CHECKED
            case MalformedCallback():
                return cls.MALFORMED
            case StoreError():
                return cls.NOT_STORED
            case _:
                return cls.FAILED


class CallbackRefused(Exception):
    """A callback that is refused before its sender is checked."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.value)
        self.rejection = rejection


class Span:
    """A span that has started. As a context manager it is the current span."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)

    @property
    def recording(self) -> bool:
        """Whether the span is exported; if not, its attributes need not be computed."""
        return False

    def set_call(self, call: CallKey) -> None:
        """The call of the request."""

    def set_transfer(self, transfer_id: str) -> None:
        """The id of the transfer that the request is stored as."""

    def set_answer(self, answer: SubmitResult) -> None:
        """The answer to an attempt."""

    def set_inspection(self, inspection: Inspection) -> None:
        """The result of an inspection."""

    def set_events(self, events: Sequence[Event], traces: Sequence[FrozenMap[str]]) -> None:
        """The events of a callback or delivery, and the traces of the requests that they belong to."""

    def set_refusal(self, error: Exception) -> None:
        """The error for which a callback is not accepted. It ends the span like a raised one."""

    def end(self, error: BaseException | None = None) -> None:
        """End the span. Does nothing if it has ended."""


_NO_SPAN = Span()


class Telemetry:
    """Spans and metrics of one process."""

    def request(self, request: Request) -> Span:  # noqa: ARG002 - arguments are unused here and below
        """The span of a transfer or redirect that the application requests."""
        return _NO_SPAN

    def current_trace(self) -> FrozenMap[str]:
        """The current trace as W3C headers, to be stored with a request; empty if there is none."""
        return EMPTY

    def attempt(self, opened: Opened, number: int) -> Span:  # noqa: ARG002
        """The span of attempt `number` to send a request."""
        return _NO_SPAN

    def inspection(self, opened: Opened) -> Span:  # noqa: ARG002
        """The span of a query about a call."""
        return _NO_SPAN

    def callback(self, provider: str, route: str) -> Span:  # noqa: ARG002
        """The span of a callback at a known path."""
        return _NO_SPAN

    def unknown_path(self) -> None:
        """Count a request at a path that no provider has."""

    def delivery(self, delivery: GroupDelivery) -> Span:  # noqa: ARG002
        """The span of an event that a group delivers; never the current span of the loop body."""
        return _NO_SPAN

    def observed(self, received_at: datetime, inputs: Sequence[tuple[CallKey, Input]]) -> None:
        """Measure the latency of facts that are no repetitions."""

    def committed(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
        """Count what a transaction committed."""

    def commit_retried(self) -> None:
        """Count a transaction that failed and is retried."""

    def relayed(self, sink: str, result: str, delay: float | None) -> None:
        """Count a message to a broker. `delay`: seconds from the event to its confirmation."""

    def watch(
        self,
        store: Store,  # noqa: ARG002
        *,
        lateness: Callable[[], float | None],  # noqa: ARG002
        connections: Callable[[], Mapping[str, bool]],  # noqa: ARG002
        spawn: Spawn,  # noqa: ARG002
    ) -> Callable[[], None]:
        """Report gauges of a client that opened on the running loop. Call the result when it closes.

        `lateness` returns how many seconds the due work is late; None if this process does no due work.
        `connections` returns, by provider, whether the connections of this process are up.
        """
        return lambda: None
