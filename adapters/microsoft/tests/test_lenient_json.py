"""JSON objects in any letter case and with values of any type."""

from datetime import UTC, datetime

import pytest
from transferkit_microsoft.lenient_json import JsonObject, normal_word, number_of


def test_names_are_found_in_any_letter_case_and_null_is_absent():
    read = JsonObject({"subCode": 7000, "Message": "text", "none": None})
    assert (read.number("subcode"), read.text("message"), "none" in read) == (7000, "text", False)


@pytest.mark.parametrize("value", [None, [], "text", 5, [{"a": 1}]])
def test_what_is_not_an_object_reads_as_an_empty_one(value):
    assert JsonObject(value) == {}
    assert JsonObject({"a": value}).child("a") == {}


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", None), (5, "5"), (True, None), ([], None)])
def test_text_is_text_or_a_whole_number(value, text):
    assert JsonObject({"a": value}).text("a") == text


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), ("5", 5), ("-5", -5), (5.0, 5), *((odd, None) for odd in (5.5, True, "x", "\u0665", 2**31))],
)
def test_a_number_may_be_written_as_text(value, number):
    assert number_of(value) == number


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-05-04T09:30:00Z", datetime(2026, 5, 4, 9, 30, tzinfo=UTC)),
        ("2026-05-04T11:30:00.0000000+02:00", datetime(2026, 5, 4, 9, 30, tzinfo=UTC)),
        ("2026-05-04T09:30:00", datetime(2026, 5, 4, 9, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("soon", None),
        (5, None),
    ],
)
def test_a_time_is_in_utc(value, time):
    assert JsonObject({"a": value}).time("a") == time


@pytest.mark.parametrize(
    "word", ["transferAccepted", "TransferAccepted", "transfer-accepted", "TRANSFER_ACCEPTED"]
)
def test_a_word_of_an_enumeration_has_one_form(word):
    assert normal_word(word) == "transferaccepted"
    assert normal_word(None) == ""
