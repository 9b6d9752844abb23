"""JSON for adapters: lenient reading, merge patches and content digests."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transferkit.provider.json import content_key, merge_patch, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


GOOD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


FINITE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(GOOD, st.booleans())
def test_valid_json_is_read_as_by_the_standard_library(value, ascii_only):
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(JSON)
def test_the_result_of_read_json_can_be_encoded_and_digested(value):
    found = read_json(json.dumps(value).encode())
    content_key(found)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'["\ud800", "good"]', ["\ufffd", "good"]),
        (rb'["Anna \ud83d", {"\uDE00": 1}]', ["Anna \ufffd", {"\ufffd": 1}]),
        (rb'["\ud83d\ud83d\ude00\ude00"]', ["\ufffd\U0001f600\ufffd"]),
        (rb'["\ud83d\\ude00"]', ["\ufffd\\ude00"]),
        (rb'["\\ud83d", "\\\ud83d"]', ["\\ud83d", "\\\ufffd"]),
        (b'["\xff\xfe", "good"]', ["\ufffd\ufffd", "good"]),
        (b'["Zo\xc3", "good"]', ["Zo\ufffd", "good"]),
        (b'["\xed\xa0\x80"]', ["\ufffd\ufffd\ufffd"]),
        (b"[NaN, -Infinity, 1e999, -1e999, 1]", ["NaN", "-Infinity", "1e999", "-1e999", 1]),
        (b"[" + b"9" * 5000 + b", 1]", ["9" * 5000, 1]),
    ],
)
def test_a_bad_value_does_not_cost_the_rest_of_the_body(body, value):
    assert read_json(body) == value


@pytest.mark.parametrize("body", [b" {}", b"\n\t[1]\r\n ", b"\r7"])
def test_read_json_ignores_json_whitespace_around_the_value(body):
    assert read_json(body) == json.loads(body)


@pytest.mark.parametrize("text", ["\u00a0{}", "{}\u2028", "\v1", "{}\f"])
def test_whitespace_outside_the_json_grammar_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        read_json(text.encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_read_json_detects_the_encoding_of_the_body(encoding):
    assert read_json('{"name": "Zoë"}'.encode(encoding)) == {"name": "Zoë"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1,]", b"nul"])
def test_a_body_that_is_not_json_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"Expecting|Illegal"):
        read_json(body)


@given(body=st.binary() | st.text().map(str.encode))
@example(body=b"9" * 5000)
@example(body=b"1e999")
@example(body=b"[" * 100_000)
def test_read_json_raises_only_where_the_standard_library_raises(body):
    try:
        read_json(body)
    except (ValueError, RecursionError):
        with pytest.raises((ValueError, RecursionError)):
            json.loads(body)


@given(value=FINITE)
def test_equal_json_values_have_the_same_content_key(value):
    again = json.loads(json.dumps(value, indent=3))
    assert content_key(value) == content_key(again)


def test_different_json_values_have_different_content_keys():
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})


def test_a_value_that_json_cannot_represent_has_no_content_key():
    for value in (float("nan"), "\ud800"):
        with pytest.raises(ValueError, match=r"JSON|surrogates"):
            content_key(value)


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
def test_merge_patch_follows_rfc_7396(target, patch, result):
    assert merge_patch(target, patch) == result


@given(target=FINITE, patch=FINITE)
def test_a_merge_patch_is_idempotent_and_does_not_change_its_arguments(target, patch):
    before = json.dumps([target, patch])
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    assert json.dumps([target, patch]) == before
