"""A small contact centre: a caller goes to an agent, else to the queue, else to voicemail.

It knows who should get the call and what to tell the caller. Which provider carries the call is a key in
its configuration; nothing here names one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from enum import StrEnum

from attrs import frozen

from transferkit import (
    AsyncClient,
    CallIncoming,
    FailureReason,
    Identifier,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    parse_identifier,
)

log = logging.getLogger("contact_centre")


class Ending(StrEnum):
    """How the contact centre's part in a call ended."""

    HANDED_OVER = "handed over"
    CALLER_GONE = "the caller is gone"
    UNCERTAIN = "nobody knows whether the caller was handed over"
    NOBODY_TOOK_IT = "nobody took the call; the caller is still ours"


@frozen
class Result:
    """What became of a caller, who has the call now, and why the others did not take it."""

    ending: Ending
    taken_by: Identifier | None = None
    refusals: tuple[FailureReason, ...] = ()


class ContactCentre:
    """Hands callers over, to the first of several targets that takes them."""

    def __init__(self, client: AsyncClient, targets: Sequence[Identifier]) -> None:
        self._client = client
        self._targets = targets

    async def hand_over(self, call_id: str, *, case: str) -> Result:
        """Transfer an established call to each target in turn until one takes it.

        The outcome alone decides what is next: another target is tried only if the caller is known to be on
        our leg, and never after a transfer whose result is not known.
        """
        refusals: list[FailureReason] = []
        for number, target in enumerate(self._targets):
            transfer = await self._client.transfer(
                call_id, to=target, operation_context=f"case {case}", idempotency_key=f"{case}/{number}"
            )
            match await transfer.outcome():
                case TransferCompleted():
                    return Result(Ending.HANDED_OVER, target, tuple(refusals))
                case TransferFailed(reason=reason, advice=advice, call_alive=True):
                    log.warning("case %s: target %d: %s. %s", case, number, reason, advice or "")
                    refusals.append(reason)
                case TransferFailed(reason=reason, call_alive=False):
                    return Result(Ending.CALLER_GONE, None, (*refusals, reason))
                case TransferFailed(reason=reason):
                    log.error("case %s: target %d: %s, and the caller may be gone", case, number, reason)
                    return Result(Ending.UNCERTAIN, None, (*refusals, reason))
                case TransferExpired(evidence=evidence):
                    log.error("case %s: target %d: no outcome (%s); ask a supervisor", case, number, evidence)
                    return Result(Ending.UNCERTAIN, None, tuple(refusals))
        return Result(Ending.NOBODY_TOOK_IT, None, tuple(refusals))

    async def overflow(self, incoming: CallIncoming) -> None:
        """Out of hours: send an incoming call to the last target without answering it."""
        await self._client.redirect(incoming, to=self._targets[-1])


async def main(config: str, call_id: str, *targets: str) -> None:
    """Hand one call over; the callbacks arrive at the receiver that the same configuration names."""
    async with AsyncClient.from_config(config) as client:
        centre = ContactCentre(client, [parse_identifier(target) for target in targets])
        print((await centre.hand_over(call_id, case="from the command line")).ending)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
