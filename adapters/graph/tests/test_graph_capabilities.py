"""What the plan refuses, by cloud, api and body form."""

import pytest
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.identifiers import (
    Cloud,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)
from transferkit.requests import CallDisposition, CallingContext, EndpointType, Redirect, Transfer

CALL = "57dab8b1-894c-409a-b240-bd8beae78896"
CONSULT = "e5d39592-99bd-4db8-bca8-30fb894ec51d"
OID = "3fa1c2d4-0000-4000-8000-00000000aaaa"
USER = TeamsUser(OID)


def transfer(**more):
    return Transfer(**{"call": CALL, "to": USER, **more})


def redirect(**more):
    return Redirect(**{"call": CALL, "to": USER, **more})


def refused(request, **settings):
    return sorted(problem.field for problem in GraphAdapter(GraphSettings(**settings)).plan(request).problems)


GROUP = {"transferee": USER, "participant_id": "p1"}
TARGET = {"language_id": "en-us", "region": "amer", "endpoint": EndpointType.VOICEMAIL}
BETA_ONLY = {
    "disposition": CallDisposition.FORWARD,
    "mask_caller": True,
    "mask_callee": False,
}


@pytest.mark.parametrize(
    ("settings", "request_", "problems"),
    [
        # the global cloud
        ({}, transfer(), []),
        ({}, transfer(**GROUP, **TARGET, replaces=CONSULT), []),
        ({"api": "beta"}, transfer(**GROUP, **TARGET), []),
        ({"path": "app"}, transfer(**GROUP), []),
        ({}, redirect(ring_timeout=30, callback_uri="https://app.test/x"), []),
        ({}, redirect(**BETA_ONLY), ["disposition", "mask_callee", "mask_caller"]),
        ({"api": "beta"}, redirect(**BETA_ONLY), []),
        # the body of 2018
        ({"body": "2018"}, transfer(replaces=CONSULT, operation_context="x"), []),
        ({"body": "2018"}, transfer(**GROUP), ["participant_id", "transferee"]),
        ({"body": "2018"}, transfer(**TARGET), ["endpoint", "language_id", "region"]),
        # the government clouds
        ({"cloud": "us-gov-l4"}, transfer(replaces=CONSULT), []),
        ({"cloud": "us-gov-l5"}, transfer(**GROUP), ["participant_id", "transferee"]),
        ({"cloud": "us-gov-l4"}, transfer(**TARGET), ["endpoint", "language_id", "region"]),
        ({"cloud": "us-gov-l4"}, redirect(ring_timeout=30), []),
        ({"cloud": "us-gov-l4", "api": "beta"}, transfer(), ["request"]),
        ({"cloud": "us-gov-l4", "api": "beta"}, redirect(), ["request"]),
        # China
        ({"cloud": "china"}, transfer(), ["request"]),
        ({"cloud": "china"}, redirect(), ["request"]),
        # what neither operation carries
        ({}, transfer(caller_id=PhoneNumber("+14255550100")), ["caller_id"]),
        ({}, transfer(callback_uri="https://app.test/x"), ["callback_uri"]),
        (
            {},
            transfer(context=CallingContext(sip={"X-MS-Custom-A": "1"}, voip={"a": "1"})),
            ["context.sip", "context.voip"],
        ),
        ({}, redirect(caller_id=PhoneNumber("+14255550100")), ["caller_id"]),
        ({}, redirect(incoming_context="opaque"), ["incoming_context"]),
        # bounds
        ({}, redirect(ring_timeout=15), []),
        ({}, redirect(ring_timeout=90), []),
        ({}, redirect(ring_timeout=14), ["ring_timeout"]),
        ({}, redirect(ring_timeout=91), ["ring_timeout"]),
        ({}, redirect(ring_timeout=20.5), ["ring_timeout"]),
        ({}, redirect(to=[USER] * 25), []),
        ({}, redirect(to=[USER] * 26), ["to"]),
        ({}, redirect(callback_uri="http://app.test/x"), ["callback_uri"]),
        # fields that need each other
        ({}, transfer(participant_id="p1"), ["participant_id"]),
        # who can be named
        ({}, transfer(to=parse_identifier(f"28:orgid:{OID}")), []),
        ({}, transfer(to=parse_identifier("8:acs:res_user")), []),
        ({}, transfer(to=UnknownIdentifier("x", kind="applicationInstance")), []),
        ({}, transfer(to=UnknownIdentifier("x", kind="starship")), ["to"]),
        ({}, transfer(to=PhoneNumber("4255550100")), ["to"]),
        ({}, transfer(to=PhoneNumber("+14255550100", asserted_id="a1")), ["to"]),
        ({}, transfer(to=TeamsUser("v", anonymous=True)), ["to"]),
        ({}, transfer(to=TeamsUser(OID, cloud=Cloud.GCCH)), ["to"]),
        ({"cloud": "us-gov-l4"}, transfer(to=TeamsUser(OID, cloud=Cloud.GCCH)), []),
        ({"cloud": "us-gov-l4"}, transfer(to=TeamsUser(OID)), []),
        ({"cloud": "us-gov-l5"}, transfer(to=TeamsUser(OID, cloud=Cloud.GCCH)), ["to"]),
        (
            {},
            transfer(to=TeamsExtensionUser(user_id="u", tenant_id="t", resource_id="r")),
            ["to"],
        ),
        ({}, transfer(transferee=TeamsUser("v", anonymous=True)), ["transferee"]),
        ({}, redirect(to=[USER, TeamsUser("v", anonymous=True)]), ["to[1]"]),
    ],
)
def test_the_plan_refuses_fields_that_graph_does_not_support(settings, request_, problems):
    assert refused(request_, **settings) == problems


def test_a_dropped_field_is_listed_and_left_out():
    request = transfer(caller_id=PhoneNumber("+14255550100"), on_unsupported="drop")
    held = GraphAdapter(GraphSettings()).plan(request)
    assert (held.problems, held.dropped, held.request.caller_id) == ((), ("caller_id",), None)


def test_a_problem_states_what_is_accepted():
    (problem,) = GraphAdapter(GraphSettings(cloud="us-gov-l4", api="beta")).plan(transfer()).problems
    assert "global cloud only" in str(problem)
    assert 'api = "v1.0"' in str(problem)


def test_no_problem_shows_a_phone_number():
    held = GraphAdapter(GraphSettings()).plan(
        transfer(to=PhoneNumber("4255550100"), caller_id=PhoneNumber("+14255550101"))
    )
    assert not any("55501" in str(problem) for problem in held.problems)


def test_graph_has_no_repeatability_and_reports_redirects():
    capabilities = GraphAdapter(GraphSettings()).capabilities
    assert capabilities.repeatable_for is None
    assert not capabilities.redirect_completes_on_acceptance


def test_without_transfer_and_redirect_the_capabilities_are_empty():
    capabilities = GraphAdapter(GraphSettings(cloud="china")).capabilities
    assert (capabilities.transfer, capabilities.redirect) == (None, None)


@pytest.mark.parametrize(
    ("id_", "good"),
    [
        (CALL, True),
        (CALL.upper(), True),
        (CALL.replace("-", "").upper(), True),  # as Graph's older notifications write it
        ("c1", False),
        (" ", False),
        (f"{CALL} ", False),
        (f"{CALL}/transfer", False),
        (f"/communications/calls/{CALL}", False),
        (f"https://graph.microsoft.com/v1.0/communications/calls/{CALL}", False),
    ],
)
def test_a_call_id_must_be_a_guid(id_, good):
    assert refused(transfer(call=id_)) == ([] if good else ["call"])
    assert refused(redirect(call=id_)) == ([] if good else ["call"])
    assert refused(transfer(replaces=id_)) == ([] if good else ["replaces"])


@pytest.mark.parametrize("someone", [TeamsUser("nope"), TeamsUser("agent@contoso.com"), TeamsApp("nope")])
def test_a_teams_id_that_is_not_a_guid_is_refused(someone):
    assert refused(transfer(to=someone, transferee=someone)) == ["to", "transferee"]
    assert refused(redirect(to=[USER, someone])) == ["to[1]"]
