"""Every published request, field for field: the same JSON with invented values."""

from datetime import timedelta

import pytest
from attrs import evolve
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.identifiers import PhoneNumber, TeamsApp, TeamsUser
from transferkit.provider.json import thaw
from transferkit.provider.results import Submitted
from transferkit.requests import Call, CallDisposition, EndpointType, Redirect, Transfer

CALL = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
CONSULT = "9d2e1f00-5b2a-4f0e-9a51-0d6a4bb1c002"
OID = "3fa1c2d4-0000-4000-8000-00000000aaaa"
OTHER_OID = "3fa1c2d4-0000-4000-8000-00000000aaab"
TENANT = "5a1e0c5e-0000-4000-8000-00000000bbbb"
PARTICIPANT = "c0ffee00-0000-4000-8000-00000000cccc"
NUMBER = "+14255550101"
CALLBACK = "https://app.contoso.com/callbacks/graph"
CONTEXT = "0ddba11d-0000-4000-8000-00000000dddd"

INVITATION = {"@odata.type": "#microsoft.graph.invitationParticipantInfo"}
IDENTITY_SET = {"@odata.type": "#microsoft.graph.identitySet"}
IDENTITY = {"@odata.type": "#microsoft.graph.identity"}

ADELE = TeamsUser(OID, tenant_id=TENANT, display_name="Adele")
NAMED = TeamsUser(OID, display_name="Adele")
PHONE = PhoneNumber(NUMBER)
TO_ADELE = {"id": OID, "tenantId": TENANT, "displayName": "Adele"}
WHERE = {"language_id": "en-us", "region": "amer"}
RINGS = {"endpoint": EndpointType.DEFAULT}
UNTYPED = {
    "transferTarget": {
        "@odata.type": None,
        "identity": {"@odata.type": None, "user": {"@odata.type": None}},
    }
}


def transfer(**more):
    return Transfer(call=CALL, **more)


def redirect(**more):
    return Redirect(call=CALL, **more)


BETA, V1, OLD = {"api": "beta"}, {"api": "v1.0"}, {"api": "beta", "path": "app", "body": "2018"}
OLD_APPLICATION = {**OLD, "path": "applications", "app_id": "b07"}
TYPED_ADELE = {**INVITATION, "identity": {**IDENTITY_SET, "user": {**IDENTITY, **TO_ADELE}}}
TYPED_NAMED = {
    **INVITATION,
    "identity": {**IDENTITY_SET, "user": {**IDENTITY, "id": OID, "displayName": "Adele"}},
}
TYPED_PHONE = {**INVITATION, "identity": {**IDENTITY_SET, "phone": {**IDENTITY, "id": NUMBER}}}
BLIND_PHONE = {
    "endpointType": "default",
    "identity": {"phone": {**IDENTITY, "id": NUMBER}},
    "languageId": "en-us",
    "region": "amer",
}
CONSULTATIVE_PHONE = {
    **TYPED_PHONE,
    "endpointType": "default",
    "languageId": "en-us",
    "region": "amer",
    "replacesCallId": CONSULT,
}
BETA_TRANSFER = f"/beta/communications/calls/{CALL}/transfer"
V1_TRANSFER = f"/v1.0/communications/calls/{CALL}/transfer"
BETA_REDIRECT = f"/beta/communications/calls/{CALL}/redirect"
V1_REDIRECT = f"/v1.0/communications/calls/{CALL}/redirect"

# What `extra` is for stands in it: what a schema no longer has, or never had.
PUBLISHED = {
    # learn.microsoft.com call-transfer (beta), examples 1 to 5
    "beta 1: blind": (
        BETA,
        transfer(to=ADELE, **RINGS, **WHERE),
        BETA_TRANSFER,
        {
            "transferTarget": {
                "endpointType": "default",
                "identity": {"user": TO_ADELE},
                "languageId": "en-us",
                "region": "amer",
            }
        },
    ),
    "beta 2: consultative": (
        BETA,
        transfer(to=ADELE, replaces=CONSULT, **RINGS, **WHERE),
        BETA_TRANSFER,
        {
            "transferTarget": {
                **TYPED_ADELE,
                "endpointType": "default",
                "languageId": "en-us",
                "region": "amer",
                "replacesCallId": CONSULT,
            }
        },
    ),
    "beta 3: phone": (
        BETA,
        transfer(to=PHONE, **RINGS, **WHERE),
        BETA_TRANSFER,
        {"transferTarget": BLIND_PHONE},
    ),
    "beta 4: phone, consultative": (
        BETA,
        transfer(to=PHONE, replaces=CONSULT, **RINGS, **WHERE),
        BETA_TRANSFER,
        {"transferTarget": CONSULTATIVE_PHONE},
    ),
    "beta 5: group call, language and region beside the target": (
        BETA,
        transfer(
            to=ADELE,
            transferee=TeamsUser(OTHER_OID, tenant_id=TENANT),
            participant_id=PARTICIPANT,
            extra={"languageId": "en-us", "region": "amer"},
            **RINGS,
        ),
        BETA_TRANSFER,
        {
            "transferTarget": {"endpointType": "default", "identity": {"user": TO_ADELE}},
            "transferee": {
                "identity": {"user": {"id": OTHER_OID, "tenantId": TENANT}},
                "participantId": PARTICIPANT,
            },
            "languageId": "en-us",
            "region": "amer",
        },
    ),
    # learn.microsoft.com call-transfer (v1.0), examples 1 to 5
    "v1.0 1: with replacesCallId, without types": (
        V1,
        transfer(to=NAMED, replaces=CONSULT, extra=UNTYPED, **RINGS),
        V1_TRANSFER,
        {
            "transferTarget": {
                "endpointType": "default",
                "identity": {"user": {"id": OID, "displayName": "Adele"}},
                "replacesCallId": CONSULT,
            }
        },
    ),
    "v1.0 2: consultative": (
        V1,
        transfer(to=NAMED, replaces=CONSULT, **RINGS),
        V1_TRANSFER,
        {"transferTarget": {**TYPED_NAMED, "endpointType": "default", "replacesCallId": CONSULT}},
    ),
    "v1.0 3: phone, with clientContext": (
        V1,
        transfer(to=PHONE, extra={"clientContext": CONTEXT}, **RINGS, **WHERE),
        V1_TRANSFER,
        {"transferTarget": BLIND_PHONE, "clientContext": CONTEXT},
    ),
    "v1.0 4: phone, consultative, with clientContext": (
        V1,
        transfer(to=PHONE, replaces=CONSULT, extra={"clientContext": CONTEXT}, **RINGS, **WHERE),
        V1_TRANSFER,
        {"transferTarget": CONSULTATIVE_PHONE, "clientContext": CONTEXT},
    ),
    "v1.0 5: group call": (
        V1,
        transfer(
            to=NAMED,
            transferee=TeamsUser(OTHER_OID, tenant_id=TENANT),
            participant_id=PARTICIPANT,
            **RINGS,
        ),
        V1_TRANSFER,
        {
            "transferTarget": {
                "endpointType": "default",
                "identity": {"user": {"id": OID, "displayName": "Adele"}},
            },
            "transferee": {
                "identity": {"user": {"id": OTHER_OID, "tenantId": TENANT}},
                "participantId": PARTICIPANT,
            },
        },
    ),
    # call: transfer of 2018, attended and consultative; the first has no context
    "2018 1: attended": (
        OLD,
        transfer(to=TeamsUser(OID), extra={"clientContext": None}),
        f"/beta/app/calls/{CALL}/transfer",
        {"target": {**INVITATION, "identity": {**IDENTITY_SET, "user": {**IDENTITY, "id": OID}}}},
    ),
    "2018 2: consultative": (
        OLD_APPLICATION,
        transfer(
            to=TeamsUser(OID),
            replaces=CONSULT,
            operation_context="case 42",
            extra={"clientContext": CONTEXT},
        ),
        f"/beta/applications/b07/calls/{CALL}/transfer",
        {
            "clientContext": CONTEXT,
            "operationContext": "case 42",
            "target": {
                **INVITATION,
                "identity": {**IDENTITY_SET, "user": {**IDENTITY, "id": OID}},
                "replacesCallId": CONSULT,
            },
        },
    ),
    # The generated pages show types and no values: what is held against them is which fields there are.
    "generated: transfer": (
        {"api": "beta", "path": "app"},
        transfer(
            to=NAMED,
            extra={
                "transferTarget": {
                    "@odata.type": "microsoft.graph.invitationParticipantInfo",
                    "identity": None,
                }
            },
        ),
        f"/beta/app/calls/{CALL}/transfer",
        {"transferTarget": {"@odata.type": "microsoft.graph.invitationParticipantInfo"}},
    ),
    "generated: redirect, all six fields": (
        {"api": "beta", "path": "app"},
        redirect(
            to=NAMED,
            disposition=CallDisposition.FORWARD,
            ring_timeout=timedelta(seconds=40),
            mask_callee=False,
            mask_caller=True,
            callback_uri=CALLBACK,
        ),
        f"/beta/app/calls/{CALL}/redirect",
        {
            "targets": [TYPED_NAMED],
            "targetDisposition": "forward",
            "timeout": 40,
            "maskCallee": False,
            "maskCaller": True,
            "callbackUri": CALLBACK,
        },
    ),
}
# learn.microsoft.com call-redirect, examples 1 to 3, the same in v1.0 and beta
for _settings, _path, _name in ((V1, V1_REDIRECT, "v1.0"), (BETA, BETA_REDIRECT, "beta")):
    PUBLISHED |= {
        f"{_name} redirect 1: to a bot": (
            _settings,
            redirect(to=TeamsApp(OID, display_name="Bot"), callback_uri=CALLBACK),
            _path,
            {
                "targets": [
                    {
                        **INVITATION,
                        "identity": {
                            **IDENTITY_SET,
                            "application": {**IDENTITY, "displayName": "Bot", "id": OID},
                        },
                    }
                ],
                "callbackUri": CALLBACK,
            },
        ),
        f"{_name} redirect 2: to several, with routingPolicies": (
            _settings,
            redirect(
                to=[NAMED, TeamsUser(OTHER_OID, display_name="Ben")],
                callback_uri=CALLBACK,
                extra={"routingPolicies": ["disableForwarding"]},
            ),
            _path,
            {
                "targets": [
                    TYPED_NAMED,
                    {
                        **INVITATION,
                        "identity": {
                            **IDENTITY_SET,
                            "user": {**IDENTITY, "displayName": "Ben", "id": OTHER_OID},
                        },
                    },
                ],
                "routingPolicies": ["disableForwarding"],
                "callbackUri": CALLBACK,
            },
        ),
        f"{_name} redirect 3: to a phone": (
            _settings,
            redirect(to=PHONE, callback_uri=CALLBACK),
            _path,
            {"targets": [TYPED_PHONE], "callbackUri": CALLBACK},
        ),
    }


@pytest.mark.parametrize(("settings", "request_", "path", "body"), PUBLISHED.values(), ids=PUBLISHED)
async def test_a_published_request_is_reproduced(submission, settings, request_, path, body):
    adapter = GraphAdapter(GraphSettings(**settings))
    assert adapter.plan(request_).problems == ()
    wire = await adapter.wire(submission(request_))
    assert (wire.method, wire.url) == ("POST", f"https://graph.microsoft.com{path}")
    assert wire.headers["Content-Type"] == "application/json"
    assert thaw(wire.body) == body


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "generated: transfer"])
async def test_the_emulator_takes_it(bench, submission, name):
    settings, request, _, _ = PUBLISHED[name]
    if "app_id" in settings:
        settings = {**settings, "app_id": bench.table["client_id"]}
    if isinstance(request, Transfer):
        call = bench.emulator.place_call(callback_url=bench.callback_url, group="group" in name)
    else:
        call = bench.emulator.ring(callback_url=bench.callback_url).call_id
    await bench.emulator.settle()
    answer = await bench.adapter(**settings).submit(submission(evolve(request, call=Call("graph", call))))
    assert isinstance(answer, Submitted)


@pytest.mark.parametrize("path", ["participantLeftNotification", "participantJoiningNotification"])
def test_the_published_paths_that_name_no_call_are_refused(path):
    with pytest.raises(ValueError, match=path):
        GraphSettings(path=path)
