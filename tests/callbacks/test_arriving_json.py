"""JSON that arrives is read once, whatever is wrong with one value in it, and is frozen when looked at."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit._util.frozenmap import FrozenMap, freeze, freeze_owned, thaw
from transferkit.provider.http import content_key, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def depth(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


GOOD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(GOOD, st.booleans())
def test_it_reads_what_json_reads(value, ascii_only):
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode())[0] == value


@given(JSON)
def test_what_it_reads_can_be_written_and_stored(value):
    found, shallow = read_json(json.dumps(value).encode())
    content_key(found)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    assert depth(found) <= 64 or not shallow


@pytest.mark.parametrize(
    "body",
    [
        b'["NaN", NaN]',
        b"[-Infinity]",
        b"[1e999]",
        b"[" + b"9" * 400 + b".0]",
        b'["\\ud800"]',
        b'["\\uDFFF"]',
        b'["\xed\xa0\x80"]',
        b"[" * 65 + b"]" * 65,
    ],
)
def test_what_needs_a_second_look_is_not_certain_to_be_shallow(body):
    assert read_json(body)[1] is False


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
def test_one_bad_value_does_not_cost_the_rest_of_the_body(body, value):
    assert read_json(body)[0] == value


@pytest.mark.parametrize("body", [b" {}", b"\n\t[1]\r\n ", b"\r7"])
def test_space_around_it_is_no_doubt(body):
    assert read_json(body) == (json.loads(body), True)


@pytest.mark.parametrize("text", ["\u00a0{}", "{}\u2028", "\v1", "{}\f"])
def test_space_that_json_does_not_have_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        read_json(text.encode())


@pytest.mark.parametrize(
    ("text", "beyond_doubt"),
    [
        (r'"\\ud800"', False),  # no escape of a character, but it looks like one
        (r'"\n\u0041\n"', True),
        (r'"\n\uD83d\ude00\n"', False),
        (r'"\\"', True),
        (r'"\""', True),
    ],
)
def test_an_escape_is_looked_for_wherever_it_is(text, beyond_doubt):
    assert read_json(text.encode()) == (json.loads(text), beyond_doubt)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_that_json_has_is_read(encoding):
    assert read_json('{"name": "Zoë"}'.encode(encoding))[0] == {"name": "Zoë"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1,]", b"nul"])
def test_anything_else_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"Expecting|Illegal"):
        read_json(body)


@given(st.dictionaries(st.text(), JSON))
def test_frozen_when_looked_at_is_frozen(value):
    again = json.loads(json.dumps(value, allow_nan=True).replace("NaN", "0"))
    owned = freeze_owned(json.loads(json.dumps(again)))
    assert thaw(owned) == again
    assert owned == freeze(again)
    assert pickle.loads(pickle.dumps(owned)) == owned  # noqa: S301 - our own
    assert thaw(owned) == again


def test_what_is_in_it_does_not_change_either():
    owned = freeze_owned({"a": {"b": [1, {"c": 2}]}})
    assert isinstance(owned["a"], FrozenMap)
    assert owned["a"]["b"] == (1, FrozenMap({"c": 2}))
    thaw(owned)["a"]["b"].append(3)
    assert owned["a"]["b"] == (1, {"c": 2})
    assert hash(owned) == hash(freeze({"a": {"b": [1, {"c": 2}]}}))


def test_what_is_taken_out_before_it_was_looked_at_is_a_copy():
    owned = freeze_owned({"a": [1]})
    thaw(owned)["a"].append(2)
    assert (len(owned), "a" in owned, owned["a"]) == (1, True, (1,))
