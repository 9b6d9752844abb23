"""Targets that ring, each until its time has come or somebody decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, final

from attrs import frozen

from transferkit.testing.scenarios import Ending, Scenario

__all__ = ["Ringing"]


@final
@frozen(kw_only=True)
class _Target:
    """One target that rings, and the task that plays its scenario."""

    decided: asyncio.Future[Scenario]
    player: asyncio.Task[Any] | None


@final
class Ringing:
    """The calls whose target rings at this moment; `changed` is called when one begins or ends."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._targets: dict[str, _Target] = {}
        self.waiting: set[asyncio.Task[Any]] = set()
        """Whose scenario goes on only when somebody decides."""

    @property
    def call_ids(self) -> frozenset[str]:
        """Of these calls the target rings."""
        return frozenset(self._targets)

    def decide(self, call_id: str, line: Scenario) -> bool:
        """Let the ringing end like that; returns whether a target of this call rang."""
        target = self._targets.pop(call_id, None)
        if target is None:
            return False
        self._plays_on(target)
        target.decided.set_result(line)
        return True

    async def wait(self, call_id: str, line: Scenario, *, seconds: float) -> Scenario:
        """Ring that long, for ever where the scenario says so; returns the scenario that it comes to."""
        manual = line.ending is Ending.MANUAL
        target = _Target(
            decided=asyncio.get_running_loop().create_future(),
            player=asyncio.current_task() if manual else None,
        )
        self._targets[call_id] = target
        if target.player is not None:
            self.waiting.add(target.player)
        self._changed()
        try:
            async with asyncio.timeout(None if manual else seconds):
                return await target.decided
        except TimeoutError:
            return line
        finally:
            self._plays_on(target)
            if self._targets.get(call_id) is target:
                del self._targets[call_id]

    def _plays_on(self, target: _Target) -> None:
        if target.player is not None:
            self.waiting.discard(target.player)
        self._changed()
