"""Handles of consultations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast, final

from transferkit._engine.handles import RecordedRequest, await_outcome
from transferkit._lifecycle import CallKey, Input, Opened
from transferkit._lifecycle.consultation.machine import AlreadyDecided, NotAnswered
from transferkit._lifecycle.consultation_inputs import CancellationDecided, CompletionDecided
from transferkit._lifecycle.consultation_state import Phase
from transferkit.errors import AgentNotConnected, ConsultationDecided
from transferkit.events import (
    ConsultationAnswered,
    ConsultationCompleting,
    ConsultationOutcome,
)
from transferkit.provider.clock import Clock
from transferkit.stores import Applied, Store
from transferkit.streams import OutcomeWatch

__all__ = ["ConsultationHandle"]

_POLL_SECONDS = 1.0

Commit = Callable[[Sequence[tuple[CallKey, Input]]], Awaitable[tuple[Applied, ...]]]


@final
class ConsultationHandle(RecordedRequest):
    """A recorded consultation. Any process with the same store can wait for it and decide it."""

    def __init__(
        self,
        opened: Opened,
        *,
        watch: Callable[[], OutcomeWatch],
        store: Callable[[], Store],
        commit: Commit,
        clock: Clock,
    ) -> None:
        super().__init__(opened.id, opened.request)
        self._key = opened.call
        self._watch = watch
        self._store = store
        self._commit = commit
        self._clock = clock

    async def answered(self, timeout: float | None = None) -> ConsultationAnswered | ConsultationOutcome:
        """Wait until the agent has answered. Returns the outcome if there is one already, or before that.

        Raises `TimeoutError` after `timeout` seconds, and `ClientClosed`. The consultation goes on.
        """
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._answered()
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"the agent has not answered consultation {self.id} within {timeout:g} s. It goes on"
            ) from None

    async def _answered(self) -> ConsultationAnswered | ConsultationOutcome:
        while True:
            store = self._store()
            end = await store.end_of_log()
            outcome = await self._known()
            if outcome is not None:
                return outcome
            consultation = (await store.state(self._key)).consultation
            if consultation is not None and consultation.phase in {Phase.ANSWERED, Phase.COMPLETING}:
                for event in await store.call_events(self._key):
                    if isinstance(event, ConsultationAnswered) and event.transfer_id == self.id:
                        return event
            await store.wait(end, timeout=_POLL_SECONDS)

    async def complete(self, timeout: float | None = None) -> ConsultationOutcome:
        """Connect the caller with the agent, and wait for the outcome as `outcome` does.

        Raises `AgentNotConnected` before the agent has answered, and `ConsultationDecided` if the
        consultation is cancelled, has failed or is being cleaned up: the first decision wins. Calling it
        again is safe, also in another process.
        """
        try:
            await self._commit(
                [(self._key, CompletionDecided(at=self._clock.now(), consultation_id=self.id))]
            )
        except NotAnswered:
            raise AgentNotConnected(self.id) from None
        except AlreadyDecided:
            if not await self._was_completing():
                raise await self._decided() from None
        return await self.outcome(timeout)

    async def cancel(self, timeout: float | None = None) -> ConsultationOutcome:
        """End the agent's call, return to the caller, and wait for the outcome as `outcome` does.

        Raises `ConsultationDecided` if the consultation is being completed: the first decision wins. If it
        failed, that is the outcome. Calling it again is safe, also in another process.
        """
        try:
            await self._commit(
                [(self._key, CancellationDecided(at=self._clock.now(), consultation_id=self.id))]
            )
        except AlreadyDecided:
            if await self._was_completing():
                raise await self._decided() from None
        return await self.outcome(timeout)

    async def outcome(self, timeout: float | None = None) -> ConsultationOutcome:
        """Wait for the terminal event.

        Raises `TimeoutError` after `timeout` seconds, and `ClientClosed` if the client is closed, or closes
        before there is an outcome. The consultation goes on, as it does if the wait is interrupted.
        """
        outcome = await await_outcome(self._watch(), self.id, timeout, noun="consultation")
        return cast("ConsultationOutcome", outcome)

    async def _known(self) -> ConsultationOutcome | None:
        return cast("ConsultationOutcome | None", await self._watch().known(self.id))

    async def _decided(self) -> ConsultationDecided:
        outcome = await self._known()
        return ConsultationDecided(self.id, outcome and outcome.kind)

    async def _was_completing(self) -> bool:
        """Whether the application decided to complete the consultation."""
        events = await self._store().call_events(self._key)
        return any(isinstance(e, ConsultationCompleting) and e.transfer_id == self.id for e in events)
