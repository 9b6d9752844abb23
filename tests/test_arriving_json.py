"""JSON that arrives is read once: what is beyond doubt is not looked through, and frozen when looked at."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit.frozenmap import FrozenMap, freeze, freeze_owned, thaw
from transferkit.wire import content_key, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def depth(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


@given(JSON)
def test_it_reads_what_json_reads(value):
    body = json.dumps(value).encode()
    # As text: NaN is not equal to itself.
    assert json.dumps(read_json(body)[0]) == json.dumps(json.loads(body))


@given(JSON)
def test_what_is_beyond_doubt_can_be_written_and_stored(value):
    found, beyond_doubt = read_json(json.dumps(value).encode())
    if beyond_doubt:
        content_key(found)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
        assert depth(found) <= 64


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
def test_what_cannot_be_stored_is_doubtful(body):
    assert read_json(body)[1] is False


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
        (r'"\ud800"', False),
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
    with pytest.raises(ValueError, match=r"Expecting|can't decode|Illegal"):
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
