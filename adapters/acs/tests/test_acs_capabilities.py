"""What each api-version carries, and what is refused before anything leaves."""

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

PHONE = PhoneNumber("+14255550101")
USER = CommunicationUser("8:acs:r1_u1")
TEAMS = TeamsPhoneCallDetails(call_topic="billing")
EXTENSION = TeamsExtensionUser(user_id="u1", tenant_id="t1", resource_id="r1")


def problems(request, version=ApiVersion.V2026_03_12):
    return [problem.field for problem in AcsAdapter(AcsSettings(api_version=version)).plan(request).problems]


def transfer(**more):
    return Transfer(**{"call": "c1", "to": PHONE, **more})


def redirect(**more):
    return Redirect(**{"call": "incoming:1", "to": PHONE, "incoming_context": "opaque", **more})


V2023_03, V2023_10, V2024_04, V2024_09 = list(ApiVersion)[:4]
V2025_06, V2026_03 = list(ApiVersion)[5:]
ASSERTED, ANONYMOUS = PhoneNumber("+14255550101", asserted_id="x"), PhoneNumber("anonymous")

# The models of ACS REST by api-version: what each version brought. `None`: no version has it.
TRANSFER_SINCE = [
    ("to", {"to": PHONE}, V2023_03),
    ("to", {"to": USER}, V2023_03),
    ("to", {"to": TeamsUser("o1")}, V2023_03),
    ("to", {"to": TeamsApp("a1")}, V2024_04),
    ("to", {"to": EXTENSION}, V2025_06),
    ("to", {"to": ASSERTED}, V2025_06),
    ("operation_context", {"operation_context": "case 42"}, V2023_03),
    ("transferee", {"transferee": PHONE}, V2023_10),
    ("transferee", {"transferee": USER}, V2023_10),
    ("transferee", {"transferee": TeamsApp("a1")}, V2024_04),
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
    ("to[0]", {"to": TeamsUser("o1")}, V2023_03),
    ("to[0]", {"to": TeamsApp("a1")}, V2024_04),
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
def test_a_field_is_carried_from_the_version_that_brought_it(request_of, name, given, since, version):
    carried = since is not None and version >= since
    assert set(problems(request_of(**given), version)) == (set() if carried else {name})


def test_what_a_version_lacks_is_said_with_what_it_has():
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
def test_what_a_transfer_cannot_carry(name, given):
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
def test_callback_addresses_are_https_or_on_loopback(uri, taken):
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
    ],
)
def test_sip_headers(sip, wrong):
    assert problems(transfer(context=CallingContext(sip=sip))) == wrong


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
def test_voip_headers(voip, wrong):
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


def test_teams_details_may_name_a_caller_who_withholds_the_number():
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
def test_a_redirect_carries_one_target_and_the_incoming_context(wrong, given):
    assert problems(redirect(**given)) == wrong


def test_repeats_end_before_the_providers_five_minutes_do():
    capabilities = AcsAdapter(AcsSettings()).capabilities
    assert capabilities.repeatable_for == timedelta(seconds=285)
    assert capabilities.redirect_is_handed_over
