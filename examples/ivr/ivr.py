"""An IVR: answer callers, consult agents one after the other, and fall back to voicemail.

The configuration chooses the provider. This file contains nothing specific to one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import final

from attrs import evolve, field, frozen

from transferkit import (
    AsyncClient,
    Call,
    CallIncoming,
    CallNotConnected,
    ConsultationAnswered,
    ConsultationCompleted,
    ConsultationExpired,
    ConsultationFailed,
    HangUp,
    Identifier,
    PhoneNumber,
    TransferCompleted,
    TransferFailed,
)

log = logging.getLogger("ivr")


class Ending(StrEnum):
    """How a call ended for the IVR."""

    AGENT = "an agent talks to the caller"
    VOICEMAIL = "the caller was transferred to voicemail"
    CALLER_LEFT = "the caller hung up"
    HUNG_UP = "nobody was reached, and the call was ended"
    UNKNOWN = "it is not known what happened to the caller; a person must check"


@final
@frozen(kw_only=True)
class Ivr:
    """Handles incoming calls.

    * `agents`: are called one after the other. `voicemail`: receives the callers whom no agent takes.
    * `caller_id`: the number that an agent's phone sees, where the provider supports one.
    * `ring_timeout`: how long an agent's phone rings, in seconds.
    """

    client: AsyncClient = field(repr=False)
    agents: Sequence[Identifier]
    voicemail: Identifier
    caller_id: PhoneNumber
    ring_timeout: float = 25

    async def handle(self, incoming: CallIncoming) -> Ending:
        """Answer a call and find someone for the caller. The same event twice has no further effect."""
        case = incoming.call_id
        answered = await self.client.answer(incoming, idempotency_key=f"{case}/answer")
        try:
            call = await answered.connected()
        except CallNotConnected as error:
            log.info("%s was not connected: %s", case, error)
            return Ending.CALLER_LEFT
        for number, agent in enumerate(self.agents):
            ending = await self._consult(call, agent, key=f"{case}/agent-{number}")
            if ending is not None:
                return ending
        return await self._fall_back(call, case)

    async def _consult(self, call: Call, agent: Identifier, *, key: str) -> Ending | None:
        """Call an agent while the caller waits, and connect the two; None if the caller is back with us."""
        consultation = await self.client.consult(
            call,
            to=agent,
            caller_id=self.caller_id,
            ring_timeout=self.ring_timeout,
            on_unsupported="drop",  # the caller id, or holding the caller, where the provider cannot
            idempotency_key=key,
        )
        outcome = await consultation.answered()
        if isinstance(outcome, ConsultationAnswered):  # here the application can brief the agent
            outcome = await consultation.complete()
        match outcome:
            case ConsultationCompleted():
                await self._leave(call, outcome, key)
                return Ending.AGENT
            case ConsultationFailed(call_alive=True, reason=reason):
                log.info("%s: the agent was not reached: %s", key, reason)
                return None
            case ConsultationFailed(call_alive=False):
                return Ending.CALLER_LEFT
            case ConsultationFailed(left=left) | ConsultationExpired(left=left):
                log.error("%s: it is not known what happened; calls to check: %s", key, left)
        return Ending.UNKNOWN

    async def _leave(self, call: Call, outcome: ConsultationCompleted, key: str) -> None:
        """End the application's own legs: ACS keeps it in the conversation of the two.

        A leg that is gone already, as on Graph, is not an error.
        """
        for call_id in (outcome.agent_call, *outcome.left):
            if call_id is not None:
                leg = evolve(call, id=call_id)
                await self.client.submit(HangUp(leg, leave=True, idempotency_key=f"{key}/leave-{call_id}"))

    async def _fall_back(self, call: Call, case: str) -> Ending:
        transfer = await self.client.transfer(
            call, to=self.voicemail, on_unsupported="drop", idempotency_key=f"{case}/voicemail"
        )
        match await transfer.outcome():
            case TransferCompleted():
                return Ending.VOICEMAIL
            case TransferFailed(call_alive=True):
                await self.client.submit(HangUp(call, idempotency_key=f"{case}/hang-up"))
                return Ending.HUNG_UP
            case TransferFailed(call_alive=False):
                return Ending.CALLER_LEFT
        return Ending.UNKNOWN
