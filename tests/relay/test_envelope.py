"""The CloudEvent of an event, structured and binary."""

import json
from datetime import UTC, datetime

import attrs
import pytest
from cloudevents.core.bindings import amqp, http, kafka
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from transferkit import Basis, RelayConfig, TransferCompleted
from transferkit.events import event_classes
from transferkit.relay import message_of
from transferkit.relay.data import event_data
from transferkit.relay.schema import asyncapi_document

EVENT = TransferCompleted(
    time=datetime(2026, 11, 29, 20, tzinfo=UTC),
    provider="acs",
    call_id="call-1",
    id="event-1",
    sequence=12,
    basis=Basis.STATED,
)
DOCUMENT = asyncapi_document(version="1")


def test_the_attributes_name_the_event_its_call_and_its_place():
    message = message_of(EVENT, RelayConfig(source="/sites/berlin/"))
    assert message.event.get_attributes() == {
        "specversion": "1.0",
        "id": "event-1",
        "source": "/sites/berlin/acs",
        "type": "transferkit.transfer.completed",
        "subject": "call-1",
        "time": EVENT.time,
        "datacontenttype": "application/json",
        "dataschema": "urn:transferkit:event:v1:transfer.completed",
        "sequence": "0000000012",
        "partitionkey": "acs:call-1",
    }
    assert message.event.get_data() == event_data(EVENT, RelayConfig())
    assert (message.id, message.key, message.kind) == ("event-1", "acs:call-1", "transfer.completed")


def test_sequences_are_in_order_also_as_text():
    texts = [
        message_of(attrs.evolve(EVENT, sequence=sequence), RelayConfig()).event.get_extension("sequence")
        for sequence in (1, 2, 9, 10, 99, 100)
    ]
    assert texts == sorted(texts)


@pytest.mark.parametrize("binding", [http, kafka, amqp])
@pytest.mark.parametrize("form", ["binary", "structured"])
def test_a_consumer_with_the_official_library_reads_the_same_event(binding, form):
    message = message_of(EVENT, RelayConfig())
    written = getattr(binding, f"to_{form}_event")(message.event)
    again = getattr(binding, f"from_{form}_event")(written)
    assert again.get_attributes() == message.event.get_attributes()
    assert again.get_data() == message.event.get_data()


@pytest.mark.parametrize("change", [{"id": None}, {"sequence": None}, {"call_id": ""}])
def test_an_event_that_is_no_valid_cloud_event_is_an_error(change):
    with pytest.raises(ValueError, match=r"transfer\.completed"):
        message_of(attrs.evolve(EVENT, **change), RelayConfig())


def test_the_repr_of_a_message_shows_no_number(planted):
    event = attrs.evolve(EVENT, call_id=planted.number, message=planted.number)
    assert not planted.shown_in(repr(message_of(event, RelayConfig(numbers=True))))


@pytest.mark.parametrize("cls", event_classes(), ids=lambda cls: cls.kind)
@settings(max_examples=5)
@given(st.data())
def test_every_message_matches_the_asyncapi_document(cls, draw):
    event = attrs.evolve(draw.draw(st.from_type(cls)), id="event-1", sequence=1, call_id="call-1")
    payload = DOCUMENT["components"]["messages"][cls.__name__]["payload"]
    body = json.loads(http.to_structured_event(message_of(event, RelayConfig()).event).body)
    Draft202012Validator({**payload, "components": DOCUMENT["components"]}).validate(body)
