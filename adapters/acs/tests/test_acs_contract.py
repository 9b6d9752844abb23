"""The contract that every adapter fulfils, and what is imported when."""

import json
import subprocess
import sys

import pytest
from transferkit_acs import AcsAdapter, AcsSettings

from transferkit.identifiers import CommunicationUser, PhoneNumber
from transferkit.provider.facts import Signal
from transferkit.provider.secret import Secret
from transferkit.requests import (
    AnswerCall,
    CallingContext,
    HangUp,
    Hold,
    Join,
    PlaceCall,
    Redirect,
    RejectCall,
    Resume,
    Transfer,
)
from transferkit.testing.contracts.adapter import AdapterContract, ContractSamples

CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a01"
OTHER_CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a02"
PERSON = PhoneNumber("+14255550101")
OWN = "https://app.example/acs/1"
KEY = "c2VjcmV0LWFjY2Vzcy1rZXk="


def settings(url: str) -> AcsSettings:
    return AcsSettings(
        connection_string=Secret(value=f"endpoint={url};accesskey={KEY}"), resource_id="res", timeout=5.0
    )


def body(name: str, **data) -> bytes:
    event = {
        "id": f"event-{name}",
        "source": f"calling/callConnections/{CALL}",
        "type": f"Microsoft.Communication.{name}",
        "data": {"callConnectionId": CALL, "correlationId": "c1", **data},
        "time": "2026-01-01T11:59:59.5+00:00",
        "specversion": "1.0",
    }
    return json.dumps([event]).encode()


class TestAcsAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=lambda: AcsAdapter(settings("https://contoso.communication.azure.com")),
        unreachable=lambda: AcsAdapter(settings("http://127.0.0.1:1")),
        at=lambda url: AcsAdapter(settings(url)),
        requests=(
            Transfer(call=CALL, to=PhoneNumber("+14255550101")),
            Transfer(
                call=CALL.upper(),
                to=CommunicationUser("8:acs:r1_u1"),
                transferee=PhoneNumber("+14255550102"),
                caller_id=PhoneNumber("+14255550103"),
                context=CallingContext(sip={"X-MS-Custom-a": "1"}, voip={"a": "1"}),
                operation_context="case 42",
                callback_uri="https://app.example/acs/1",
            ),
            Redirect(call="incoming:c1", to=PhoneNumber("+14255550101"), incoming_context="opaque"),
            AnswerCall("incoming:c1", incoming_context="opaque", callback_uri=OWN),
            RejectCall("incoming:c1", incoming_context="opaque", reason="busy"),
            PlaceCall(PERSON, caller_id=PhoneNumber("+14255550103"), callback_uri=OWN),
            Hold(CALL, participant=PERSON, callback_uri=OWN),
            Resume(CALL, participant=PERSON, callback_uri=OWN),
            Join(CALL, other=OTHER_CALL, to=PERSON, participant=PERSON, callback_uri=OWN),
            HangUp(CALL),
            HangUp(CALL, leave=True),
        ),
        callbacks=(
            (body("CallTransferAccepted"), (Signal.ACCEPTED, Signal.SUCCEEDED)),
            (body("CallTransferFailed"), (Signal.FAILED,)),
            (body("CallConnected"), ()),
            (body("CallDisconnected"), (Signal.CALL_ENDED,)),
            (body("ParticipantsUpdated", participants=[]), ()),
            (body("IncomingCall", incomingCallContext="opaque"), ()),
            (body("PlayCompleted"), ()),
            (body("CreateCallFailed"), (Signal.FAILED, Signal.CALL_ENDED)),
            (body("AnswerFailed"), (Signal.FAILED, Signal.CALL_ENDED)),
            (body("HoldFailed"), (Signal.FAILED,)),
            (body("MoveParticipantSucceeded"), (Signal.SUCCEEDED,)),
            (body("MoveParticipantFailed"), (Signal.FAILED,)),
        ),
        secrets=(KEY,),
    )


@pytest.mark.parametrize("module", ["azure", "aiohttp", "msal", "starlette", "httpx", "requests"])
def test_planning_and_decoding_load_no_sdk(module):
    code = "import sys, transferkit_acs; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert module not in loaded.stdout.split()
