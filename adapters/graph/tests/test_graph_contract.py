"""The contract that every adapter fulfils."""

import json

from support.entra import FixedCredential
from transferkit_graph import GraphAdapter, GraphSettings, transport

from transferkit.identifiers import PhoneNumber, TeamsUser
from transferkit.provider.facts import Signal
from transferkit.provider.secret import Secret
from transferkit.requests import (
    AnswerCall,
    Call,
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

ADELE = TeamsUser("3fa1c2d4-0000-4000-8000-00000000aaaa")
BEN = TeamsUser("3fa1c2d4-0000-4000-8000-00000000bbbb")
CONSULT = "7C1D0F00-5B2A-4F0E-9A51-0D6A4BB1C002"
CALL = Call("graph", "7C1D0F00-5B2A-4F0E-9A51-0D6A4BB1C001")
HOLD = "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001"
SECRET = "pl4nted~client~secret"


def adapter(**more):
    settings = {"tenant_id": "t", "client_id": "c", "client_secret": Secret(value=SECRET), **more}
    return GraphAdapter(GraphSettings(**settings))


def unreachable():
    nowhere = "https://127.0.0.1:1"
    return adapter(base_url=nowhere, authority=f"{nowhere}/t", timeout=2)


def at(url):
    return adapter(base_url=url, timeout=2, client_secret=None, credential=FixedCredential())


def body(change, **data):
    element = {
        "changeType": change,
        "resourceUrl": f"/communications/calls/{CALL.id}",
        "resourceData": {"@odata.type": "#microsoft.graph.call", **data},
    }
    return json.dumps({"value": [element]}).encode()


def operation(name, **data):
    element = {
        "changeType": "deleted",
        "resourceUrl": f"/communications/calls/{CALL.id}/operations/o1",
        "resourceData": {"@odata.type": f"#microsoft.graph.{name}Operation", **data},
    }
    return json.dumps({"value": [element]}).encode()


class TestGraphAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=adapter,
        unreachable=unreachable,
        at=at,
        requests=(
            Transfer(call=CALL, to=PhoneNumber("+14255550100")),
            Transfer(call=CALL, to=ADELE, transferee=BEN, participant_id="p1"),
            Transfer(call=CALL, to=ADELE, replaces=CONSULT, region="amer", language_id="en-us"),
            Redirect(call=CALL, to=[ADELE, PhoneNumber("+14255550101")], ring_timeout=30),
            AnswerCall(CALL, callback_uri="https://app.example/graph/calls/1"),
            RejectCall(CALL, reason="busy"),
            PlaceCall(ADELE, ring_timeout=20, callback_uri="https://app.example/graph/calls/1"),
            Hold(CALL, participant_id="p1"),
            Resume(CALL, participant_id="p1"),
            Join(CALL, other=CONSULT, to=ADELE),
            HangUp(CALL),
        ),
        callbacks=(
            (body("updated", state="transferring"), (Signal.STARTED,)),
            (body("updated", state="transferAccepted"), (Signal.ACCEPTED,)),
            (
                body("deleted", state="terminated", resultInfo={"code": 0, "subcode": 7015}),
                (Signal.SUCCEEDED, Signal.CALL_ENDED),
            ),
            (
                body("updated", state="established", resultInfo={"code": 500, "subCode": 7000}),
                (Signal.FAILED,),
            ),
            (body("updated", state="established"), (Signal.RETURNED,)),
            (body("deleted"), (Signal.CALL_ENDED,)),
            (operation("startHoldMusic", status="completed", clientContext=HOLD), (Signal.SUCCEEDED,)),
            (operation("stopHoldMusic", status="failed", clientContext=HOLD), (Signal.FAILED,)),
            (operation("startHoldMusic", status="completed"), ()),
            (operation("playPrompt", status="completed", clientContext=HOLD), ()),
        ),
        secrets=(SECRET,),
    )


async def test_nothing_is_sent_if_httpx_connects_after_the_deadline(monkeypatch):
    monkeypatch.setattr(transport, "find_spec", lambda _: None)
    await TestGraphAdapter().test_a_request_is_not_sent_if_its_deadline_passes_while_it_is_prepared()
