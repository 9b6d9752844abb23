"""Requests and their parts, as values."""

import pickle
from datetime import timedelta

import attrs
import pytest

from transferkit import (
    Call,
    CallDisposition,
    CallingContext,
    CommunicationUser,
    EndpointType,
    OnUnsupported,
    PhoneNumber,
    Redirect,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    TeamsUser,
    Transfer,
    WireRequest,
)

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
TO = PhoneNumber("+14255550123")
AGENT = CommunicationUser("8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_da7be3a9-8788-42a6-85c6-56b2cf784fce")


def transfer(**fields):
    return Transfer(**{"call": CALL, "to": TO, **fields})


def redirect(**fields):
    return Redirect(**{"call": CALL, "to": TO, **fields})


BOTH = pytest.mark.parametrize("request_of", [transfer, redirect])


# --- defaults ---------------------------------------------------------------------------------------


def test_a_transfer_requires_only_a_call_and_a_target():
    assert attrs.asdict(transfer(), recurse=False) == {
        "call": Call(None, CALL),
        "to": TO,
        "transferee": None,
        "participant_id": None,
        "replaces": None,
        "caller_id": None,
        "context": CallingContext(),
        "operation_context": None,
        "callback_uri": None,
        "idempotency_key": None,
        "deadline": timedelta(seconds=150),
        "language_id": None,
        "region": None,
        "endpoint": None,
        "extra": {},
        "on_unsupported": OnUnsupported.REFUSE,
    }


def test_a_redirect_requires_only_a_call_and_a_target():
    assert attrs.asdict(redirect(), recurse=False) == {
        "call": Call(None, CALL),
        "to": (TO,),
        "incoming_context": None,
        "source": None,
        "ring_timeout": None,
        "disposition": None,
        "mask_caller": None,
        "mask_callee": None,
        "caller_id": None,
        "context": CallingContext(),
        "operation_context": None,
        "callback_uri": None,
        "idempotency_key": None,
        "deadline": timedelta(seconds=150),
        "extra": {},
        "on_unsupported": OnUnsupported.REFUSE,
    }


@pytest.mark.parametrize("cls", [Transfer, Redirect])
@pytest.mark.parametrize("missing", ["call", "to"])
def test_a_request_without_call_or_target_is_a_type_error(cls, missing):
    with pytest.raises(TypeError, match=missing):
        cls(**{name: value for name, value in {"call": CALL, "to": TO}.items() if name != missing})


@pytest.mark.parametrize("cls", [Transfer, Redirect])
def test_only_the_call_may_be_positional(cls):
    with pytest.raises(TypeError, match="positional"):
        cls(CALL, TO)


def test_targets_are_all_who_may_receive_the_call():
    assert transfer().targets == (TO,)
    assert redirect(to=[TO, AGENT]).targets == (TO, AGENT)


# --- converters -------------------------------------------------------------------------------------


@BOTH
def test_a_call_id_is_a_call_of_the_default_provider(request_of):
    assert request_of(call="abc").call == Call(None, "abc")
    pinned = Call("acs", "abc", tenant_id="contoso")
    assert request_of(call=pinned).call is pinned


@BOTH
@pytest.mark.parametrize("span", [90, 90.0, timedelta(seconds=90)])
def test_a_deadline_is_seconds_or_a_timedelta(request_of, span):
    assert request_of(deadline=span).deadline == timedelta(seconds=90)


@BOTH
def test_a_deadline_of_none_is_the_default_deadline(request_of):
    assert request_of(deadline=None).deadline == timedelta(seconds=150)


@pytest.mark.parametrize(("span", "kept"), [(20, 20), (0.5, 0.5), (timedelta(seconds=20), 20)])
def test_a_ring_timeout_is_seconds_or_a_timedelta(span, kept):
    assert redirect(ring_timeout=span).ring_timeout == timedelta(seconds=kept)


@BOTH
@pytest.mark.parametrize(
    "span", [0, -1, timedelta(0), timedelta(seconds=-1), float("nan"), float("inf"), 1e13, timedelta.max]
)
def test_a_deadline_must_be_a_positive_finite_span(request_of, span):
    with pytest.raises(ValueError, match=r"deadline|time span"):
        request_of(deadline=span)


def test_a_redirect_accepts_one_target_or_several():
    assert redirect(to=AGENT).to == (AGENT,)
    assert redirect(to=[AGENT, TO]).to == (AGENT, TO)
    assert redirect(to=iter([AGENT])).to == (AGENT,)


def test_a_redirect_without_targets_is_refused():
    with pytest.raises(ValueError, match=r"to: .*at least one"):
        redirect(to=[])


def test_words_are_converted_to_enum_members():
    assert transfer(endpoint="voicemail").endpoint is EndpointType.VOICEMAIL
    assert redirect(disposition="forward").disposition is CallDisposition.FORWARD
    assert transfer(on_unsupported="drop").on_unsupported is OnUnsupported.DROP


def test_the_words_are_those_that_graph_publishes():
    assert [*EndpointType] == ["default", "voicemail", "skypeForBusiness", "skypeForBusinessVoipPhone"]
    assert [*CallDisposition] == ["default", "simultaneousRing", "forward"]


@BOTH
def test_a_context_of_none_is_the_empty_context(request_of):
    assert request_of(context=None).context == CallingContext()
    assert not CallingContext()
    assert CallingContext(sip={"X-MS-Custom-Case": "42"})
    assert CallingContext(voip={"case": "42"})
    assert CallingContext(teams=TeamsPhoneCallDetails(intent="refund"))


@BOTH
def test_extra_json_is_frozen_at_every_depth(request_of):
    given = {"a": [1, {"b": None}], "c": {"d": True}}
    request = request_of(extra=given)
    given["a"].append(2)
    assert request.extra == {"a": (1, {"b": None}), "c": {"d": True}}
    with pytest.raises(TypeError):
        request.extra["c"]["d"] = False


def test_headers_are_copied():
    given = {"case": "42"}
    context = CallingContext(voip=given)
    given["case"] = "43"
    assert context.voip == {"case": "42"}


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("request_of", [transfer, redirect])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("call", 14255550123),
        ("call", None),
        ("to", "+14255550123"),
        ("to", 14255550123),
        ("caller_id", "+14255550123"),
        ("caller_id", TeamsUser("+14255550123")),
        ("context", {"sip": {"a": "+14255550123"}}),
        ("operation_context", 14255550123),
        ("callback_uri", 14255550123),
        ("idempotency_key", 14255550123),
        ("deadline", "+14255550123"),
        ("extra", ["+14255550123"]),
        ("extra", "+14255550123"),
    ],
)
def test_a_wrong_type_names_the_field_and_hides_the_value(request_of, field, value):
    with pytest.raises(TypeError, match=field) as raised:
        request_of(**{field: value})
    assert "5550123" not in str(raised.value)


@pytest.mark.parametrize(
    ("request_of", "field", "accepted"),
    [
        (transfer, "call", "or the call's id as text"),
        (redirect, "call", "or the call's id as text"),
        (transfer, "deadline", "or a number of seconds"),
        (redirect, "ring_timeout", "or a number of seconds"),
    ],
)
def test_a_wrong_type_names_what_else_is_accepted(request_of, field, accepted):
    with pytest.raises(TypeError, match=f"{field}: expected .*, got bytes; {accepted}"):
        request_of(**{field: b"90"})


@pytest.mark.parametrize(
    ("request_of", "field", "value"),
    [
        (transfer, "transferee", "+14255550123"),
        (transfer, "participant_id", 14255550123),
        (transfer, "replaces", 14255550123),
        (transfer, "language_id", 14255550123),
        (transfer, "region", 14255550123),
        (redirect, "to", [TO, "+14255550123"]),
        (redirect, "to", ["+14255550123"]),
        (redirect, "incoming_context", 14255550123),
        (redirect, "ring_timeout", "+14255550123"),
        (redirect, "mask_caller", "+14255550123"),
        (redirect, "mask_callee", "+14255550123"),
    ],
)
def test_a_wrong_type_of_an_own_field_names_the_field_and_hides_the_value(request_of, field, value):
    test_a_wrong_type_names_the_field_and_hides_the_value(request_of, field, value)


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        (transfer, "endpoint"),
        (redirect, "disposition"),
        (transfer, "on_unsupported"),
        (redirect, "on_unsupported"),
    ],
)
def test_the_error_for_an_unknown_word_hides_the_value(request_of, field, planted):
    with pytest.raises(ValueError, match=r".") as raised:
        request_of(**{field: planted.number})
    assert not planted.shown_in(raised.value)


@BOTH
@pytest.mark.parametrize("field", ["callback_uri", "idempotency_key"])
def test_optional_text_may_not_be_empty(request_of, field):
    with pytest.raises(ValueError, match=f"{field}: .*empty"):
        request_of(**{field: ""})


@BOTH
def test_an_operation_context_may_be_empty(request_of):
    assert request_of(operation_context="").operation_context == ""


@pytest.mark.parametrize("headers", [{"a": 14255550123}, {5: "a"}, ["+14255550123"], "+14255550123"])
@pytest.mark.parametrize("channel", ["sip", "voip"])
def test_headers_must_be_text(channel, headers):
    with pytest.raises(TypeError, match=f"{channel}: expected a mapping from text to str") as raised:
        CallingContext(**{channel: headers})
    assert "5550123" not in str(raised.value)


@pytest.mark.parametrize("fields", [{"provider": "acs", "id": ""}, {"provider": "", "id": CALL}])
def test_the_parts_of_a_call_may_not_be_empty(fields):
    with pytest.raises(ValueError, match="empty"):
        Call(**fields)


# --- details for Teams ------------------------------------------------------------------------------

# ACS 2026-03-12, CallConnection_TransferToParticipant, "Definitions".
PUBLISHED = {
    TeamsPhoneCallDetails: {
        "teamsPhoneCallerDetails": "caller",
        "teamsPhoneSourceDetails": "source",
        "sessionId": "session_id",
        "intent": "intent",
        "callTopic": "call_topic",
        "callContext": "call_context",
        "transcriptUrl": "transcript_url",
        "callSentiment": "call_sentiment",
        "suggestedActions": "suggested_actions",
    },
    TeamsPhoneCallerDetails: {
        "caller": "caller",
        "name": "name",
        "phoneNumber": "phone_number",
        "recordId": "record_id",
        "screenPopUrl": "screen_pop_url",
        "isAuthenticated": "is_authenticated",
        "additionalCallerInformation": "additional_caller_information",
    },
    TeamsPhoneSourceDetails: {
        "source": "source",
        "language": "language",
        "status": "status",
        "intendedTargets": "intended_targets",
    },
}


@pytest.mark.parametrize(("cls", "published"), PUBLISHED.items())
def test_teams_details_have_every_published_field(cls, published):
    assert {attribute.name for attribute in attrs.fields(cls)} == set(published.values())


def test_teams_details_keep_all_values():
    details = TeamsPhoneCallDetails(
        caller=TeamsPhoneCallerDetails(
            caller=TO,
            name="Ada",
            phone_number="+14255550123",
            record_id="crm-1",
            screen_pop_url="https://crm.contoso.com/1",
            is_authenticated=True,
            additional_caller_information={"tier": "gold"},
        ),
        source=TeamsPhoneSourceDetails(
            source=AGENT, language="en", status="closed", intended_targets={"first": TeamsUser("agent")}
        ),
        session_id="s-1",
        intent="refund",
        call_topic="A refund",
        call_context="Wants money back.",
        transcript_url="https://crm.contoso.com/1/transcript",
        call_sentiment="calm",
        suggested_actions="Pay.",
    )
    assert details.caller.additional_caller_information == {"tier": "gold"}
    assert details.source.intended_targets == {"first": TeamsUser("agent")}
    assert None not in attrs.asdict(details, recurse=False).values()
    assert details == attrs.evolve(details)
    assert hash(details) == hash(attrs.evolve(details))


@pytest.mark.parametrize(
    ("cls", "required"),
    [
        (TeamsPhoneCallDetails, set()),
        (TeamsPhoneCallerDetails, {"caller", "name", "phone_number"}),
        (TeamsPhoneSourceDetails, {"source", "language", "status"}),
    ],
)
def test_teams_details_require_what_the_wire_requires(cls, required):
    fields = attrs.fields(cls)
    assert {attribute.name for attribute in fields if attribute.default is attrs.NOTHING} == required


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda n: TeamsPhoneCallerDetails(caller=n, name="", phone_number=""), "caller"),
        (lambda n: TeamsPhoneCallerDetails(caller=TO, name=int(n), phone_number=""), "name"),
        (lambda n: TeamsPhoneCallerDetails(caller=TO, name="", phone_number=int(n)), "phone_number"),
        (lambda n: TeamsPhoneSourceDetails(source=n, language="", status=""), "source"),
        (
            lambda n: TeamsPhoneSourceDetails(source=TO, language="", status="", intended_targets={"a": n}),
            "intended_targets",
        ),
        (lambda n: TeamsPhoneCallDetails(caller=n), "caller"),
        (lambda n: TeamsPhoneCallDetails(source=n), "source"),
        (lambda n: TeamsPhoneCallDetails(session_id=int(n)), "session_id"),
        (lambda n: CallingContext(teams=n), "teams"),
    ],
)
def test_a_wrong_type_in_teams_details_names_the_field(make, field, planted):
    with pytest.raises(TypeError, match=field) as raised:
        make(planted.number)
    assert not planted.shown_in(raised.value)


# --- values -----------------------------------------------------------------------------------------


@BOTH
def test_requests_are_equal_by_value(request_of):
    one, other = (
        request_of(context=CallingContext(sip={"X-MS-Custom-a": "1"}), extra={"a": [1]}) for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != request_of()
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own


@BOTH
def test_a_request_is_immutable(request_of):
    request = request_of()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.to = AGENT
    assert not hasattr(request, "__dict__")


def test_a_wire_request_freezes_its_headers_and_body():
    wire = WireRequest(method="POST", url="https://x", headers={"a": "b"}, body={"c": [1]})
    assert wire.headers == {"a": "b"}
    assert wire.body == {"c": (1,)}
    assert WireRequest(method="GET", url="https://x", headers={}).body == {}
