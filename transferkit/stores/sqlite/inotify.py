"""Notifications of the kernel that a file has changed (inotify, Linux only)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from pathlib import Path
from typing import Final, final

__all__ = ["FileEvents"]

_IN_MODIFY: Final = 0x2
_READ_BYTES: Final = 1 << 16


@final
class FileEvents:
    """The changes of one file, which may be deleted and created again."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` if there are no notifications, or if the user has too many of them."""
        if sys.platform != "linux":
            raise OSError("this system has no inotify")
        self._path = os.fsencode(path)
        self._changed: asyncio.Future[None] | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")

    async def wait(self, seconds: float) -> bool:
        """Wait for a change since the last call; False if there is none in this time.

        A file that is created or replaced is watched from the next call on. Raises `OSError` if the file does
        not exist, or if the user watches too many.
        """
        loop = asyncio.get_running_loop()
        if self._changed is None:
            if self._libc.inotify_add_watch(self._descriptor, self._path, _IN_MODIFY) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch failed")
            self._changed = loop.create_future()
            loop.add_reader(self._descriptor, self._notice, loop, self._changed)
        await asyncio.wait([self._changed], timeout=seconds)
        if not self._changed.done():
            return False
        self._changed = None
        return True

    def _notice(self, loop: asyncio.AbstractEventLoop, changed: asyncio.Future[None]) -> None:
        """The first change is enough: the others until the next call cost nothing."""
        loop.remove_reader(self._descriptor)
        os.read(self._descriptor, _READ_BYTES)
        changed.set_result(None)

    def close(self) -> None:
        """Free the descriptor."""
        if self._changed is not None:
            self._changed.get_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
