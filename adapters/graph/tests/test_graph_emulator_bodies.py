"""The emulator reads or rejects any JSON as the body of a request about a call, and nothing else happens."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transferkit_graph.emulator.bodies import (
    InvalidBody,
    read_answer,
    read_new_call,
    read_redirect,
    read_reject,
    read_subscribe_to_tone,
    read_transfer,
)

USER, PHONE = {"identity": {"user": {"id": "u1"}}}, {"identity": {"phone": {"id": "+14255550100"}}}
HOSTED = {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}


def redirect(body):
    return read_redirect(body, beta=True)


GOOD = [
    (read_transfer, {"transferTarget": {**PHONE, "replacesCallId": "c2"}, "transferee": USER}),
    (read_transfer, {"target": USER, "clientContext": "c1", "operationContext": "o"}),
    (
        redirect,
        {"targets": [USER, PHONE], "timeout": 30, "callbackUri": "https://a.test/", "maskCaller": True},
    ),
    (read_answer, {"acceptedModalities": ["audio"], "mediaConfig": HOSTED, "callbackUri": "https://a.test/"}),
    (read_reject, {"reason": "busy"}),
    (read_subscribe_to_tone, {"clientContext": "c1"}),
    (
        read_new_call,
        {
            "callbackUri": "https://a.test/",
            "targets": [USER],
            "requestedModalities": ["audio"],
            "mediaConfig": {**HOSTED, "preFetchMedia": [{"uri": "https://a.test/beep.wav"}]},
        },
    ),
    (
        read_new_call,
        {
            "callbackUri": "https://a.test/",
            "requestedModalities": ["audio"],
            "mediaConfig": HOSTED,
            "chatInfo": {"threadId": "t"},
            "meetingInfo": {"@odata.type": "#microsoft.graph.tokenMeetingInfo", "token": "t"},
        },
    ),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("+1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """The path of every value inside a JSON value."""
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def replaced(value, path, other):
    if not path:
        return other
    changed = copy.deepcopy(value)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = other
    return changed


def is_accepted(read, body):
    """Whether a reader accepts a body; any exception but `InvalidBody` fails the test."""
    try:
        read(body)
    except InvalidBody:
        return False
    return True


@pytest.mark.parametrize(("read", "body"), GOOD)
def test_a_body_of_the_published_shape_is_accepted(read, body):
    assert is_accepted(read, body)


@given(
    st.sampled_from(GOOD).flatmap(lambda good: st.tuples(st.just(good), st.sampled_from([*places(good[1])]))),
    JSON,
)
def test_a_body_with_any_value_in_any_place_is_accepted_or_rejected(where, other):
    (read, body), path = where
    is_accepted(read, replaced(body, path, other))


@given(JSON)
def test_any_json_is_accepted_or_rejected(body):
    for read, _ in GOOD:
        is_accepted(read, body)
