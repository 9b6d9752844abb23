"""Whatever JSON comes, a body is read or refused with a reason that names the place: nothing else happens."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transferkit_graph.emulator.bodies import (
    read_answer,
    read_new_call,
    read_redirect,
    read_reject,
    read_subscribe,
    read_transfer,
)
from transferkit_graph.emulator.schema import Unacceptable

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
    (read_subscribe, {"clientContext": "c1"}),
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
    """Every place in a JSON value, as the way there."""
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


def why_not(read, body):
    """Why a body is refused."""
    try:
        read(body)
    except Unacceptable as error:
        return str(error)
    return "body: good"


@pytest.mark.parametrize(("read", "body"), GOOD)
def test_a_good_body_is_read(read, body):
    assert why_not(read, body) == "body: good"


@given(
    st.sampled_from(GOOD).flatmap(lambda good: st.tuples(st.just(good), st.sampled_from([*places(good[1])]))),
    JSON,
)
def test_a_body_with_anything_in_any_place_is_read_or_refused(where, other):
    (read, body), path = where
    assert why_not(read, replaced(body, path, other)).startswith("body")


@given(JSON)
def test_any_json_is_read_or_refused(body):
    for read, _ in GOOD:
        assert why_not(read, body).startswith("body")
