"""ARI events as facts. The events are those that an Asterisk 22 sent."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transferkit_asterisk.adapter import AsteriskAdapter
from transferkit_asterisk.reasons import SIP_REASONS, UNPROVEN

from transferkit import FailureReason, MalformedCallback, PhoneNumber
from transferkit.events import CallConnected, CallEnded, CallIncoming, ProviderOther
from transferkit.identifiers import UnknownIdentifier
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import RequestKind, Signal

AT = datetime(2026, 11, 29, 20, 47, 3, tzinfo=UTC)
TRANSFER = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
KEY = UUID(TRANSFER).hex
CHANNEL = {
    "id": "1795985222.0",
    "name": "PJSIP/peer-00000000",
    "state": "Up",
    "protocol_id": "848fb5555d8071a3",
    "caller": {"name": "Ada", "number": "+14255550142"},
    "connected": {"name": "", "number": ""},
    "accountcode": "",
    "dialplan": {"context": "incoming", "exten": "100", "priority": 1, "app_name": "Stasis", "app_data": ""},
    "creationtime": "2026-11-29T20:47:02.691+0000",
    "language": "en",
}
DONE = (Signal.ACCEPTED, Signal.SUCCEEDED)
FAILED = (Signal.FAILED,)


def decode(type_, *, channel=None, **more):
    said = {"type": type_, "timestamp": "2026-11-29T20:47:02.691+0000", **more}
    if channel is not False:
        said["channel"] = {**CHANNEL, **(channel or {})}
    return AsteriskAdapter.decode(Callback(body=json.dumps(said).encode(), received_at=AT))


def variable(name, value, **channel):
    return decode("ChannelVarset", variable=name, value=value, channel=channel)


def returned(state):
    return decode("StasisStart", args=["transferkit", KEY, state, ""])


def state(value):
    return variable(f"TRANSFERKIT_STATE_{KEY}", value)


def end(value):
    return variable(f"TRANSFERKIT_END_{KEY}", value)


DIALLING = {"context": "transferkit", "exten": f"dial-{KEY}", "priority": 4, "app_name": "Dial"}


@pytest.mark.parametrize(
    ("facts", "signals", "code", "reason", "alive"),
    [
        (returned("SUCCESS/0"), DONE, 200, FailureReason.UNKNOWN, False),
        (state("SUCCESS/0"), DONE, 200, FailureReason.UNKNOWN, False),
        (end("SUCCESS/0/"), DONE, 200, FailureReason.UNKNOWN, False),
        (returned("FAILURE/486"), FAILED, 486, FailureReason.BUSY, True),
        (end("FAILURE/486/"), FAILED, 486, FailureReason.BUSY, False),
        (returned("FAILURE/481"), FAILED, 481, FailureReason.CONFLICT, None),
        (returned("FAILURE/405"), FAILED, 405, FailureReason.UNSUPPORTED, True),
        (returned("UNSUPPORTED/"), FAILED, None, FailureReason.UNSUPPORTED, True),
        (returned("BUSY/486"), FAILED, 486, FailureReason.BUSY, True),
        (returned("CHANUNAVAIL/603"), FAILED, 603, FailureReason.DECLINED, True),
        (returned("CHANUNAVAIL/"), FAILED, None, FailureReason.UNREACHABLE, True),
        (returned("NOANSWER/480"), FAILED, 480, FailureReason.UNREACHABLE, True),
        (returned("NOANSWER/487"), FAILED, 487, FailureReason.NO_ANSWER, True),
        (returned("NOANSWER/180"), FAILED, None, FailureReason.NO_ANSWER, True),
        (returned("NOANSWER/408"), FAILED, 408, FailureReason.NO_ANSWER, True),
        (returned("CONGESTION/503"), FAILED, 503, FailureReason.UNREACHABLE, True),
        (end("pending/CANCEL"), FAILED, None, FailureReason.CALLER_LEFT, False),
        (variable("BRIDGEPEER", "PJSIP/peer-1", dialplan=DIALLING), DONE, 200, FailureReason.UNKNOWN, True),
    ],
)
def test_a_result_is_a_verdict_about_its_transfer(facts, signals, code, reason, alive):
    (fact,) = facts
    assert (fact.signals, fact.result.code, fact.result.reason) == (signals, code, reason)
    assert (fact.transfer_id, fact.operation, fact.call_alive) == (TRANSFER, None, alive)
    assert fact.delivery.key == f"{TRANSFER}:verdict"


def test_the_members_of_a_bridge_are_a_verdict_about_the_call_that_names_it():
    bridge = {"id": f"transferkit-{KEY}", "name": "1795985222.0", "channels": ["1795985222.0"]}
    (fact,) = decode("ChannelEnteredBridge", bridge=bridge)
    assert fact.signals == ()
    bridge["channels"].append("1795985222.1")
    (fact,) = decode("ChannelEnteredBridge", bridge=bridge, channel={"id": "1795985222.1"})
    assert (fact.signals, fact.transfer_id, fact.event.call_id) == (DONE, TRANSFER, "1795985222.0")
    (fact,) = decode("ChannelEnteredBridge", bridge={**bridge, "id": "another bridge"})
    assert fact.signals == ()


@pytest.mark.parametrize("code", ["", "0", "1", *map(str, sorted(UNPROVEN))])
def test_a_refer_without_a_provable_status_is_no_verdict_but_leads_to_a_query(code):
    (fact,) = returned(f"FAILURE/{code}")
    assert (fact.signals, fact.transfer_id) == ((Signal.RETURNED,), TRANSFER)
    assert fact.result is None


@pytest.mark.parametrize(
    "facts",
    [
        state("FAILURE/486"),
        state("BUSY/486"),
        returned("pending"),
        returned(""),
        variable("BRIDGEPEER", "", dialplan=DIALLING),
        variable("BRIDGEPEER", "PJSIP/peer-1"),
        variable("BRIDGEPEER", "PJSIP/peer-1", dialplan={**DIALLING, "app_name": "Stasis"}),
        decode("StasisStart", args=["transferkit", "not a key", "SUCCESS/0", ""]),
        decode("StasisStart", args=["another program", KEY, "SUCCESS/0", ""]),
        decode("StasisStart", args=None),
    ],
)
def test_what_is_no_result_is_no_verdict(facts):
    assert all(not fact.signals for fact in facts)


@pytest.mark.parametrize("value", ["pending/", "pending/ANSWER", "/CANCEL"])
def test_a_channel_that_hangs_up_before_a_result_has_ended(value):
    (fact,) = end(value)
    assert (fact.signals, fact.transfer_id) == ((Signal.CALL_ENDED,), None)


def test_the_beginning_of_a_transfer_is_stated():
    (fact,) = state("pending")
    assert (fact.signals, fact.transfer_id) == ((Signal.STARTED,), TRANSFER)


@pytest.mark.parametrize("status", sorted(SIP_REASONS))
def test_each_sip_status_has_the_same_reason_in_both_modes(status):
    (dialled,) = returned(f"CHANUNAVAIL/{status}")
    if status == 487:
        assert dialled.result.reason is FailureReason.UNREACHABLE
        return
    assert dialled.result.reason is SIP_REASONS[status]
    if status not in UNPROVEN:
        assert returned(f"FAILURE/{status}")[0].result.reason is SIP_REASONS[status]


# --- calls ------------------------------------------------------------------------------------------


def test_a_ringing_channel_is_an_incoming_call():
    (fact,) = decode("StasisStart", args=[], channel={"state": "Ring"})
    event = fact.event
    assert isinstance(event, CallIncoming)
    assert (event.source, event.targets) == (PhoneNumber("+14255550142"), (PhoneNumber("100"),))
    assert (event.call_id, event.caller_display_name) == ("1795985222.0", "Ada")
    assert event.time == datetime(2026, 11, 29, 20, 47, 2, 691000, tzinfo=UTC)


def test_a_caller_without_a_number_has_no_identifier():
    (fact,) = decode("StasisStart", args=[], channel={"state": "Ring", "caller": {"number": ""}})
    assert fact.event.source is None
    caller = {"number": "alice", "name": ""}
    (fact,) = decode("StasisStart", args=[], channel={"state": "Ring", "caller": caller})
    assert (fact.event.source, fact.event.caller_display_name) == (UnknownIdentifier("alice"), None)


@pytest.mark.parametrize("type_", ["StasisStart", "ChannelStateChange"])
def test_a_channel_that_is_up_is_connected(type_):
    (fact,) = decode(type_, args=["consult"])
    assert isinstance(fact.event, CallConnected)
    (fact,) = decode("ChannelStateChange", channel={"state": "Ringing"})
    assert isinstance(fact.event, ProviderOther)


def test_the_end_of_a_channel_has_its_cause_and_proves_no_transfer():
    (fact,) = decode("ChannelDestroyed", cause=23, cause_txt="Redirected to new destination")
    assert isinstance(fact.event, CallEnded)
    assert fact.signals == (Signal.CALL_ENDED,)
    assert (fact.result.code, fact.result.reason) == (23, FailureReason.UNKNOWN)


def test_an_unanswered_channel_that_left_by_a_redirect_proves_the_redirect():
    (fact,) = decode("ChannelDestroyed", cause=23, channel={"state": "Ring"})
    assert fact.signals == (Signal.SUCCEEDED, Signal.CALL_ENDED)
    assert (fact.operation, fact.transfer_id) == (RequestKind.REDIRECT, None)
    (fact,) = decode("ChannelDestroyed", cause=16, channel={"state": "Ring"})
    assert fact.signals == (Signal.CALL_ENDED,)


@pytest.mark.parametrize(
    "type_", ["ChannelDialplan", "ChannelConnectedLine", "BridgeCreated", "ChannelCreated"]
)
def test_an_event_that_says_nothing_about_the_life_of_a_call_is_left_out(type_):
    assert decode(type_) == ()


@pytest.mark.parametrize(
    "name", ["RTPAUDIOQOS", "STASISSTATUS", "TRANSFERKIT_TARGET_x", "TRANSFERKIT_STATE_x"]
)
def test_other_variables_are_left_out(name):
    assert variable(name, "1") == ()


def test_an_event_about_no_channel_is_left_out():
    assert decode("PeerStatusChange", channel=False) == ()


def test_dial_is_an_event_of_the_caller():
    (fact,) = decode("Dial", channel=False, caller={"id": "a"}, peer={"id": "b"}, dialstatus="ANSWER")
    assert (fact.event.call_id, fact.event.name) == ("a", "Dial")
    (fact,) = decode("Dial", channel=False, peer={"id": "b"}, dialstatus="")
    assert fact.event.call_id == "b"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"{}", b'{"type": 1}', b"[" * 100_000])
def test_a_body_that_is_not_an_event_is_malformed(body):
    with pytest.raises(MalformedCallback):
        AsteriskAdapter.decode(Callback(body=body, received_at=AT))


def test_an_event_without_a_readable_time_has_the_time_of_its_arrival():
    (fact,) = decode("ChannelStateChange", timestamp="yesterday")
    assert fact.event.time == AT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    type_=st.sampled_from(
        ["StasisStart", "ChannelVarset", "ChannelDestroyed", "ChannelEnteredBridge", "Dial"]
    ),
    parts=st.dictionaries(
        st.sampled_from(
            ["args", "variable", "value", "cause", "cause_txt", "bridge", "caller", "peer", "timestamp"]
        ),
        JSON | st.just({"id": f"transferkit-{KEY}", "channels": ["a", "b"], "name": ["x"]}),
    ),
    channel=st.dictionaries(st.sampled_from(["state", "caller", "dialplan", "name"]), JSON),
)
def test_any_content_decodes_to_facts_or_is_malformed(type_, parts, channel):
    said = {"type": type_, **parts, "channel": {"id": str(uuid4()), **channel}}
    try:
        facts = AsteriskAdapter.decode(Callback(body=json.dumps(said).encode(), received_at=AT))
    except MalformedCallback:
        return
    assert all(fact.event.call_id for fact in facts)
