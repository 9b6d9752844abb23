"""Handles of calls: wait until they are connected, hold, resume and end them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import final

from attrs import evolve

from transferkit._engine.handles import StepHandle
from transferkit._lifecycle import CallKey, CallState
from transferkit.errors import CallNotConnected
from transferkit.events import StepCompleted, StepFailed, StepOutcome
from transferkit.identifiers import Identifier
from transferkit.requests import Call, HangUp, Hold, PlaceCall, Resume
from transferkit.stores import Store

__all__ = ["CallHandle"]

_POLL_SECONDS = 1.0

Submit = Callable[[Hold | Resume | HangUp], Awaitable[StepHandle]]


@final
class CallHandle:
    """A call of the application: answered or placed with this handle, or known by its id.

    `step` is the handle of the step that answers or places the call; None if there is none.
    """

    def __init__(
        self,
        call: Call,
        *,
        key: CallKey,
        store: Callable[[], Store],
        submit: Submit,
        step: StepHandle | None = None,
    ) -> None:
        self._call = call
        self._key = key
        self._store = store
        self._submit = submit
        self.step = step
        self._is_identified = not self._is_placed
        """Whether the provider has given the call its id."""

    @property
    def call(self) -> Call:
        """The call. Raises `CallNotConnected` for a placed call whose id the provider has not given yet."""
        if not self._is_identified:
            raise CallNotConnected(str(self._key), "the provider has not given the placed call an id yet")
        return self._call

    async def connected(self, timeout: float | None = None) -> Call:
        """Wait until the call is connected, and return it.

        Raises `CallNotConnected` if it did not connect or that is not known, `TimeoutError` after `timeout`
        seconds, and `ClientClosed`. A step goes on if the wait ends early.
        """
        if self.step is None:
            await self._wait_connected(timeout)
        else:
            outcome = await self.step.outcome(timeout)
            if not isinstance(outcome, StepCompleted):
                raise _not_connected(self._key, outcome)
            if outcome.placed is not None:
                self._identify(outcome.placed)
        return self._call

    async def hold(self, participant: Identifier | None = None) -> StepHandle:
        """Put a party on hold: the only other one by default. Returns when the request is recorded.

        Raises what `client.submit` raises, and `CallNotConnected` for a placed call without an id.
        """
        return await self._submit(Hold(await self._known_call(), participant=participant))

    async def resume(self, participant: Identifier | None = None) -> StepHandle:
        """Take a party off hold: the only other one by default. Returns and raises as `hold` does."""
        return await self._submit(Resume(await self._known_call(), participant=participant))

    async def hang_up(self, *, leave: bool = False) -> StepHandle:
        """End the call for everyone, or with `leave` only the application's leg. Returns as `hold` does."""
        return await self._submit(HangUp(await self._known_call(), leave=leave))

    def __repr__(self) -> str:
        return f"<CallHandle {self._key}>"

    @property
    def _is_placed(self) -> bool:
        return self.step is not None and isinstance(self.step.request, PlaceCall)

    def _identify(self, call_id: str) -> None:
        self._call = evolve(self._call, id=call_id)
        self._is_identified = True

    async def _known_call(self) -> Call:
        """The call, with the id that the provider gave it. Raises as `call` does."""
        if self.step is not None:
            state = await self._store().state(self._key)
            if state.placed_call is not None:
                self._identify(state.placed_call)
        return self.call

    async def _wait_connected(self, timeout: float | None) -> None:
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                state = await self._next_state()
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"call {self._key} was not connected within {timeout:g} s") from None
        if state.ended:
            raise CallNotConnected(str(self._key), "the call has ended")

    async def _next_state(self) -> CallState:
        """Return the state of the call as soon as it is connected or has ended."""
        while True:
            store = self._store()
            end = await store.end_of_log()
            state = await store.state(self._key)
            if state.connected or state.ended:
                return state
            await store.wait(end, timeout=_POLL_SECONDS)


def _not_connected(key: CallKey, outcome: StepOutcome) -> CallNotConnected:
    said = ", ".join(
        f"{name} {value}"
        for name in ("code", "subcode", "message")
        if (value := getattr(outcome, name)) is not None
    )
    if isinstance(outcome, StepFailed):
        return CallNotConnected(
            str(key), f"{outcome.reason}" + (f" ({said})" if said else ""), outcome.reason
        )
    return CallNotConnected(
        str(key),
        f"it is not known whether the call is connected; known of it: {outcome.evidence}",  # type: ignore[union-attr] # expired
    )
