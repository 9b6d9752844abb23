"""A request being executed, and what is played on its behalf: known to whatever runs for it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Final, final

from attrs import define, field

__all__ = ["Exchange", "exchange"]

_EARLY_SECONDS: Final = 5.0


@final
@define
class Exchange:
    """One request being executed: the scenarios that it began, and whether one of them has said something."""

    tasks: set[asyncio.Task[None]] = field(factory=set)
    said: asyncio.Event = field(factory=asyncio.Event)

    async def heard(self) -> None:
        """Return when the first callback was posted, or none will be."""
        said = asyncio.create_task(self.said.wait())
        try:
            async with asyncio.timeout(_EARLY_SECONDS):
                while self.tasks and not said.done():
                    await asyncio.wait({said, *self.tasks}, return_when=asyncio.FIRST_COMPLETED)
                    self.tasks = {task for task in self.tasks if not task.done()}
        except TimeoutError:
            return
        finally:
            said.cancel()


exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The request that the running task answers, or plays on behalf of."""
