"""The blocking handle of a route."""

from __future__ import annotations

from typing import final

from transferkit._engine.handles import RecordedRequest
from transferkit._util.signatures import documented_by
from transferkit.blocking.consultations import Run
from transferkit.client import AsyncClient, RouteHandle
from transferkit.errors import TransferNotFound
from transferkit.events import RouteOutcome
from transferkit.requests import Request

__all__ = ["BlockingRouteHandle"]


@final
class BlockingRouteHandle(RecordedRequest):
    """A recorded route. Any process with the same store can wait for it and cancel it."""

    def __init__(self, run: Run, route_id: str, request: Request) -> None:
        super().__init__(route_id, request)
        self._run = run

    @documented_by(RouteHandle.outcome)
    def outcome(self, timeout: float | None = None) -> RouteOutcome:
        async def outcome(client: AsyncClient) -> RouteOutcome:
            return await (await self._handle(client)).outcome(timeout)

        return self._run(outcome)

    @documented_by(RouteHandle.cancel)
    def cancel(self, timeout: float | None = None) -> RouteOutcome:
        async def cancel(client: AsyncClient) -> RouteOutcome:
            return await (await self._handle(client)).cancel(timeout)

        return self._run(cancel)

    async def _handle(self, client: AsyncClient) -> RouteHandle:
        handle = await client.get(self.id)
        if not isinstance(handle, RouteHandle):
            raise TransferNotFound(self.id)
        return handle
