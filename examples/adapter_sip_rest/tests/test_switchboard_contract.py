"""The adapter passes the contract of all adapters."""

import json

from transferkit_switchboard import SwitchboardAdapter, SwitchboardSettings

from transferkit import Call, CallingContext, PhoneNumber, Secret, Signal, Transfer
from transferkit.testing.contracts.adapter import AdapterContract, ContractSamples

API_KEY = "pl4nted~api~key"
CALL = Call("switchboard", "c-1")


def adapter_at(url="https://api.switchboard.example/v1"):
    return SwitchboardAdapter(SwitchboardSettings(base_url=url, api_key=Secret(value=API_KEY)))


def body(event, **more):
    at = "2026-01-01T11:59:59.500Z"
    return json.dumps({"id": f"e-{event}", "event": event, "call": CALL.id, "at": at, **more}).encode()


class TestSwitchboardAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=adapter_at,
        unreachable=lambda: adapter_at("http://127.0.0.1:1"),
        at=adapter_at,
        requests=(
            Transfer(call=CALL, to=PhoneNumber("+14255550100")),
            Transfer(call=CALL, to=PhoneNumber("+14255550100"), replaces="c-2", extra={"ring_for": 30}),
            Transfer(call=CALL, to=PhoneNumber("+14255550100"), context=CallingContext(sip={"X-Case": "42"})),
        ),
        callbacks=(
            (body("refer.ringing", refer="r-1"), (Signal.STARTED,)),
            (body("refer.answered", refer="r-1"), (Signal.SUCCEEDED,)),
            (body("refer.failed", refer="r-1", sip_status=486), (Signal.FAILED,)),
            (body("call.ended"), (Signal.CALL_ENDED,)),
            (body("call.talking"), ()),
            (body("call.recorded"), ()),
        ),
        secrets=(API_KEY,),
    )
