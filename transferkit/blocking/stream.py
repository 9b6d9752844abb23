"""Event streams for threads that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Self, final

from transferkit.blocking.loop import LoopThread, Wait
from transferkit.client import AsyncClient
from transferkit.errors import ClientClosed
from transferkit.events import Event
from transferkit.streams import EventStream

__all__ = ["BlockingEventStream"]


@final
class BlockingEventStream:
    """A stream of events for a thread that blocks: a context manager and iterator.

    It ends when any thread closes the client. An interrupted wait loses no event. It belongs to the process
    that entered it, and only one thread at a time may read it.
    """

    def __init__(self, loop: Callable[[], LoopThread], make: Callable[[AsyncClient], EventStream]) -> None:
        self._find_loop = loop
        self._make = make
        self._loop: LoopThread | None = None
        self._stream: EventStream | None = None
        self._next: Wait[Event] | None = None
        self._reading = Lock()

    def __enter__(self) -> Self:
        self._loop = loop = self._find_loop()

        async def enter() -> None:
            stream = self._make(await loop.opened())
            await stream.__aenter__()
            self._stream = stream  # here, so that an interrupted `__enter__` still finds it

        try:
            loop.run(enter)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop, self._loop = self._loop, None
        if loop is None or loop.inherited or loop.stopping:
            return  # a closing client leaves its streams itself; a parent's stream belongs to the parent

        async def leave() -> None:
            stream, self._stream = self._stream, None
            if stream is None:
                return
            why: tuple[Any, ...] = (kind, error, traceback)
            if self._next is not None:
                self._next.cancel()
                if await self._next.ended():
                    why = (None, None, None)  # the loop body did not see that event, so it did not fail
            await stream.__aexit__(*why)

        with suppress(ClientClosed):
            loop.run(leave)
        self._next = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """Wait for the next event."""
        loop, stream = self._entered()
        if not self._reading.acquire(blocking=False):
            raise RuntimeError("another thread reads this stream; open one stream for each thread")
        try:
            return self._wait(loop, stream)
        finally:
            self._reading.release()

    def _wait(self, loop: LoopThread, stream: EventStream) -> Event:
        while True:
            interrupted = self._next is not None
            wait = self._next = self._next or Wait()
            try:
                if not interrupted:
                    loop.begin(wait, stream.__anext__)
                event = wait.future.result()
            except StopAsyncIteration:
                self._next = None
                raise StopIteration from None
            except asyncio.CancelledError:
                self._next = None
                if not interrupted:  # the client closes, or another thread has left the stream
                    raise StopIteration from None
            except BaseException as error:
                if wait.future.done() and wait.future.exception() is error:
                    self._next = None
                else:  # interrupted: an event that arrives after all is for the next call
                    loop.cancel(wait)
                raise
            else:
                self._next = None
                return event

    def ack(self) -> None:
        """Acknowledge the last event now, instead of when the next one is read. A second call does nothing.

        Only the stream of a group is acknowledged; a live tail ignores it.
        """
        loop, stream = self._entered()

        async def ack() -> None:
            # An event of an interrupted wait is not acknowledged: the loop body has not seen it.
            if self._next is None or not await self._next.ended():
                await stream.ack()

        loop.run(ack)

    def _entered(self) -> tuple[LoopThread, EventStream]:
        loop, stream = self._loop, self._stream
        if loop is None or stream is None:
            raise RuntimeError("enter the stream first: with client.events() as stream")
        if loop.inherited:
            raise ClientClosed(
                "the stream was entered in the parent process; enter a new one in this process"
            )
        return loop, stream
