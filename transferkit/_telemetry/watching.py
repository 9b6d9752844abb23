"""One open client's figures, for collectors that run on threads of their own and may not wait for a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import final

from transferkit._telemetry.contract import Spawn
from transferkit.errors import StoreError
from transferkit.stores import Store
from transferkit.stores.consumer_groups import GroupStatus

__all__ = ["Watcher"]


@final
class Watcher:
    """`groups` is what was last read. Every collection asks for a new reading, which the next one shows."""

    def __init__(self, store: Store, *, lateness: Callable[[], float | None], spawn: Spawn) -> None:
        self.lateness = lateness
        self.groups: tuple[GroupStatus, ...] = ()
        self._store = store
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._reading = False
        self._closed = False

    @property
    def is_here(self) -> bool:
        """False in a child that was forked with an open client: the client is its parent's."""
        return self._process == os.getpid()

    def refresh(self) -> None:
        """Have the groups read, on the client's loop. From any thread; waits for nothing."""
        with suppress(RuntimeError):  # the loop was closed with the client still open
            self._loop.call_soon_threadsafe(self._begin)

    def close(self) -> None:
        """The client closes: begin nothing more."""
        self._closed = True

    def _begin(self) -> None:
        if not (self._reading or self._closed):
            self._reading = True
            self._spawn(self._read())

    async def _read(self) -> None:
        try:
            self.groups = await self._store.groups()
        except StoreError:
            pass  # the last known ones stay; who reads or writes says what is wrong
        finally:
            self._reading = False
