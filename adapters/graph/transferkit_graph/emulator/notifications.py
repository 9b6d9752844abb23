"""The JSON of Graph's notifications, in the current form and in that of 2018, and the codes of call ends.

learn.microsoft.com call-transfer, call-redirect, call-answer, call-reject, call-delete, call-subscribetotone,
application-post-calls, participant-invite and participant-startHoldMusic; the 2018 documentation of call:
transfer. `resource` stands beside `resourceUrl` as in the body of microsoft-graph-comms-samples issue 772.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit_graph.emulator.calls import (
    EmulatedCall,
    participant_info_json,
    participant_json,
    parties_json,
)
from transferkit_graph.identities import identity_set

__all__ = [
    "CALLER_HUNG_UP",
    "CONSULT_CALL_GONE",
    "FAILURES",
    "HOLD_FAILED",
    "HUNG_UP_BY_BOT",
    "NOT_RESPONDED",
    "TRANSFERRED",
    "CallEnd",
    "Generation",
    "answered_by_json",
    "failure",
    "incoming_call_data",
    "notification",
    "operation_ended",
    "respell",
    "roster",
    "tone_json",
]

_ENCRYPTED = {
    "@odata.type": "#microsoft.graph.identitySet",
    "encrypted": {"@odata.type": "#microsoft.graph.identity", "id": "3mu1at3d3ncrypt3d1d3nt1ty"},
}
_STATES_2018 = {"transferAccepted": "transfer-accepted"}


class Generation(StrEnum):
    """The documentation that a notification follows."""

    CURRENT = "current"
    """`resourceUrl`, `state`."""
    Y2018 = "2018"
    """`resource`, `callState`, states with hyphens."""


@final
@frozen
class CallEnd:
    """The codes in the notification of a call's end or of a failed transfer."""

    code: int
    subcode: int
    message: str | None

    @property
    def result_info(self) -> dict[str, Any]:
        """A `resultInfo`, with the names and types of the CSDL (v1.0)."""
        message = {} if self.message is None else {"message": self.message}
        return {
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": self.code,
            "subcode": self.subcode,
            **message,
        }


def respell(body: Any) -> Any:
    """The body with each `resultInfo` as some published examples have it: `subCode`, codes as text."""
    if isinstance(body, list):
        return [respell(each) for each in body]
    if not isinstance(body, Mapping):
        return body
    rest = {name: respell(value) for name, value in body.items() if name not in {"code", "subcode"}}
    is_result = {"code", "subcode"} <= body.keys()
    return rest | ({"code": str(body["code"]), "subCode": str(body["subcode"])} if is_result else {})


def _failure(code: int, subcode: int, text: str) -> CallEnd:
    return CallEnd(code, subcode, f"{text} DiagCode: {code}#{subcode}.@")


FAILURES: dict[FailureReason, CallEnd] = {
    FailureReason.BUSY: _failure(486, 560486, "The target is busy."),
    FailureReason.NO_ANSWER: _failure(480, 560480, "The target did not answer."),
    FailureReason.DECLINED: _failure(603, 560603, "The target declined."),
    FailureReason.UNREACHABLE: _failure(480, 10037, "No endpoint of the target was found."),
    FailureReason.TARGET_NOT_FOUND: _failure(404, 560404, "The target does not exist."),
    FailureReason.TARGET_NOT_ALLOWED: _failure(403, 560403, "The target may not be called."),
}
"""The codes of each reason of a scenario."""

_BLIND_FAILED = _failure(500, 7000, "The transfer failed.")
_CONSULTATIVE_FAILED = _failure(500, 7700, "The transfer failed.")
TRANSFERRED = CallEnd(0, 7015, "GracefulTransferCompleted")
CALLER_HUNG_UP = CallEnd(200, 4521, "The other participant ended the call. DiagCode: 0#4521.@")
CONSULT_CALL_GONE = _failure(404, 10202, "The replacement call was not found.")
NOT_RESPONDED = _failure(408, 1106, "Nobody answered, rejected or redirected the call in time.")
HUNG_UP_BY_BOT = CallEnd(200, 5001, None)
HOLD_FAILED = _failure(500, 9999, "The participant could not be put on hold.")


def failure(reason: FailureReason | None, *, consultative: bool = False) -> CallEnd:
    """The codes for this reason, otherwise the published ones of a failed transfer."""
    published = _CONSULTATIVE_FAILED if consultative else _BLIND_FAILED
    return published if reason is None else FAILURES.get(reason, published)


def notification(
    call: EmulatedCall,
    change: str,
    *,
    state: str | None,
    generation: Generation = Generation.CURRENT,
    **more: Any,
) -> dict[str, Any]:
    """A collection with one notification about the call. That of a rejected call has no `state`."""
    if generation is Generation.Y2018:
        resource = f"/app/calls/{call.id}"
        data = {"@odata.type": "#microsoft.graph.call", "@odata.id": resource, "@odata.etag": 'W/"1"'}
        if state is not None:
            data["callState"] = _STATES_2018.get(state, state)
        return {"value": [{"changeType": change, "resource": resource, "resourceData": data | more}]}
    data = {"@odata.type": "#microsoft.graph.call"}
    if state is not None:
        data["state"] = state
    return _collection(call, change, "", data | more)


def roster(call: EmulatedCall) -> dict[str, Any]:
    """A collection with the notification of all current participants of a group call or meeting."""
    return _collection(
        call, "updated", "/participants", [participant_json(member) for member in call.members]
    )


def operation_ended(
    call: EmulatedCall, operation: Mapping[str, Any], failure: CallEnd | None = None
) -> dict[str, Any]:
    """A collection with the notification of the end of an operation (participant-startHoldMusic)."""
    part = f"/operations/{operation['id']}"
    data = {
        "@odata.id": f"communications/calls/{call.id}{part}",
        **{name: operation[name] for name in ("@odata.type", "id", "clientContext") if name in operation},
        "status": "completed" if failure is None else "failed",
        **({} if failure is None else {"resultInfo": failure.result_info}),
    }
    return _collection(call, "deleted", part, data)


def _collection(call: EmulatedCall, change: str, part: str, data: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.commsNotifications",
        "value": [
            {
                "@odata.type": "#microsoft.graph.commsNotification",
                "changeType": change,
                "resource": f"/app/calls/{call.id}{part}",
                "resourceUrl": f"/communications/calls/{call.id}{part}",
                "callbackUri": call.callback_url,
                "resourceData": data,
            }
        ],
    }


def incoming_call_data(call: EmulatedCall, *, decrypted: bool) -> dict[str, Any]:
    """The data of the notification of an incoming call, and of its end.

    The caller's identity is encrypted unless the application has a calling permission.
    """
    parties = parties_json(call)
    if not decrypted:
        parties["source"] = {**parties["source"], "identity": _ENCRYPTED}
    return {
        "direction": "incoming",
        "callbackUri": call.callback_url,
        **parties,
        "requestedModalities": ["audio"],
        "tenantId": call.tenant_id,
        "myParticipantId": call.own_participant_id,
        "callChainId": call.chain_id,
        "id": call.id,
    }


def answered_by_json(target: Identifier) -> dict[str, Any]:
    """The participant who answered a redirected call; encrypted for a phone number."""
    identity = _ENCRYPTED if isinstance(target, PhoneNumber) else identity_set(target)
    return {**participant_info_json(target), "identity": identity, "endpointType": "default"}


def tone_json(tone: str, number: int) -> dict[str, Any]:
    """A `toneInfo`: the caller pressed a key."""
    return {"@odata.type": "#microsoft.graph.toneInfo", "sequenceId": number, "tone": tone}
