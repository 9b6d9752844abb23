"""The events of a call: CloudEvents, posted to the application's address in an array of one.

Shapes: learn.microsoft.com Call Automation webhook events, and the official SDKs' models, by API version.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, final
from uuid import uuid4

from transferkit.emulators import Emulator
from transferkit_acs.emulator.calls import Call
from transferkit_acs.emulator.outcomes import DONE, Outcome
from transferkit_acs.settings import ApiVersion

__all__ = ["PREFIX", "EventSender", "wire_time"]

PREFIX = "Microsoft.Communication."
_LAST_DIGIT = 1  # not 0, because .NET omits trailing zeros


def wire_time(time: datetime, *, zone: str = "+00:00") -> str:
    """A time in the recorded form: seven decimals of a second, one more than Python has, and a zone."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}{_LAST_DIGIT}{zone}"


@final
class EventSender:
    """Posts events, each with a fresh token for the resource."""

    def __init__(self, emulator: Emulator, *, resource_id: str) -> None:
        self._emulator = emulator
        self._resource_id = resource_id

    async def connected(self, call: Call) -> None:
        """`CallConnected`."""
        await self.send(call, "CallConnected", **_context(call), **_result(call, DONE))

    async def roster(self, call: Call) -> None:
        """`ParticipantsUpdated`, the only event with a sequence number."""
        call.rosters += 1
        people = [call.participant(person, call.event_version) for person in call.roster]
        await self.send(
            call,
            "ParticipantsUpdated",
            participants=people,
            sequenceNumber=call.rosters,
            **_result(call, DONE),
        )

    async def disconnected(self, call: Call, outcome: Outcome) -> None:
        """`CallDisconnected`, the last event of a call."""
        await self.send(call, "CallDisconnected", **_context(call), **_result(call, outcome))

    async def not_established(self, call: Call, outcome: Outcome) -> None:
        """`CreateCallFailed` and then `CallDisconnected`, as recorded; `AnswerFailed` for an answered call.

        Before 2024-09-15 there was only `CallDisconnected`.
        """
        has_event = call.event_version >= ApiVersion.V2024_09_15
        if has_event:
            name = "AnswerFailed" if call.incoming else "CreateCallFailed"
            await self.send(call, name, **_context(call), **_result(call, outcome))
        if not (has_event and call.incoming):
            await self.disconnected(call, outcome)

    async def operation_ended(
        self, call: Call, name: str, outcome: Outcome, *, url: str | None, context: str | None, **data: Any
    ) -> None:
        """The end of an operation, posted to its own callback address if it has one, else to the call's."""
        echo = {} if context is None else {"operationContext": context}
        result = {"resultInformation": outcome.json(call.event_version)}
        await self.send(call, name, url=url, **echo, **result, **data)

    async def send(self, call: Call, name: str, *, url: str | None = None, **data: Any) -> None:
        """Post one event about a call."""
        address = f"calling/callConnections/{call.id}"
        event = {
            "id": str(uuid4()),
            "source": address,
            "type": f"{PREFIX}{name}",
            "data": {
                **data,
                "version": call.event_version.value,
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
    """The operation context of the call, if one was given."""
    return {} if call.context is None else {"operationContext": call.context}


def _result(call: Call, outcome: Outcome) -> dict[str, Any]:
    """The result information, which events have since 2024-09-15."""
    if call.event_version < ApiVersion.V2024_09_15:
        return {}
    return {"resultInformation": outcome.json(call.event_version)}
