"""`decode` of every adapter for any body: facts or `MalformedCallback`, and every fact can be stored."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import callback_bodies
from support.fuzzing import as_bytes, as_text, bodies, corpus, installed, one_in

from transferkit import Event, MalformedCallback
from transferkit._callbacks.decoding import decode_callback
from transferkit.codec import decode, encode
from transferkit.identifiers import Identifier
from transferkit.provider.adapter import Callback
from transferkit.provider.registry import adapter_class
from transferkit.testing import ManualClock

NUMBER = callback_bodies.NUMBER[2:]
SEEDS = {"fake": callback_bodies.FAKE, "graph": callback_bodies.GRAPH, "acs": callback_bodies.ACS}
ROUTES = {"fake": ["fake"], "graph": ["graph"], "acs": ["", "eventgrid"]}
PROVIDERS = [name for name in SEEDS if name == "fake" or installed(f"transferkit_{name}")]


@st.composite
def cases(draw, provider):
    case = {"body": as_text(draw(bodies(SEEDS[provider]))), "route": draw(st.sampled_from(ROUTES[provider]))}
    if draw(one_in(5)):
        case["message_id"] = draw(st.sampled_from(["m-1", "", "\ud800", "m" * 300]))
    return case


def check(provider, case):
    adapter = adapter_class(provider)
    callback = Callback(
        body=as_bytes(case["body"]),
        received_at=ManualClock().now(),
        route=case["route"],
        headers={"x-microsoft-skype-message-id": case["message_id"]} if "message_id" in case else {},
    )
    error = None
    try:
        facts = adapter.decode(callback)
    except MalformedCallback as malformed:
        error, facts = malformed, malformed.facts
    assert NUMBER not in f"{error} {error!r}"
    assert error is not None or len(facts) == elements_in(callback.body), "an element was lost"
    for fact in facts:
        assert fact.event.provider == provider
        assert isinstance(fact.event.call_id, str)
        assert fact.event.call_id
        assert fact.event.time.utcoffset() is not None
        assert fact.delivery.key, "a repetition would not be recognised"
        # An id is shown even if it contains a number: support asks for it.
        ids = [fact.event.call_id, fact.event.correlation_id, fact.delivery.key, fact.transfer_id]
        ids += [one.id for one in getattr(fact.event, "participants", ())]
        assert NUMBER not in repr(fact) or NUMBER in str(ids)
    storable, malformed = decode_callback(adapter, callback)
    assert malformed is not None or len(storable) == len(facts), "a fact was dropped without an error"
    for fact in storable:
        stored = json.dumps(encode(fact.event), ensure_ascii=False)
        assert decode(Event, json.loads(stored.encode())) == fact.event
        for person in filter(None, (fact.target, fact.transferee)):
            assert decode(Identifier, json.loads(json.dumps(encode(person)))) == person
    assert decode_callback(adapter, callback)[0] == storable


def elements_in(body):
    """The number of elements in a body that was decoded without an error."""
    value = json.loads(body.decode(json.detect_encoding(body), "replace"), parse_int=str)
    if isinstance(value, dict) and not isinstance(value.get("value"), list):
        value = next((item for name, item in reversed(value.items()) if name.lower() == "value"), value)
    elif isinstance(value, dict):  # the exact name wins over another letter case
        value = value["value"]
    return len(value) if isinstance(value, list) else 1


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(max_examples=3 * settings.default.max_examples)
@given(data=st.data())
def test_any_body_is_decoded_to_facts_or_is_malformed(provider, data):
    check(provider, data.draw(cases(provider)))


@pytest.mark.parametrize(
    ("provider", "case"),
    [pytest.param(name, case, id=file) for name in PROVIDERS for file, case in corpus(name).items()],
)
def test_a_body_that_once_failed_is_decoded(provider, case):
    check(provider, case)
