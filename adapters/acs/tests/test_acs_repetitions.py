"""How a repeated callback of ACS, and the call that it is about, are identified."""

import pytest
from transferkit_acs import AcsAdapter
from transferkit_acs.callbacks import EVENT_GRID

from transferkit.provider.facts import Delivery
from transferkit.provider.json import content_key


def only(callback):
    (fact,) = AcsAdapter.decode(callback)
    return fact


@pytest.mark.parametrize("route", ["", EVENT_GRID])
def test_a_delivery_without_an_id_is_identified_by_its_content(callback, cloud_event, route):
    event = cloud_event("CallConnected")
    del event["id"]
    delivery = only(callback([event], route=route)).delivery
    assert delivery == Delivery(content_key(event), exact=False)


@pytest.mark.parametrize("route", ["", EVENT_GRID])
@pytest.mark.parametrize("other", [{"type": "Microsoft.Communication.Else"}, {"source": "elsewhere"}])
def test_an_event_id_is_unique_within_source_and_type(callback, cloud_event, route, other):
    event = cloud_event("CallConnected")
    keys = [only(callback([one], route=route)).delivery.key for one in (event, event | other, dict(event))]
    assert keys[0] == keys[2] != keys[1]


def test_the_topic_is_the_source_in_the_schema_of_event_grid(callback):
    event = {"id": "e", "eventType": "Microsoft.Communication.IncomingCall", "topic": "/subscriptions/1"}
    one, other = (only(callback([{**event, "topic": topic}], route=EVENT_GRID)) for topic in ("/a", "/b"))
    assert one.delivery != other.delivery


@pytest.mark.parametrize(
    ("data", "own_id", "call_id"),
    [
        ({"correlationId": "c", "serverCallId": "s"}, "e", "c"),
        ({"serverCallId": "s"}, "e", "s"),
        ({}, "e", "e"),
        ({}, None, None),
    ],
)
def test_a_ringing_call_has_the_first_id_in_its_event(callback, data, own_id, call_id):
    event = {"type": "Microsoft.Communication.IncomingCall", "data": data, "id": own_id}
    named = only(callback([event], route=EVENT_GRID)).event.call_id
    assert named.endswith(f":{call_id or content_key(event)}")


def test_an_event_at_a_transfers_own_address_is_not_a_repetition_of_the_one_at_the_calls_address(
    callback, cloud_event
):
    event = cloud_event("CallTransferAccepted")
    one, other = (only(callback([event], transfer_id=address)) for address in (None, "t-1"))
    assert one.delivery != other.delivery
