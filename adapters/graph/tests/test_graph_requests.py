"""Requests to Graph: addresses and bodies in every published form."""

from datetime import timedelta

import pytest
from transferkit_graph import GraphSettings
from transferkit_graph.requests import action_url, body_of
from transferkit_graph.settings import BodyForm

from transferkit.identifiers import CommunicationUser, PhoneNumber, TeamsApp, TeamsUser, UnknownIdentifier
from transferkit.requests import Call, CallDisposition, EndpointType, Redirect, Transfer

CALL_ID = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
CONSULT_ID = "9d2e1f00-5b2a-4f0e-9a51-0d6a4bb1c002"
OID = "3fa1c2d4-0000-4000-8000-00000000aaaa"
TENANT = "5a1e0c5e-0000-4000-8000-00000000bbbb"
SUBMISSION = "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001"

INVITATION = "#microsoft.graph.invitationParticipantInfo"
IDENTITY_SET = "#microsoft.graph.identitySet"
IDENTITY = "#microsoft.graph.identity"


def body(request, form=BodyForm.CURRENT):
    return body_of(request, form=form, submission_id=SUBMISSION)


def transfer(**more):
    return Transfer(**{"call": Call("graph", CALL_ID), "to": TeamsUser(OID), **more})


def redirect(**more):
    return Redirect(**{"call": Call("graph", CALL_ID), "to": TeamsUser(OID), **more})


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        ({}, "https://graph.microsoft.com/v1.0/communications/calls/"),
        ({"api": "beta"}, "https://graph.microsoft.com/beta/communications/calls/"),
        ({"path": "app"}, "https://graph.microsoft.com/v1.0/app/calls/"),
        (
            {"path": "applications", "app_id": "b07", "api": "beta"},
            "https://graph.microsoft.com/beta/applications/b07/calls/",
        ),
        ({"cloud": "us-gov-l4"}, "https://graph.microsoft.us/v1.0/communications/calls/"),
        ({"cloud": "us-gov-l5"}, "https://dod-graph.microsoft.us/v1.0/communications/calls/"),
        ({"cloud": "china"}, "https://microsoftgraph.chinacloudapi.cn/v1.0/communications/calls/"),
        ({"base_url": "https://127.0.0.1:8443/"}, "https://127.0.0.1:8443/v1.0/communications/calls/"),
    ],
)
def test_api_path_and_cloud_each_choose_their_part_of_the_address(settings, begins):
    chosen = GraphSettings(**settings)
    assert action_url(chosen, transfer()) == f"{begins}{CALL_ID}/transfer"
    assert action_url(chosen, redirect()) == f"{begins}{CALL_ID}/redirect"


def test_a_call_id_cannot_break_out_of_its_place_in_the_address():
    odd = transfer(call=Call("graph", "../../users?x#y"))
    assert action_url(GraphSettings(), odd).endswith("/calls/..%2F..%2Fusers%3Fx%23y/transfer")


@pytest.mark.parametrize(
    ("someone", "member"),
    [
        (PhoneNumber("+14255550101"), {"phone": {"@odata.type": IDENTITY, "id": "+14255550101"}}),
        (TeamsUser(OID), {"user": {"@odata.type": IDENTITY, "id": OID}}),
        (TeamsApp(OID), {"application": {"@odata.type": IDENTITY, "id": OID}}),
        (UnknownIdentifier("d1", kind="device"), {"device": {"@odata.type": IDENTITY, "id": "d1"}}),
        (
            CommunicationUser("8:acs:res_user"),
            {"azureCommunicationServicesUser": {"@odata.type": IDENTITY, "id": "8:acs:res_user"}},
        ),
        (UnknownIdentifier("x1", kind="onPremises"), {"onPremises": {"@odata.type": IDENTITY, "id": "x1"}}),
        (UnknownIdentifier("x2", kind="guest"), {"guest": {"@odata.type": IDENTITY, "id": "x2"}}),
    ],
)
def test_each_kind_of_target_has_its_own_member(someone, member):
    assert body(transfer(to=someone, replaces=CONSULT_ID))["transferTarget"]["identity"] == {
        "@odata.type": IDENTITY_SET,
        **member,
    }


@pytest.mark.parametrize(
    ("someone", "says_its_type"),
    [
        (TeamsUser(OID), False),
        (TeamsApp(OID), False),
        (UnknownIdentifier("d1", kind="device"), False),
        (PhoneNumber("+14255550101"), True),
        (CommunicationUser("8:acs:res_user"), True),
        (UnknownIdentifier("x2", kind="guest"), True),
    ],
)
def test_a_blind_transfer_has_types_only_where_the_schema_does_not_imply_them(someone, says_its_type):
    target = body(transfer(to=someone))["transferTarget"]
    (member,) = target["identity"].values()
    assert ("@odata.type" in member) is says_its_type
    assert "@odata.type" not in target


def test_a_transferee_is_typed_as_the_target_is():
    request = transfer(transferee=TeamsUser("aa-bb"), participant_id="p-1", replaces=CONSULT_ID)
    assert body(request)["transferee"] == {
        "@odata.type": "#microsoft.graph.participantInfo",
        "identity": {"@odata.type": IDENTITY_SET, "user": {"@odata.type": IDENTITY, "id": "aa-bb"}},
        "participantId": "p-1",
    }


def test_a_consultative_transfer_names_the_call_with_the_target():
    assert body(transfer(replaces=CONSULT_ID))["transferTarget"]["replacesCallId"] == CONSULT_ID


@pytest.mark.parametrize("endpoint", EndpointType)
def test_the_endpoint_is_written_in_the_words_of_graph(endpoint):
    assert body(transfer(endpoint=endpoint))["transferTarget"]["endpointType"] == endpoint.value


def test_the_body_of_2018_names_the_submission():
    assert body(transfer(), BodyForm.Y2018)["clientContext"] == SUBMISSION


def test_the_current_body_has_no_operation_context():
    assert set(body(transfer(operation_context="case 42"))) == {"transferTarget"}


@pytest.mark.parametrize("form", BodyForm)
def test_a_redirect_has_all_six_published_fields_in_both_forms(form):
    request = redirect(
        to=[TeamsUser(OID), PhoneNumber("+14255550102")],
        ring_timeout=timedelta(seconds=40),
        disposition=CallDisposition.SIMULTANEOUS_RING,
        mask_callee=False,
        mask_caller=True,
        callback_uri="https://app.contoso.com/graph",
    )
    sent = body(request, form)
    assert [list(target["identity"]) for target in sent.pop("targets")] == [
        ["@odata.type", "user"],
        ["@odata.type", "phone"],
    ]
    assert sent == {
        "targetDisposition": "simultaneousRing",
        "timeout": 40,
        "maskCallee": False,
        "maskCaller": True,
        "callbackUri": "https://app.contoso.com/graph",
    }


def test_absent_fields_are_not_in_the_body():
    assert set(body(redirect())) == {"targets"}


def test_extra_is_merged_into_the_body():
    extra = {"transferTarget": {"region": "emea", "identity": {"user": {"@odata.type": None}}}, "new": [1]}
    sent = body(transfer(region="amer", replaces=CONSULT_ID, extra=extra))
    assert sent["transferTarget"]["region"] == "emea"
    assert sent["transferTarget"]["identity"]["user"] == {"id": OID}
    assert sent["new"] == [1]
