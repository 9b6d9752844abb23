"""A live tail of the event stream: it keeps no position."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self, final

from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.stores import Position, Store
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.unreadable import UnreadableEvent
from transferkit.streams.contract import EventStream
from transferkit.streams.reports import position_within, report_unreadable

__all__ = ["LiveTail"]

_POLL_SECONDS = 1.0


@final
class LiveTail(EventStream):
    """The events from the moment the stream is entered, or from the oldest event in the store.

    It reads the log at its own pace: a slow loop body loses no event and delays no other reader. An event
    that cannot be read is logged and skipped. Without `follow`, the stream ends when there is nothing more to
    read.
    """

    def __init__(self, store: Store, closed: asyncio.Event, *, start: GroupStart, follow: bool) -> None:
        self._store = store
        self._closed = closed
        self._start = start
        self._follow = follow
        self._entered = False
        self._position: Position | None = None
        self._read: deque[tuple[Position, Event | UnreadableEvent]] = deque()

    async def __aenter__(self) -> Self:
        self._position = await self._store.end_of_log() if self._start is GroupStart.NOW else None
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        self._read.clear()

    async def __anext__(self) -> Event:
        """The next event. Raises `StoreError` if the store fails; the next request continues from there."""
        if not self._entered:
            raise RuntimeError("enter the stream first: async with client.events() as stream")
        while True:
            while not self._read:
                try:
                    await self._read_more()
                except StoreError:
                    if not self._closed.is_set():
                        raise
                    raise StopAsyncIteration from None  # the client closed its store
            self._position, event = self._read.popleft()
            if isinstance(event, Event):
                return event
            report_unreadable(event, reader="a live tail skips an event")

    async def _read_more(self) -> None:
        """Read what is in the log, or wait for more. Raises `StopAsyncIteration` at the end."""
        end = await self._store.end_of_log()
        self._read.extend(await self._store.read(self._position))
        if not self._read:
            self._position = position_within(self._position, end, reader="a live tail")
            if self._closed.is_set() or not self._follow:
                raise StopAsyncIteration
            await self._store.wait(end, timeout=_POLL_SECONDS)

    async def ack(self) -> None:
        """Does nothing: a live tail keeps no position."""
