"""The plan of a request: what is wrong with it for a provider, and what will be sent."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit import (
    CallingContext,
    CommunicationUser,
    OnUnsupported,
    PhoneNumber,
    Problem,
    Redirect,
    TeamsExtensionUser,
    TeamsPhoneCallDetails,
    TeamsUser,
    Transfer,
    UnknownIdentifier,
    parse_identifier,
)
from transferkit.provider.capabilities import Capabilities, plan
from transferkit.provider.limits import Anything, Headers, Identifiers, Seconds, Text

PEOPLE = Identifiers(kinds=(PhoneNumber, TeamsUser))
SIP = Headers(
    max_count=2,
    max_name=20,
    max_value=8,
    name_pattern=r"X-MS-Custom-.+",
    name_form="names that begin with X-MS-Custom-",
    value_pattern=r"[0-9a-f]*",
    value_form="hexadecimal digits",
    exempt=("User-To-User",),
)
REGION = Text(pattern="amer|emea", form="amer, emea")
CAPABILITIES = Capabilities(
    transfer={"to": PEOPLE, "transferee": PEOPLE, "context.sip": SIP, "region": REGION},
    redirect={
        "to": Identifiers(kinds=(PhoneNumber, TeamsUser), max_count=2),
        "ring_timeout": Seconds(15, 90),
    },
)


def transfer(**fields):
    return Transfer(**{"call": "abc", "to": TeamsUser("agent"), **fields})


def redirect(**fields):
    return Redirect(**{"call": "abc", "to": TeamsUser("agent"), **fields})


def fields_of(planned):
    return [problem.field for problem in planned.problems]


# --- the plan ---------------------------------------------------------------------------------------


def test_a_supported_request_has_no_problem_and_does_not_change():
    request = transfer(context=CallingContext(sip={"X-MS-Custom-a": "1"}), region="amer")
    planned = plan(request, CAPABILITIES)
    assert planned.problems == ()
    assert planned.dropped == ()
    assert planned.request is request or planned.request == request


def test_a_plan_lists_all_problems():
    request = transfer(
        to=CommunicationUser("8:acs:a_b"),
        transferee=PhoneNumber("555"),
        replaces="consult",
        context=CallingContext(
            sip={"P-Asserted": "1"}, voip={"a": "1"}, teams=TeamsPhoneCallDetails(intent="x")
        ),
        region="mars",
        language_id="en-us",
    )
    assert fields_of(plan(request, CAPABILITIES)) == [
        "to",
        "transferee",
        "replaces",
        "language_id",
        "region",
        "context.sip['P-Asserted']",
        "context.voip",
        "context.teams",
    ]


def test_a_problem_names_the_field_and_what_is_accepted():
    (problem,) = plan(transfer(region="mars"), CAPABILITIES).problems
    assert problem == Problem("region", "does not have the accepted form", "amer, emea")
    assert str(problem) == "region: does not have the accepted form (accepted: amer, emea)"


def test_the_problem_of_an_unsupported_field_names_the_supported_ones():
    (problem,) = plan(transfer(language_id="en-us"), CAPABILITIES).problems
    assert problem.field == "language_id"
    assert "is not supported for a transfer" in problem.message
    assert "context.sip, region, to, transferee" in problem.accepts


def test_fields_that_transferkit_handles_need_no_limit():
    request = transfer(
        operation_context="x", idempotency_key="k", deadline=5, extra={"a": 1}, on_unsupported="drop"
    )
    assert plan(request, CAPABILITIES).problems == ()
    assert plan(request, CAPABILITIES).dropped == ()


@pytest.mark.parametrize(
    ("request_", "what"), [(transfer(region="mars"), "a transfer"), (redirect(ring_timeout=1), "a redirect")]
)
def test_an_unsupported_operation_is_the_only_problem(request_, what):
    planned = plan(request_, Capabilities(transfer=None, redirect=None))
    assert fields_of(planned) == ["request"]
    assert what in planned.problems[0].message


def test_transfers_and_redirects_have_separate_limits():
    assert fields_of(plan(redirect(ring_timeout=5), CAPABILITIES)) == ["ring_timeout"]
    context = CallingContext(sip={"X-MS-Custom-a": "1"})
    assert fields_of(plan(redirect(context=context), CAPABILITIES)) == ["context.sip"]


@given(st.from_type(Transfer) | st.from_type(Redirect))
def test_plan_is_pure_and_never_raises(request):
    planned = plan(request, CAPABILITIES)
    assert planned == plan(request, CAPABILITIES)
    if request.on_unsupported is OnUnsupported.REFUSE:
        assert planned.request == request
        assert planned.dropped == ()


# --- dropping ---------------------------------------------------------------------------------------


def test_unsupported_fields_are_dropped_and_listed_if_the_request_allows_it():
    context = CallingContext(
        sip={"X-MS-Custom-a": "1"}, voip={"a": "1"}, teams=TeamsPhoneCallDetails(intent="x")
    )
    planned = plan(transfer(context=context, language_id="en-us", on_unsupported="drop"), CAPABILITIES)
    assert planned.problems == ()
    assert planned.dropped == ("language_id", "context.voip", "context.teams")
    assert planned.request == transfer(
        context=CallingContext(sip={"X-MS-Custom-a": "1"}), on_unsupported="drop"
    )


def test_an_unsupported_flag_is_dropped_even_if_it_is_false():
    planned = plan(redirect(mask_caller=False, on_unsupported="drop"), CAPABILITIES)
    assert planned.dropped == ("mask_caller",)
    assert planned.request.mask_caller is None
    assert fields_of(plan(redirect(mask_caller=False), CAPABILITIES)) == ["mask_caller"]


@pytest.mark.parametrize("field", ["transferee", "participant_id", "replaces"])
def test_an_essential_field_is_never_dropped(field):
    value = TeamsUser("caller") if field == "transferee" else "x"
    nothing = Capabilities(transfer={"to": PEOPLE}, redirect=None)
    planned = plan(transfer(**{field: value}, on_unsupported="drop"), nothing)
    assert fields_of(planned) == [field]
    assert planned.dropped == ()


def test_the_target_and_the_incoming_context_are_never_dropped():
    nothing = Capabilities(transfer={}, redirect={})
    planned = plan(redirect(incoming_context="opaque", on_unsupported="drop"), nothing)
    assert fields_of(planned) == ["to", "incoming_context"]


def test_source_and_extra_need_no_limit():
    request = transfer(operation_context="case 42", idempotency_key="k", extra={"a": 1})
    assert plan(request, CAPABILITIES).problems == ()
    assert plan(redirect(source=CommunicationUser("8:acs:a_b")), CAPABILITIES).problems == ()


def test_a_provider_can_limit_the_call_id_and_the_operation_context():
    form = Text(pattern="[a-z]+", form="letters")
    limited = Capabilities(
        transfer={"to": PEOPLE, "call": form, "operation_context": Text(max_length=4)}, redirect=None
    )
    assert plan(transfer(call="abc", operation_context="case"), limited).problems == ()
    planned = plan(transfer(call="../42", operation_context="cases", on_unsupported="drop"), limited)
    assert [str(problem) for problem in planned.problems] == [
        "call: does not have the accepted form (accepted: letters)",
        "operation_context: 5 characters are too many (accepted: text of at most 4 characters)",
    ]
    assert planned.dropped == ()


def test_a_value_beyond_its_limit_is_a_problem_and_not_dropped():
    planned = plan(transfer(region="mars", on_unsupported="drop"), CAPABILITIES)
    assert fields_of(planned) == ["region"]
    assert planned.dropped == ()


# --- limits -----------------------------------------------------------------------------------------


def problems(limit, value):
    return [str(problem) for problem in limit.problems("field", value)]


def test_anything_accepts_every_value():
    assert problems(Anything(), object()) == []
    assert Anything().accepts


@pytest.mark.parametrize(
    ("someone", "accepted"),
    [
        (TeamsUser("a"), True),
        (PhoneNumber("+14255550123"), True),
        (PhoneNumber("14255550123"), False),
        (PhoneNumber("anonymous"), False),
        (CommunicationUser("8:acs:a_b"), False),
        (UnknownIdentifier("a", kind="guest"), True),
        (UnknownIdentifier("a", kind="encrypted"), False),
        (UnknownIdentifier("99:a"), False),
    ],
)
def test_identifiers_accepts_the_given_kinds(someone, accepted):
    limit = Identifiers(kinds=(PhoneNumber, TeamsUser), unknown_kinds=("guest",))
    assert (problems(limit, someone) == []) is accepted
    assert limit.accepts == "phone number, Teams user, guest"


def test_the_problem_of_an_identifier_names_its_kind():
    (problem,) = PEOPLE.problems("to", CommunicationUser("8:acs:a_b"))
    assert problem == Problem("to", "an ACS user cannot be used here", "phone number, Teams user")
    (problem,) = PEOPLE.problems("to", UnknownIdentifier("a", kind="encrypted"))
    assert problem.message == "an encrypted cannot be used here"


@pytest.mark.parametrize("typed", ["agent@contoso.com", "Reception", "12"])
def test_the_problem_of_an_unknown_identifier_shows_the_accepted_notations(typed):
    (problem,) = PEOPLE.problems("to", parse_identifier(typed))
    assert problem.message == (
        "an identifier of an unknown kind cannot be used here: "
        "a phone number begins with +, a Teams user is teams:OBJECT-ID"
    )
    (problem,) = Identifiers(kinds=(TeamsExtensionUser,)).problems("to", parse_identifier(typed))
    assert problem.message == "an identifier of an unknown kind cannot be used here"


@pytest.mark.parametrize(
    "typed",
    [
        "{digits}",
        "00{digits}",
        "(425) 555-0142",
        "0425 5550142",
        "425.555.0142",
        "0425/5550142",
        "tel:{number}",
        "TEL:{digits}",
        "callto:{number}",
        "4:{digits}",
        "+1 425 555 0142",
        "+14255550142;ext=7",
        "+0{digits}",
    ],
)
def test_the_problem_of_a_number_not_in_e164_form_shows_the_form_and_not_the_number(typed, planted):
    someone = parse_identifier(typed.format(digits=planted.digits, number=planted.number))
    (problem,) = PEOPLE.problems("to", someone)
    assert problem.message == "the phone number is not in E.164 form"
    assert problem.accepts == (
        "a plus sign, the country code and the number: 7 to 15 digits, without spaces, 00 or tel:"
    )
    assert not planted.shown_in(problem)
    assert "5550142" not in str(problem)


def test_a_number_is_not_accepted_where_phone_numbers_are_unsupported():
    teams = Identifiers(kinds=(TeamsUser,))
    (problem,) = teams.problems("to", PhoneNumber("14255550123"))
    assert problem.message == "a phone number cannot be used here"
    (problem,) = teams.problems("to", parse_identifier("tel:+14255550123"))
    assert problem.message == "a tel cannot be used here"


@pytest.mark.parametrize("typed", ["sip:agent@contoso.com", "SIPS:agent@contoso.com"])
def test_the_problem_of_a_sip_address_says_so(typed):
    (problem,) = PEOPLE.problems("to", parse_identifier(typed))
    assert problem.message == "a SIP address cannot be used here"
    assert problem.accepts == "phone number, Teams user"


def test_problems_of_several_targets_have_their_index():
    limit = Identifiers(kinds=(TeamsUser,), max_count=2)
    everyone = (TeamsUser("a"), PhoneNumber("+14255550123"), TeamsUser("c"))
    found = list(limit.problems("to", everyone))
    assert [problem.field for problem in found] == ["to", "to[1]"]
    assert "3 are too many" in found[0].message
    assert limit.accepts == "1 to 2 of: Teams user"
    assert problems(limit, everyone[:1]) == []


@pytest.mark.parametrize(
    ("span", "accepted"),
    [(14, False), (15, True), (90, True), (91, False), (15.5, False), (0, False), (-15, False)],
)
def test_seconds_accepts_whole_seconds_within_the_bounds(span, accepted):
    assert (problems(Seconds(15, 90), timedelta(seconds=span)) == []) is accepted
    assert Seconds(15, 90).accepts == "whole seconds from 15 to 90"


@pytest.mark.parametrize(
    ("text", "accepted"), [("abcd", True), ("abcde", False), ("ABC", False), ("", False), ("a\n", False)]
)
def test_text_checks_length_and_pattern(text, accepted):
    limit = Text(max_length=4, pattern="[a-z]+", form="lower case")
    assert (problems(limit, text) == []) is accepted
    assert limit.accepts == "lower case of at most 4 characters"
    assert problems(Text(), "anything at all") == []


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, []),
        ({"X-MS-Custom-a": "1", "X-MS-Custom-b": "2"}, []),
        ({"X-MS-Custom-a": "1", "X-MS-Custom-b": "2", "X-MS-Custom-c": "3"}, ["sip"]),
        ({"X-MS-Custom-a": "1", "X-MS-Custom-b": "2", "User-To-User": "00ff"}, []),
        ({"User-To-User": "xyz"}, ["sip['User-To-User']"]),
        ({"a": "1"}, ["sip['a']"]),
        ({"X-MS-Custom-": "1"}, ["sip['X-MS-Custom-']"]),
        ({"X-MS-Custom-" + "a" * 8: "1"}, []),
        ({"X-MS-Custom-" + "a" * 9: "1"}, ["sip['X-MS-Custom-aaaaaaaaa']"]),
        ({"X-MS-Custom-a": "12345678"}, []),
        ({"X-MS-Custom-a": "123456789"}, ["sip['X-MS-Custom-a']"]),
        ({"a": "123456789", "b": "1"}, ["sip['a']", "sip['a']", "sip['b']"]),
    ],
)
def test_headers_checks_count_names_and_values(headers, fields):
    assert [problem.field for problem in SIP.problems("sip", headers)] == fields


def test_the_problem_of_a_header_name_shows_the_accepted_names():
    (problem,) = SIP.problems("sip", {"Case": "1"})
    assert problem.accepts == "names that begin with X-MS-Custom- or User-To-User"


def test_the_problem_of_a_header_value_does_not_show_the_value(planted):
    assert "up to 2 headers, names that begin with X-MS-Custom-, and User-To-User" in SIP.accepts
    found = list(SIP.problems("sip", {"User-To-User": planted.number * 3}))
    assert len(found) == 2
    assert not planted.shown_in(found)


def test_capabilities_are_values():
    def make():
        return Capabilities(transfer={"to": PEOPLE}, redirect=None, repeatable_for=timedelta(minutes=5))

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != Capabilities(transfer={"to": PEOPLE}, redirect=None)
