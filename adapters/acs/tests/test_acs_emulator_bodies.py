"""Which request bodies the emulator accepts: the published fields, each since its API version."""

import pytest
from transferkit_acs import ApiVersion
from transferkit_acs.emulator import schema

from transferkit.emulators.schema import find_problems

PHONE = {"kind": "phoneNumber", "rawId": "4:+14255550101", "phoneNumber": {"value": "+14255550101"}}
OLD, NEW = ApiVersion.V2023_03_06, ApiVersion.V2026_03_12
URI = "https://app.example/callbacks"


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (PHONE, 0),
        ({"rawId": "4:+14255550101"}, 0),
        ({"phoneNumber": {"value": "+14255550101", "isAnonymous": "no"}}, 1),
        ({"microsoftTeamsUser": {"userId": "o1", "cloud": "PUBLIC"}}, 0),
        ({}, 1),
        ("4:+14255550101", 1),
        ({**PHONE, "kind": "communicationUser"}, 1),
        ({**PHONE, "communicationUser": {"id": "8:acs:r_u"}}, 1),
        ({**PHONE, "colour": "red"}, 1),
        ({"phoneNumber": {}}, 1),
        ({"microsoftTeamsUser": {"userId": "", "cloud": "moon", "isAnonymous": "no"}}, 3),
    ],
)
def test_every_problem_of_an_identifier_is_found(model, count):
    assert len(find_problems(schema.identifier, model, version=NEW)) == count


@pytest.mark.parametrize(
    ("body", "version", "count"),
    [
        ({"targetParticipant": PHONE}, OLD, 0),
        ({"targetParticipant": PHONE, "transferee": "of a later version"}, OLD, 0),
        ({"targetParticipant": PHONE, "transferee": "nobody"}, NEW, 1),
        ({"targetParticipant": PHONE, "colour": "red"}, OLD, 1),
        ({"targetParticipant": {"microsoftTeamsApp": {"appId": "a1"}}}, OLD, 1),
        ({"targetParticipant": {"microsoftTeamsApp": {"appId": "a1"}}}, NEW, 0),
        ({"targetParticipant": PHONE, "transferee": PHONE}, NEW, 0),
        ({"targetParticipant": PHONE, "sourceCallerIdNumber": {"value": "+14255550102"}}, NEW, 0),
        ({"targetParticipant": PHONE, "sourceCallerIdNumber": PHONE}, NEW, 4),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": {}, "sipHeaders": {}}}, NEW, 0),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": {"a": 1}}}, NEW, 1),
        ({"targetParticipant": PHONE, "customCallingContext": {"voipHeaders": []}}, NEW, 1),
        ({"targetParticipant": PHONE, "operationCallbackUri": "app"}, NEW, 1),
        ({"targetParticipant": PHONE, "operationContext": 7}, NEW, 1),
        ({}, NEW, 1),
        ([], NEW, 1),
    ],
)
def test_every_problem_of_a_transfer_is_found(body, version, count):
    assert len(find_problems(schema.TRANSFER, body, version=version)) == count


@pytest.mark.parametrize(
    ("check", "body", "version", "wrong"),
    [
        (schema.REDIRECT, {"incomingCallContext": "opaque", "target": PHONE}, OLD, []),
        (
            schema.REDIRECT,
            {"incomingCallContext": "", "target": PHONE, "context": 1},
            NEW,
            ["incomingCallContext", "context"],
        ),
        (schema.REJECT, {"incomingCallContext": "opaque", "callRejectReason": "busy"}, OLD, []),
        (schema.REJECT, {"callRejectReason": "tired"}, NEW, ["callRejectReason", "incomingCallContext"]),
        (schema.REJECT, {"incomingCallContext": "opaque", "callRejectReason": []}, NEW, ["callRejectReason"]),
        (schema.ANSWER, {"incomingCallContext": "opaque", "callbackUri": URI}, OLD, []),
        (
            schema.ANSWER,
            {"incomingCallContext": "opaque", "callbackUri": "app", "answeredBy": {}},
            NEW,
            ["callbackUri", "answeredBy.id"],
        ),
        (
            schema.ANSWER,
            {"incomingCallContext": "opaque", "callbackUri": URI, "callIntelligenceOptions": []},
            OLD,
            [],
        ),
        (schema.CREATE, {"targets": [PHONE], "callbackUri": URI}, OLD, []),
        (schema.CREATE, {"targets": [], "callbackUri": URI}, NEW, ["targets"]),
        (schema.CREATE, {"targets": [PHONE, {}]}, NEW, ["targets[1]", "callbackUri"]),
        (
            schema.CREATE,
            {"targets": [PHONE], "callbackUri": URI, "teamsAppSource": {}},
            ApiVersion.V2025_05_15,
            [],
        ),
        (
            schema.CREATE,
            {"targets": [PHONE], "callbackUri": URI, "mediaStreamingOptions": "all"},
            NEW,
            ["mediaStreamingOptions"],
        ),
        (schema.ADD_PARTICIPANT, {"participantToAdd": PHONE, "invitationTimeoutInSeconds": 30}, OLD, []),
        (
            schema.ADD_PARTICIPANT,
            {"participantToAdd": PHONE, "invitationTimeoutInSeconds": 181},
            NEW,
            ["invitationTimeoutInSeconds"],
        ),
        (schema.REMOVE_PARTICIPANT, {"participantToRemove": PHONE}, OLD, []),
        (
            schema.REMOVE_PARTICIPANT,
            {"participantToRemove": PHONE, "operationCallbackUri": "app"},
            NEW,
            ["operationCallbackUri"],
        ),
    ],
)
def test_every_problem_of_another_body_is_found_with_its_field(check, body, version, wrong):
    assert [problem.path for problem in find_problems(check, body, version=version)] == wrong


@pytest.mark.parametrize("version", list(ApiVersion))
def test_phone_numbers_in_the_form_of_the_javascript_sdk_are_accepted_in_every_version(version):
    number = {"value": "+14255550101", "isAnonymous": False}
    target = {"kind": "phoneNumber", "rawId": "4:+14255550101", "phoneNumber": number}
    body = {"targets": [target], "sourceCallerIdNumber": number, "callbackUri": URI}
    assert find_problems(schema.CREATE, body, version=version) == []


def test_a_field_of_a_later_version_is_ignored():
    body = {"targetParticipant": PHONE, "operationContext": "case 42", "operationCallbackUri": URI}
    assert schema.TRANSFER.known_fields(body, NEW) == body
    assert schema.TRANSFER.known_fields(body, OLD) == {
        "targetParticipant": PHONE,
        "operationContext": "case 42",
    }
