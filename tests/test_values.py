"""Events and the other values: frozen, slotted, by value, hashable, picklable."""

import copy
import pickle
import re
from datetime import UTC, datetime
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit
from transferkit import (
    Call,
    Event,
    FailureReason,
    Outcome,
    RedirectOutcome,
    Secret,
    TransferOutcome,
    TransferSubmitted,
)
from transferkit import events as events_module
from transferkit._util.frozenmap import FrozenMap, freeze, thaw
from transferkit.events import event_class

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = [
    "call.incoming",
    "call.connected",
    "call.ended",
    "call.participants",
    "transfer.requested",
    "transfer.submitted",
    "transfer.started",
    "transfer.accepted",
    "transfer.completed",
    "transfer.failed",
    "transfer.expired",
    "redirect.requested",
    "redirect.submitted",
    "redirect.completed",
    "redirect.failed",
    "redirect.expired",
    "provider.other",
]
VALUES = [
    cls
    for cls in dict.fromkeys(getattr(transferkit, name) for name in transferkit.__all__)
    if isinstance(cls, type) and attrs.has(cls)
]


def events():
    return [event_class(kind) for kind in KINDS]


# --- kinds of event ---------------------------------------------------------------------------------


def test_the_kinds_are_a_closed_set():
    exported = [getattr(events_module, name) for name in events_module.__all__]
    found = {
        cls for cls in exported if isinstance(cls, type) and issubclass(cls, Event) and hasattr(cls, "kind")
    }
    assert found == set(events())


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_is_named_after_its_kind(kind):
    cls = event_class(kind)
    assert cls.kind == kind
    assert cls.__name__ == "".join(word.capitalize() for word in kind.split("."))
    assert re.sub(r"(?<!^)([A-Z])", r".\1", cls.__name__).lower() == kind


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_says_what_it_means(kind):
    assert event_class(kind).__doc__
    assert not event_class(kind).__doc__.startswith("Method generated")


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_derives_from_a_kind_of_event(kind):
    assert getattr(event_class(kind), "__final__", False)


def test_an_unknown_kind_is_a_key_error():
    with pytest.raises(KeyError):
        event_class("transfer.rumoured")


def test_outcomes_are_the_terminal_events():
    terminal = {cls.kind for cls in events() if issubclass(cls, Outcome)}
    ends = ("completed", "failed", "expired")
    assert terminal == {f"{what}.{end}" for what in ("transfer", "redirect") for end in ends}
    assert [cls.kind for cls in TransferOutcome.__args__] == [f"transfer.{end}" for end in ends]
    assert [cls.kind for cls in RedirectOutcome.__args__] == [f"redirect.{end}" for end in ends]


def test_reasons_are_a_closed_set():
    assert [*FailureReason] == [
        "busy",
        "declined",
        "no_answer",
        "unreachable",
        "target_not_found",
        "target_not_allowed",
        "tenant_mismatch",
        "caller_left",
        "call_not_found",
        "call_not_established",
        "call_ended",
        "conflict",
        "unsupported",
        "unauthorized",
        "forbidden",
        "throttled",
        "timeout",
        "provider_error",
        "unknown",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_says_who_where_and_when(kind):
    names = {attribute.name for attribute in attrs.fields(event_class(kind))}
    common = "id time provider call_id correlation_id transfer_id operation_context sequence raw"
    assert names >= set(common.split())


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.endswith(("accepted", "completed", "failed"))]
)
def test_a_statement_carries_the_providers_words(kind):
    names = {attribute.name for attribute in attrs.fields(event_class(kind))}
    assert names >= {"target", "transferee", "code", "subcode", "message"}


def test_an_events_call_can_be_transferred():
    event = TransferSubmitted(time=NOW, provider="acs", call_id="abc")
    assert event.call == Call("acs", "abc")


# --- every value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_value_is_frozen_and_has_no_room_for_more(cls):
    assert cls.__setattr__ is not object.__setattr__
    assert "__slots__" in vars(cls)
    assert not any("__dict__" in vars(base) for base in cls.__mro__[:-1])


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_value_says_what_it_is(cls):
    assert cls.__doc__
    assert not cls.__doc__.startswith("Method generated")


@given(st.from_type(Event))
def test_events_are_values(event):
    again = pickle.loads(pickle.dumps(event))  # noqa: S301 - our own
    assert again == event
    assert again is not event
    assert hash(again) == hash(event)
    assert copy.deepcopy(event) == event


@given(st.from_type(Event))
def test_an_event_does_not_change(event):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.sequence = 1
    with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
        event.more = 1


@given(st.from_type(transferkit.Transfer) | st.from_type(transferkit.Redirect))
def test_requests_are_values(request):
    again = pickle.loads(pickle.dumps(request))  # noqa: S301 - our own
    assert again == request
    assert hash(again) == hash(request)


# --- mappings ---------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON))
def test_a_frozen_map_is_equal_to_any_mapping_of_the_same_content(content):
    frozen = freeze(content)
    assert frozen == freeze(content)
    assert hash(frozen) == hash(freeze(content))
    assert dict(frozen) == {name: freeze(value) for name, value in content.items()}
    assert pickle.loads(pickle.dumps(frozen)) == frozen  # noqa: S301 - our own
    assert copy.deepcopy(frozen) == frozen


@given(JSON)
def test_freezing_is_undone_by_thawing(value):
    assert thaw(freeze(value)) == value


def test_thawing_accepts_any_mapping():
    assert thaw(MappingProxyType({"one": (1, 2)})) == {"one": [1, 2]}


def test_a_frozen_map_does_not_change():
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


def test_a_frozen_map_is_empty_or_not():
    assert not FrozenMap()
    assert FrozenMap(None) == {}
    assert FrozenMap({"a": 1}) != {"a": 2}
    assert "b" not in FrozenMap({"a": 1})


@pytest.mark.parametrize("make", [FrozenMap, freeze])
def test_a_frozen_map_is_read_as_a_mapping(make):
    frozen = make({"a": 1, "b": [2]})
    assert frozen.keys() == {"a", "b"}
    assert list(frozen.values()) == [frozen["a"], frozen["b"]]
    assert list(frozen.items()) == [("a", 1), ("b", frozen["b"])]
    assert (frozen.get("b"), frozen.get("c"), frozen.get("c", 3)) == (frozen["b"], None, 3)


def test_a_frozen_map_shows_names_only():
    frozen = FrozenMap({"b": "secret", "a": "+14255550123"})
    assert repr(frozen) == "<a, b>"
    for view in (frozen.keys(), frozen.values(), frozen.items()):
        assert "secret" not in repr(view)


# --- secrets ----------------------------------------------------------------------------------------


def test_a_secret_is_given_outright_by_variable_or_by_file(monkeypatch, tmp_path):
    monkeypatch.setenv("A_SECRET", "from env")
    (tmp_path / "secret").write_text("from file\n", encoding="utf-8")
    assert Secret(value="outright").resolve() == "outright"
    assert Secret(env="A_SECRET").resolve() == "from env"
    assert Secret(file=tmp_path / "secret").resolve() == "from file"


@pytest.mark.parametrize(
    "kind", ["unset variable", "empty variable", "missing file", "empty file", "binary file", ""]
)
def test_a_secret_that_is_not_there_is_an_error_that_names_the_key(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("EMPTY_SECRET", "")
    monkeypatch.delenv("NO_SECRET", raising=False)
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    secret = {
        "unset variable": Secret(key="providers.x.key", env="NO_SECRET"),
        "empty variable": Secret(key="providers.x.key", env="EMPTY_SECRET"),
        "missing file": Secret(key="providers.x.key", file=tmp_path / "nothing"),
        "empty file": Secret(key="providers.x.key", file=tmp_path / "empty"),
        "binary file": Secret(key="providers.x.key", file=tmp_path / "binary"),
        "": Secret(key="providers.x.key"),
    }[kind]
    with pytest.raises(transferkit.ConfigError) as raised:
        secret.resolve()
    assert [problem.field for problem in raised.value.problems] == ["providers.x.key"]
    assert raised.value.problems[0].accepts


def test_a_secret_is_resolved_when_asked(monkeypatch):
    secret = Secret(env="LATER")
    monkeypatch.setenv("LATER", "now")
    assert secret.resolve() == "now"


def test_a_secret_shows_its_place_at_most(tmp_path):
    assert repr(Secret(value="xyzzy")) == "<secret: ***>"
    assert str(Secret(env="PLACE")) == "<secret: env PLACE>"
    assert str(tmp_path / "s") in repr(Secret(file=tmp_path / "s"))
    assert "xyzzy" not in f"{Secret(value='xyzzy')} {[Secret(value='xyzzy')]!r}"
