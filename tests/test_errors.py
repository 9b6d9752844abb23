"""Errors survive pickling and copying with all their attributes."""

import copy
import pickle
from datetime import timedelta

import pytest

from transferkit import (
    AdapterNotFound,
    CallbackNotVerified,
    ConfigError,
    IdempotencyConflict,
    InvalidRequest,
    MalformedCallback,
    Problem,
    SenderNotChecked,
    TransferInProgress,
    TransferNotFound,
)

PROBLEMS = [Problem("to", "is missing", "a phone number")]
ERRORS = [
    InvalidRequest("acs", PROBLEMS),
    TransferInProgress("acs:call", "t1"),
    IdempotencyConflict("key", "t1"),
    TransferNotFound("t1"),
    CallbackNotVerified("the signature is wrong", cause="signature"),
    SenderNotChecked("no keys", cause="keys", retry_after=timedelta(seconds=5)),
    MalformedCallback("acs", "body", "is not JSON", facts=()),
    ConfigError("file", PROBLEMS),
    AdapterNotFound("adapters", PROBLEMS),
]


def pickled(error):
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - made by this test


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_and_copying(error, copied):
    again = copied(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
