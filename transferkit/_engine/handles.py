"""Handles of recorded transfers and redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast, final

from transferkit._lifecycle import Opened
from transferkit.events import Outcome, RedirectOutcome, TransferOutcome
from transferkit.requests import Call, Request
from transferkit.streams import OutcomeWatch

__all__ = ["Handle", "RedirectHandle", "TransferHandle"]

O = TypeVar("O", bound=Outcome)  # noqa: E741 - the only type variable here


@final
class Handle(Generic[O]):
    """A recorded transfer or redirect. Any process with the same store can wait for its outcome."""

    def __init__(self, opened: Opened, watch: Callable[[], OutcomeWatch]) -> None:
        self._opened = opened
        self._watch = watch

    @property
    def id(self) -> str:
        """The id of the transfer, which all its events carry."""
        return self._opened.id

    @property
    def request(self) -> Request:
        """The request, without the fields that were dropped."""
        return self._opened.request

    @property
    def call(self) -> Call:
        """The call that the request is about."""
        return self._opened.request.call

    async def outcome(self, timeout: float | None = None) -> O:
        """Wait for the terminal event: the provider's verdict, the end of the call or the deadline decides.

        Raises `TimeoutError` after `timeout` seconds; the transfer goes on, as it does if the wait is
        cancelled. Raises `ClientClosed` if the client is closed, or closes before there is an outcome.
        """
        watch = self._watch()
        known = await watch.known(self.id)  # not limited by `timeout`, so that 0 returns what is known now
        if known is not None:
            return cast("O", known)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return cast("O", await watch.outcome(self.id))
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"transfer {self.id} has no outcome after {timeout:g} s. It goes on; wait for it again later"
            ) from None

    def __repr__(self) -> str:
        return f"<{type(self._opened.request).__name__} {self.id} of {self.call}>"


TransferHandle = Handle[TransferOutcome]
RedirectHandle = Handle[RedirectOutcome]
