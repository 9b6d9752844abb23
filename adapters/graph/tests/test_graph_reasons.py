"""The code tables: every published code has a meaning."""

import pytest
from transferkit_graph.emulator.notifications import FAILURES
from transferkit_graph.reasons import CALL_CODES, HTTP_CODES, of_call, of_http

from transferkit.events import FailureReason as Reason
from transferkit.testing.scenarios import SCENARIOS, Ending

# learn.microsoft.com call-delete, the table of end reasons.
END_REASONS = {
    (200, 4097): Reason.CALLER_LEFT,
    (200, 4521): Reason.CALLER_LEFT,
    (200, 5000): Reason.CALL_ENDED,
    (200, 5300): Reason.CALL_ENDED,
    (200, 5001): Reason.CALL_ENDED,
    (200, 5003): Reason.CALL_ENDED,
    (200, 5002): Reason.CALLER_LEFT,
    (200, 5007): Reason.CALL_ENDED,
    (200, 5010): Reason.CALLER_LEFT,
    (200, 5012): Reason.CALL_ENDED,
    (200, 5013): Reason.CALL_ENDED,
    (200, 5014): Reason.CALL_ENDED,
    (200, 5020): Reason.CALL_ENDED,
    (200, 5030): Reason.CALL_ENDED,
    (200, 5855): Reason.CALL_ENDED,
    (200, 7000): Reason.CALL_ENDED,
    (200, 10550): Reason.CALL_ENDED,
    (200, 7015): Reason.CALL_ENDED,
    (200, 18503): Reason.CALLER_LEFT,
    (200, 540000): Reason.CALLER_LEFT,
    (200, 560000): Reason.CALLER_LEFT,
    (408, 1106): Reason.TIMEOUT,
    (408, 8537): Reason.TIMEOUT,
    (408, 10057): Reason.UNREACHABLE,
    (410, 301005): Reason.PROVIDER_ERROR,
    (480, 10037): Reason.UNREACHABLE,
    (480, 10076): Reason.UNREACHABLE,
    (480, 10134): Reason.UNREACHABLE,
    (480, 10199): Reason.TARGET_NOT_ALLOWED,
    (500, 1005): Reason.PROVIDER_ERROR,
}
# learn.microsoft.com call-transfer: failed, blind and consultative, and as an older revision had it.
TRANSFER_FAILURES = {
    (500, 1000): Reason.UNKNOWN,
    (500, 7000): Reason.UNKNOWN,
    (500, 7700): Reason.UNKNOWN,
}
# Recorded in issues: microsoft-graph-docs-contrib 63, microsoft-graph-docs participant-invite,
# azure-sdk-for-js 28369.
ISSUES = {
    (404, 10202): Reason.CALL_NOT_FOUND,
    (408, 13025): Reason.TIMEOUT,
    (500, 3002): Reason.PROVIDER_ERROR,
    (500, 3003): Reason.PROVIDER_ERROR,
    (500, 7106): Reason.PROVIDER_ERROR,
    (500, 7117): Reason.PROVIDER_ERROR,
    (500, 1203002): Reason.PROVIDER_ERROR,
    (500, 1203003): Reason.PROVIDER_ERROR,
    (580, 5201): Reason.PROVIDER_ERROR,
}
SEEN = {
    (486, 560486): Reason.BUSY,
    (480, 560480): Reason.NO_ANSWER,
    (408, 560408): Reason.NO_ANSWER,
    (404, 560404): Reason.TARGET_NOT_FOUND,
    (403, 560403): Reason.TARGET_NOT_ALLOWED,
    (603, 560603): Reason.DECLINED,
    (487, 10024): Reason.DECLINED,
    (487, 10004): Reason.NO_ANSWER,
    (486, None): Reason.BUSY,
    (600, 1): Reason.BUSY,
}


@pytest.mark.parametrize(("codes", "reason"), (END_REASONS | TRANSFER_FAILURES | ISSUES | SEEN).items())
def test_a_call_s_codes(codes, reason):
    result = of_call(*codes, "as Graph says")
    assert (result.code, result.subcode, result.message, result.reason) == (*codes, "as Graph says", reason)


@pytest.mark.parametrize("codes", END_REASONS | TRANSFER_FAILURES | ISSUES)
def test_every_published_pair_has_a_row_of_its_own(codes):
    assert codes in CALL_CODES


def test_no_row_stands_for_nothing():
    """Each row of the tables is published, is the calling service's, or is SIP's alone."""
    published = set(END_REASONS | TRANSFER_FAILURES | ISSUES) | {(0, 7015)}
    assert {(code, subcode) for code, subcode in CALL_CODES if code and subcode} <= published


def test_a_transfer_that_failed_for_reasons_unsaid_says_so():
    assert "whatever the cause" in of_call(500, 7000).advice


@pytest.mark.parametrize("codes", [(None, None), (None, 999999), (299, None), (487, 560487)])
def test_what_nobody_published_is_unknown(codes):
    assert of_call(*codes).reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (403, 7505, Reason.TENANT_MISMATCH),
        (404, 8522, Reason.CALL_NOT_FOUND),
        (400, 8523, Reason.UNSUPPORTED),
        (500, 9999, Reason.PROVIDER_ERROR),
        (400, None, Reason.UNSUPPORTED),
        (401, None, Reason.UNAUTHORIZED),
        (403, None, Reason.FORBIDDEN),
        (404, None, Reason.CALL_NOT_FOUND),
        (409, 8607, Reason.CONFLICT),
        (400, 8501, Reason.CALL_NOT_ESTABLISHED),
        (412, None, Reason.CONFLICT),
        (429, None, Reason.THROTTLED),
        (503, None, Reason.PROVIDER_ERROR),
        (504, None, Reason.TIMEOUT),
        (418, None, Reason.UNKNOWN),
    ],
)
def test_an_http_error(status, error, reason):
    assert of_http(status, error).reason is reason


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 423, 429])
@pytest.mark.parametrize("error", [7505, 8522, 8523, 8607, 9999])
def test_graph_s_own_number_says_more_than_the_status(status, error):
    assert of_http(status, error).reason is of_http(599, error).reason is not Reason.UNKNOWN


# learn.microsoft.com graph/errors, its table of statuses
@pytest.mark.parametrize(
    "status",
    [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 423, 429, 500, 501, 503, 504, 507, 509],
)
def test_every_published_status_has_a_row(status):
    assert (status, None) in HTTP_CODES


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (403, 7505, "tenant_id="),
        (404, 8522, "15 seconds"),
        (400, 8523, "name the transferee"),
        (409, 8607, "transferred already"),
        (500, 9999, "request id"),
        (429, None, "50,000"),
        (403, None, "Calls.Initiate.All"),
        (400, 8523, "transferee"),
        (401, None, "client_id"),
    ],
)
def test_where_the_cause_is_known_it_says_what_to_do(status, error, says):
    assert says in of_http(status, error).advice


@pytest.mark.parametrize("scenario", [line for line in SCENARIOS if line.ending is Ending.FAILS])
def test_the_emulator_s_codes_mean_what_its_scenarios_say(scenario):
    ending = FAILURES[scenario.reason]
    assert of_call(ending.code, ending.subcode).reason is scenario.reason
