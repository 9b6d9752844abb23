"""Events and the other public values: frozen, slotted, hashable, picklable."""

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit
from transferkit import (
    Call,
    ConsultationOutcome,
    Event,
    FailureReason,
    Outcome,
    RedirectOutcome,
    RouteOutcome,
    StepOutcome,
    TransferOutcome,
    TransferSubmitted,
)
from transferkit import events as events_module
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
    "route.requested",
    "route.attempt",
    "route.completed",
    "route.returned",
    "route.failed",
    "route.expired",
    "step.requested",
    "step.submitted",
    "step.completed",
    "step.failed",
    "step.expired",
    "consultation.requested",
    "consultation.ringing",
    "consultation.answered",
    "consultation.completing",
    "consultation.completed",
    "consultation.cancelled",
    "consultation.failed",
    "consultation.expired",
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


def test_the_kinds_of_events_are_a_closed_set():
    exported = [getattr(events_module, name) for name in events_module.__all__]
    found = {
        cls for cls in exported if isinstance(cls, type) and issubclass(cls, Event) and hasattr(cls, "kind")
    }
    assert found == set(events())


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_class_is_named_after_its_kind(kind):
    cls = event_class(kind)
    assert cls.kind == kind
    assert cls.__name__ == "".join(word.capitalize() for word in kind.split("."))
    assert re.sub(r"(?<!^)([A-Z])", r".\1", cls.__name__).lower() == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_class_has_a_docstring(kind):
    assert event_class(kind).__doc__
    assert not event_class(kind).__doc__.startswith("Method generated")


@pytest.mark.parametrize("kind", KINDS)
def test_event_classes_are_final(kind):
    assert getattr(event_class(kind), "__final__", False)


def test_event_class_raises_key_error_for_an_unknown_kind():
    with pytest.raises(KeyError):
        event_class("transfer.unknown")


def test_outcomes_are_the_terminal_events():
    terminal = {cls.kind for cls in events() if issubclass(cls, Outcome)}
    ends = ("completed", "failed", "expired")
    consultation_ends = [f"consultation.{end}" for end in ("completed", "cancelled", "failed", "expired")]
    route_ends = [f"route.{end}" for end in ("completed", "returned", "failed", "expired")]
    others = {f"{what}.{end}" for what in ("transfer", "redirect", "step") for end in ends}
    assert terminal == others | {*consultation_ends, *route_ends}
    assert [cls.kind for cls in TransferOutcome.__args__] == [f"transfer.{end}" for end in ends]
    assert [cls.kind for cls in RedirectOutcome.__args__] == [f"redirect.{end}" for end in ends]
    assert [cls.kind for cls in ConsultationOutcome.__args__] == consultation_ends
    assert [cls.kind for cls in RouteOutcome.__args__] == route_ends
    assert [cls.kind for cls in StepOutcome.__args__] == [f"step.{end}" for end in ends]


def test_failure_reasons_are_a_closed_set():
    assert [*FailureReason] == [
        "busy",
        "declined",
        "no_answer",
        "unreachable",
        "target_not_found",
        "target_not_allowed",
        "tenant_mismatch",
        "caller_left",
        "target_left",
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
def test_every_event_has_the_common_fields(kind):
    names = {attribute.name for attribute in attrs.fields(event_class(kind))}
    common = "id time provider call_id correlation_id transfer_id operation_context sequence raw"
    assert names >= set(common.split())


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.endswith(("accepted", "completed", "failed"))]
)
def test_a_statement_has_the_fields_of_the_provider(kind):
    names = {attribute.name for attribute in attrs.fields(event_class(kind))}
    assert names >= {"target", "transferee", "code", "subcode", "message"}


def test_the_call_of_an_event_can_be_passed_to_transfer():
    event = TransferSubmitted(time=NOW, provider="acs", call_id="abc")
    assert event.call == Call("acs", "abc")


# --- every value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_public_value_is_frozen_and_slotted(cls):
    assert cls.__setattr__ is not object.__setattr__
    assert "__slots__" in vars(cls)
    assert not any("__dict__" in vars(base) for base in cls.__mro__[:-1])


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_every_field_that_a_public_value_declares_is_a_field_of_its_instances(cls):
    hints = inspect.get_annotations(cls)
    declared = {name for name, hint in hints.items() if not str(hint).startswith("ClassVar")}
    assert declared <= {attribute.name for attribute in attrs.fields(cls)}


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_public_value_has_a_docstring(cls):
    assert cls.__doc__
    assert not cls.__doc__.startswith("Method generated")


@given(st.from_type(Event))
def test_events_are_picklable_hashable_and_copyable(event):
    again = pickle.loads(pickle.dumps(event))  # noqa: S301 - our own
    assert again == event
    assert again is not event
    assert hash(again) == hash(event)
    assert copy.deepcopy(event) == event


@given(st.from_type(Event))
def test_an_event_is_immutable(event):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.sequence = 1
    with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
        event.more = 1


@given(st.from_type(transferkit.Transfer) | st.from_type(transferkit.Redirect))
def test_requests_are_picklable_and_hashable(request):
    again = pickle.loads(pickle.dumps(request))  # noqa: S301 - our own
    assert again == request
    assert hash(again) == hash(request)
