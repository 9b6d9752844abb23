"""What leaves: published bodies, published headers, merge patches."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from transferkit_acs.identities import identifier_of, model_of
from transferkit_acs.requests import body_of, headers_of, merge_patch

from transferkit.adapter import Submission
from transferkit.identifiers import (
    Cloud,
    CommunicationUser,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
)
from transferkit.requests import (
    CallingContext,
    Redirect,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
)

PHONE = PhoneNumber("+14255550101")
PHONE_MODEL = {"kind": "phoneNumber", "rawId": "4:+14255550101", "phoneNumber": {"value": "+14255550101"}}
USER = CommunicationUser("8:acs:r1_u1")
USER_MODEL = {"kind": "communicationUser", "rawId": "8:acs:r1_u1", "communicationUser": {"id": "8:acs:r1_u1"}}

MODELS = [
    (PHONE, PHONE_MODEL),
    (
        PhoneNumber("+14255550101", asserted_id="b2"),
        {
            "kind": "phoneNumber",
            "rawId": "4:+14255550101_b2",
            "phoneNumber": {"value": "+14255550101", "assertedId": "b2"},
        },
    ),
    (USER, USER_MODEL),
    (
        TeamsUser("o1"),
        {
            "kind": "microsoftTeamsUser",
            "rawId": "8:orgid:o1",
            "microsoftTeamsUser": {"userId": "o1", "isAnonymous": False, "cloud": "public"},
        },
    ),
    (
        TeamsUser("v1", anonymous=True),
        {
            "kind": "microsoftTeamsUser",
            "rawId": "8:teamsvisitor:v1",
            "microsoftTeamsUser": {"userId": "v1", "isAnonymous": True, "cloud": "public"},
        },
    ),
    (
        TeamsApp("a1", cloud=Cloud.GCCH),
        {
            "kind": "microsoftTeamsApp",
            "rawId": "28:gcch:a1",
            "microsoftTeamsApp": {"appId": "a1", "cloud": "gcch"},
        },
    ),
    (
        TeamsExtensionUser(user_id="u1", tenant_id="t1", resource_id="r1"),
        {
            "kind": "teamsExtensionUser",
            "rawId": "8:acs:r1_t1_u1",
            "teamsExtensionUser": {"userId": "u1", "tenantId": "t1", "resourceId": "r1", "cloud": "public"},
        },
    ),
]


@pytest.mark.parametrize(("someone", "model"), MODELS, ids=[model["rawId"] for _, model in MODELS])
def test_an_identifier_has_its_published_form_and_comes_back_from_it(someone, model):
    assert model_of(someone) == model
    assert identifier_of(model) == someone
    without_raw_id = {name: value for name, value in model.items() if name != "rawId"}
    assert identifier_of(without_raw_id) == someone


def test_a_kind_without_a_published_form_is_an_error():
    with pytest.raises(TypeError, match="no form"):
        model_of(UnknownIdentifier("48:echo"))


@pytest.mark.parametrize(
    "model",
    [None, 3, "text", [], {}, {"rawId": ""}, {"phoneNumber": "no"}, {"teamsExtensionUser": {"userId": "u"}}],
)
def test_a_model_that_names_nobody_is_nobody(model):
    assert identifier_of(model) is None


def test_unknown_raw_ids_and_clouds_are_read_all_the_same():
    assert identifier_of({"kind": "unknown", "rawId": "48:echo"}) == UnknownIdentifier("48:echo")
    assert identifier_of({"microsoftTeamsUser": {"userId": "o1", "cloud": "DOD"}}) == TeamsUser(
        "o1", cloud=Cloud.DOD
    )
    assert identifier_of({"microsoftTeamsUser": {"userId": "o1", "cloud": "moon"}}) == TeamsUser("o1")


def test_the_smallest_transfer():
    assert body_of(Transfer(call="c", to=USER)) == {"targetParticipant": USER_MODEL}


def test_a_transfer_with_everything():
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
    assert body_of(request) == {
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


def test_teams_details_travel_alone():
    context = CallingContext(teams=TeamsPhoneCallDetails(call_topic="billing"))
    body = body_of(Transfer(call="c", to=USER, context=context))
    assert body["customCallingContext"] == {"teamsPhoneCallDetails": {"callTopic": "billing"}}


def test_a_redirect():
    request = Redirect(call="incoming:1", to=PHONE, incoming_context="opaque", operation_context="ours alone")
    assert body_of(request) == {"incomingCallContext": "opaque", "target": PHONE_MODEL}


def test_extra_is_merged_into_the_body():
    extra = {"targetParticipant": {"kind": None}, "new": {"deep": [1]}}
    body = body_of(Transfer(call="c", to=USER, extra=extra))
    assert body == {
        "targetParticipant": {k: v for k, v in USER_MODEL.items() if k != "kind"},
        "new": {"deep": [1]},
    }


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, result):
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (datetime(1994, 11, 6, 8, 49, 37, 999, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "Wed, 31 Dec 2025 23:00:00 GMT"),
    ],
)
def test_repeatability_headers_are_the_submissions(sent, text):
    submission = Submission(id="the-id", request=Transfer(call="c", to=USER), first_sent_at=sent)
    assert headers_of(submission) == {"Repeatability-Request-ID": "the-id", "Repeatability-First-Sent": text}
