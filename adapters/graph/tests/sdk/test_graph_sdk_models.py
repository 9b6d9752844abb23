"""The models of the official SDK read our requests and write them back: no field is lost or unknown.

Needs `msgraph-beta-sdk`, which is large, so these tests run separately:

    pip install msgraph-beta-sdk
    pytest adapters/graph/tests/sdk

A model keeps properties that it does not declare in `additional_data`. That is right if the type is open in
the schema and the property is published; the tests list each such property.
"""

import json

import pytest
from transferkit_graph import GraphSettings
from transferkit_graph.requests import body_of

from transferkit.identifiers import CommunicationUser, PhoneNumber, TeamsApp, TeamsUser, UnknownIdentifier
from transferkit.provider.json import thaw
from transferkit.requests import CallDisposition, EndpointType, Redirect, Transfer

pytest.importorskip("msgraph_beta")
json_nodes = pytest.importorskip("kiota_serialization_json.json_parse_node_factory")
json_writers = pytest.importorskip("kiota_serialization_json.json_serialization_writer")

OID, OTHER_OID = "3fa1c2d4-0000-4000-8000-00000000aaaa", "3fa1c2d4-0000-4000-8000-00000000aaab"
TENANT = "5a1e0c5e-0000-4000-8000-00000000bbbb"
ADELE = TeamsUser(OID, tenant_id=TENANT, display_name="Adele")
PHONE = PhoneNumber("+14255550101")
GROUP = {"transferee": TeamsUser(OTHER_OID, tenant_id=TENANT), "participant_id": "p1"}
WHERE = {"language_id": "en-us", "region": "amer"}
ALL_SIX = {
    "to": [ADELE, PHONE],
    "disposition": CallDisposition.SIMULTANEOUS_RING,
    "ring_timeout": 40,
    "mask_callee": False,
    "mask_caller": True,
    "callback_uri": "https://app.contoso.com/callbacks/graph",
}

# Open types, and what is published for them beside what their schema declares.
PUBLISHED_BESIDE_THE_SCHEMA = {
    "InvitationParticipantInfo": {"languageId", "region"},
    "IdentitySet": {
        *("phone", "guest", "encrypted", "onPremises"),
        *("applicationInstance", "assertedIdentity", "azureCommunicationServicesUser"),
    },
    "Identity": {"tenantId"},
}
# In published examples only: a group call's (beta, example 5), several targets', and clientContext.
IN_EXAMPLES_ONLY = {
    "TransferPostRequestBody": {"languageId", "region", "clientContext"},
    "RedirectPostRequestBody": {"routingPolicies"},
}


def transfer(**more):
    return Transfer(call="c1", **{"to": ADELE, **more})


def redirect(**more):
    return Redirect(call="c1", **more)


REQUESTS = {
    "blind": transfer(endpoint=EndpointType.DEFAULT, **WHERE),
    "consultative": transfer(replaces="c2", endpoint=EndpointType.DEFAULT, **WHERE),
    "phone": transfer(to=PHONE, endpoint=EndpointType.DEFAULT, **WHERE),
    "phone, consultative": transfer(to=PHONE, replaces="c2", endpoint=EndpointType.DEFAULT, **WHERE),
    "group call": transfer(**GROUP),
    "group call, consultative": transfer(replaces="c2", **GROUP),
    "to voicemail": transfer(endpoint=EndpointType.VOICEMAIL),
    "to a bot": transfer(to=TeamsApp(OID)),
    "to a user of Communication Services": transfer(to=CommunicationUser("8:acs:res_user")),
    **{
        f"to a member {word}": transfer(to=UnknownIdentifier("x1", kind=word), replaces="c2")
        for word in ("applicationInstance", "assertedIdentity", "device", "encrypted", "guest", "onPremises")
    },
    "redirect": redirect(to=[TeamsApp(OID, display_name="Bot")]),
    "redirect, all six fields": redirect(**ALL_SIX),
}
IN_EXAMPLES = {
    "group call, as its example": transfer(**GROUP, extra={"languageId": "en-us", "region": "amer"}),
    "clientContext": transfer(to=PHONE, extra={"clientContext": "0ddba11d-0000-4000-8000-00000000dddd"}),
    "routingPolicies": redirect(to=[ADELE, PHONE], extra={"routingPolicies": ["disableForwarding"]}),
}


def model_of(request):
    from msgraph_beta.generated.communications.calls.item.redirect import redirect_post_request_body
    from msgraph_beta.generated.communications.calls.item.transfer import transfer_post_request_body

    if isinstance(request, Transfer):
        return transfer_post_request_body.TransferPostRequestBody
    return redirect_post_request_body.RedirectPostRequestBody


def read(request):
    """Our body, and the model that the SDK reads from it."""
    sent = thaw(body_of(request, form=GraphSettings().body, submission_id="s1"))
    node = json_nodes.JsonParseNodeFactory().get_root_parse_node(
        "application/json", json.dumps(sent).encode()
    )
    return sent, node.get_object_value(model_of(request))


def written(model):
    writer = json_writers.JsonSerializationWriter()
    writer.write_object_value(None, model)
    return json.loads(writer.get_serialized_content())


def undeclared(model):
    """Properties that no model declares, as (name of the model, property)."""
    if isinstance(model, list):
        return {each for item in model for each in undeclared(item)}
    if not hasattr(model, "additional_data"):
        return set()
    name = type(model).__name__
    found = {(name, key) for key in model.additional_data}
    inner = [
        getattr(model, field)
        for field in model.__dataclass_fields__
        if field not in {"additional_data", "backing_store"}
    ]
    return found | undeclared(inner)


def allowed(table):
    return {(name, key) for name, keys in table.items() for key in keys}


@pytest.mark.parametrize("request_", (REQUESTS | IN_EXAMPLES).values(), ids=REQUESTS | IN_EXAMPLES)
def test_the_sdk_reads_our_bodies_and_writes_them_back(request_):
    sent, model = read(request_)
    by_itself = written(model_of(request_)())  # a redirect's model says false where nothing is said
    assert written(model) == by_itself | sent
    assert by_itself in ({}, {"maskCallee": False, "maskCaller": False})


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_fields_that_no_model_declares_belong_to_open_types_and_are_published(request_):
    _, model = read(request_)
    assert undeclared(model) <= allowed(PUBLISHED_BESIDE_THE_SCHEMA)


@pytest.mark.parametrize("request_", IN_EXAMPLES.values(), ids=IN_EXAMPLES)
def test_fields_that_only_examples_have_are_sent_only_with_extra(request_):
    _, model = read(request_)
    beside = undeclared(model) - allowed(PUBLISHED_BESIDE_THE_SCHEMA)
    assert beside
    assert beside <= allowed(IN_EXAMPLES_ONLY)


def test_every_listed_exception_is_needed():
    """Remove an exception from the list when the SDK declares the property."""
    seen = {each for request in (REQUESTS | IN_EXAMPLES).values() for each in undeclared(read(request)[1])}
    assert seen == allowed(PUBLISHED_BESIDE_THE_SCHEMA) | allowed(IN_EXAMPLES_ONLY)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_type_of_a_transferee_is_closed_and_has_only_declared_properties(request_):
    _, model = read(request_)
    transferee = getattr(model, "transferee", None)
    assert transferee is None or transferee.additional_data == {}
