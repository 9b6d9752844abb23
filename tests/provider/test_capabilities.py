"""The plan: a request held against what a provider can carry, every problem at once, before any I/O."""

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
from transferkit.provider.capabilities import (
    Anything,
    Capabilities,
    Headers,
    Kinds,
    OneOf,
    Seconds,
    Text,
    plan,
)

PEOPLE = Kinds(kinds=(PhoneNumber, TeamsUser))
SIP = Headers(
    max_count=2,
    max_name=20,
    max_value=8,
    name_pattern=r"X-MS-Custom-.+",
    name_form="names that begin with X-MS-Custom-",
    value_pattern=r"[0-9a-f]*",
    value_form="hexadecimal digits",
    apart=("User-To-User",),
)
CAPABILITIES = Capabilities(
    transfer={"to": PEOPLE, "transferee": PEOPLE, "context.sip": SIP, "region": OneOf(("amer", "emea"))},
    redirect={"to": Kinds(kinds=(PhoneNumber, TeamsUser), most=2), "ring_timeout": Seconds(15, 90)},
)


def transfer(**fields):
    return Transfer(**{"call": "abc", "to": TeamsUser("agent"), **fields})


def redirect(**fields):
    return Redirect(**{"call": "abc", "to": TeamsUser("agent"), **fields})


def fields_of(planned):
    return [problem.field for problem in planned.problems]


# --- the plan ---------------------------------------------------------------------------------------


def test_what_can_be_carried_has_no_problem_and_stays_as_it_is():
    request = transfer(context=CallingContext(sip={"X-MS-Custom-a": "1"}), region="amer")
    planned = plan(request, CAPABILITIES)
    assert planned.problems == ()
    assert planned.dropped == ()
    assert planned.request is request or planned.request == request


def test_all_problems_are_found_at_once():
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
    assert problem == Problem("region", "mars is not accepted", "amer, emea")
    assert str(problem) == "region: mars is not accepted (accepted: amer, emea)"


def test_a_field_without_a_limit_cannot_be_carried_and_the_others_are_named():
    (problem,) = plan(transfer(language_id="en-us"), CAPABILITIES).problems
    assert problem.field == "language_id"
    assert "cannot be carried by a transfer" in problem.message
    assert "context.sip, region, to, transferee" in problem.accepts


def test_transferkits_own_fields_need_no_limit():
    request = transfer(
        operation_context="x", idempotency_key="k", deadline=5, extra={"a": 1}, on_unsupported="drop"
    )
    assert plan(request, CAPABILITIES).problems == ()
    assert plan(request, CAPABILITIES).dropped == ()


@pytest.mark.parametrize(
    ("request_", "what"), [(transfer(region="mars"), "a transfer"), (redirect(ring_timeout=1), "a redirect")]
)
def test_an_operation_that_is_not_offered_is_the_only_problem(request_, what):
    planned = plan(request_, Capabilities(transfer=None, redirect=None))
    assert fields_of(planned) == ["request"]
    assert what in planned.problems[0].message


def test_the_two_operations_have_limits_of_their_own():
    assert fields_of(plan(redirect(ring_timeout=5), CAPABILITIES)) == ["ring_timeout"]
    context = CallingContext(sip={"X-MS-Custom-a": "1"})
    assert fields_of(plan(redirect(context=context), CAPABILITIES)) == ["context.sip"]


@given(st.from_type(Transfer) | st.from_type(Redirect))
def test_planning_is_total_and_pure(request):
    planned = plan(request, CAPABILITIES)
    assert planned == plan(request, CAPABILITIES)
    if request.on_unsupported is OnUnsupported.REFUSE:
        assert planned.request == request
        assert planned.dropped == ()


# --- dropping ---------------------------------------------------------------------------------------


def test_dropping_is_an_explicit_option_and_is_listed():
    context = CallingContext(
        sip={"X-MS-Custom-a": "1"}, voip={"a": "1"}, teams=TeamsPhoneCallDetails(intent="x")
    )
    planned = plan(transfer(context=context, language_id="en-us", on_unsupported="drop"), CAPABILITIES)
    assert planned.problems == ()
    assert planned.dropped == ("language_id", "context.voip", "context.teams")
    assert planned.request == transfer(
        context=CallingContext(sip={"X-MS-Custom-a": "1"}), on_unsupported="drop"
    )


def test_a_dropped_flag_is_gone_even_where_it_says_no():
    planned = plan(redirect(mask_caller=False, on_unsupported="drop"), CAPABILITIES)
    assert planned.dropped == ("mask_caller",)
    assert planned.request.mask_caller is None
    assert fields_of(plan(redirect(mask_caller=False), CAPABILITIES)) == ["mask_caller"]


@pytest.mark.parametrize("field", ["transferee", "participant_id", "replaces"])
def test_what_makes_it_another_request_is_never_dropped(field):
    value = TeamsUser("caller") if field == "transferee" else "x"
    nothing = Capabilities(transfer={"to": PEOPLE}, redirect=None)
    planned = plan(transfer(**{field: value}, on_unsupported="drop"), nothing)
    assert fields_of(planned) == [field]
    assert planned.dropped == ()


def test_nor_is_the_target_or_the_incoming_context():
    nothing = Capabilities(transfer={}, redirect={})
    planned = plan(redirect(incoming_context="opaque", on_unsupported="drop"), nothing)
    assert fields_of(planned) == ["to", "incoming_context"]


def test_fields_of_transferkit_s_own_need_no_limit():
    request = transfer(operation_context="case 42", idempotency_key="k", extra={"a": 1})
    assert plan(request, CAPABILITIES).problems == ()
    assert plan(redirect(source=CommunicationUser("8:acs:a_b")), CAPABILITIES).problems == ()


def test_a_provider_may_limit_the_call_s_id_and_the_operation_context():
    form = Text(pattern="[a-z]+", form="letters")
    limited = Capabilities(
        transfer={"to": PEOPLE, "call": form, "operation_context": Text(max_length=4)}, redirect=None
    )
    assert plan(transfer(call="abc", operation_context="case"), limited).problems == ()
    planned = plan(transfer(call="../42", operation_context="cases", on_unsupported="drop"), limited)
    assert [str(problem) for problem in planned.problems] == [
        "call: is not of the accepted form (accepted: letters)",
        "operation_context: 5 characters are too many (accepted: text of at most 4 characters)",
    ]
    assert planned.dropped == ()


def test_a_value_beyond_its_limit_is_refused_not_dropped():
    planned = plan(transfer(region="mars", on_unsupported="drop"), CAPABILITIES)
    assert fields_of(planned) == ["region"]
    assert planned.dropped == ()


# --- limits -----------------------------------------------------------------------------------------


def problems(limit, value):
    return [str(problem) for problem in limit.problems("field", value)]


def test_anything():
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
def test_kinds(someone, accepted):
    limit = Kinds(kinds=(PhoneNumber, TeamsUser), unknown=("guest",))
    assert (problems(limit, someone) == []) is accepted
    assert limit.accepts == "phone number, Teams user, guest"


def test_a_kind_is_refused_by_its_name():
    (problem,) = PEOPLE.problems("to", CommunicationUser("8:acs:a_b"))
    assert problem == Problem("to", "an ACS user cannot be used here", "phone number, Teams user")
    (problem,) = PEOPLE.problems("to", UnknownIdentifier("a", kind="encrypted"))
    assert problem.message == "an encrypted cannot be used here"


@pytest.mark.parametrize("typed", ["agent@contoso.com", "Reception", "12"])
def test_an_unknown_identifier_is_refused_with_the_written_forms_of_those_accepted(typed):
    (problem,) = PEOPLE.problems("to", parse_identifier(typed))
    assert problem.message == (
        "an identifier of an unknown kind cannot be used here: "
        "a phone number begins with +, a Teams user is teams:OBJECT-ID"
    )
    (problem,) = Kinds(kinds=(TeamsExtensionUser,)).problems("to", parse_identifier(typed))
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
def test_a_number_that_is_not_e164_is_refused_with_the_right_form_and_not_shown(typed, planted):
    someone = parse_identifier(typed.format(digits=planted.digits, number=planted.number))
    (problem,) = PEOPLE.problems("to", someone)
    assert problem.message == "the phone number is not in E.164 form"
    assert problem.accepts == (
        "a plus sign, the country code and the number: 7 to 15 digits, without spaces, 00 or tel:"
    )
    assert not planted.shown_in(problem)
    assert "5550142" not in str(problem)


def test_a_number_is_refused_by_its_kind_where_no_number_is_accepted():
    teams = Kinds(kinds=(TeamsUser,))
    (problem,) = teams.problems("to", PhoneNumber("14255550123"))
    assert problem.message == "a phone number cannot be used here"
    (problem,) = teams.problems("to", parse_identifier("tel:+14255550123"))
    assert problem.message == "a tel cannot be used here"


@pytest.mark.parametrize("typed", ["sip:agent@contoso.com", "SIPS:agent@contoso.com"])
def test_a_sip_address_is_refused_because_the_provider_does_not_take_any(typed):
    (problem,) = PEOPLE.problems("to", parse_identifier(typed))
    assert problem.message == ("a SIP address cannot be used here: this provider does not take SIP addresses")
    assert problem.accepts == "phone number, Teams user"


def test_several_targets_are_counted_and_named_by_place():
    limit = Kinds(kinds=(TeamsUser,), most=2)
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
def test_seconds_are_whole_and_their_bounds_included(span, accepted):
    assert (problems(Seconds(15, 90), timedelta(seconds=span)) == []) is accepted
    assert Seconds(15, 90).accepts == "whole seconds from 15 to 90"


@pytest.mark.parametrize(("value", "accepted"), [("amer", True), ("AMER", False), ("", False)])
def test_one_of(value, accepted):
    assert (problems(OneOf(("amer", "emea")), value) == []) is accepted


@pytest.mark.parametrize(
    ("text", "accepted"), [("abcd", True), ("abcde", False), ("ABC", False), ("", False), ("a\n", False)]
)
def test_text(text, accepted):
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
def test_headers(headers, fields):
    assert [problem.field for problem in SIP.problems("sip", headers)] == fields


def test_a_refused_header_name_says_which_names_are_accepted():
    (problem,) = SIP.problems("sip", {"Case": "1"})
    assert problem.accepts == "names that begin with X-MS-Custom- or User-To-User"


def test_headers_say_what_is_accepted_and_hide_the_value(planted):
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
