"""What an HTTP answer to a submission means, and what a taken submission keeps of it."""

from datetime import UTC, datetime

import httpx
import pytest
from transferkit_graph.answers import answer_of

from transferkit.provider.results import MaybeSent

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


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, html="<html>Sign in</html>"),
        httpx.Response(302, headers={"location": "https://login.example.com/"}),
    ],
    ids=["page", "redirect"],
)
def test_a_page_or_a_redirect_is_not_an_answer_of_graph(response):
    answer = answer_of(response, now=NOW)
    assert isinstance(answer, MaybeSent)
    assert "Graph was not reached" in answer.result.message
