"""What is made fast is what the class itself makes."""

import pickle
import weakref
from datetime import UTC, datetime

import pytest
from attrs import Factory, evolve, fields, frozen
from attrs.exceptions import FrozenInstanceError

from transferkit import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    Cloud,
    CommunicationUser,
    Delivery,
    Fact,
    Participant,
    PhoneNumber,
    ProviderOther,
    Result,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
)
from transferkit._making import maker
from transferkit._util.frozenmap import FrozenMap
from transferkit.events import FailureReason, LateVerdict

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENT = {"time": NOW, "provider": "acs", "call_id": "c", "raw": FrozenMap({"a": (1,)})}
CALLER = PhoneNumber("+14255550123")
MADE = [
    (CallConnected, EVENT),
    (CallEnded, {**EVENT, "code": 200, "subcode": 7015, "message": "+14255550123"}),
    (ProviderOther, {**EVENT, "name": "tone", "sequence": 3, "late_verdict": LateVerdict.FAILED}),
    (Fact, {"event": CallConnected(**EVENT)}),
    (Fact, {"event": CallConnected(**EVENT), "call_alive": True, "target": CALLER}),
    (CallIncoming, {**EVENT, "source": CALLER, "targets": (CALLER,), "sip": FrozenMap({"a": "b"})}),
    (CallParticipants, {**EVENT, "participants": (Participant(identifier=CALLER),)}),
    (Participant, {"identifier": CALLER, "muted": True}),
    (Result, {}),
    (Result, {"code": 500, "message": "no", "reason": FailureReason.BUSY, "advice": "wait"}),
    (Delivery, {"key": "k", "exact": False}),
    (PhoneNumber, {"number": "+14255550123", "asserted_id": "a"}),
    (TeamsUser, {"id": "a", "tenant_id": "t", "display_name": "Ann", "cloud": Cloud.DOD}),
    (TeamsApp, {"id": "a"}),
    (CommunicationUser, {"id": "8:acs:a_b"}),
    (TeamsExtensionUser, {"user_id": "a", "tenant_id": "b", "resource_id": "c"}),
]


@pytest.fixture(params=MADE, ids=[cls.__name__ for cls, _ in MADE])
def both(request):
    cls, given = request.param
    return maker(cls)(**given), cls(**given)


class TestAMadeValue:
    def test_is_one_of_the_class(self, both):
        made, usual = both
        assert type(made) is type(usual)

    def test_equals_what_the_class_makes(self, both):
        made, usual = both
        assert made == usual
        assert hash(made) == hash(usual)
        assert repr(made) == repr(usual)
        assert str(made) == str(usual)

    def test_has_every_field(self, both):
        made, usual = both
        for field in fields(type(usual)):
            assert getattr(made, field.name) == getattr(usual, field.name)

    def test_does_not_change(self, both):
        made, _ = both
        name = fields(type(made))[0].name
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(made, name)

    def test_has_room_for_nothing_else(self, both):
        made, _ = both
        assert not hasattr(made, "__dict__")

    def test_is_pickled_evolved_and_referred_to(self, both):
        made, usual = both
        assert pickle.loads(pickle.dumps(made)) == usual  # noqa: S301 - our own
        assert evolve(made) == usual
        assert weakref.ref(made)() is made


def test_is_matched():
    match maker(ProviderOther)(**EVENT, name="tone"):
        case ProviderOther(name=name):
            assert name == "tone"


def test_what_the_class_takes_by_place_is_taken_by_place():
    assert maker(Delivery)("k", False) == Delivery("k", exact=False)  # noqa: FBT003
    assert maker(PhoneNumber)("+14255550123") == PhoneNumber("+14255550123")


def test_what_it_takes_by_name_only_is_not():
    with pytest.raises(TypeError, match="PhoneNumber"):
        maker(PhoneNumber)("+14255550123", "a")


def test_what_has_no_default_must_be_given():
    with pytest.raises(TypeError, match=r"Fact\(\) missing 1 required keyword-only argument: 'event'"):
        maker(Fact)()


def test_what_is_no_field_is_refused():
    with pytest.raises(TypeError, match="colour"):
        maker(Result)(colour="red")


def test_nothing_is_validated():
    assert maker(PhoneNumber)("").number == ""


def test_the_class_itself_goes_on_validating():
    with pytest.raises(ValueError, match="may not be empty"):
        PhoneNumber("")


def test_a_default_may_be_any_plain_value():
    nothing = object()

    @frozen(kw_only=True)
    class Value:
        made: object = nothing
        cls: str

    assert maker(Value)(cls="a") == Value(cls="a")
    assert maker(Value)(cls="a").made is nothing


def test_a_default_that_is_made_anew_is_refused():
    @frozen
    class Kept:
        names: list[str] = Factory(list)

    with pytest.raises(TypeError, match=r"Kept\.names: a default that is made anew"):
        maker(Kept)
