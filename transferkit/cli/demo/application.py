"""The demonstration's contact centre, which names no provider: who goes where, and what became of it.

Run as a module it is the same application in a process of its own: it hands over one call after the other, as
its standard input says. The demonstration kills it half-way.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import final

from transferkit import (
    AsyncClient,
    CallIncoming,
    Identifier,
    RedirectOutcome,
    TransferOutcome,
    parse_identifier,
)

__all__ = ["ContactCentre"]

_LONGEST = 20.0


@final
class ContactCentre:
    """Hands callers over. `case` is its own name for a caller's business, under which it asks but once."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def hand_over(
        self, call_id: str, to: Identifier, *, case: str, patience: float = _LONGEST
    ) -> TransferOutcome:
        """A blind transfer. `patience` is in seconds: until then, somebody must know what became of it."""
        transfer = await self._client.transfer(
            call_id, to=to, operation_context=case, idempotency_key=case, deadline=patience
        )
        return await transfer.outcome()

    async def hand_over_after_talk(
        self, call_id: str, to: Identifier, *, consult: str, case: str
    ) -> TransferOutcome:
        """A consultative transfer: `consult` is the call on which the target agreed to take the caller."""
        transfer = await self._client.transfer(
            call_id, to=to, replaces=consult, operation_context=case, idempotency_key=case, deadline=_LONGEST
        )
        return await transfer.outcome()

    async def hand_over_from_group(
        self, call_id: str, someone: Identifier, to: Identifier, *, case: str
    ) -> TransferOutcome:
        """Transfer one participant out of a group call; the others stay."""
        transfer = await self._client.transfer(
            call_id,
            to=to,
            transferee=someone,
            operation_context=case,
            idempotency_key=case,
            deadline=_LONGEST,
        )
        return await transfer.outcome()

    async def overflow(self, incoming: CallIncoming, to: Identifier, *, case: str) -> RedirectOutcome:
        """Send a call that rings elsewhere, unanswered."""
        redirect = await self._client.redirect(
            incoming, to=to, operation_context=case, idempotency_key=case, deadline=_LONGEST
        )
        return await redirect.outcome()


async def _at_work() -> None:  # pragma: no cover - runs in a process that is killed
    told = json.load(sys.stdin)
    async with AsyncClient.from_config(told["config"]) as client:
        for call, to, case in told["calls"]:
            await ContactCentre(client).hand_over(call, parse_identifier(to), case=case)


if __name__ == "__main__":  # pragma: no cover - the same process
    asyncio.run(_at_work())
