"""What the service says of a call: CloudEvents to the application's address, each in an array of one.

Shapes: learn.microsoft.com Call Automation webhook events, and the official SDKs' models, by api-version.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, final
from uuid import uuid4

from transferkit.emulators import Emulator
from transferkit_acs.emulator.calls import Call
from transferkit_acs.emulator.codes import DONE, Outcome
from transferkit_acs.settings import ApiVersion

__all__ = ["PREFIX", "Announcer", "wire_time"]

PREFIX = "Microsoft.Communication."
_LAST_DIGIT = 1  # .NET leaves out trailing zeros


def wire_time(time: datetime, *, zone: str = "+00:00") -> str:
    """A time as recorded: seven digits of a second, one more than Python's clock has, and the zone."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}{_LAST_DIGIT}{zone}"


@final
class Announcer:
    """Posts events in the emulator's name, each with a fresh token for the resource."""

    def __init__(self, emulator: Emulator, *, resource_id: str) -> None:
        self._emulator = emulator
        self._resource_id = resource_id

    async def connected(self, call: Call) -> None:
        """`CallConnected`."""
        await self.say(call, "CallConnected", **_context(call), **_told(call, DONE))

    async def roster(self, call: Call) -> None:
        """`ParticipantsUpdated`, which alone is numbered."""
        call.rosters += 1
        people = [call.participant(one, call.shape) for one in call.roster]
        await self.say(
            call,
            "ParticipantsUpdated",
            participants=people,
            sequenceNumber=call.rosters,
            **_told(call, DONE),
        )

    async def disconnected(self, call: Call, outcome: Outcome) -> None:
        """`CallDisconnected`, after which nothing more is said of the call."""
        await self.say(call, "CallDisconnected", **_context(call), **_told(call, outcome))

    async def not_established(self, call: Call, outcome: Outcome) -> None:
        """`CreateCallFailed` and then `CallDisconnected`, as recorded; `AnswerFailed` for an answered call.

        Before 2024-09-15 there was only `CallDisconnected`.
        """
        has_event = call.shape >= ApiVersion.V2024_09_15
        if has_event:
            name = "AnswerFailed" if call.incoming else "CreateCallFailed"
            await self.say(call, name, **_context(call), **_told(call, outcome))
        if not (has_event and call.incoming):
            await self.disconnected(call, outcome)

    async def verdict(
        self, call: Call, name: str, outcome: Outcome, *, url: str | None, context: str | None, **data: Any
    ) -> None:
        """How an operation ended: to its own callback address, else to the call's."""
        echo = {} if context is None else {"operationContext": context}
        told = {"resultInformation": outcome.json(call.shape)}
        await self.say(call, name, url=url, **echo, **told, **data)

    async def say(self, call: Call, name: str, *, url: str | None = None, **data: Any) -> None:
        """Post one event about a call."""
        address = f"calling/callConnections/{call.id}"
        event = {
            "id": str(uuid4()),
            "source": address,
            "type": f"{PREFIX}{name}",
            "data": {
                **data,
                "version": call.shape.value,
                "callConnectionId": call.id,
                "serverCallId": call.server_call_id,
                "correlationId": call.correlation_id,
                "publicEventType": f"{PREFIX}{name}",
            },
            "time": wire_time(self._emulator.clock.now()),
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "subject": address,
        }
        authorization = self._emulator.signer.authorization(audience=self._resource_id)
        await self._emulator.post(url or call.callback_url, [event], headers={"Authorization": authorization})


def _context(call: Call) -> dict[str, Any]:
    """The context of the call itself, absent if none was given."""
    return {} if call.context is None else {"operationContext": call.context}


def _told(call: Call, outcome: Outcome) -> dict[str, Any]:
    """Before 2024-09-15 nobody said how it came about."""
    if call.shape < ApiVersion.V2024_09_15:
        return {}
    return {"resultInformation": outcome.json(call.shape)}
