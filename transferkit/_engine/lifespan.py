"""The lifespan of a client: from its first `async with` to the end of the last one, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import final

from transferkit.errors import ClientClosed
from transferkit.stores import Store

__all__ = ["Lifespan"]

_DISCARD_SECONDS = 5


@final
class Lifespan:
    """Opens the store and starts a client's parts, and closes all of them in the reverse order.

    `start` starts the parts in the running event loop, and adds to the stack what closes each of them.
    """

    def __init__(self, store: Store, start: Callable[[AsyncExitStack], None]) -> None:
        self._store = store
        self._start = start
        self._started: AsyncExitStack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._entered = 0
        """The number of `async with` blocks that keep the client open."""

    def check_open(self) -> None:
        """Raise `ClientClosed` if the client is not open in the running event loop."""
        if self._started is None:
            raise ClientClosed("the client is not open: use it inside `async with client:`")
        if self._loop is not None and self._loop.is_closed():
            raise ClientClosed(
                "the event loop that the client was opened in has ended: use the client inside "
                "`async with client:` again"
            )
        if self._loop is not _running_loop():
            raise ClientClosed(
                "the client was opened in another event loop, where its tasks and connections are: open one "
                "in each loop, or use `Client` from threads"
            )

    async def enter(self) -> None:
        """Open the client, or keep it open. Raises `StoreError`.

        A client whose event loop was closed while the client was open is opened anew.
        """
        if self._loop is not None and self._loop.is_closed():
            await self._discard()
        if self._started is None:
            await self._open()
        else:
            self.check_open()
        self._entered += 1

    async def _discard(self) -> None:
        """Close what a closed event loop left behind, as far as another loop can.

        Its tasks have ended with it. Connections that belong to it cannot be closed properly.
        """
        started, self._started, self._entered = self._started, None, 0
        self._loop, self._closing = None, None
        if started is not None:
            with suppress(Exception):  # anything can fail in another loop than its own
                async with asyncio.timeout(_DISCARD_SECONDS):
                    await started.aclose()

    async def _open(self) -> None:
        if self._closing is not None:
            await asyncio.wait([self._closing])
        await self._store.open()
        if self._started is not None:  # another task was faster
            return
        started = AsyncExitStack()
        started.push_async_callback(self._store.close)
        try:
            self._start(started)
        except BaseException:
            await started.aclose()
            raise
        self._loop, self._started = asyncio.get_running_loop(), started

    async def leave(self) -> None:
        """Close the client at the end of the last block."""
        self._entered = max(self._entered - 1, 0)
        if not self._entered:
            await self.close()

    async def close(self) -> None:
        """Close everything that was started, even where closing one part raises.

        The cancellation of the caller does not interrupt it; a second one ends the wait for it. Raises
        `ClientClosed` in another event loop than the client was opened in.
        """
        if self._started is not None:
            self.check_open()
            started, self._started, self._entered = self._started, None, 0
            self._closing = asyncio.create_task(started.aclose(), name="transferkit-close")
        try:
            await self._end_of_closing()
        except asyncio.CancelledError:
            await self._end_of_closing()
            raise

    async def _end_of_closing(self) -> None:
        closing = self._closing
        if closing is None:
            return
        await asyncio.wait([closing])
        self._closing = None
        closing.result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
