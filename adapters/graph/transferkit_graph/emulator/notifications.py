"""Graph's notifications, in the words of either generation, and the codes that a scenario ends with."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier
from transferkit_graph.identities import identity_set

__all__ = [
    "CALLER_HUNG_UP",
    "CONSULT_CALL_GONE",
    "FAILURES",
    "TRANSFERRED",
    "Ending",
    "Generation",
    "notification",
    "participant",
]


class Generation(StrEnum):
    """Which documentation a notification follows."""

    CURRENT = "current"
    """`resourceUrl`, `state`."""
    Y2018 = "2018"
    """`resource`, `callState`, words with dashes."""


@final
@frozen
class Ending:
    """The codes that a call's notification carries."""

    code: int
    subcode: int
    message: str

    def result_info(self, *, subcode_key: str = "subcode") -> dict[str, Any]:
        """As `resultInfo`. Published failures spell the key `subCode`, endings `subcode`."""
        return {
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": self.code,
            subcode_key: self.subcode,
            "message": self.message,
        }


def _failure(code: int, subcode: int, text: str) -> Ending:
    return Ending(code, subcode, f"{text} DiagCode: {code}#{subcode}.@")


FAILURES: dict[FailureReason, Ending] = {
    FailureReason.BUSY: _failure(486, 560486, "The target is busy."),
    FailureReason.NO_ANSWER: _failure(480, 560480, "The target did not answer."),
    FailureReason.DECLINED: _failure(603, 560603, "The target declined."),
    FailureReason.UNREACHABLE: _failure(480, 10037, "No endpoint of the target was found."),
    FailureReason.TARGET_NOT_FOUND: _failure(404, 560404, "The target does not exist."),
}
"""What a scenario's reason looks like on the wire."""

TRANSFERRED = Ending(0, 7015, "GracefulTransferCompleted")
CALLER_HUNG_UP = Ending(200, 4521, "The other participant ended the call. DiagCode: 0#4521.@")
CONSULT_CALL_GONE = _failure(404, 10202, "The replacement call was not found.")

_WORDS_2018 = {"transferAccepted": "transfer-accepted"}


def notification(
    generation: Generation, call_id: str, change: str, *, state: str | None, **more: Any
) -> dict[str, Any]:
    """One notification about the call, as a collection of one. Without `state`, as some `deleted` come."""
    if generation is Generation.Y2018:
        resource = f"/app/calls/{call_id}"
        data = {"@odata.type": "#microsoft.graph.call", "@odata.id": resource, "@odata.etag": 'W/"1"'}
        if state is not None:
            data["callState"] = _WORDS_2018.get(state, state)
        return {"value": [{"changeType": change, "resource": resource, "resourceData": data | more}]}
    data = {"@odata.type": "#microsoft.graph.call"}
    if state is not None:
        data["state"] = state
    return {
        "@odata.type": "#microsoft.graph.commsNotifications",
        "value": [
            {
                "@odata.type": "#microsoft.graph.commsNotification",
                "changeType": change,
                "resource": f"/app/calls/{call_id}",
                "resourceUrl": f"/communications/calls/{call_id}",
                "resourceData": data | more,
            }
        ],
    }


def participant(someone: Identifier) -> dict[str, Any]:
    """`someone` as a `participantInfo`."""
    return {"@odata.type": "#microsoft.graph.participantInfo", "identity": identity_set(someone)}
