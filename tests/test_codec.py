"""Values as JSON and back, without loss."""

import json
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from transferkit import (
    Call,
    CallingContext,
    Cloud,
    Event,
    Identifier,
    PhoneNumber,
    Redirect,
    Request,
    TeamsPhoneCallDetails,
    TeamsPhoneSourceDetails,
    TeamsUser,
    Transfer,
    TransferCompleted,
)
from transferkit._lifecycle import CallKey, CallState, Opened
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import decode, encode, fingerprint, to_json_line
from transferkit.events import event_class

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
REQUESTS = st.from_type(Transfer) | st.from_type(Redirect)
KINDS = [
    "call.incoming", "call.connected", "call.ended", "call.participants",
    "transfer.requested", "transfer.submitted", "transfer.started", "transfer.accepted",
    "transfer.completed", "transfer.failed", "transfer.expired",
    "redirect.requested", "redirect.submitted", "redirect.completed", "redirect.failed", "redirect.expired",
    "provider.other",
]  # fmt: skip


def over_the_wire(value):
    return json.loads(json.dumps(encode(value)))


# --- round trips ------------------------------------------------------------------------------------


@given(st.from_type(Identifier))
def test_an_identifier_survives_encoding(someone):
    again = decode(Identifier, over_the_wire(someone))
    assert again == someone
    assert type(again) is type(someone)


@given(st.from_type(Transfer))
def test_a_transfer_survives_encoding(request):
    assert decode(Transfer, over_the_wire(request)) == request


@given(st.from_type(Redirect))
def test_a_redirect_survives_encoding(request):
    assert decode(Redirect, over_the_wire(request)) == request


@pytest.mark.parametrize("cls", [Transfer, Redirect])
def test_a_request_is_decoded_to_its_own_class(cls):
    request = cls(call="abc", to=TeamsUser("agent"))
    assert decode(Request, over_the_wire(request)) == request


@pytest.mark.parametrize("cls", [Transfer, Redirect])
def test_a_stored_request_is_decoded_to_its_own_class(cls):
    request = cls(call=Call("acs", "abc"), to=TeamsUser("agent"))
    key = CallKey("acs", "abc")
    opened = Opened(id="1", call=key, request=request, fingerprint=fingerprint(request), at=NOW, legs=(key,))
    assert decode(Opened, over_the_wire(opened)) == opened


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_an_event_survives_encoding(kind, data):
    event = data.draw(st.from_type(event_class(kind)))
    again = decode(Event, over_the_wire(event))
    assert again == event
    assert type(again) is event_class(kind)
    assert again.time.tzinfo is not None


@given(st.from_type(CallState))
def test_the_state_of_a_call_survives_encoding(state):
    assert decode(CallState, over_the_wire(state)) == state


@given(st.from_type(Event) | REQUESTS | st.from_type(CallState))
def test_encode_returns_plain_json(value):
    assert over_the_wire(value) == encode(value)


# --- the form ---------------------------------------------------------------------------------------


def test_an_identifier_is_encoded_as_its_raw_id():
    assert encode(PhoneNumber("+14255550123")) == "4:+14255550123"


def test_an_identifier_with_more_fields_is_encoded_as_an_object():
    someone = TeamsUser("abc", tenant_id="contoso", display_name="Ada", cloud=Cloud.DOD)
    assert encode(someone) == {"id": "8:dod:abc", "tenant_id": "contoso", "display_name": "Ada"}


def test_decode_accepts_the_short_forms_of_identifiers():
    assert decode(Identifier, "+14255550123") == PhoneNumber("+14255550123")
    assert decode(Identifier, {"id": "teams:abc", "tenant_id": "contoso"}) == TeamsUser(
        "abc", tenant_id="contoso"
    )


def test_an_encoded_request_has_its_type_and_no_default_values():
    encoded = encode(Transfer(call=Call("acs", "abc"), to=PhoneNumber("+14255550123"), deadline=90))
    assert encoded == {
        "type": "transfer",
        "call": {"provider": "acs", "id": "abc"},
        "to": "4:+14255550123",
        "deadline": 90.0,
    }


def test_an_event_is_one_json_line_that_begins_with_its_kind():
    event = TransferCompleted(
        time=NOW,
        provider="acs",
        call_id="abc",
        basis="stated",
        operation_context="line\nbreak ü",
        elapsed=timedelta(seconds=2.5),
        raw={"a": [1]},
    )
    line = to_json_line(event)
    assert "\n" not in line
    assert "ü" in line
    read = json.loads(line)
    assert next(iter(read)) == "kind"
    assert read["kind"] == "transfer.completed"
    assert read["time"] == "2026-01-01T12:00:00+00:00"
    assert read["elapsed"] == 2.5
    assert read["raw"] == {"a": [1]}


def test_a_time_in_another_zone_is_decoded_to_the_same_instant():
    event = TransferCompleted(
        time=NOW.astimezone(timezone(timedelta(hours=2))), provider="acs", call_id="abc", basis="stated"
    )
    assert decode(Event, over_the_wire(event)).time == NOW


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (
            Event,
            {
                "kind": "transfer.rumoured",
                "time": "2026-01-01T12:00:00+00:00",
                "provider": "a",
                "call_id": "b",
            },
        ),
        (Event, {"time": "2026-01-01T12:00:00+00:00", "provider": "a", "call_id": "b"}),
        (Event, {"kind": "call.connected", "provider": "a", "call_id": "b"}),
        (Event, {"kind": "call.connected", "time": "yesterday", "provider": "a", "call_id": "b"}),
        (Event, []),
        (Transfer, {"type": "transfer", "call": {"provider": None, "id": "a"}}),
        (Transfer, {"type": "transfer", "call": {"provider": None, "id": "a"}, "to": "4:+1", "tow": "car"}),
        (Request, {"type": "telepathy", "call": {"provider": None, "id": "a"}, "to": "4:+1"}),
        (Identifier, 5),
        (Identifier, {"raw_id": "4:+1"}),
        (Identifier, ""),
    ],
)
def test_decode_raises_for_other_data(cls, data):
    with pytest.raises(Exception, match=r".") as raised:
        decode(cls, data)
    assert not isinstance(raised.value, (AttributeError, AssertionError, RecursionError))


# --- fingerprints -----------------------------------------------------------------------------------


@given(REQUESTS)
def test_equal_requests_have_equal_fingerprints(request):
    again = decode(type(request), over_the_wire(request))
    assert fingerprint(again) == fingerprint(request)


@given(REQUESTS, st.none() | st.text(min_size=1))
def test_a_fingerprint_ignores_the_idempotency_key(request, key):
    assert fingerprint(attrs.evolve(request, idempotency_key=key)) == fingerprint(request)


@given(data=st.data())
def test_a_fingerprint_depends_on_every_other_field(data):
    request, donor = data.draw(
        st.tuples(st.from_type(Transfer), st.from_type(Transfer))
        | st.tuples(st.from_type(Redirect), st.from_type(Redirect))
    )
    name = data.draw(st.sampled_from([field.name for field in attrs.fields(type(request))]))
    assume(name != "idempotency_key")
    other = attrs.evolve(request, **{name: getattr(donor, name)})
    assume(other != request)
    assert fingerprint(other) != fingerprint(request)


@pytest.mark.parametrize(
    "changes",
    [
        {"call": Call("graph", "abc")},
        {"call": Call(None, "abc", tenant_id="contoso")},
        {"to": PhoneNumber("+14255550124")},
        {"to": TeamsUser("agent", tenant_id="contoso")},
        {"deadline": 151},
        {"extra": {"a": 1}},
        {"extra": {"a": [1]}},
        {"operation_context": ""},
        {"on_unsupported": "drop"},
        {"context": CallingContext(sip={"a": "1"})},
        {"context": CallingContext(voip={"a": "1"})},
        {"context": CallingContext(teams=TeamsPhoneCallDetails(intent="refund"))},
        {
            "context": CallingContext(
                teams=TeamsPhoneCallDetails(
                    source=TeamsPhoneSourceDetails(
                        source=PhoneNumber("+1"),
                        language="en",
                        status="",
                        intended_targets={"a": TeamsUser("b")},
                    )
                )
            )
        },
    ],
)
def test_requests_that_differ_in_one_field_have_different_fingerprints(changes):
    request = Transfer(call="abc", to=PhoneNumber("+14255550123"))
    assert fingerprint(attrs.evolve(request, **changes)) != fingerprint(request)


def test_a_fingerprint_depends_on_the_order_of_targets_and_not_of_headers():
    def with_headers(*names):
        return Transfer(call="a", to=TeamsUser("b"), context=CallingContext(voip=dict.fromkeys(names, "1")))

    assert fingerprint(with_headers("x", "y")) == fingerprint(with_headers("y", "x"))
    one, two = TeamsUser("one"), TeamsUser("two")
    assert fingerprint(Redirect(call="a", to=[one, two])) != fingerprint(Redirect(call="a", to=[two, one]))


def test_a_transfer_and_a_redirect_have_different_fingerprints():
    fields = {"call": "a", "to": TeamsUser("b")}
    assert fingerprint(Transfer(**fields)) != fingerprint(Redirect(**fields))


def test_a_fingerprint_does_not_show_the_request(planted):
    digest = fingerprint(Transfer(call="a", to=PhoneNumber(planted.number)))
    assert len(digest) == 64
    assert int(digest, 16)


def test_a_frozen_map_is_encoded_as_an_object():
    assert encode(FrozenMap({"one": 1})) == {"one": 1}


def test_a_field_for_a_phone_number_refuses_other_identifiers():
    assert decode(PhoneNumber, "+14255550100") == PhoneNumber("+14255550100")
    with pytest.raises(TypeError, match="not a phone number"):
        decode(PhoneNumber, "8:orgid:one")


def test_a_map_is_read_only_from_a_json_object():
    with pytest.raises(TypeError, match="JSON object"):
        decode(FrozenMap[str], ["one"])
