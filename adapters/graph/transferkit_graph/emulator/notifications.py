"""Graph's notifications, in the words of either generation, and the codes that a scenario ends with.

learn.microsoft.com call-transfer, call-redirect, call-answer, call-reject, call-delete, call-subscribetotone,
application-post-calls and participant-invite; the 2018 documentation of call: transfer. `resource` stands
beside `resourceUrl` as in the body of microsoft-graph-comms-samples issue 772.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, final

from attrs import frozen

from transferkit.events import FailureReason
from transferkit.identifiers import Identifier, PhoneNumber
from transferkit_graph.emulator.calls import EmulatedCall, participant, participant_info, parties
from transferkit_graph.identities import identity_set

__all__ = [
    "CALLER_HUNG_UP",
    "CONSULT_CALL_GONE",
    "FAILURES",
    "HUNG_UP_BY_BOT",
    "NOT_RESPONDED",
    "TRANSFERRED",
    "Ending",
    "Generation",
    "answered_by",
    "failed",
    "notification",
    "offer",
    "respelled",
    "roster",
    "tone",
]

_ENCRYPTED = {
    "@odata.type": "#microsoft.graph.identitySet",
    "encrypted": {"@odata.type": "#microsoft.graph.identity", "id": "3mu1at3d3ncrypt3d1d3nt1ty"},
}
_WORDS_2018 = {"transferAccepted": "transfer-accepted"}


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
    message: str | None

    @property
    def result_info(self) -> dict[str, Any]:
        """As `resultInfo`, with the names and types of the CSDL (v1.0, `resultInfo`)."""
        message = {} if self.message is None else {"message": self.message}
        return {
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": self.code,
            "subcode": self.subcode,
            **message,
        }


def respelled(body: Any) -> Any:
    """The body with each `resultInfo` as examples in the documentation spell it: `subCode`, codes as text."""
    if isinstance(body, list):
        return [respelled(each) for each in body]
    if not isinstance(body, Mapping):
        return body
    rest = {name: respelled(value) for name, value in body.items() if name not in {"code", "subcode"}}
    is_result = {"code", "subcode"} <= body.keys()
    return rest | ({"code": str(body["code"]), "subCode": str(body["subcode"])} if is_result else {})


def _failure(code: int, subcode: int, text: str) -> Ending:
    return Ending(code, subcode, f"{text} DiagCode: {code}#{subcode}.@")


FAILURES: dict[FailureReason, Ending] = {
    FailureReason.BUSY: _failure(486, 560486, "The target is busy."),
    FailureReason.NO_ANSWER: _failure(480, 560480, "The target did not answer."),
    FailureReason.DECLINED: _failure(603, 560603, "The target declined."),
    FailureReason.UNREACHABLE: _failure(480, 10037, "No endpoint of the target was found."),
    FailureReason.TARGET_NOT_FOUND: _failure(404, 560404, "The target does not exist."),
    FailureReason.TARGET_NOT_ALLOWED: _failure(403, 560403, "The target may not be called."),
}
"""What a scenario's reason looks like on the wire."""

_BLIND_FAILED = _failure(500, 7000, "The transfer failed.")
_CONSULTATIVE_FAILED = _failure(500, 7700, "The transfer failed.")
TRANSFERRED = Ending(0, 7015, "GracefulTransferCompleted")
CALLER_HUNG_UP = Ending(200, 4521, "The other participant ended the call. DiagCode: 0#4521.@")
CONSULT_CALL_GONE = _failure(404, 10202, "The replacement call was not found.")
NOT_RESPONDED = _failure(408, 1106, "Nobody answered, rejected or redirected the call in time.")
HUNG_UP_BY_BOT = Ending(200, 5001, None)


def failed(reason: FailureReason | None, *, consultative: bool = False) -> Ending:
    """The codes for that reason; the published ones of a failed transfer where it has none of its own."""
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
    """One notification about the call, as a collection of one. Without `state`, as a rejected call's is."""
    if generation is Generation.Y2018:
        resource = f"/app/calls/{call.id}"
        data = {"@odata.type": "#microsoft.graph.call", "@odata.id": resource, "@odata.etag": 'W/"1"'}
        if state is not None:
            data["callState"] = _WORDS_2018.get(state, state)
        return {"value": [{"changeType": change, "resource": resource, "resourceData": data | more}]}
    data = {"@odata.type": "#microsoft.graph.call"}
    if state is not None:
        data["state"] = state
    return _collection(call, change, "", data | more)


def roster(call: EmulatedCall) -> dict[str, Any]:
    """Who is in a group call or a meeting now: all of them, every time."""
    return _collection(call, "updated", "/participants", [participant(member) for member in call.members])


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


def offer(call: EmulatedCall, *, decrypted: bool) -> dict[str, Any]:
    """What the notification of an incoming call says about it, and that of its end again.

    The caller stays encrypted for an application without any permission for calls.
    """
    people = parties(call)
    if not decrypted:
        people["source"] = {**people["source"], "identity": _ENCRYPTED}
    return {
        "direction": "incoming",
        "callbackUri": call.callback_url,
        **people,
        "requestedModalities": ["audio"],
        "tenantId": call.tenant_id,
        "myParticipantId": call.own_participant_id,
        "callChainId": call.chain_id,
        "id": call.id,
    }


def answered_by(target: Identifier) -> dict[str, Any]:
    """Who picked up a redirected call: not to be read where it is somebody on the telephone network."""
    identity = _ENCRYPTED if isinstance(target, PhoneNumber) else identity_set(target)
    return {**participant_info(target), "identity": identity, "endpointType": "default"}


def tone(word: str, number: int) -> dict[str, Any]:
    """A key that was pressed, as `toneInfo`."""
    return {"@odata.type": "#microsoft.graph.toneInfo", "sequenceId": number, "tone": word}
