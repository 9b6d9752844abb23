"""Callback bodies in the published forms. The ids and people in them are made up."""

from __future__ import annotations

from typing import Any

CALL = "5f1c0d00-7a11-4c22-9e33-2b44c5d66e77"
TRANSFER = "9b2e7c1a-3d4f-4a5b-8c6d-7e8f90a1b2c3"
PERSON = "7d0a4b1c-2222-4d4d-8e8e-1a2b3c4d5e6f"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
NUMBER = "+14255550142"

_ACS_PERSON = f"8:acs:{TENANT}_0000001b-{PERSON[:4]}"


def _graph(change: str, data: Any, url: str = f"/communications/calls/{CALL}", **more: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.commsNotifications",
        "value": [
            {
                "@odata.type": "#microsoft.graph.commsNotification",
                "changeType": change,
                "resourceUrl": url,
                "resourceData": data,
                **more,
            }
        ],
    }


def _call(state: str, **more: Any) -> dict[str, Any]:
    return {"@odata.type": "#microsoft.graph.call", "state": state, "callChainId": PERSON, **more}


def _result(code: int, subcode: int, message: str = "said") -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.resultInfo",
        "code": code,
        "subCode": subcode,
        "message": message,
    }


def _user(identity: str = PERSON, kind: str = "user") -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.identitySet",
        kind: {"@odata.type": "#microsoft.graph.identity", "id": identity, "displayName": "A Person"},
    }


_NUMBERED = {"phone": {"@odata.type": "#microsoft.graph.identity", "id": NUMBER}}

GRAPH: list[Any] = [
    _graph("updated", _call("transferring", resultInfo=_result(202, 0))),
    _graph("updated", _call("transferAccepted")),
    _graph("updated", _call("established", resultInfo=_result(500, 7000))),
    _graph("updated", _call("established")),
    _graph("updated", _call("established", toneInfo={"sequenceId": 1, "tone": "tone1"})),
    _graph("deleted", _call("terminated", resultInfo=_result(0, 7015), terminationReason="AppTransferred")),
    _graph("deleted", _call("terminated", resultInfo=_result(487, 10003), answeredBy={"identity": _user()})),
    _graph(
        "created",
        _call(
            "incoming",
            direction="incoming",
            source={"identity": _NUMBERED, "region": "westus"},
            targets=[{"identity": _user("9c4b", "application")}],
            incomingContext={"transferor": _user(), "onBehalfOf": _user(), "observedParticipantId": "o"},
            myParticipantId="mine",
        ),
    ),
    _graph(
        "updated",
        [
            {"@odata.type": "#microsoft.graph.participant", "id": "one", "info": {"identity": _user()}},
            {"id": "two", "isMuted": True, "info": {"identity": _NUMBERED, "languageId": "en-US"}},
        ],
        f"/app/calls/{CALL}/participants",
    ),
    _graph(
        "deleted",
        {
            "@odata.type": "#microsoft.graph.commsOperation",
            "status": "failed",
            "clientContext": TRANSFER,
            "resultInfo": _result(400, 8523),
        },
        f"/communications/calls/{CALL}/operations/{PERSON}",
    ),
    {"callState": "terminated", "id": CALL, "resultInfo": {"code": "0", "subcode": "7015"}},
    {
        "changeType": "updated",
        "resource": f"/app/calls/{CALL}",
        "resourceData": {"callState": "transferring"},
    },
    {
        "value": [
            {
                "ChangeType": "Updated",
                "Resource": f"/app/calls/{CALL}",
                "ResourceData": {
                    "id": CALL,
                    "callState": "Incoming",
                    "participants": [
                        {"identity": f"4:{NUMBER}", "originator": True},
                        {"identity": f"8:orgid:{PERSON}"},
                    ],
                },
            },
            {"changeType": "updated", "resourceUrl": f"/communications/calls/{CALL}/audioRoutingGroups/1"},
        ]
    },
]


def _acs(kind: str, **data: Any) -> dict[str, Any]:
    return {
        "id": PERSON,
        "source": f"calling/callConnections/{CALL}",
        "subject": f"calling/callConnections/{CALL}",
        "type": f"Microsoft.Communication.{kind}",
        "time": "2026-01-01T12:00:00.1234567+00:00",
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "data": {
            "version": "2026-03-12",
            "callConnectionId": CALL,
            "serverCallId": "c2VydmVy",
            "correlationId": TENANT,
            "operationContext": "an order",
            **data,
        },
    }


_COMMUNICATION_USER = {
    "rawId": _ACS_PERSON,
    "kind": "communicationUser",
    "communicationUser": {"id": _ACS_PERSON},
}
_PHONE = {"rawId": f"4:{NUMBER}", "kind": "phoneNumber", "phoneNumber": {"value": NUMBER}}
_TEAMS = {
    "rawId": f"8:orgid:{PERSON}",
    "kind": "microsoftTeamsUser",
    "microsoftTeamsUser": {"userId": PERSON, "isAnonymous": False, "cloud": "public"},
}
_INCOMING = {
    "to": _COMMUNICATION_USER,
    "from": _PHONE,
    "serverCallId": "c2VydmVy",
    "callerDisplayName": "A Person",
    "incomingCallContext": "opaque" * 20,
    "correlationId": TENANT,
    "customContext": {
        "sipHeaders": {"userToUser": "616263", "X-MS-Custom-A": "a"},
        "voipHeaders": {"b": "c"},
    },
    "onBehalfOfCallee": _TEAMS,
}

ACS: list[Any] = [
    [
        _acs(
            "CallTransferAccepted",
            resultInformation={"code": 200, "subCode": 7015, "message": "completed"},
            transferTarget=_TEAMS,
            transferee=_PHONE,
        )
    ],
    [
        _acs(
            "CallTransferFailed",
            resultInformation={
                "code": 486,
                "subCode": 560_500,
                "message": "busy",
                "sipDetails": {"code": 486},
            },
        )
    ],
    [_acs("CallConnected")],
    _acs("CallDisconnected", resultInformation={"code": 200, "subCode": 7015, "message": "ended"}),
    [
        _acs(
            "ParticipantsUpdated",
            sequenceNumber=1,
            participants=[
                {"identifier": _COMMUNICATION_USER, "isMuted": False, "isOnHold": True},
                _PHONE,
                {"identifier": _TEAMS},
            ],
        )
    ],
    [_acs("CallConnected"), _acs("PlayCompleted"), _acs("CallDisconnected")],
    [
        {
            "id": TRANSFER,
            "topic": "/subscriptions/one/resourcegroups/two",
            "subject": f"/caller/4:{NUMBER}/recipient/{_ACS_PERSON}",
            "data": _INCOMING,
            "eventType": "Microsoft.Communication.IncomingCall",
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": "2026-01-01T11:59:59.2415391Z",
        }
    ],
    _acs("IncomingCall", **_INCOMING),
    [
        {
            "id": PERSON,
            "topic": "/subscriptions/one",
            "subject": "",
            "data": {
                "validationCode": "512d38b6-c7b8-40c8",
                "validationUrl": "https://region.example/validate",
            },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-01-01T12:00:00Z",
        }
    ],
]

FAKE: list[Any] = [
    {"id": "d-1", "call_id": CALL, "time": "2026-01-01T12:00:00+00:00", "signals": list(signals)}
    for signals in (("started",), ("accepted", "succeeded"), ("failed",), ("returned",), ("call_ended",), ())
]
