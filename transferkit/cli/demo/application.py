"""The demonstration's application: a contact centre that names no provider.

As a module (`python -m`) it runs in a process of its own, which transfers the calls that it reads from
standard input. The demonstration kills that process.
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

_DEADLINE_SECONDS = 20.0


@final
class ContactCentre:
    """Transfers and redirects callers. `case` is the application's name for a caller's business."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def transfer(
        self,
        call_id: str,
        to: Identifier,
        *,
        case: str,
        consult_call: str | None = None,
        participant: Identifier | None = None,
        deadline: float = _DEADLINE_SECONDS,
    ) -> TransferOutcome:
        """Transfer a call and wait for the outcome.

        With `consult_call`, the call on which the target agreed, the transfer is consultative; with
        `participant`, only that participant of a group call is transferred.
        """
        transfer = await self._client.transfer(
            call_id,
            to=to,
            replaces=consult_call,
            transferee=participant,
            operation_context=case,
            idempotency_key=case,
            deadline=deadline,
        )
        return await transfer.outcome()

    async def redirect(self, incoming: CallIncoming, to: Identifier, *, case: str) -> RedirectOutcome:
        """Redirect an incoming call before it is answered and wait for the outcome."""
        redirect = await self._client.redirect(
            incoming, to=to, operation_context=case, idempotency_key=case, deadline=_DEADLINE_SECONDS
        )
        return await redirect.outcome()


async def _main() -> None:
    work = json.load(sys.stdin)
    async with AsyncClient.from_config(work["config"]) as client:
        for call, to, case in work["calls"]:
            await ContactCentre(client).transfer(call, parse_identifier(to), case=case)


if __name__ == "__main__":
    asyncio.run(_main())
