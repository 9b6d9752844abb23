"""FrozenMap, and JSON converted to and from immutable values."""

import copy
import pickle
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit._util.frozenmap import FrozenMap, freeze, thaw

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON))
def test_a_frozen_map_equals_every_mapping_with_the_same_content(content):
    frozen = freeze(content)
    assert frozen == freeze(content)
    assert hash(frozen) == hash(freeze(content))
    assert dict(frozen) == {name: freeze(value) for name, value in content.items()}
    assert pickle.loads(pickle.dumps(frozen)) == frozen  # noqa: S301 - our own
    assert copy.deepcopy(frozen) == frozen


@given(JSON)
def test_thaw_reverses_freeze(value):
    assert thaw(freeze(value)) == value


def test_thawing_accepts_any_mapping():
    assert thaw(MappingProxyType({"one": (1, 2)})) == {"one": [1, 2]}


def test_a_frozen_map_is_immutable():
    given_map = {"a": 1}
    frozen = FrozenMap(given_map)
    given_map["a"] = 2
    assert frozen["a"] == 1
    with pytest.raises(TypeError):
        frozen["a"] = 2
    with pytest.raises(TypeError):
        del frozen["a"]
    with pytest.raises(AttributeError, match="cannot be changed"):
        frozen.more = 1
    with pytest.raises(AttributeError):
        frozen._items = {}
    assert not hasattr(frozen, "__dict__")


def test_a_frozen_map_compares_like_a_dict():
    assert not FrozenMap()
    assert FrozenMap(None) == {}
    assert FrozenMap({"a": 1}) != {"a": 2}
    assert "b" not in FrozenMap({"a": 1})


@pytest.mark.parametrize("make", [FrozenMap, freeze])
def test_a_frozen_map_has_the_methods_of_a_mapping(make):
    frozen = make({"a": 1, "b": [2]})
    assert frozen.keys() == {"a", "b"}
    assert list(frozen.values()) == [frozen["a"], frozen["b"]]
    assert list(frozen.items()) == [("a", 1), ("b", frozen["b"])]
    assert (frozen.get("b"), frozen.get("c"), frozen.get("c", 3)) == (frozen["b"], None, 3)


def test_the_repr_of_a_frozen_map_shows_keys_only():
    frozen = FrozenMap({"b": "secret", "a": "+14255550123"})
    assert repr(frozen) == "<a, b>"
    for view in (frozen.keys(), frozen.values(), frozen.items()):
        assert "secret" not in repr(view)
