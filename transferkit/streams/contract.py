"""What a reader of the stream is to an application."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from transferkit.events import Event

__all__ = ["EventStream"]


class EventStream(ABC):
    """The stream of events, as one reader sees it: an async context manager and iterator.

    It is read by one task at a time, and ends when the client closes. Cancelling a wait loses no event.
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
        """Acknowledge the event at hand now rather than by asking for the next; again, it does nothing.

        Means something to a group alone: a live tail remembers nothing.
        """
