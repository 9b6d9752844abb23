"""What adapters of HTTP providers share."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit.wire import content_key, merge_patch, retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": [1]}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": [1, None]}, {"a": [1, None]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": None}}, {"a": {"b": 3}}),
        ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
        ([1], {"a": 1, "b": None}, {"a": 1}),
        ({"a": 1}, [1], [1]),
        ({"a": 1}, None, None),
        ({"a": "b"}, "c", "c"),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    ],
)
def test_a_merge_patch_does_as_rfc_7396_says(target, patch, result):
    assert merge_patch(target, patch) == result


@given(target=JSON, patch=JSON)
def test_a_merge_patch_applied_again_changes_nothing_and_spares_its_arguments(target, patch):
    before = json.dumps([target, patch])
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    assert json.dumps([target, patch]) == before


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2),
        ("2.128", 2.128),
        (" 3 ", 3),
        ("0", 0),
        ("-5", 0),
        ("inf", 86_400),
        ("999999999999999999999", 86_400),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after({"retry-after": text}, now=NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "nan", "Thu, 99 Jan 2026"])
def test_anything_else_says_nothing(text):
    assert retry_after({"retry-after": text}, now=NOW) is None
    assert retry_after({}, now=NOW) is None


@given(value=JSON)
def test_equal_json_has_one_key_however_it_was_written(value):
    again = json.loads(json.dumps(value, indent=3))
    assert content_key(value) == content_key(again)


def test_different_json_has_different_keys():
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})


def test_what_json_cannot_say_has_no_key():
    for value in (float("nan"), "\ud800"):
        with pytest.raises(ValueError, match=r"JSON|surrogates"):
            content_key(value)
