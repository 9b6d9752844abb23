"""The data of an event in a message: what it contains, and what it leaves out."""

import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from transferkit import (
    Basis,
    CallIncoming,
    CallParticipants,
    Event,
    FailureReason,
    Participant,
    PhoneNumber,
    RelayConfig,
    TeamsUser,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
    UnknownIdentifier,
)
from transferkit._util.frozenmap import freeze
from transferkit.events import event_classes
from transferkit.relay.data import event_data
from transferkit.relay.schema import json_schema

NOW = datetime(2026, 11, 29, 20, 0, 0, 250_000, tzinfo=UTC)
BASE = {"time": NOW, "provider": "acs", "call_id": "call-1", "id": "event-1", "sequence": 3}
NUMBER = "+14255550142"
OPEN = RelayConfig(raw=True, numbers=True, names=True)
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def schema_of(cls):
    """Validates the data of one class, formats too."""
    return Draft202012Validator(
        {"$ref": f"#/$defs/{cls.__name__}", "$defs": SCHEMA["$defs"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def test_an_outcome_is_written_with_plain_json_types():
    event = TransferCompleted(
        **BASE,
        transfer_id="t-1",
        basis=Basis.STATED,
        elapsed=timedelta(seconds=7.5),
        target=TeamsUser("agent"),
    )
    assert event_data(event, RelayConfig()) == {
        "kind": "transfer.completed",
        "time": "2026-11-29T20:00:00.250000Z",
        "provider": "acs",
        "call_id": "call-1",
        "id": "event-1",
        "sequence": 3,
        "transfer_id": "t-1",
        "basis": "stated",
        "elapsed": 7.5,
        "target": {"type": "teams_user", "id": "8:orgid:agent"},
    }


def test_whether_the_call_is_alive_is_written_if_it_is_known_also_if_it_is_false():
    known = TransferFailed(**BASE, basis=Basis.STATED, reason=FailureReason.BUSY, call_alive=False)
    unknown = attrs.evolve(known, call_alive=None)
    assert event_data(known, RelayConfig())["call_alive"] is False
    assert "call_alive" not in event_data(unknown, RelayConfig())


def test_numbers_are_left_out_of_identifiers_and_texts_by_default(planted):
    event = TransferFailed(
        **BASE,
        basis=Basis.STATED,
        reason=FailureReason.BUSY,
        target=PhoneNumber(planted.number, display_name="Ada"),
        transferee=UnknownIdentifier(planted.digits, kind="onPremises"),
        message=f"{planted.number} is busy",
        operation_context=f"call back {planted.number}",
    )
    data = event_data(event, RelayConfig())
    assert data["target"] == {"type": "phone_number"}
    assert data["transferee"] == {"type": "unknown_identifier"}
    assert not planted.shown_in(json.dumps(data))
    shown = event_data(event, RelayConfig(numbers=True))
    assert shown["target"] == {"type": "phone_number", "id": f"4:{planted.number}"}
    assert shown["message"] == f"{planted.number} is busy"


def test_a_number_in_the_place_of_a_user_id_is_left_out():
    event = TransferRequested(**BASE, targets=(TeamsUser(NUMBER),))
    assert event_data(event, RelayConfig())["targets"] == [{"type": "teams_user"}]


def test_names_are_left_out_by_default():
    event = CallIncoming(**BASE, source=TeamsUser("u", display_name="Ada"), caller_display_name="Ada")
    assert "Ada" not in json.dumps(event_data(event, RelayConfig()))
    shown = event_data(event, RelayConfig(names=True))
    assert shown["caller_display_name"] == shown["source"]["display_name"] == "Ada"


def test_what_the_provider_wrote_is_left_out_by_default():
    event = CallIncoming(
        **BASE,
        raw=freeze({"from": NUMBER}),
        sip=freeze({"P-Asserted-Identity": NUMBER}),
        voip=freeze({"x": NUMBER}),
        incoming_context="opaque",
    )
    assert not {"raw", "sip", "voip", "incoming_context"} & set(event_data(event, RelayConfig()))
    shown = event_data(event, RelayConfig(raw=True))
    assert shown["raw"] == {"from": NUMBER}
    assert shown["sip"] == {"P-Asserted-Identity": NUMBER}
    assert shown["incoming_context"] == "opaque"


def test_the_parts_of_an_event_are_treated_like_the_event():
    caller = Participant(identifier=PhoneNumber(NUMBER, display_name="Ada"), id=f"4:{NUMBER}", muted=False)
    data = event_data(CallParticipants(**BASE, participants=(caller,)), RelayConfig())
    assert data["participants"][0]["identifier"] == {"type": "phone_number"}
    assert data["participants"][0]["muted"] is False
    assert NUMBER not in json.dumps(data)


@pytest.mark.parametrize("cls", event_classes(), ids=lambda cls: cls.kind)
@settings(max_examples=5)
@given(st.data())
def test_every_event_matches_its_schema(cls, draw):
    event = draw.draw(st.from_type(cls))
    for config in (RelayConfig(), OPEN):
        data = json.loads(json.dumps(event_data(event, config)))
        schema_of(cls).validate(data)
        assert set(data) <= set(SCHEMA["$defs"][cls.__name__]["properties"])


def test_the_schema_of_an_event_refuses_the_data_of_another():
    data = event_data(TransferCompleted(**BASE, basis=Basis.STATED), RelayConfig())
    assert not VALIDATOR.is_valid({**data, "kind": "transfer.failed"})
    assert not VALIDATOR.is_valid({**data, "basis": "guessed"})


def test_a_field_of_an_unknown_type_is_an_error_that_names_the_field():
    @attrs.frozen(kw_only=True)
    class Odd(Event):
        kind = "odd"
        weight: complex

    with pytest.raises(TypeError, match=r"Odd\.weight.*complex"):
        event_data(Odd(**BASE, weight=1j), RelayConfig())
