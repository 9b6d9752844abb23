"""The meaning of ACS's HTTP errors: by the calling service's code if it has a meaning, else by the status."""

import json

import pytest
from transferkit_acs.emulator.outcomes import FAILURES as EMULATED
from transferkit_acs.reasons import ACS
from transferkit_microsoft.codes import HTTP_STATUSES, call_end
from transferkit_microsoft.responses import HttpResponse

from transferkit.events import FailureReason as R


def refused(status, code=None, **error):
    body = {"error": {"code": str(code), "message": "Said so.", **error}} if code or error else None
    content = json.dumps(body).encode() if body else b""
    headers = {"x-microsoft-skype-chain-id": "chain"}
    return ACS.result(HttpResponse(status=status, headers=headers, body=content))


REFUSALS = [
    (400, 8500, R.CONFLICT),
    (400, 8501, R.CALL_NOT_ESTABLISHED),
    (400, 8505, R.CONFLICT),
    (400, 8523, R.UNSUPPORTED),
    (400, 8528, R.CALL_ENDED),
    (400, 8548, R.UNSUPPORTED),
    (400, 8558, R.UNSUPPORTED),
    (400, 8585, R.CALL_NOT_ESTABLISHED),
    (401, 7509, R.UNAUTHORIZED),
    (403, 7503, R.FORBIDDEN),
    (403, 7504, R.FORBIDDEN),
    (403, 7505, R.TENANT_MISMATCH),
    (403, 7507, R.FORBIDDEN),
    (404, 8522, R.CALL_NOT_FOUND),
    (405, 8520, R.UNSUPPORTED),
    (405, 8522, R.UNSUPPORTED),
    (409, 8500, R.CONFLICT),
    (409, 8519, R.CONFLICT),
    (409, 8607, R.CONFLICT),
    (412, 8583, R.CONFLICT),
    (429, 8516, R.THROTTLED),
    (400, None, R.UNSUPPORTED),
    (401, None, R.UNAUTHORIZED),
    (403, None, R.FORBIDDEN),
    (404, None, R.CALL_NOT_FOUND),
    (405, None, R.UNSUPPORTED),
    (406, None, R.UNSUPPORTED),
    (408, None, R.TIMEOUT),
    (409, None, R.CONFLICT),
    (410, None, R.UNKNOWN),
    (412, None, R.CONFLICT),
    (413, None, R.UNSUPPORTED),
    (422, None, R.UNKNOWN),
    (423, None, R.UNKNOWN),
    (426, None, R.UNSUPPORTED),
    (429, None, R.THROTTLED),
    (509, None, R.PROVIDER_ERROR),
    (500, None, R.PROVIDER_ERROR),
    (502, None, R.PROVIDER_ERROR),
    (503, None, R.PROVIDER_ERROR),
    (504, None, R.TIMEOUT),
    (599, None, R.PROVIDER_ERROR),
    (418, None, R.UNKNOWN),
    (404, 123456, R.CALL_NOT_FOUND),
]


@pytest.mark.parametrize(("status", "code", "reason"), REFUSALS)
def test_a_refusal_has_its_published_meaning(status, code, reason):
    result = refused(status, code)
    assert (result.code, result.subcode, result.reason) == (status, code, reason)
    assert (result.message, result.request_id) == ("Said so." if code else None, "chain")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, 8522, ["ended"]),
        (404, None, ["ended", "another resource"]),
        (405, 8522, ["configuration"]),
        (400, 8523, ["correct", "parameter", "message"]),
        (400, None, ["correct", "parameter"]),
        (400, 8501, ["CallConnected"]),
        (400, 8505, ["transferee"]),
        (404, 8548, ["transferee"]),
        (404, 8558, ["transferee"]),
        (409, 8607, ["already", "outcome"]),
        (409, None, ["wait"]),
        (412, None, ["five minutes", "clock"]),
        (412, 8583, ["five minutes", "clock"]),
        (412, 8523, ["five minutes", "clock"]),
        (401, None, ["connection string", "Entra", "role"]),
        (401, 7509, ["signature", "access key", "clock"]),
        (403, None, ["credentials", "created or answered"]),
        (403, 7504, ["credentials", "created or answered"]),
        (403, 7507, ["credentials", "created or answered"]),
        (403, 7505, ["tenant"]),
        (405, 8520, ["kind of call"]),
        (429, 8516, ["fewer requests"]),
    ],
)
def test_the_advice_says_what_to_do_where_the_cause_is_known(status, code, words):
    advice = refused(status, code).advice
    assert [word for word in words if word not in advice] == []


@pytest.mark.parametrize(
    "error",
    [
        {"innererror": {"code": "8522", "message": "Call not found."}},
        {"details": [{"code": "8522", "message": "Call not found.", "target": "call"}]},
        {"message": '{"errorCode": "8522", "message": "Call not found."}'},
    ],
    ids=["innererror", "details", "message"],
)
def test_the_real_code_is_found_behind_a_word_as_the_code(error):
    result = refused(404, "BadRequest", **error)
    assert (result.subcode, result.message) == (8522, "Call not found.")
    assert result.reason is R.CALL_NOT_FOUND


@pytest.mark.parametrize("reason", list(EMULATED))
def test_the_emulators_codes_mean_what_their_scenarios_say(reason):
    ending = EMULATED[reason]
    assert call_end(ending.code, ending.subcode).reason is reason


@pytest.mark.parametrize("reason", [R.UNAUTHORIZED, R.FORBIDDEN, R.CONFLICT])
def test_every_row_that_the_user_can_do_something_about_has_advice(reason):
    rows = [*ACS.codes.values(), *ACS.statuses.values(), *HTTP_STATUSES.values()]
    assert all(row.advice for row in rows if row.reason is reason)
