"""The blocking handle of a consultation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar, final

from transferkit._engine.handles import RecordedRequest
from transferkit._util.signatures import documented_by
from transferkit.client import AsyncClient, ConsultationHandle
from transferkit.events import ConsultationAnswered, ConsultationOutcome
from transferkit.requests import Request

__all__ = ["BlockingConsultationHandle", "Run"]

T = TypeVar("T")


class Run(Protocol):
    """Runs a coroutine on the client's loop, and blocks until it returns."""

    def __call__(self, work: Callable[[AsyncClient], Coroutine[Any, Any, T]], /) -> T: ...


@final
class BlockingConsultationHandle(RecordedRequest):
    """A recorded consultation. Any process with the same store can wait for it and decide it."""

    def __init__(self, run: Run, consultation_id: str, request: Request) -> None:
        super().__init__(consultation_id, request)
        self._run = run

    @documented_by(ConsultationHandle.answered)
    def answered(self, timeout: float | None = None) -> ConsultationAnswered | ConsultationOutcome:
        return self._call(lambda handle: handle.answered(timeout))

    @documented_by(ConsultationHandle.complete)
    def complete(self, timeout: float | None = None) -> ConsultationOutcome:
        return self._call(lambda handle: handle.complete(timeout))

    @documented_by(ConsultationHandle.cancel)
    def cancel(self, timeout: float | None = None) -> ConsultationOutcome:
        return self._call(lambda handle: handle.cancel(timeout))

    @documented_by(ConsultationHandle.outcome)
    def outcome(self, timeout: float | None = None) -> ConsultationOutcome:
        return self._call(lambda handle: handle.outcome(timeout))

    def _call(self, method: Callable[[ConsultationHandle], Awaitable[T]]) -> T:
        async def call(client: AsyncClient) -> T:
            return await method(await client.consultation(self.id))

        return self._run(call)
