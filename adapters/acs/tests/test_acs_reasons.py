"""The code tables: every published code has a meaning, and the finer one wins."""

import pytest
from transferkit_acs import reasons
from transferkit_acs.emulator import _FAILURES
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


@pytest.mark.parametrize("reason", list(_FAILURES))
def test_what_the_emulator_says_means_what_its_scenario_means(reason):
    code, subcode, _ = _FAILURES[reason]
    assert failure(code, subcode).reason is reason


@pytest.mark.parametrize(
    "reason", [R.UNAUTHORIZED, R.FORBIDDEN, R.TENANT_MISMATCH, R.CONFLICT, R.TARGET_NOT_ALLOWED]
)
def test_where_the_user_can_do_something_it_is_said(reason):
    rows = [*reasons.SUBCODES.values(), *reasons.SIP_CODES.values(), *reasons.HTTP_STATUSES.values()]
    assert all(row.advice for row in rows if row.reason is reason)
