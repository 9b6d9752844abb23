"""The meaning of Graph's HTTP errors: by the calling service's code if it has a meaning, else by status."""

import json

import pytest
from transferkit_graph.emulator.notifications import FAILURES
from transferkit_graph.reasons import GRAPH
from transferkit_microsoft.codes import call_end
from transferkit_microsoft.responses import HttpResponse

from transferkit.events import FailureReason as Reason
from transferkit.testing.scenarios import SCENARIOS, Ending


def refused(status, code=None, message="Said so."):
    error = {"code": str(code), "message": message, "innerError": {"request-id": "r-1"}}
    return GRAPH.result(HttpResponse(status=status, body=json.dumps({"error": error}).encode()))


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, 7503, Reason.FORBIDDEN),
        (403, 7504, Reason.FORBIDDEN),
        (403, 7505, Reason.TENANT_MISMATCH),
        (404, 8522, Reason.CALL_NOT_FOUND),
        (400, 8523, Reason.UNSUPPORTED),
        (409, 8500, Reason.CONFLICT),
        (500, 9999, Reason.PROVIDER_ERROR),
        (400, None, Reason.UNSUPPORTED),
        (401, None, Reason.UNAUTHORIZED),
        (403, None, Reason.FORBIDDEN),
        (404, None, Reason.CALL_NOT_FOUND),
        (409, 8607, Reason.CONFLICT),
        (400, 8501, Reason.CALL_NOT_ESTABLISHED),
        (406, None, Reason.UNSUPPORTED),
        (410, None, Reason.CALL_ENDED),
        (412, None, Reason.CONFLICT),
        (415, None, Reason.UNSUPPORTED),
        (422, None, Reason.UNSUPPORTED),
        (423, None, Reason.CONFLICT),
        (426, None, Reason.UNKNOWN),
        (429, None, Reason.THROTTLED),
        (509, None, Reason.THROTTLED),
        (503, None, Reason.PROVIDER_ERROR),
        (504, None, Reason.TIMEOUT),
        (418, None, Reason.UNKNOWN),
    ],
)
def test_a_refusal_has_its_published_meaning(status, code, reason):
    result = refused(status, code)
    assert (result.code, result.subcode, result.reason) == (status, code, reason)
    assert (result.message, result.request_id) == ("Said so.", "r-1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 423, 429])
@pytest.mark.parametrize("code", [7503, 7505, 8522, 8523, 8607, 9999])
def test_the_code_decides_before_the_status(status, code):
    assert refused(status, code).advice == refused(599, code).advice is not None


@pytest.mark.parametrize("code", ["UnknownError", "Forbidden"])
def test_the_real_code_is_found_as_json_text_inside_the_message(code):
    nested = {"errorCode": "7503", "message": "Application is not registered in our store."}
    result = refused(403, code, json.dumps(nested))
    assert (result.subcode, result.message) == (7503, nested["message"])
    assert result.reason is Reason.FORBIDDEN
    assert "Enable calling on the bot" in result.advice


# learn.microsoft.com graph/errors, its table of statuses
@pytest.mark.parametrize(
    "status",
    [400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 423, 429, 500, 501, 503, 504, 507, 509],
)
def test_every_published_status_has_a_meaning(status):
    assert refused(status).reason is not Reason.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, 7503, "Enable calling on the bot"),
        (403, 7504, "Calls.Initiate.All"),
        (403, 7505, "tenant_id="),
        (404, 8522, "15 seconds"),
        (400, 8523, "name the transferee"),
        (409, 8607, "transferred already"),
        (500, 9999, "request id"),
        (429, None, "50,000"),
        (403, None, "Calls.Initiate.All"),
        (401, None, "client_id"),
    ],
)
def test_the_advice_says_what_to_do_where_the_cause_is_known(status, code, says):
    assert says in refused(status, code).advice


@pytest.mark.parametrize("scenario", [line for line in SCENARIOS if line.ending is Ending.FAILS])
def test_the_emulators_codes_mean_what_their_scenarios_say(scenario):
    ending = FAILURES[scenario.reason]
    assert call_end(ending.code, ending.subcode).reason is scenario.reason
