"""Decoding of callbacks: mid-call CloudEvents, Event Grid in both schemas, older shapes, and any bytes."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transferkit_acs import AcsAdapter, AcsSettings, callbacks

from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    FailureReason,
    Participant,
    ProviderOther,
)
from transferkit.identifiers import CommunicationUser, PhoneNumber, TeamsUser, UnknownIdentifier
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import Delivery, MalformedCallback, Signal
from transferkit.provider.json import read_json, thaw

CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a01"
TRANSFER = "5b0e5d3c-94a7-4a53-8f5e-6f2f0c0a7d11"
AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
DONE = {"code": 200, "subCode": 7015, "message": "The transfer operation completed successfully."}


def only(callback):
    (fact,) = AcsAdapter.decode(callback)
    return fact


# --- mid-call -------------------------------------------------------------------------------------------


def test_an_accepted_transfer_is_a_completed_one(callback, cloud_event):
    data = {
        "operationContext": "case 42",
        "resultInformation": DONE,
        "transferTarget": {"rawId": "4:+14255550101", "kind": "phoneNumber"},
        "transferee": {"rawId": "8:acs:r1_u1", "kind": "communicationUser"},
    }
    event = cloud_event("CallTransferAccepted", data)
    fact = only(callback([event], transfer_id=TRANSFER))
    assert fact.signals == (Signal.ACCEPTED, Signal.SUCCEEDED)
    assert (fact.target, fact.transferee) == (PhoneNumber("+14255550101"), CommunicationUser("8:acs:r1_u1"))
    assert (fact.result.code, fact.result.subcode, fact.result.message) == (200, 7015, DONE["message"])
    assert (fact.transfer_id, fact.echoes_context) == (TRANSFER, True)
    key = f"{event['id']} {event['type']} {event['source']} {TRANSFER}"
    assert fact.delivery == Delivery(key=key, exact=True)
    assert isinstance(fact.event, ProviderOther)
    assert fact.event.name == "CallTransferAccepted"
    assert fact.event.operation_context == "case 42"
    assert fact.event.correlation_id == event["data"]["correlationId"]
    assert fact.event.call_id == CALL
    assert fact.event.time == datetime(2026, 5, 4, 9, 29, 58, 123456, tzinfo=UTC)
    assert fact.event.raw == event


def test_a_failed_transfer_is_read(callback, cloud_event):
    data = {"resultInformation": {"code": 486, "subCode": 560486, "message": "Busy."}}
    fact = only(callback([cloud_event("CallTransferFailed", data)]))
    assert fact.signals == (Signal.FAILED,)
    assert fact.result.reason is FailureReason.BUSY
    assert fact.call_alive is None
    assert fact.event.operation_context is None


def test_a_failure_without_codes_has_no_reason(callback, cloud_event):
    fact = only(callback([cloud_event("CallTransferFailed")]))
    assert fact.signals == (Signal.FAILED,)
    assert fact.result.reason is FailureReason.UNKNOWN


def test_a_connected_event_has_no_signals(callback, cloud_event):
    fact = only(callback([cloud_event("CallConnected")]))
    assert isinstance(fact.event, CallConnected)
    assert fact.signals == ()


@pytest.mark.parametrize(
    ("information", "signals", "reason"),
    [
        (None, (Signal.CALL_ENDED,), FailureReason.UNKNOWN),
        ({"code": 200, "subCode": 7000}, (Signal.CALL_ENDED,), FailureReason.CALL_ENDED),
        ({"code": 200, "subCode": 4521}, (Signal.CALL_ENDED,), FailureReason.CALLER_LEFT),
        ({"code": "487", "subcode": "0"}, (Signal.CALL_ENDED,), FailureReason.CALLER_LEFT),
        (DONE, (Signal.CALL_TRANSFERRED, Signal.CALL_ENDED), FailureReason.CALL_ENDED),
    ],
)
def test_the_end_of_a_call_is_read(callback, cloud_event, information, signals, reason):
    data = {} if information is None else {"resultInformation": information}
    fact = only(callback([cloud_event("CallDisconnected", data)]))
    assert isinstance(fact.event, CallEnded)
    assert fact.signals == signals
    assert fact.result.reason is reason
    assert (fact.event.code, fact.event.subcode) == (fact.result.code, fact.result.subcode)


@pytest.mark.parametrize("nested", [True, False], ids=["participants", "bare identifiers of 2022"])
def test_a_roster_lists_the_participants(callback, cloud_event, nested):
    models = [
        {"rawId": "4:+14255550101", "kind": "phoneNumber", "phoneNumber": {"value": "+14255550101"}},
        {"rawId": "48:echo", "kind": "unknown"},
    ]
    entries = (
        [{"identifier": one, "isMuted": True, "isOnHold": False} for one in models] if nested else models
    )
    fact = only(callback([cloud_event("ParticipantsUpdated", {"participants": [*entries, {}, 3, None]})]))
    more = {"muted": True, "on_hold": False} if nested else {}
    assert isinstance(fact.event, CallParticipants)
    assert fact.event.participants == (
        Participant(identifier=PhoneNumber("+14255550101"), **more),
        Participant(identifier=UnknownIdentifier("48:echo"), **more),
    )


@pytest.mark.parametrize("name", ["AddParticipantFailed", "PlayCompleted", "SomethingNew"])
def test_any_other_event_is_provider_other(callback, cloud_event, name):
    fact = only(callback([cloud_event(name, {"resultInformation": {"code": 486, "subCode": 8539}})]))
    assert fact.event.name == name
    assert fact.signals == ()


@pytest.mark.parametrize(
    "kind",
    ["microsoft.communication.callTransferAccepted", "CALLTRANSFERACCEPTED", "Other.CallTransferAccepted"],
)
def test_types_are_read_in_any_letter_case(callback, cloud_event, kind):
    assert Signal.SUCCEEDED in only(callback([cloud_event("x", type=kind)])).signals


def test_a_batch_and_a_single_event_are_both_read(callback, cloud_event):
    connected, ended = cloud_event("CallConnected"), cloud_event("CallDisconnected", id="2")
    assert [type(fact.event) for fact in AcsAdapter.decode(callback([connected, ended]))] == [
        CallConnected,
        CallEnded,
    ]
    assert isinstance(only(callback(connected)).event, CallConnected)
    assert AcsAdapter.decode(callback([])) == ()


def test_events_in_the_form_of_2022_are_read(callback):
    event = {
        "id": "1",
        "source": f"calling/callConnections/{CALL.upper()}/CallConnected",
        "type": "Microsoft.Communication.CallConnected",
        "data": {"type": "callConnected", "time": "2022-08-12T03:13:25.02+02:00"},
    }
    fact = only(callback(event))
    assert fact.event.call_id == CALL
    assert fact.event.time == datetime(2022, 8, 12, 1, 13, 25, 20_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("call_id", "canonical"),
    [
        (CALL, CALL),
        (CALL.upper(), CALL),
        ("01234567-8901-2345-6789-012345678901", "01234567-8901-2345-6789-012345678901"),
        ("aHR0cHM6Ly9", "aHR0cHM6Ly9"),
        ("none", "none"),
        ("", ""),
    ],
)
def test_only_a_guid_is_changed_to_lower_case(call_id, canonical):
    assert AcsAdapter.canonical_call_id(call_id) == canonical


@pytest.mark.parametrize(
    ("change", "call_id", "names_call"),
    [
        ({"data": {}, "source": None}, CALL, True),
        ({"data": None, "source": "calling/recordings/1", "subject": None}, "none", False),
        ({"data": {"serverCallId": "s1"}, "source": None, "subject": None}, "serverCallId:s1", False),
        ({"data": {"correlationId": "c1"}, "source": None, "subject": None}, "correlationId:c1", False),
    ],
)
def test_a_missing_call_id_is_replaced_by_the_next_best_id(
    callback, cloud_event, change, call_id, names_call
):
    event = {**cloud_event("CallConnected"), **change, "time": "soon"}
    del event["id"]
    fact = only(callback([event]))
    assert (fact.event.call_id, fact.names_call) == (call_id, names_call)
    assert fact.event.time == AT
    assert not fact.delivery.exact


def test_without_an_id_equal_content_is_the_same_delivery(callback, cloud_event):
    event = cloud_event("CallConnected", id=None)
    shuffled = dict(reversed(event.items()))
    other = cloud_event("CallConnected", id=None, time="2026-05-04T09:29:59Z")
    keys = [only(callback(one)).delivery.key for one in (event, shuffled, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "", 5])
def test_an_invalid_time_is_replaced_by_the_time_of_arrival(callback, cloud_event, time):
    assert only(callback([cloud_event("CallConnected", time=time)])).event.time == AT


# --- Event Grid -----------------------------------------------------------------------------------------


def incoming(*, cloud: bool, time: str = "2026-05-04T09:29:58.1Z", **data) -> dict:
    event = {
        "id": "d1",
        "subject": "/caller/x/recipient/y",
        "data": {
            "to": {"kind": "communicationUser", "rawId": "8:acs:r1_u1"},
            "from": {"kind": "phoneNumber", "phoneNumber": {"value": "+14255550101"}},
            "serverCallId": "s1",
            "callerDisplayName": "Ann",
            "customContext": {
                "sipHeaders": {"userToUser": "abc", "X-MS-Custom-a": 1, "bad": None},
                "voipHeaders": {"case": "42", "empty": ""},
            },
            "incomingCallContext": "opaque-context",
            "correlationId": "corr-1",
            **data,
        },
    }
    kind = "Microsoft.Communication.IncomingCall"
    if cloud:
        return {**event, "type": kind, "source": "/subscriptions/1", "time": time, "specversion": "1.0"}
    return {**event, "eventType": kind, "topic": "/subscriptions/1", "eventTime": time, "dataVersion": "1.0"}


@pytest.mark.parametrize("cloud", [True, False], ids=["CloudEvents", "Event Grid"])
def test_an_incoming_call_is_read(callback, cloud):
    behalf = {"kind": "microsoftTeamsUser", "rawId": "8:orgid:o1"}
    event = incoming(cloud=cloud, onBehalfOfCallee=behalf)
    fact = only(callback([event], route="eventgrid"))
    assert fact.signals == ()
    kind = "Microsoft.Communication.IncomingCall"
    assert fact.delivery == Delivery(key=f"eventgrid:d1 {kind} /subscriptions/1", exact=True)
    assert fact.event == CallIncoming(
        time=datetime(2026, 5, 4, 9, 29, 58, 100_000, tzinfo=UTC),
        provider="acs",
        call_id="incoming:corr-1",
        correlation_id="corr-1",
        raw=event,
        source=PhoneNumber("+14255550101"),
        targets=(CommunicationUser("8:acs:r1_u1"),),
        caller_display_name="Ann",
        sip={"User-To-User": "abc", "X-MS-Custom-a": "1"},
        voip={"case": "42", "empty": ""},
        on_behalf_of=TeamsUser("o1"),
        incoming_context="opaque-context",
    )
    assert "opaque-context" not in repr(fact)
    assert "4255550101" not in repr(fact)


def test_an_event_grid_delivery_cannot_block_the_id_of_a_later_callback(callback, cloud_event):
    event = cloud_event("CallTransferAccepted", id="e1")
    by_event_grid, of_the_call = only(callback([event], route="eventgrid")), only(callback([event]))
    assert by_event_grid.event.call_id == of_the_call.event.call_id
    assert by_event_grid.delivery != of_the_call.delivery


@pytest.mark.parametrize(("after", "stale"), [(39.9, False), (40, True), (3600, True), (-5, False)])
def test_a_redelivered_incoming_call_is_stale(callback, after, stale):
    event = incoming(cloud=True, time=(AT - timedelta(seconds=after)).isoformat())
    assert only(callback([event], route="eventgrid")).event.stale is stale


def test_an_incoming_call_without_data_has_an_id(callback):
    event = {"type": "Microsoft.Communication.IncomingCall"}
    fact = only(callback([event], route="eventgrid"))
    assert fact.event.call_id.startswith("incoming:")
    assert fact.event.incoming_context is None


def test_a_verdict_on_the_path_of_event_grid_is_ignored(callback, cloud_event):
    event = cloud_event("CallTransferAccepted", {"resultInformation": DONE})
    fact = only(callback([event], route="eventgrid"))
    assert fact.signals == ()
    assert isinstance(fact.event, ProviderOther)


# --- routes ---------------------------------------------------------------------------------------------


def test_the_path_selects_the_authentication():
    adapter = AcsAdapter(AcsSettings(resource_id="the-resource"))
    mid_call = adapter.route("")
    assert mid_call.success_status == 200
    assert mid_call.policy.audience == "the-resource"
    assert mid_call.policy.issuers == ("https://acscallautomation.communication.azure.com",)
    assert mid_call.policy.openid_url.endswith("/calling/.well-known/acsopenidconfiguration")
    assert adapter.route(f"/{TRANSFER.upper()}").transfer_id == TRANSFER
    assert adapter.route(f"/{TRANSFER}").policy == mid_call.policy
    assert adapter.route("/eventgrid").policy is None
    assert adapter.route("/other") is None
    assert AcsAdapter(AcsSettings()).route("").policy is None


# --- totality -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"no json", "body"),
        (b"\xff\xfe", "body"),
        (b"NaN", "body"),
        (b"[" * 100_000, "body"),
        (b"[" * 80 + b"]" * 80, "[0]"),
        (b"9" * 5000, "body"),
        (b"3", "body"),
        (b"{}", "body"),
        (b'[{"type": ""}]', "[0]"),
        (b'[{"type": "a"}, null]', "[1]"),
    ],
)
def test_an_unpublished_shape_is_malformed(callback, body, where):
    with pytest.raises(MalformedCallback) as caught:
        AcsAdapter.decode(callback(body))
    assert (caught.value.provider, caught.value.where) == ("acs", where)


@pytest.mark.parametrize(
    "bad", [b'"half an emoji \\ud83d"', b'"\xff"', b"NaN", b"1e999", b"9" * 5000], ids=range(5)
)
def test_an_element_with_a_bad_value_is_kept_and_affects_no_other(callback, cloud_event, bad):
    failed = cloud_event("CallTransferFailed", {"resultInformation": {"code": 603, "message": "BAD"}})
    body = json.dumps([failed, cloud_event("CallConnected")]).encode().replace(b'"BAD"', bad)
    first, second = AcsAdapter.decode(callback(body))
    assert (first.signals, first.result.code) == ((Signal.FAILED,), 603)
    assert isinstance(second.event, CallConnected)


def test_an_element_that_is_nested_too_deeply_affects_no_other(callback, cloud_event, monkeypatch):
    def freeze(value):
        if "deep" in value["data"]:
            raise RecursionError
        return value

    monkeypatch.setattr(callbacks, "freeze", freeze)
    deep = cloud_event("ParticipantsUpdated", {"deep": "[" * 65})
    with pytest.raises(MalformedCallback, match=r"\[0\]: is nested too deeply") as caught:
        AcsAdapter.decode(callback([deep, cloud_event("CallConnected")]))
    assert [type(fact.event) for fact in caught.value.facts] == [CallConnected]


def test_a_bad_element_affects_no_other(callback, cloud_event):
    with pytest.raises(MalformedCallback) as caught:
        AcsAdapter.decode(callback([7, cloud_event("CallConnected"), {}]))
    assert caught.value.where == "[0]"
    assert [type(fact.event) for fact in caught.value.facts] == [CallConnected]


NAMES = [
    "CallTransferAccepted",
    "CallTransferFailed",
    "CallConnected",
    "CallDisconnected",
    "ParticipantsUpdated",
    "IncomingCall",
    "Other",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rawId", "code", "subCode", "identifier", "phoneNumber"]) | st.text(), inner
        )
    ),
    max_leaves=8,
)
DATA = st.dictionaries(
    st.sampled_from(
        [
            "callConnectionId",
            "operationContext",
            "resultInformation",
            "transferTarget",
            "participants",
            "to",
            "customContext",
            "time",
        ]
    ),
    VALUES,
)


def decode_anything(body: bytes):
    try:
        facts = AcsAdapter.decode(Callback(body=body, received_at=AT))
    except MalformedCallback as error:
        facts = error.facts
    for fact in facts:
        assert fact.event.time.tzinfo is UTC
        json.dumps(fact.event.call_id).encode()
    return facts


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_decoded_or_malformed(body):
    decode_anything(body)


@settings(deadline=None)
@given(VALUES)
def test_any_json_is_decoded_or_malformed(value):
    decode_anything(json.dumps(value).encode())


@settings(deadline=None)
@given(
    st.sampled_from(NAMES), DATA, st.dictionaries(st.sampled_from(["id", "time", "source", "data"]), VALUES)
)
def test_known_events_with_any_content_are_decoded_or_malformed(name, data, envelope):
    event = {"type": f"Microsoft.Communication.{name}", "data": data, **envelope}
    body = json.dumps(event).encode()
    facts = decode_anything(body)
    assert len(facts) <= 1
    delivered = read_json(body)
    assert all(thaw(fact.event.raw) == delivered for fact in facts), "nothing that was delivered disappears"


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@settings(deadline=None)
@given(data=st.data())
def test_a_mutation_affects_only_the_changed_element(data):
    """Any one member of a good event is taken away, renamed in letter case or given another value."""
    event = data.draw(st.sampled_from(GOOD))
    at = data.draw(st.sampled_from(sorted(members(event))))
    name, inside = at[-1], json.loads(json.dumps(event))
    place = inside
    for step in at[:-1]:
        place = place[step]
    match data.draw(st.sampled_from(["remove", "case", "value"])):
        case "remove":
            del place[name]
        case "case":
            place[name.swapcase()] = place.pop(name)
        case _:
            place[name] = data.draw(LEAVES)
    body = json.dumps([event, inside]).encode()
    facts = decode_anything(body)
    named_no_more = len(facts) == 1
    assert not named_no_more or name == "type", "an event may lack anything but its type"
    assert [thaw(fact.event.raw) for fact in facts] == ([event] if named_no_more else [event, inside])


GOOD = [
    {
        "id": f"event-{name}",
        "source": f"calling/callConnections/{CALL}",
        "type": f"Microsoft.Communication.{name}",
        "data": {
            "callConnectionId": CALL,
            "operationContext": "case 42",
            "resultInformation": DONE,
            "transferTarget": {"rawId": "4:+14255550101", "phoneNumber": {"value": "+14255550101"}},
            "participants": [],
            "customContext": {"sipHeaders": {"X-a": "1"}},
        },
        "time": "2026-05-04T09:29:58.1234567+00:00",
    }
    for name in NAMES
]


def members(value: object, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Where the members of an object are, at any depth."""
    if not isinstance(value, dict):
        return set()
    deeper = {path for name, item in value.items() for path in members(item, (*at, name))}
    return deeper | {(*at, name) for name in value}


@pytest.mark.parametrize("batch", [True, False], ids=["array", "single"])
@pytest.mark.parametrize("cloud", [True, False], ids=["CloudEvents", "Event Grid"])
def test_the_response_to_a_validation_contains_its_code(callback, cloud, batch):
    name = "Microsoft.EventGrid.SubscriptionValidationEvent"
    data = {"validationCode": "512d38b6", "validationUrl": "https://grid.example/validate?id=512d38b6"}
    kind = {"type": name, "source": "/subscriptions/1"} if cloud else {"eventType": name, "topic": "/subs/1"}
    event = {"id": "v1", "data": data, **kind}
    fact = only(callback([event] if batch else event, route="eventgrid"))
    assert isinstance(fact.event, ProviderOther)
    assert fact.event.name == "SubscriptionValidationEvent"
    assert fact.event.raw["data"]["validationCode"] == "512d38b6"
    assert fact.signals == ()
