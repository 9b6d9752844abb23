"""What the library tells whoever watches it. These classes tell nobody, and cost next to nothing."""

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
"""Runs something in a task of the client's."""


_ANSWERS: Mapping[type[SubmitResult], str] = {
    Submitted: "taken",
    Rejected: "refused",
    NotSent: "not_sent",
    MaybeSent: "maybe_sent",
}


def answer_word(answer: SubmitResult) -> str:
    """An answer's kind as spans, metrics and log records have it."""
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
    """Something that takes its time, begun. Entered, it is the current one until it is left."""

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
        """Whether anybody will see it: whether it is worth finding out more to tell."""
        return False

    def about(self, call: CallKey) -> None:
        """Which call it is about."""

    def recorded(self, transfer_id: str) -> None:
        """The request is stored as that transfer."""

    def answered(self, answer: SubmitResult) -> None:
        """What came of an attempt."""

    def found(self, inspection: Inspection) -> None:
        """What an inspection found."""

    def caused(self, events: Sequence[Event], traces: Sequence[FrozenMap[str]]) -> None:
        """What it became, or hands over, and the traces of the requests that this is about."""

    def end(self, error: BaseException | None = None) -> None:
        """It is over; a second time does nothing."""


_NOBODYS = Span()


class Telemetry:
    """What is told of one process: spans of what takes time, and figures."""

    def asking(self, request: Request) -> Span:  # noqa: ARG002 - nobody is told, here and below
        """An application asks for a transfer or redirect."""
        return _NOBODYS

    def current_trace(self) -> FrozenMap[str]:
        """The current trace in W3C's form, to be stored with a request; empty where there is none."""
        return EMPTY

    def attempt(self, opened: Opened, number: int) -> Span:  # noqa: ARG002
        """A request leaves, for the `number`th time."""
        return _NOBODYS

    def inspection(self, opened: Opened) -> Span:  # noqa: ARG002
        """A provider is asked about a call."""
        return _NOBODYS

    def callback(self, provider: str, route: str) -> Span:  # noqa: ARG002
        """A callback arrived at a known path."""
        return _NOBODYS

    def stray(self) -> None:
        """A callback arrived at a path of no provider."""

    def delivery(self, delivery: GroupDelivery) -> Span:  # noqa: ARG002
        """A consumer of a group has an event; never the current span, as the loop body is not ours."""
        return _NOBODYS

    def observed(self, received_at: datetime, inputs: Sequence[tuple[CallKey, Input]]) -> None:
        """Facts arrived and are news."""

    def committed(self, inputs: Sequence[tuple[CallKey, Input]], applied: Sequence[Applied]) -> None:
        """A transaction is through."""

    def commit_retried(self) -> None:
        """A transaction failed and is tried again."""

    def watch(
        self,
        store: Store,  # noqa: ARG002
        *,
        lateness: Callable[[], float | None],  # noqa: ARG002
        spawn: Spawn,  # noqa: ARG002
    ) -> Callable[[], None]:
        """A client opened on the running loop; call what this returns when it closes.

        `lateness`: how many seconds the due work is late, None where this process does not do any.
        """
        return _nothing


def _nothing() -> None:
    pass
