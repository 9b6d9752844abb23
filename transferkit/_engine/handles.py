"""Handles of recorded transfers, redirects and call steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast, final

from transferkit.events import Outcome, RedirectOutcome, StepOutcome, TransferOutcome
from transferkit.requests import Call, Request
from transferkit.streams import OutcomeWatch

__all__ = ["Handle", "RecordedRequest", "RedirectHandle", "StepHandle", "TransferHandle", "await_outcome"]

O = TypeVar("O", bound=Outcome)  # noqa: E741 - the only type variable here


class RecordedRequest:
    """A recorded transfer, redirect or call step."""

    def __init__(self, transfer_id: str, request: Request) -> None:
        self._id = transfer_id
        self._request = request

    @property
    def id(self) -> str:
        """The id of the transfer, which all its events carry."""
        return self._id

    @property
    def request(self) -> Request:
        """The request, without the fields that were dropped."""
        return self._request

    @property
    def call(self) -> Call:
        """The call that the request is about."""
        return self._request.call

    def __repr__(self) -> str:
        return f"<{type(self._request).__name__} {self._id} of {self.call}>"


@final
class Handle(RecordedRequest, Generic[O]):
    """A recorded transfer, redirect or step. Any process with the same store can wait for its outcome."""

    def __init__(self, transfer_id: str, request: Request, watch: Callable[[], OutcomeWatch]) -> None:
        super().__init__(transfer_id, request)
        self._watch = watch

    async def outcome(self, timeout: float | None = None) -> O:
        """Wait for the terminal event: the provider's verdict, the end of the call or the deadline decides.

        Raises `TypeError` for a time-out that is not a number, `TimeoutError` after `timeout` seconds, and
        `ClientClosed` if the client is closed, or closes before there is an outcome. The transfer goes on, as
        it does if the wait is interrupted.
        """
        return cast("O", await await_outcome(self._watch(), self.id, timeout))


async def await_outcome(
    watch: OutcomeWatch, id_: str, timeout: float | None, *, noun: str = "transfer"
) -> Outcome:
    """Wait for an outcome. Raises `TypeError`, `TimeoutError` after `timeout` seconds, and `ClientClosed`."""
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise TypeError(f"timeout: expected seconds or None, got {type(timeout).__name__}")
    known = await watch.known(id_)  # not limited by `timeout`, so that 0 returns what is known now
    if known is not None:
        return known
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await watch.outcome(id_)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(
            f"{noun} {id_} has no outcome after {timeout:g} s. It goes on; wait for it again later"
        ) from None


TransferHandle = Handle[TransferOutcome]
RedirectHandle = Handle[RedirectOutcome]
StepHandle = Handle[StepOutcome]
