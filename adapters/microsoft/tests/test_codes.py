"""Call end codes: every published code has a meaning, and the rules of `call_end` decide in their order."""

import pytest
from transferkit_microsoft.codes import (
    CODES,
    PAIRS,
    SIP_STATUSES,
    SUBCODES,
    Meaning,
    call_end,
    refusal,
)
from transferkit_microsoft.errors import ErrorBody

from transferkit.events import FailureReason as R

# learn.microsoft.com graph call-delete (the table of end reasons) and call-transfer (failed notifications).
GRAPH = {
    (200, 4097): R.CALLER_LEFT,
    (200, 4521): R.CALLER_LEFT,
    (200, 5000): R.CALL_ENDED,
    (200, 5001): R.CALL_ENDED,
    (200, 5002): R.CALL_ENDED,
    (200, 5003): R.CALL_ENDED,
    (200, 5007): R.CALL_ENDED,
    (200, 5010): R.CALL_ENDED,
    (200, 5012): R.CALL_ENDED,
    (200, 5013): R.CALL_ENDED,
    (200, 5014): R.CALL_ENDED,
    (200, 5020): R.CALL_ENDED,
    (200, 5030): R.CALL_ENDED,
    (200, 5300): R.CALL_ENDED,
    (200, 5855): R.CALL_ENDED,
    (200, 7000): R.CALL_ENDED,
    (200, 7015): R.CALL_ENDED,
    (200, 10550): R.CALL_ENDED,
    (200, 18503): R.CALLER_LEFT,
    (200, 540000): R.CALLER_LEFT,
    (200, 560000): R.CALLER_LEFT,
    (408, 1106): R.TIMEOUT,
    (408, 8537): R.TIMEOUT,
    (408, 10057): R.UNREACHABLE,
    (410, 301005): R.PROVIDER_ERROR,
    (480, 10037): R.UNREACHABLE,
    (480, 10076): R.UNREACHABLE,
    (480, 10134): R.UNREACHABLE,
    (480, 10199): R.TARGET_NOT_ALLOWED,
    (500, 1005): R.PROVIDER_ERROR,
    (500, 1000): R.UNKNOWN,
    (500, 7000): R.UNKNOWN,
    (500, 7700): R.UNKNOWN,
}
# learn.microsoft.com communication-services troubleshooting codes: call end.
CALL_END = {
    (0, 0): R.CALL_ENDED,
    (487, 0): R.CALLER_LEFT,
    (603, 0): R.DECLINED,
    (496, 7): R.PROVIDER_ERROR,
    (410, 3100): R.UNREACHABLE,
    (410, 3101): R.PROVIDER_ERROR,
    (410, 3111): R.UNREACHABLE,
    (410, 3112): R.UNREACHABLE,
    (0, 4097): R.CALL_ENDED,
    (490, 4502): R.PROVIDER_ERROR,
    (408, 4506): R.NO_ANSWER,
    (495, 4507): R.UNAUTHORIZED,
    (0, 4521): R.CALLER_LEFT,
    (0, 5000): R.CALL_ENDED,
    (0, 5003): R.CALL_ENDED,
    (0, 5300): R.CALL_ENDED,
    (0, 5317): R.CALL_ENDED,
    (0, 7000): R.CALL_ENDED,
    (487, 10003): R.CONFLICT,
    (487, 10004): R.NO_ANSWER,
    (401, 10009): R.UNAUTHORIZED,
    (487, 10024): R.DECLINED,
    (480, 10037): R.UNREACHABLE,
    (408, 10057): R.UNREACHABLE,
    (480, 10076): R.UNREACHABLE,
    (480, 10077): R.UNREACHABLE,
    (480, 10078): R.UNREACHABLE,
    (430, 10315): R.UNREACHABLE,
    (410, 301004): R.UNREACHABLE,
    (410, 301005): R.PROVIDER_ERROR,
    (404, None): R.TARGET_NOT_FOUND,
    (408, None): R.UNREACHABLE,
    (410, None): R.PROVIDER_ERROR,
    (430, None): R.UNREACHABLE,
    (480, None): R.UNREACHABLE,
    (481, None): R.PROVIDER_ERROR,
    (490, None): R.PROVIDER_ERROR,
    (491, None): R.PROVIDER_ERROR,
    (496, None): R.PROVIDER_ERROR,
    (497, None): R.PROVIDER_ERROR,
    (498, None): R.PROVIDER_ERROR,
    (500, None): R.PROVIDER_ERROR,
    (503, None): R.PROVIDER_ERROR,
    (504, None): R.TIMEOUT,
}
# The same page: Call Automation.
CALL_AUTOMATION = {
    (200, 0): R.CALL_ENDED,
    (409, 8500): R.CONFLICT,
    (603, 8538): R.DECLINED,
    (486, 8539): R.BUSY,
    (486, 8540): R.BUSY,
    (480, 8541): R.UNREACHABLE,
    (480, 8544): R.UNREACHABLE,
    (400, 8549): R.UNSUPPORTED,
    (400, 8550): R.UNSUPPORTED,
    (400, 8551): R.UNSUPPORTED,
    (409, 8555): R.CONFLICT,
    (486, None): R.BUSY,
}
# The same page: PSTN.
PSTN = {
    (0, 540000): R.CALL_ENDED,
    (0, 560000): R.CALL_ENDED,
    (403, 510403): R.TARGET_NOT_ALLOWED,
    (404, 511404): R.TARGET_NOT_FOUND,
    (403, 511532): R.UNREACHABLE,
    (410, 531004): R.UNREACHABLE,
    (408, 500001): R.TIMEOUT,
    (403, 560403): R.TARGET_NOT_ALLOWED,
    (404, 560404): R.TARGET_NOT_FOUND,
    (408, 560408): R.NO_ANSWER,
    (480, 560480): R.NO_ANSWER,
    (484, 560484): R.TARGET_NOT_FOUND,
    (486, 540486): R.BUSY,
    (486, 560486): R.BUSY,
    (487, 540487): R.CALLER_LEFT,
    (487, 560487): R.CALLER_LEFT,
    (497, 560487): R.CALLER_LEFT,
    (500, 560500): R.PROVIDER_ERROR,
    (503, 560503): R.PROVIDER_ERROR,
    (603, 560603): R.DECLINED,
    (488, 560488): R.UNREACHABLE,  # no row of its own: the SIP status of an outbound leg
}
# azure-sdk-for-js issue 28369.
ISSUES = {(404, 10202): R.CALL_NOT_FOUND}


@pytest.mark.parametrize(
    ("codes", "reason"), [*(GRAPH | CALL_END | CALL_AUTOMATION | PSTN | ISSUES).items()], ids=str
)
def test_a_published_code_has_its_meaning(codes, reason):
    result = call_end(*codes, message="as the provider said")
    assert (result.code, result.subcode, result.message) == (*codes, "as the provider said")
    assert result.reason is reason


@pytest.mark.parametrize("subcode", [5002, 5010])
@pytest.mark.parametrize("code", [0, 200])
def test_participants_who_left_may_have_been_transferred_so_the_caller_is_not_reported_as_gone(code, subcode):
    assert call_end(code, subcode).reason is R.CALL_ENDED


@pytest.mark.parametrize(
    "codes", [(410, 301005), (410, 3101), (410, None), (480, 10037), (480, 10199), (408, 10057)], ids=str
)
def test_only_a_phone_leg_advises_to_check_the_number(codes):
    assert "number" not in (call_end(*codes).advice or "")
    assert "number" in call_end(404, 560404).advice


@pytest.mark.parametrize(
    "codes",
    [
        (404, 123456),
        (410, 77777),
        (480, 77777),
        (486, 777),
        (603, 9),
        (200, 12345),
        (500, 3003),
        (500, 7106),
        (408, 13025),
        (580, 5201),
        (None, 999999),
        (777, None),
    ],
    ids=str,
)
def test_a_code_without_a_published_meaning_is_unknown_and_the_advice_says_so(codes):
    result = call_end(*codes)
    assert result.reason is R.UNKNOWN
    pair = "/".join("-" if each is None else str(each) for each in codes)
    assert f"Microsoft publishes no meaning for the codes {pair}" in result.advice


def test_no_codes_at_all_are_unknown_and_need_no_advice():
    assert (call_end(None).reason, call_end(None).advice) == (R.UNKNOWN, None)


def test_a_transfer_that_graph_fails_without_a_cause_says_so():
    assert "whatever the cause" in call_end(500, 7000).advice


@pytest.mark.parametrize(
    ("subcode", "sip", "reason"),
    [
        (560503, 486, R.BUSY),
        (560503, 404, R.TARGET_NOT_FOUND),
        (560503, 799, R.PROVIDER_ERROR),
        (560503, None, R.PROVIDER_ERROR),
        (540503, 486, R.BUSY),
        (8538, 486, R.DECLINED),
        (10037, 404, R.UNREACHABLE),
    ],
)
def test_the_carriers_status_decides_about_a_phone_leg_and_about_nothing_else(subcode, sip, reason):
    assert call_end(500, subcode, sip=sip).reason is reason


def test_the_code_decides_about_a_phone_leg_whose_subcode_ends_in_no_sip_status():
    assert call_end(403, 560999).reason is R.TARGET_NOT_ALLOWED


@pytest.mark.parametrize("table", [SUBCODES, PAIRS, SIP_STATUSES, CODES])
def test_only_rows_that_say_so_have_no_reason(table):
    assert all(row.advice for row in table.values() if row.reason is R.UNKNOWN)


@pytest.mark.parametrize(
    "reason", [R.UNAUTHORIZED, R.FORBIDDEN, R.TENANT_MISMATCH, R.TARGET_NOT_ALLOWED, R.TARGET_NOT_FOUND]
)
def test_every_row_that_the_user_can_do_something_about_has_advice(reason):
    rows = [row for table in (SUBCODES, PAIRS, SIP_STATUSES, CODES) for row in table.values()]
    assert all(row.advice for row in rows if row.reason is reason)


# --- HTTP errors ------------------------------------------------------------------------------------

OWN = {8522: Meaning(R.CALL_NOT_FOUND, "as this provider advises")}
STATUSES = {404: Meaning(R.CALL_NOT_FOUND), 403: Meaning(R.FORBIDDEN)}


def refused(status, *codes, message=None, request_id=None):
    body = ErrorBody(codes=codes, message=message, request_id="in the body")
    return refusal(status, body, own=OWN, statuses=STATUSES, request_id=request_id)


@pytest.mark.parametrize(
    ("status", "codes", "reason", "code"),
    [
        (403, [7503], R.FORBIDDEN, 7503),
        (403, [7505], R.TENANT_MISMATCH, 7505),
        (404, [8522], R.CALL_NOT_FOUND, 8522),
        (405, [8522], R.CALL_NOT_FOUND, 8522),
        (405, [8523], R.UNSUPPORTED, 8523),
        (409, [8500], R.CONFLICT, 8500),
        (403, [123456, 7505], R.TENANT_MISMATCH, 7505),
        (403, [123456], R.FORBIDDEN, 123456),
        (403, [], R.FORBIDDEN, None),
        (599, [], R.PROVIDER_ERROR, None),
        (418, [], R.UNKNOWN, None),
    ],
)
def test_the_first_code_with_a_meaning_decides_about_an_http_error_else_the_status(
    status, codes, reason, code
):
    result = refused(status, *((each, None) for each in codes))
    assert (result.reason, result.code, result.subcode) == (reason, status, code)


def test_7503_advises_to_enable_calling_on_the_bot():
    assert "Enable calling on the bot" in refused(403, (7503, None)).advice


def test_a_providers_own_advice_comes_before_the_shared_one():
    assert refused(404, (8522, None)).advice == "as this provider advises"


def test_the_message_beside_the_code_is_kept_else_the_outermost():
    assert refused(403, (7505, "inner"), message="outer").message == "inner"
    assert refused(403, (7505, None), message="outer").message == "outer"


def test_the_request_id_of_the_headers_comes_before_that_of_the_body():
    assert refused(403, request_id="in the headers").request_id == "in the headers"
    assert refused(403).request_id == "in the body"
