"""The code tables: every published code has a meaning, and the finer one wins."""

import pytest
from transferkit_acs import reasons
from transferkit_acs.emulator.codes import FAILURES as EMULATED
from transferkit_acs.reasons import failure, refusal

from transferkit.events import FailureReason as R

REFUSALS = [
    (400, 8501, R.CALL_NOT_ESTABLISHED),
    (400, 8505, R.CONFLICT),
    (400, 8523, R.UNSUPPORTED),
    (400, 8528, R.CALL_ENDED),
    (400, 8548, R.UNSUPPORTED),
    (400, 8558, R.UNSUPPORTED),
    (400, 8585, R.CALL_NOT_ESTABLISHED),
    (401, 7509, R.UNAUTHORIZED),
    (403, 7504, R.FORBIDDEN),
    (403, 7505, R.TENANT_MISMATCH),
    (403, 7507, R.FORBIDDEN),
    (404, 8522, R.CALL_NOT_FOUND),
    (405, 8520, R.UNSUPPORTED),
    (405, 8522, R.UNSUPPORTED),
    (409, 8519, R.CONFLICT),
    (409, 8607, R.CONFLICT),
    (412, 8583, R.CONFLICT),
    (429, 8516, R.THROTTLED),
    (400, None, R.UNSUPPORTED),
    (401, None, R.UNAUTHORIZED),
    (403, None, R.FORBIDDEN),
    (404, None, R.CALL_NOT_FOUND),
    (405, None, R.UNSUPPORTED),
    (408, None, R.TIMEOUT),
    (409, None, R.CONFLICT),
    (412, None, R.CONFLICT),
    (429, None, R.THROTTLED),
    (500, None, R.PROVIDER_ERROR),
    (502, None, R.PROVIDER_ERROR),
    (503, None, R.PROVIDER_ERROR),
    (504, None, R.TIMEOUT),
    (599, None, R.PROVIDER_ERROR),
    (418, None, R.UNKNOWN),
    (404, 123456, R.CALL_NOT_FOUND),
]

FAILURES = [
    (603, 8538, R.DECLINED),
    (486, 8539, R.BUSY),
    (486, 8540, R.BUSY),
    (480, 8541, R.UNREACHABLE),
    (480, 8544, R.UNREACHABLE),
    (400, 8549, R.UNSUPPORTED),
    (400, 8550, R.UNSUPPORTED),
    (400, 8551, R.UNSUPPORTED),
    (409, 8555, R.CONFLICT),
    (487, 10003, R.CONFLICT),
    (487, 10004, R.NO_ANSWER),
    (487, 10024, R.DECLINED),
    (403, 510403, R.TARGET_NOT_ALLOWED),
    (403, 560403, R.TARGET_NOT_ALLOWED),
    (404, 560404, R.TARGET_NOT_FOUND),
    (408, 560408, R.NO_ANSWER),
    (480, 560480, R.NO_ANSWER),
    (484, 560484, R.TARGET_NOT_FOUND),
    (486, 560486, R.BUSY),
    (486, 540486, R.BUSY),
    (487, 540487, R.CALLER_LEFT),
    (487, 560487, R.CALLER_LEFT),
    (497, 560487, R.CALLER_LEFT),
    (500, 560500, R.PROVIDER_ERROR),
    (503, 560503, R.PROVIDER_ERROR),
    (603, 560603, R.DECLINED),
    (0, 560000, R.CALL_ENDED),
    (0, 540000, R.CALL_ENDED),
    (200, 0, R.CALL_ENDED),
    (487, 0, R.CALLER_LEFT),
    (200, 4521, R.CALLER_LEFT),
    (200, 5010, R.CALL_ENDED),
    (200, 7000, R.CALL_ENDED),
    (486, None, R.BUSY),
    (403, 560999, R.TARGET_NOT_ALLOWED),
    (None, 560486, R.BUSY),
    (None, None, R.UNKNOWN),
    (777, 777, R.UNKNOWN),
]


# The published rows: learn.microsoft.com troubleshooting codes (Call Automation, PSTN, calling), by the way
# on which they come. A family 560xxx or 540xxx is its SIP codes on an outbound or inbound leg.
PUBLISHED_REFUSALS = {
    8501, 8505, 8516, 8519, 8520, 8522, 8523, 8528, 8548, 8558, 8585, 8607, 7504, 7505, 7507, 7509,
}  # fmt: skip
PUBLISHED_FAILURES = {
    8538, 8539, 8541, 8544, 8549, 8550, 8551, 8555, 10003, 10004, 10024, 510403, 4521, 7000,
    560403, 560404, 560408, 560480, 560486, 560487, 560603, 540486, 540487,
}  # fmt: skip
PUBLISHED_STATUSES = {400, 401, 403, 404, 405, 408, 409, 412, 429, 500, 502, 503, 504}


def test_every_published_row_is_walked():
    assert {subcode for _, subcode, _ in REFUSALS} >= PUBLISHED_REFUSALS
    assert {subcode for _, subcode, _ in FAILURES} >= PUBLISHED_FAILURES
    assert {status for status, subcode, _ in REFUSALS if subcode is None} >= PUBLISHED_STATUSES


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (refusal(404, 8522), ["ended", "another resource"]),
        (refusal(404), ["ended", "another resource"]),
        (refusal(405, 8522), ["configuration"]),
        (refusal(400, 8523), ["correct", "parameter", "message"]),
        (refusal(400), ["correct", "parameter"]),
        (refusal(400, 8501), ["CallConnected"]),
        (refusal(400, 8505), ["transferee"]),
        (refusal(409, 8607), ["already", "outcome"]),
        (refusal(409), ["wait"]),
        (refusal(412), ["five minutes", "clock"]),
        (refusal(412, 8583), ["five minutes", "clock"]),
        (refusal(412, 8523), ["five minutes", "clock"]),
        (refusal(401), ["connection string", "Entra", "role"]),
        (refusal(401, 7509), ["signature", "access key", "clock"]),
        (refusal(403), ["credentials", "created or answered"]),
        (refusal(403, 7504), ["credentials", "created or answered"]),
        (refusal(403, 7507), ["credentials", "created or answered"]),
        (refusal(403, 7505), ["tenant"]),
        (refusal(405, 8520), ["kind of call"]),
        (refusal(429, 8516), ["less often"]),
        (failure(603, 560603), ["fraud", "at once"]),
        (failure(403, 510403), ["caller_id"]),
        (failure(403, 560403), ["caller_id"]),
        (failure(404, 560404), ["E.164"]),
        (failure(404, 8548), ["transferee"]),
        (failure(404, 8558), ["transferee"]),
    ],
    ids=lambda value: f"{value.code}-{value.subcode}" if hasattr(value, "code") else "",
)
def test_what_to_do_is_said_where_the_cause_is_known(result, words):
    assert [word for word in words if word not in result.advice] == []


@pytest.mark.parametrize(("status", "subcode", "reason"), REFUSALS)
def test_refusals(status, subcode, reason):
    result = refusal(status, subcode, message="words", request_id="chain")
    assert (result.code, result.subcode, result.reason) == (status, subcode, reason)
    assert (result.message, result.request_id) == ("words", "chain")


@pytest.mark.parametrize(("code", "subcode", "reason"), FAILURES)
def test_failures(code, subcode, reason):
    result = failure(code, subcode, message="words")
    assert (result.code, result.subcode, result.reason, result.message) == (code, subcode, reason, "words")


@pytest.mark.parametrize(
    ("subcode", "sip", "reason"),
    [
        (560503, 486, R.BUSY),
        (560503, 404, R.TARGET_NOT_FOUND),
        (560503, 799, R.PROVIDER_ERROR),
        (560503, None, R.PROVIDER_ERROR),
        (8538, 486, R.DECLINED),
    ],
)
def test_a_carriers_own_word_goes_before_the_sum_that_acs_makes_of_a_pstn_leg(subcode, sip, reason):
    assert failure(500, subcode, sip=sip).reason is reason


@pytest.mark.parametrize("table", [reasons.SUBCODES, reasons.PAIRS, reasons.SIP_CODES, reasons.HTTP_STATUSES])
def test_every_row_has_a_meaning(table):
    assert [key for key, meaning in table.items() if meaning.reason is R.UNKNOWN] == []


@pytest.mark.parametrize("reason", list(EMULATED))
def test_what_the_emulator_says_means_what_its_scenario_means(reason):
    told = EMULATED[reason]
    assert failure(told.code, told.subcode).reason is reason


@pytest.mark.parametrize(
    "reason", [R.UNAUTHORIZED, R.FORBIDDEN, R.TENANT_MISMATCH, R.CONFLICT, R.TARGET_NOT_ALLOWED]
)
def test_where_the_user_can_do_something_it_is_said(reason):
    rows = [*reasons.SUBCODES.values(), *reasons.SIP_CODES.values(), *reasons.HTTP_STATUSES.values()]
    assert all(row.advice for row in rows if row.reason is reason)
