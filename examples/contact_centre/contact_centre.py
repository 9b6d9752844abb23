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
    RouteCompleted,
    RouteExpired,
    RouteFailed,
    RouteReturned,
    parse_identifier,
)

log = logging.getLogger("contact_centre")


class Ending(StrEnum):
    """How the contact centre's handling of a call ended."""

    TRANSFERRED = "transferred"
    CALLER_LEFT = "the caller hung up"
    UNKNOWN = "it is not known whether the caller was transferred"
    NOT_TRANSFERRED = "no target answered; the caller is still connected"
    STOPPED = "no further target was tried"


@frozen
class Result:
    """How the call ended, the target that answered, and the reasons of failed attempts."""

    ending: Ending
    target: Identifier | None = None
    failures: tuple[FailureReason, ...] = ()


class ContactCentre:
    """Transfers callers to the first of several targets that answers."""

    def __init__(self, client: AsyncClient, targets: Sequence[Identifier]) -> None:
        self._client = client
        self._targets = targets

    async def hand_over(self, call_id: str, *, case: str) -> Result:
        """Transfer an established call to the first target that answers."""
        route = await self._client.route(
            call_id, self._targets, operation_context=f"case {case}", idempotency_key=case
        )
        outcome = await route.outcome()
        failures = tuple(failure.reason for failure in outcome.failures)
        match outcome:
            case RouteCompleted(target=target):
                return Result(Ending.TRANSFERRED, target, failures)
            case RouteReturned():
                return Result(Ending.NOT_TRANSFERRED, None, failures)
            case RouteFailed(call_alive=False):
                return Result(Ending.CALLER_LEFT, None, failures)
            case RouteFailed(reason=reason, advice=advice):
                log.error("case %s: stopped: %s. %s", case, reason, advice or "")
                return Result(Ending.STOPPED, None, failures)
            case RouteExpired(evidence=evidence):
                log.error("case %s: the result is not known (%s); ask a supervisor", case, evidence)
                return Result(Ending.UNKNOWN, None, failures)

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
