"""Handles of routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, final

from transferkit._engine.consultation_handles import Commit
from transferkit._engine.handles import RecordedRequest, await_outcome
from transferkit._lifecycle import Opened, RouteCancelled, RouteOver
from transferkit.errors import RouteEnded
from transferkit.events import RouteOutcome
from transferkit.provider.clock import Clock
from transferkit.streams import OutcomeWatch

__all__ = ["RouteHandle"]


@final
class RouteHandle(RecordedRequest):
    """A recorded route. Any process with the same store can wait for it and cancel it."""

    def __init__(
        self, opened: Opened, *, watch: Callable[[], OutcomeWatch], commit: Commit, clock: Clock
    ) -> None:
        super().__init__(opened.id, opened.request)
        self._key = opened.call
        self._watch = watch
        self._commit = commit
        self._clock = clock

    async def outcome(self, timeout: float | None = None) -> RouteOutcome:
        """Wait for the terminal event.

        Raises `TimeoutError` after `timeout` seconds, and `ClientClosed` if the client is closed, or closes
        before there is an outcome. The route goes on, as it does if the wait is interrupted.
        """
        return cast("RouteOutcome", await await_outcome(self._watch(), self.id, timeout, noun="route"))

    async def cancel(self, timeout: float | None = None) -> RouteOutcome:
        """Make no further attempt, and wait for the outcome as `outcome` does.

        A consultation in progress is cancelled, unless the target has answered. A blind transfer in progress
        goes on, as no provider can cancel one: the outcome may be `RouteCompleted`. Raises `RouteEnded` if
        the route had its outcome before. Calling it again is safe, also in another process.
        """
        try:
            await self._commit([(self._key, RouteCancelled(at=self._clock.now(), route_id=self.id))])
        except RouteOver:
            outcome = await self._watch().known(self.id)
            raise RouteEnded(self.id, outcome.kind if outcome else None) from None
        return await self.outcome(timeout)
