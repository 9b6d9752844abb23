"""The fields that each api-version supports, and what the plan refuses."""

from datetime import timedelta

import pytest
from transferkit_acs import AcsAdapter, AcsSettings, ApiVersion

from transferkit.identifiers import (
    CommunicationUser,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
)
from transferkit.requests import (
    CallDisposition,
    CallingContext,
    EndpointType,
    Redirect,
    TeamsPhoneCallDetails,
    TeamsPhoneCallerDetails,
    TeamsPhoneSourceDetails,
    Transfer,
)

CALL = "411f0b00-5f6b-4d3c-9a2e-0123456789ab"
OID = "3fa1c2d4-0000-4000-8000-00000000aaaa"
PHONE = PhoneNumber("+14255550101")
USER = CommunicationUser("8:acs:r1_u1")
TEAMS = TeamsPhoneCallDetails(call_topic="billing")
EXTENSION = TeamsExtensionUser(user_id=OID, tenant_id=OID, resource_id=OID)


def problems(request, version=ApiVersion.V2026_03_12):
    return [problem.field for problem in AcsAdapter(AcsSettings(api_version=version)).plan(request).problems]


def transfer(**more):
    return Transfer(**{"call": CALL, "to": PHONE, **more})


def redirect(**more):
    return Redirect(**{"call": "incoming:1", "to": PHONE, "incoming_context": "opaque", **more})


V2023_03, V2023_10, V2024_04, V2024_09 = list(ApiVersion)[:4]
V2025_06, V2026_03 = list(ApiVersion)[5:]
ASSERTED, ANONYMOUS = PhoneNumber("+14255550101", asserted_id="x"), PhoneNumber("anonymous")

# The models of ACS REST by api-version: what each version brought. `None`: no version has it.
TRANSFER_SINCE = [
    ("to", {"to": PHONE}, V2023_03),
    ("to", {"to": USER}, V2023_03),
    ("to", {"to": TeamsUser(OID)}, V2023_03),
    ("to", {"to": TeamsApp(OID)}, V2024_04),
    ("to", {"to": EXTENSION}, V2025_06),
    ("to", {"to": ASSERTED}, V2025_06),
    ("operation_context", {"operation_context": "case 42"}, V2023_03),
    ("transferee", {"transferee": PHONE}, V2023_10),
    ("transferee", {"transferee": USER}, V2023_10),
    ("transferee", {"transferee": TeamsApp(OID)}, V2024_04),
    ("transferee", {"transferee": EXTENSION}, V2025_06),
    ("transferee", {"transferee": ASSERTED}, V2025_06),
    ("transferee", {"transferee": ANONYMOUS}, V2025_06),
    ("callback_uri", {"callback_uri": "https://app.example/acs/1"}, V2023_10),
    ("context.sip", {"context": CallingContext(sip={"X-MS-Custom-a": "1"})}, V2023_10),
    ("context.voip", {"context": CallingContext(voip={"a": "1"})}, V2023_10),
    ("caller_id", {"caller_id": PHONE}, V2024_09),
    ("context.teams", {"context": CallingContext(teams=TEAMS)}, V2026_03),
    ("replaces", {"replaces": "c2"}, None),
    ("participant_id", {"participant_id": "p1"}, None),
]
REDIRECT_SINCE = [
    ("to[0]", {"to": PHONE}, V2023_03),
    ("to[0]", {"to": USER}, V2023_03),
    ("to[0]", {"to": TeamsUser(OID)}, V2023_03),
    ("to[0]", {"to": TeamsApp(OID)}, V2024_04),
    ("to[0]", {"to": EXTENSION}, V2025_06),
    ("to[0]", {"to": ASSERTED}, V2025_06),
    ("to", {"to": [PHONE, USER]}, None),
    ("caller_id", {"caller_id": PHONE}, None),
    ("callback_uri", {"callback_uri": "https://app.example/acs/1"}, None),
    ("context.sip", {"context": CallingContext(sip={"X-MS-Custom-a": "1"})}, None),
    ("context.voip", {"context": CallingContext(voip={"a": "1"})}, None),
    ("context.teams", {"context": CallingContext(teams=TEAMS)}, None),
    ("ring_timeout", {"ring_timeout": 30}, None),
]
SINCE = [(transfer, *row) for row in TRANSFER_SINCE] + [(redirect, *row) for row in REDIRECT_SINCE]


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize(
    ("request_of", "name", "given", "since"), SINCE, ids=[f"{r.__name__}-{n}-{s}" for r, n, _, s in SINCE]
)
def test_a_field_is_accepted_from_the_version_that_added_it(request_of, name, given, since, version):
    carried = since is not None and version >= since
    assert set(problems(request_of(**given), version)) == (set() if carried else {name})


def test_a_problem_names_what_the_version_supports():
    adapter = AcsAdapter(AcsSettings(api_version=V2023_03))
    everything = transfer(
        to=EXTENSION,
        transferee=ANONYMOUS,
        caller_id=PHONE,
        callback_uri="https://app.example/acs/1",
        context=CallingContext(sip={"X-a": "1"}, voip={"a": "1"}, teams=TEAMS),
    )
    found = adapter.plan(everything).problems
    assert {problem.field for problem in found} == {
        "to",
        "transferee",
        "caller_id",
        "callback_uri",
        "context.sip",
        "context.voip",
        "context.teams",
    }
    assert all(problem.accepts for problem in found)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("participant_id", {"participant_id": "p1"}),
        ("replaces", {"replaces": "c2"}),
        ("language_id", {"language_id": "en-us"}),
        ("region", {"region": "amer"}),
        ("endpoint", {"endpoint": EndpointType.VOICEMAIL}),
        ("to", {"to": UnknownIdentifier("48:echo")}),
        ("to", {"to": PhoneNumber("911")}),
        ("caller_id", {"caller_id": PhoneNumber("anonymous")}),
        ("call", {"call": "incoming:1"}),
        ("extra.operationContext", {"extra": {"operationContext": "x"}}),
        ("extra.operationCallbackUri", {"extra": {"operationCallbackUri": None}}),
    ],
)
def test_the_plan_refuses_fields_that_a_transfer_cannot_have(name, given):
    assert problems(transfer(**given)) == [name]


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("https://app.example/acs/1?code=2", True),
        ("http://127.0.0.1:8080/acs", True),
        ("http://localhost/acs", True),
        ("http://[::1]:80", True),
        ("http://app.example/acs", False),
        ("http://localhost.example/acs", False),
        ("http://127.0.0.1.example/acs", False),
        ("https://", False),
        ("app.example", False),
    ],
)
def test_a_callback_address_must_be_https_or_on_loopback(uri, taken):
    assert problems(transfer(callback_uri=uri)) == ([] if taken else ["callback_uri"])


@pytest.mark.parametrize(
    ("sip", "wrong"),
    [
        ({"X-MS-Custom-case": "42", "X-anything": "1", "User-To-User": "a=b;c"}, []),
        ({f"X-MS-Custom-{i}": "1" for i in range(5)} | {"User-To-User": "1"}, []),
        ({f"X-MS-Custom-{i}": "1" for i in range(6)}, ["context.sip"]),
        ({"Case": "42"}, ["context.sip['Case']"]),
        ({"X-": "42"}, ["context.sip['X-']"]),
        ({"X-" + "a" * 63: "42"}, [f"context.sip['X-{'a' * 63}']"]),
        ({"X-a": "b" * 257}, ["context.sip['X-a']"]),
        ({"User-To-User": "a b"}, ["context.sip['User-To-User']"]),
        ({"X-a": "a b"}, ["context.sip['X-a']"]),
        ({"X-a@b": "1"}, ["context.sip['X-a@b']"]),
        ({"x-ms-custom-case": "42", "x-any": "1"}, []),
        ({"X-MS-Skype": "1"}, ["context.sip['X-MS-Skype']"]),
        ({"X-MS-Custom-": "1"}, ["context.sip['X-MS-Custom-']"]),
    ],
)
def test_the_plan_refuses_sip_headers_that_acs_does_not_accept(sip, wrong):
    assert problems(transfer(context=CallingContext(sip=sip))) == wrong


@pytest.mark.parametrize(
    "name", ["UserToUser", "userToUser", "User-to-User", "user_to_user", "USER-TO-USER", "UUI", "uui"]
)
def test_every_spelling_of_the_uui_is_sent_as_user_to_user(name):
    adapter = AcsAdapter(AcsSettings())
    planned = adapter.plan(transfer(context=CallingContext(sip={name: "abc", "X-case": "42"})))
    assert planned.problems == ()
    assert planned.request.context.sip == {"User-To-User": "abc", "X-case": "42"}


def test_two_spellings_of_the_uui_in_one_request_are_refused():
    sip = {"UserToUser": "abc", "User-To-User": "def"}
    assert problems(transfer(context=CallingContext(sip=sip))) == ["context.sip['UserToUser']"]


def test_a_refused_sip_header_says_which_names_are_accepted():
    planned = AcsAdapter(AcsSettings()).plan(transfer(context=CallingContext(sip={"Case": "42"})))
    (problem,) = planned.problems
    assert "X-MS-Custom- or X-" in problem.accepts
    assert "User-To-User" in problem.accepts


@pytest.mark.parametrize(("length", "wrong"), [(5_000, []), (5_001, ["operation_context"])])
def test_an_operation_context_has_at_most_5000_characters(length, wrong):
    assert problems(transfer(operation_context="a" * length)) == wrong


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (CALL, []),
        (CALL.upper(), []),
        ("c1", ["call"]),
        (" ", ["call"]),
        (f" {CALL}", ["call"]),
        (f"{CALL}\n", ["call"]),
        (f"../{CALL}", ["call"]),
        (f"calling/callConnections/{CALL}", ["call"]),
        (f"https://r.communication.azure.com/calling/callConnections/{CALL}", ["call"]),
        (CALL.replace("-", ""), ["call"]),
    ],
)
def test_the_call_of_a_transfer_must_be_a_call_connection_id(call, wrong):
    assert problems(transfer(call=call)) == wrong


@pytest.mark.parametrize(
    "someone",
    [
        TeamsUser("nope"),
        TeamsUser("agent@contoso.com"),
        TeamsApp("nope"),
        TeamsExtensionUser(user_id="nope", tenant_id=OID, resource_id=OID),
    ],
)
def test_a_teams_id_that_is_not_a_guid_is_refused(someone):
    assert problems(transfer(to=someone, transferee=someone)) == ["to", "transferee"]
    assert problems(redirect(to=someone)) == ["to[0]"]


def test_the_id_of_an_anonymous_visitor_has_any_form():
    assert problems(transfer(to=TeamsUser("visitor", anonymous=True))) == []


@pytest.mark.parametrize("source", [USER, TeamsUser(OID), TeamsApp(OID), EXTENSION])
def test_a_call_that_does_not_come_from_a_phone_is_not_redirected_to_a_phone(source):
    assert problems(redirect(source=source)) == ["to[0]"]
    assert problems(redirect(source=source, to=USER)) == []


@pytest.mark.parametrize(
    "source", [None, PHONE, PhoneNumber("anonymous"), UnknownIdentifier("48:echo")], ids=repr
)
def test_a_call_from_a_phone_or_from_an_unknown_caller_may_be_redirected_to_a_phone(source):
    assert problems(redirect(source=source)) == []


@pytest.mark.parametrize(
    ("voip", "wrong"),
    [
        ({f"n{i}": "1" for i in range(1000)}, []),
        ({f"n{i}": "1" for i in range(1001)}, ["context.voip"]),
        ({"n" * 64: "v" * 1024}, []),
        ({"n" * 65: "v"}, [f"context.voip['{'n' * 65}']"]),
        ({"n": "v" * 1025}, ["context.voip['n']"]),
    ],
)
def test_the_plan_refuses_voip_headers_that_acs_does_not_accept(voip, wrong):
    assert problems(transfer(context=CallingContext(voip=voip))) == wrong


def test_every_problem_of_teams_details_is_named():
    echo = UnknownIdentifier("48:echo")
    details = TeamsPhoneCallDetails(
        call_topic="t" * 49,
        caller=TeamsPhoneCallerDetails(
            caller=echo,
            name="",
            phone_number="",
            additional_caller_information={str(i): "" for i in range(11)},
        ),
        source=TeamsPhoneSourceDetails(source=echo, language="", status="", intended_targets={"a": echo}),
    )
    assert problems(transfer(context=CallingContext(teams=details))) == [
        "context.teams.call_topic",
        "context.teams.caller.additional_caller_information",
        "context.teams.caller.caller",
        "context.teams.source.source",
        "context.teams.source.intended_targets['a']",
    ]


def test_teams_details_may_have_a_caller_with_a_withheld_number():
    caller = TeamsPhoneCallerDetails(caller=PhoneNumber("anonymous"), name="", phone_number="")
    details = TeamsPhoneCallDetails(caller=caller, call_topic="t" * 48)
    assert problems(transfer(context=CallingContext(teams=details))) == []


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        ([], {}),
        ([], {"call": "c1", "operation_context": "case 42"}),
        (["incoming_context"], {"incoming_context": None}),
        (["to"], {"to": [PHONE, USER]}),
        (["ring_timeout"], {"ring_timeout": 30}),
        (["caller_id"], {"caller_id": PHONE}),
        (["callback_uri"], {"callback_uri": "https://app.example/acs"}),
        (["context.sip"], {"context": CallingContext(sip={"X-a": "1"})}),
        (["disposition", "mask_caller"], {"disposition": CallDisposition.FORWARD, "mask_caller": False}),
    ],
)
def test_a_redirect_needs_one_target_and_the_incoming_context(wrong, given):
    assert problems(redirect(**given)) == wrong


def test_retries_end_before_the_five_minutes_of_the_provider():
    capabilities = AcsAdapter(AcsSettings()).capabilities
    assert capabilities.repeatable_for == timedelta(seconds=285)
    assert capabilities.redirect_completes_on_acceptance
