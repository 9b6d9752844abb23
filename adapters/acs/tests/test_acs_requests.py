"""Requests to ACS: published bodies, published headers, merge patches."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from transferkit_acs.identities import identifier_of, model_of, response_model_of
from transferkit_acs.requests import body_of, headers_of

from transferkit.identifiers import (
    Cloud,
    CommunicationUser,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
)
from transferkit.provider.adapter import Submission
from transferkit.provider.deadline import Deadline
from transferkit.requests import (
    CallingContext,
    Redirect,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
)

PHONE = PhoneNumber("+14255550101")
PHONE_MODEL = {"kind": "phoneNumber", "phoneNumber": {"value": "+14255550101"}}
USER = CommunicationUser("8:acs:r1_u1")
USER_MODEL = {"kind": "communicationUser", "communicationUser": {"id": "8:acs:r1_u1"}}

MODELS = [
    (PHONE, PHONE_MODEL),
    (
        PhoneNumber("+14255550101", asserted_id="b2"),
        {"kind": "phoneNumber", "phoneNumber": {"value": "+14255550101", "assertedId": "b2"}},
    ),
    (
        PhoneNumber("anonymous"),
        {"kind": "phoneNumber", "phoneNumber": {"value": "anonymous", "isAnonymous": True}},
    ),
    (USER, USER_MODEL),
    (
        TeamsUser("o1", tenant_id="t1", display_name="Ann"),
        {
            "kind": "microsoftTeamsUser",
            "microsoftTeamsUser": {"userId": "o1", "isAnonymous": False, "cloud": "public"},
        },
    ),
    (
        TeamsUser("v1", anonymous=True),
        {
            "kind": "microsoftTeamsUser",
            "microsoftTeamsUser": {"userId": "v1", "isAnonymous": True, "cloud": "public"},
        },
    ),
    (
        TeamsApp("a1", cloud=Cloud.GCCH),
        {"kind": "microsoftTeamsApp", "microsoftTeamsApp": {"appId": "a1", "cloud": "gcch"}},
    ),
    (
        TeamsExtensionUser(user_id="u1", tenant_id="t1", resource_id="r1", cloud=Cloud.DOD),
        {
            "kind": "teamsExtensionUser",
            "teamsExtensionUser": {"userId": "u1", "tenantId": "t1", "resourceId": "r1", "cloud": "dod"},
        },
    ),
]


@pytest.mark.parametrize(("someone", "model"), MODELS, ids=[one.raw_id for one, _ in MODELS])
def test_an_identifier_is_written_in_its_published_form_and_read_back(someone, model):
    assert model_of(someone) == model
    assert identifier_of(model).raw_id == someone.raw_id


@pytest.mark.parametrize("someone", [one for one, _ in MODELS], ids=lambda one: one.raw_id)
def test_a_model_in_a_response_has_the_raw_id(someone):
    assert response_model_of(someone) == {**model_of(someone), "rawId": someone.raw_id}


def test_an_unknown_kind_is_kept_by_its_raw_id():
    model = response_model_of(UnknownIdentifier("48:echo"))
    assert model == {"kind": "unknown", "rawId": "48:echo"}
    assert identifier_of(model) == UnknownIdentifier("48:echo")


def test_a_kind_without_a_published_form_is_an_error():
    with pytest.raises(TypeError, match="no form"):
        model_of(UnknownIdentifier("48:echo"))


@pytest.mark.parametrize(
    "model",
    [
        None,
        3,
        "text",
        [],
        {},
        {"rawId": ""},
        {"phoneNumber": "no"},
        {"phoneNumber": {"value": "+14255550123", "assertedId": "a_b"}},
        {"teamsExtensionUser": {"userId": "u"}},
    ],
)
def test_a_model_without_an_identifier_is_none(model):
    assert identifier_of(model) is None


def test_unknown_raw_ids_and_clouds_are_read():
    assert identifier_of({"kind": "unknown", "rawId": "48:echo"}) == UnknownIdentifier("48:echo")
    assert identifier_of({"microsoftTeamsUser": {"userId": "o1", "cloud": "DOD"}}) == TeamsUser(
        "o1", cloud=Cloud.DOD
    )
    assert identifier_of({"microsoftTeamsUser": {"userId": "o1", "cloud": "moon"}}) == TeamsUser("o1")


def body_of_request(request):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return body_of(Submission(id="t-1", request=request, first_sent_at=at, deadline=Deadline(at)))


def test_a_transfer_with_only_a_target_is_written():
    assert body_of_request(Transfer(call="c", to=USER)) == {
        "targetParticipant": USER_MODEL,
        "operationContext": "t-1",
    }


@pytest.mark.parametrize("given", [None, ""])
def test_a_transfer_without_a_context_is_sent_with_its_id(given):
    assert body_of_request(Transfer(call="c", to=USER, operation_context=given))["operationContext"] == "t-1"


def test_a_transfer_with_every_field_is_written():
    details = TeamsPhoneCallDetails(
        caller=TeamsPhoneCallerDetails(
            caller=PHONE,
            name="Ann",
            phone_number="+14255550101",
            record_id="r",
            screen_pop_url="https://crm.example/r",
            is_authenticated=False,
            additional_caller_information={"tier": "gold"},
        ),
        source=TeamsPhoneSourceDetails(
            source=USER, language="en", status="ok", intended_targets={"first": TeamsUser("o1")}
        ),
        session_id="s",
        intent="i",
        call_topic="t",
        call_context="c",
        transcript_url="https://crm.example/t",
        call_sentiment="calm",
        suggested_actions="listen",
    )
    request = Transfer(
        call="c",
        to=PHONE,
        transferee=USER,
        caller_id=PhoneNumber("+14255550102"),
        context=CallingContext(sip={"User-To-User": "abc"}, voip={"case": "42"}, teams=details),
        operation_context="case 42",
        callback_uri="https://app.example/acs/1",
    )
    assert body_of_request(request) == {
        "targetParticipant": PHONE_MODEL,
        "transferee": USER_MODEL,
        "sourceCallerIdNumber": {"value": "+14255550102"},
        "customCallingContext": {
            "sipHeaders": {"User-To-User": "abc"},
            "voipHeaders": {"case": "42"},
            "teamsPhoneCallDetails": {
                "teamsPhoneCallerDetails": {
                    "caller": PHONE_MODEL,
                    "name": "Ann",
                    "phoneNumber": "+14255550101",
                    "recordId": "r",
                    "screenPopUrl": "https://crm.example/r",
                    "isAuthenticated": False,
                    "additionalCallerInformation": {"tier": "gold"},
                },
                "teamsPhoneSourceDetails": {
                    "source": USER_MODEL,
                    "language": "en",
                    "status": "ok",
                    "intendedTargets": {"first": model_of(TeamsUser("o1"))},
                },
                "sessionId": "s",
                "intent": "i",
                "callTopic": "t",
                "callContext": "c",
                "transcriptUrl": "https://crm.example/t",
                "callSentiment": "calm",
                "suggestedActions": "listen",
            },
        },
        "operationContext": "case 42",
        "operationCallbackUri": "https://app.example/acs/1",
    }


def test_teams_details_are_written_without_headers():
    context = CallingContext(teams=TeamsPhoneCallDetails(call_topic="billing"))
    body = body_of_request(Transfer(call="c", to=USER, context=context))
    assert body["customCallingContext"] == {"teamsPhoneCallDetails": {"callTopic": "billing"}}


def test_a_redirect_is_written():
    request = Redirect(call="incoming:1", to=PHONE, incoming_context="opaque", operation_context="ours alone")
    assert body_of_request(request) == {"incomingCallContext": "opaque", "target": PHONE_MODEL}


def test_extra_is_merged_into_the_body():
    extra = {"targetParticipant": {"kind": None, "rawId": "8:acs:r1_u1"}, "new": {"deep": [1], "none": None}}
    body = body_of_request(Transfer(call="c", to=USER, extra=extra))
    assert body == {
        "targetParticipant": {"communicationUser": {"id": "8:acs:r1_u1"}, "rawId": "8:acs:r1_u1"},
        "operationContext": "t-1",
        "new": {"deep": [1]},
    }


def test_extra_can_remove_and_replace_fields():
    context = CallingContext(sip={"X-a": "1", "X-b": "2"}, voip={"a": "1"})
    extra = {"customCallingContext": {"sipHeaders": {"X-a": None, "X-b": "3"}, "voipHeaders": None}}
    body = body_of_request(Transfer(call="c", to=USER, context=context, extra=extra))
    assert body["customCallingContext"] == {"sipHeaders": {"X-b": "3"}}


def test_extra_is_merged_into_a_redirect():
    request = Redirect(call="incoming:1", to=USER, incoming_context="opaque", extra={"target": {"new": 1}})
    assert body_of_request(request)["target"] == {**USER_MODEL, "new": 1}


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (datetime(1994, 11, 6, 8, 49, 37, 999, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "Wed, 31 Dec 2025 23:00:00 GMT"),
    ],
)
def test_the_repeatability_headers_are_those_of_the_submission(sent, text):
    request = Transfer(call="c", to=USER)
    submission = Submission(id="the-id", request=request, first_sent_at=sent, deadline=Deadline(sent))
    assert headers_of(submission) == {"Repeatability-Request-ID": "the-id", "Repeatability-First-Sent": text}
