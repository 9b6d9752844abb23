"""Each published request example, field for field, also as read by the official SDK's own models."""

import json
from datetime import UTC, datetime

import pytest
from azure.communication.callautomation._generated import models
from transferkit_acs import AcsAdapter, AcsSettings, ApiVersion
from transferkit_acs.emulator.schema import REDIRECT, TRANSFER
from transferkit_acs.identities import response_model_of
from transferkit_acs.requests import body_of

from transferkit.emulators.schema import find_problems
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

OID = "3fa1c2d4-0000-4000-8000-00000000aaaa"
CALL = "7d6f1a52-0f3c-4d0e-9c55-2b8f4f6b9a01"
RESOURCE = "1c7e0d8a-5f4b-4f0e-8a7d-9a4c1b2d3e4f"
TARGET = f"8:acs:{RESOURCE}_6f0e2b7c-3a1d-4c5e-9b8f-0a1b2c3d4e5f"
TRANSFEREE = f"8:acs:{RESOURCE}_0d9c8b7a-6e5f-4a3b-8c1d-2e3f4a5b6c7d"
ECHO = "https://callbacks.example/acs"


def user(raw_id: str) -> dict:
    return {"kind": "communicationUser", "communicationUser": {"id": raw_id}}


BOTH = {
    "call": CALL,
    "to": CommunicationUser(TARGET),
    "transferee": CommunicationUser(TRANSFEREE),
    "operation_context": "handing over",
}

# What each example says, as ACS REST publishes it with the api-version; the values are made up.
EXAMPLES = [
    pytest.param(
        ApiVersion.V2026_03_12,
        Transfer(**BOTH, callback_uri=ECHO),
        f"/calling/callConnections/{CALL}:transferToParticipant?api-version=2026-03-12",
        {
            "targetParticipant": user(TARGET),
            "transferee": user(TRANSFEREE),
            "operationCallbackUri": ECHO,
            "operationContext": "handing over",
        },
        id="2026-03-12 CallConnection_TransferToParticipant",
    ),
    pytest.param(
        ApiVersion.V2024_09_15,
        Transfer(**BOTH, callback_uri=ECHO),
        f"/calling/callConnections/{CALL}:transferToParticipant?api-version=2024-09-15",
        {
            "targetParticipant": user(TARGET),
            "transferee": user(TRANSFEREE),
            "operationCallbackUri": ECHO,
            "operationContext": "handing over",
        },
        id="2024-09-15 CallConnection_TransferToParticipant",
    ),
    pytest.param(  # the final schema calls it operationCallbackUri; the name of the first draft needs `extra`
        ApiVersion.V2023_10_15,
        Transfer(**BOTH, extra={"overrideCallbackUri": ECHO}),
        f"/calling/callConnections/{CALL}:transferToParticipant?api-version=2023-10-15",
        {
            "targetParticipant": user(TARGET),
            "transferee": user(TRANSFEREE),
            "overrideCallbackUri": ECHO,
            "operationContext": "handing over",
        },
        id="2023-10-15 CallConnection_TransferToParticipant, first draft",
    ),
    pytest.param(
        ApiVersion.V2026_03_12,
        Redirect(call="incoming:1", to=CommunicationUser(TARGET), incoming_context="opaque.context"),
        "/calling/callConnections:redirect?api-version=2026-03-12",
        {"target": user(TARGET), "incomingCallContext": "opaque.context"},
        id="2026-03-12 RedirectCall",
    ),
]


@pytest.mark.parametrize(("version", "request_", "path", "body"), EXAMPLES)
async def test_a_published_example_is_reproduced(version, request_, path, body, submission):
    adapter = AcsAdapter(AcsSettings(api_version=version, endpoint="https://contoso.example"))
    assert adapter.plan(request_).problems == ()
    wire = await adapter.wire(submission(request_))
    assert (wire.method, wire.url) == ("POST", f"https://contoso.example{path}")
    assert wire.body == body


def test_a_preview_version_is_refused_by_name():
    # 2022-04-07-preview had other fields (transfereeCallerId, userToUserInformation) and is retired.
    with pytest.raises(ValueError, match=r"2022-04-07-preview.*2023-03-06, .*2026-03-12"):
        AcsSettings(api_version="2022-04-07-preview")


# --- the official SDK's models --------------------------------------------------------------------------

EVERYONE = [
    PhoneNumber("+14255550101"),
    PhoneNumber("+14255550101", asserted_id="b2"),
    PhoneNumber("anonymous"),
    CommunicationUser(TARGET),
    CommunicationUser("8:gcch-acs:r1_u1"),
    TeamsUser(OID),
    TeamsUser(OID, cloud=Cloud.DOD),
    TeamsUser("v1", anonymous=True),
    TeamsApp(OID),
    TeamsApp(OID, cloud=Cloud.GCCH),
    TeamsExtensionUser(user_id=OID, tenant_id=OID, resource_id=OID),
]
DETAILS = TeamsPhoneCallDetails(
    caller=TeamsPhoneCallerDetails(
        caller=PhoneNumber("anonymous"),
        name="Ann",
        phone_number="+14255550101",
        record_id="r-1",
        screen_pop_url="https://crm.example/r-1",
        is_authenticated=True,
        additional_caller_information={f"key {i}": f"value {i}" for i in range(10)},
    ),
    source=TeamsPhoneSourceDetails(
        source=TeamsApp(OID),
        language="en",
        status="resolved",
        intended_targets={"first": TeamsUser(OID), "second": CommunicationUser(TARGET)},
    ),
    session_id="s-1",
    intent="refund",
    call_topic="billing",
    call_context="asked for a refund",
    transcript_url="https://crm.example/t-1",
    call_sentiment="calm",
    suggested_actions="refund it",
)
TRANSFERS = [
    *(Transfer(call=CALL, to=someone) for someone in EVERYONE if someone.raw_id != "4:anonymous"),
    *(Transfer(call=CALL, to=PhoneNumber("+14255550101"), transferee=someone) for someone in EVERYONE),
    Transfer(call=CALL, to=TeamsUser(OID), context=CallingContext(teams=DETAILS)),
    Transfer(call=CALL, to=TeamsUser(OID), context=CallingContext(teams=TeamsPhoneCallDetails())),
    Transfer(
        **BOTH,
        caller_id=PhoneNumber("+14255550102"),
        callback_uri=ECHO,
        context=CallingContext(
            sip={"User-To-User": "abc", "X-MS-Custom-case": "42"}, voip={"case": "42"}, teams=DETAILS
        ),
    ),
]
REDIRECTS = [
    Redirect(call="incoming:1", to=someone, incoming_context="opaque")
    for someone in EVERYONE
    if someone.raw_id != "4:anonymous"
]
BODIES = [
    *((models.TransferToParticipantRequest, TRANSFER, request) for request in TRANSFERS),
    *((models.RedirectCallRequest, REDIRECT, request) for request in REDIRECTS),
]


def body_of_request(request):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return body_of(Submission(id="t-1", request=request, first_sent_at=at, deadline=Deadline(at)))


@pytest.mark.parametrize(("model", "schema", "request_"), BODIES)
def test_the_sdks_models_read_our_bodies_and_write_them_back(model, schema, request_):
    assert AcsAdapter(AcsSettings()).plan(request_).problems == ()
    body = body_of_request(request_)
    read = model.deserialize(json.loads(json.dumps(body)))
    assert read.serialize() == body
    assert not unknown_fields(read)
    assert find_problems(schema, body, version=ApiVersion.V2026_03_12) == [], "the emulator accepts it, too"


def unknown_fields(value: object) -> dict:
    """What a model of the SDK was given and has no attribute for, at any depth."""
    inner = value.values() if isinstance(value, dict) else vars(value).values() if is_model(value) else ()
    found = dict(value.additional_properties or {}) if is_model(value) else {}
    for one in inner:
        found |= unknown_fields(one)
    return found


def is_model(value: object) -> bool:
    return hasattr(value, "additional_properties")


def test_together_the_bodies_have_every_field_of_the_sdks_models():
    written = {path for _, _, request in BODIES for path in paths(body_of_request(request))}
    lacking = {path for path in model_paths(models.TransferToParticipantRequest) if path not in written}
    # `rawId` is optional in requests and the published examples have none; a caller id is never anonymous.
    assert {path for path in lacking if not path.endswith(".rawId")} == {
        "sourceCallerIdNumber.isAnonymous",
        "sourceCallerIdNumber.assertedId",
        "targetParticipant.phoneNumber.isAnonymous",
        *(f"customCallingContext.teamsPhoneCallDetails.{path}" for path in NOT_IN_THE_SAMPLE),
    }


# The sample's details name one kind of person in each place; `model_of` writes all of them alike.
NOT_IN_THE_SAMPLE = [
    *(
        f"teamsPhoneCallerDetails.caller.{path}"
        for path in (
            "communicationUser.id",
            "phoneNumber.assertedId",
            *(f"microsoftTeamsUser.{name}" for name in ("userId", "isAnonymous", "cloud")),
            *(f"microsoftTeamsApp.{name}" for name in ("appId", "cloud")),
            *(f"teamsExtensionUser.{name}" for name in ("userId", "tenantId", "resourceId", "cloud")),
        )
    ),
    *(
        f"teamsPhoneSourceDetails.source.{path}"
        for path in (
            "communicationUser.id",
            *(f"phoneNumber.{name}" for name in ("value", "isAnonymous", "assertedId")),
            *(f"microsoftTeamsUser.{name}" for name in ("userId", "isAnonymous", "cloud")),
            *(f"teamsExtensionUser.{name}" for name in ("userId", "tenantId", "resourceId", "cloud")),
        )
    ),
]


def paths(value: object, at: str = "") -> set[str]:
    """Where the leaves of a body are; the names in a map are its user's, so a map is a leaf."""
    if at.endswith(MAPS) or not isinstance(value, dict):
        return {at}
    return {path for name, item in value.items() for path in paths(item, f"{at}.{name}".lstrip("."))}


MAPS = ("sipHeaders", "voipHeaders", "additionalCallerInformation", "intendedTargets")


def model_paths(model: type, at: str = "") -> set[str]:
    """Where the leaves of a model of the SDK can be."""
    found = set()
    for attribute in model._attribute_map.values():
        path = f"{at}.{attribute['key']}".lstrip(".")
        inner = getattr(models, attribute["type"], None)
        found |= model_paths(inner, path) if hasattr(inner, "_attribute_map") else {path}
    return found


@pytest.mark.parametrize("someone", [*EVERYONE, UnknownIdentifier("48:echo")], ids=lambda one: one.raw_id)
def test_the_sdks_model_reads_the_identifiers_of_our_emulator(someone):
    body = response_model_of(someone)
    assert models.CommunicationIdentifierModel.deserialize(body).serialize() == body
