"""What a taken submission keeps of its HTTP answer, for logs and spans."""

from datetime import UTC, datetime

import httpx
import pytest
from transferkit_graph.answers import answer_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_taken_submission_keeps_status_and_request_id(status):
    taken = answer_of(httpx.Response(status, headers={"request-id": "r-1"}), now=NOW)
    assert (taken.status, taken.request_id) == (status, "r-1")


@pytest.mark.parametrize("message", [b'"half an emoji \\ud83d"', b'"\xff"', b"NaN"])
def test_a_refusal_with_a_bad_message_keeps_its_code(message):
    body = b'{"error": {"code": "7505", "message": ' + message + b"}}"
    result = answer_of(httpx.Response(403, content=body), now=NOW).result
    assert result.subcode == 7505
    assert not result.message or result.message.encode()
