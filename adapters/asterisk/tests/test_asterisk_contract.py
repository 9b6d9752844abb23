"""The contract that every adapter fulfils, in both modes."""

import json
import re
from uuid import UUID

from transferkit_asterisk import AsteriskAdapter, AsteriskSettings

from transferkit.identifiers import PhoneNumber, SipAddress
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

CALL = Call("asterisk", "1795985222.0")
SECRET = "pl4nted~ari~password"
KEY = UUID("7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001").hex
PREPARING = re.compile(
    rb"(GET \S*/channels/[\w.-]+/variable\?"
    rb"|POST \S*/(applications/\w+/subscription|channels/[\w.]+/variable|bridges/[\w-]+) )"
)


def preparing(request, line):
    resumes = isinstance(request, Join) and re.match(rb"DELETE \S*/channels/[\w.]+/moh ", line)
    return b'{"value": "x"}' if resumes or PREPARING.match(line) else None


def adapter(**more):
    settings = {"password": Secret(value=SECRET), "number_uri": "sip:{number}@pbx.example", **more}
    return AsteriskAdapter(AsteriskSettings(**settings))


def bridging(**more):
    return adapter(mode="bridge", endpoint="carrier", **more)


def event(type_, state="Up", **more):
    channel = {
        "id": CALL.id,
        "state": state,
        "caller": {"number": "+14255550100"},
        "dialplan": {"exten": "100"},
    }
    said = {"type": type_, "timestamp": "2026-11-29T20:47:02.691+0000", "channel": channel, **more}
    return json.dumps(said).encode()


def returned(result):
    return event("StasisStart", args=["transferkit", KEY, result, ""])


def variable(name, value):
    return event("ChannelVarset", variable=f"TRANSFERKIT_{name}_{KEY}", value=value)


STEPS = (
    AnswerCall(CALL),
    RejectCall(CALL, reason="busy"),
    Hold(CALL),
    Resume(CALL),
    Join(CALL, other="1795985222.1", to=SipAddress("sip:agent@pbx.example")),
    HangUp(CALL, leave=True),
)
DONE = (Signal.ACCEPTED, Signal.SUCCEEDED)


class TestReferringAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=adapter,
        unreachable=lambda: adapter(base_url="http://127.0.0.1:1/ari", timeout=2),
        at=lambda url: adapter(base_url=f"{url}/ari", timeout=2),
        preparing=preparing,
        requests=(
            Transfer(call=CALL, to=SipAddress("sip:agent@10.0.0.5;transport=tcp")),
            Transfer(call=CALL, to=PhoneNumber("+14255550100")),
            Transfer(call=CALL, to=SipAddress("sip:agent@pbx.example"), replaces="1795985222.1"),
            Redirect(call=CALL, to=[PhoneNumber("+14255550101")]),
            *STEPS,
        ),
        callbacks=(
            (event("StasisStart", "Ring", args=[]), ()),
            (event("ChannelStateChange"), ()),
            (variable("STATE", "pending"), (Signal.STARTED,)),
            (variable("STATE", "SUCCESS/0"), DONE),
            (returned("SUCCESS/0"), DONE),
            (returned("FAILURE/486"), (Signal.FAILED,)),
            (returned("FAILURE/1"), (Signal.RETURNED,)),
            (variable("END", "FAILURE/603/"), (Signal.FAILED,)),
            (variable("END", "pending/"), (Signal.CALL_ENDED,)),
            (event("ChannelDestroyed", cause=16, cause_txt="Normal Clearing"), (Signal.CALL_ENDED,)),
            (event("ChannelDestroyed", "Ring", cause=23), (Signal.SUCCEEDED, Signal.CALL_ENDED)),
        ),
        secrets=(SECRET,),
    )


class TestBridgingAdapter(AdapterContract):
    samples = ContractSamples(
        adapter=bridging,
        unreachable=lambda: bridging(base_url="http://127.0.0.1:1/ari", timeout=2),
        at=lambda url: bridging(base_url=f"{url}/ari", timeout=2),
        preparing=preparing,
        requests=(
            Transfer(call=CALL, to=SipAddress("sip:agent@pbx.example")),
            Transfer(call=CALL, to=PhoneNumber("+14255550100"), replaces="1795985222.1"),
            Redirect(call=CALL, to=[SipAddress("sips:agent@[::1]:5061")]),
            *STEPS,
            PlaceCall(
                SipAddress("sip:agent@pbx.example"),
                provider="asterisk",
                step_id="7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c002",
                ring_timeout=20,
            ),
        ),
        callbacks=(
            (returned("BUSY/486"), (Signal.FAILED,)),
            (variable("END", "pending/CANCEL"), (Signal.FAILED,)),
            (event("ChannelDestroyed", cause=16, cause_txt="Normal Clearing"), (Signal.CALL_ENDED,)),
        ),
        secrets=(SECRET,),
    )
