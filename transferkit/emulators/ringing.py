"""The targets that are ringing, each until its time is up or the ringing is ended from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, final

from attrs import frozen

from transferkit.testing.scenarios import Ending, Scenario

__all__ = ["RingingTargets"]


@final
@frozen(kw_only=True)
class _Target:
    """`task` is the task that waits for the end of the ringing; None unless the scenario is `manual`."""

    end: asyncio.Future[Scenario]
    task: asyncio.Task[Any] | None


@final
class RingingTargets:
    """The ringing targets of an emulator; `changed` is called when one starts or stops ringing."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._targets: dict[str, _Target] = {}
        self.waiting: set[asyncio.Task[Any]] = set()
        """The tasks that continue only after a call of `end`."""

    @property
    def call_ids(self) -> frozenset[str]:
        """The calls whose target is ringing."""
        return frozenset(self._targets)

    def end(self, call_id: str, line: Scenario) -> bool:
        """End the ringing as in this scenario; returns whether a target of the call was ringing."""
        target = self._targets.pop(call_id, None)
        if target is None:
            return False
        self._continue(target)
        target.end.set_result(line)
        return True

    async def wait(self, call_id: str, line: Scenario, *, seconds: float) -> Scenario:
        """Ring for `seconds`, or without a limit in the scenario `manual`.

        Returns the scenario that was passed to `end`, otherwise `line`.
        """
        manual = line.ending is Ending.MANUAL
        target = _Target(
            end=asyncio.get_running_loop().create_future(), task=asyncio.current_task() if manual else None
        )
        self._targets[call_id] = target
        if target.task is not None:
            self.waiting.add(target.task)
        self._changed()
        try:
            async with asyncio.timeout(None if manual else seconds):
                return await target.end
        except TimeoutError:
            return line
        finally:
            self._continue(target)
            if self._targets.get(call_id) is target:
                del self._targets[call_id]

    def _continue(self, target: _Target) -> None:
        if target.task is not None:
            self.waiting.discard(target.task)
        self._changed()
