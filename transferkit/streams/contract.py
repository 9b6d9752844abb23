"""What every reader of the event stream offers to an application."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from transferkit.events import Event

__all__ = ["EventStream"]


class EventStream(ABC):
    """The events that one reader sees: an async context manager and an async iterator.

    One task reads a stream at a time. The iteration ends when the client closes. Cancelling a task that waits
    for an event loses no event.
    """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Event:
        """The next event. Raises `RuntimeError` outside of `async with`."""

    @abstractmethod
    async def ack(self) -> None:
        """Acknowledge the current event now instead of with the request for the next one.

        Does nothing if the event is acknowledged already, and nothing for a live tail.
        """
