"""A small contact centre: a caller goes to an agent, otherwise to the queue, otherwise to voicemail.

The configuration chooses the provider. This file contains nothing specific to one.
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
    """How the contact centre's handling of a call ended."""

    TRANSFERRED = "transferred"
    CALLER_LEFT = "the caller hung up"
    UNKNOWN = "it is not known whether the caller was transferred"
    NOT_TRANSFERRED = "no target answered; the caller is still connected"


@frozen
class Result:
    """How the call ended, the target that answered, and the failure reasons of the other targets."""

    ending: Ending
    target: Identifier | None = None
    failures: tuple[FailureReason, ...] = ()


class ContactCentre:
    """Transfers callers to the first of several targets that answers."""

    def __init__(self, client: AsyncClient, targets: Sequence[Identifier]) -> None:
        self._client = client
        self._targets = targets

    async def hand_over(self, call_id: str, *, case: str) -> Result:
        """Transfer an established call to each target in turn until one answers.

        The next target is tried only if the caller is known to be still connected.
        """
        failures: list[FailureReason] = []
        for number, target in enumerate(self._targets):
            transfer = await self._client.transfer(
                call_id, to=target, operation_context=f"case {case}", idempotency_key=f"{case}/{number}"
            )
            match await transfer.outcome():
                case TransferCompleted():
                    return Result(Ending.TRANSFERRED, target, tuple(failures))
                case TransferFailed(reason=reason, advice=advice, call_alive=True):
                    log.warning("case %s: target %d: %s. %s", case, number, reason, advice or "")
                    failures.append(reason)
                case TransferFailed(reason=reason, call_alive=False):
                    return Result(Ending.CALLER_LEFT, None, (*failures, reason))
                case TransferFailed(reason=reason):
                    log.error("case %s: target %d: %s, and the caller may have hung up", case, number, reason)
                    return Result(Ending.UNKNOWN, None, (*failures, reason))
                case TransferExpired(evidence=evidence):
                    log.error("case %s: target %d: not known (%s); ask a supervisor", case, number, evidence)
                    return Result(Ending.UNKNOWN, None, tuple(failures))
        return Result(Ending.NOT_TRANSFERRED, None, tuple(failures))

    async def overflow(self, incoming: CallIncoming) -> None:
        """Redirect an incoming call to the last target without answering it, outside office hours."""
        await self._client.redirect(incoming, to=self._targets[-1])


async def main(config: str, call_id: str, *targets: str) -> None:
    """Transfer one call. Another process receives the callbacks and uses the same configuration."""
    async with AsyncClient.from_config(config) as client:
        centre = ContactCentre(client, [parse_identifier(target) for target in targets])
        print((await centre.hand_over(call_id, case="from the command line")).ending)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
