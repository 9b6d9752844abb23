"""HTTP responses of both services: what each proves about a submission, and about the credentials."""

from datetime import UTC, datetime, timedelta

import aiohttp
import httpx
import pytest
from transferkit_microsoft.responses import HttpResponse, Service

from transferkit.provider.results import MaybeSent, NotSent, Rejected, Submitted

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SERVICE = Service(
    name="Test",
    codes={},
    statuses={},
    address_key="providers.test.url",
    connection_keys="url of [providers.test]",
    request_id_header="request-id",
    correlation_headers=("chain-id", "scenario-id"),
)


def result_of(status, body=b"", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return SERVICE.submit_result(HttpResponse(status=status, headers=headers, body=body), now=NOW)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_keeps_the_status_and_the_ids_for_support(status):
    submitted = result_of(status, request_id="r-1", scenario_id="chain")
    assert isinstance(submitted, Submitted)
    assert (submitted.status, submitted.request_id, submitted.correlation_id) == (status, "r-1", "chain")


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (302, {}, MaybeSent),
        (400, {}, Rejected),
        (401, {}, Rejected),
        (404, {}, Rejected),
        (408, {}, MaybeSent),
        (409, {}, Rejected),
        (429, {}, NotSent),
        (429, {"retry_after": "7"}, NotSent),
        (500, {}, MaybeSent),
        (503, {}, MaybeSent),
        (503, {"retry_after": "7"}, NotSent),
        (504, {}, MaybeSent),
    ],
)
def test_the_status_decides_whether_the_request_may_be_retried(status, headers, kind):
    result = result_of(status, **headers)
    assert type(result) is kind
    assert getattr(result, "retry_after", None) == (timedelta(seconds=7) if headers else None)


REDIRECTED = aiohttp.InvalidUrlRedirectClientError("nowhere")


@pytest.mark.parametrize(
    ("error", "sent", "kind"),
    [
        (aiohttp.InvalidURL("nowhere"), True, Rejected),
        (httpx.InvalidURL("of a redirect"), True, MaybeSent),
        (httpx.UnsupportedProtocol("ftp"), True, Rejected),
        (httpx.InvalidURL("of a proxy"), False, NotSent),
        (httpx.UnsupportedProtocol("of a proxy"), False, NotSent),
        (REDIRECTED, True, MaybeSent),
        (REDIRECTED, False, NotSent),
        (httpx.ConnectError("refused"), True, NotSent),
        (httpx.ReadError("broken"), True, MaybeSent),
        (httpx.ReadError("broken"), False, NotSent),
    ],
)
def test_an_unusable_address_is_rejected_only_if_it_is_that_of_the_request(error, sent, kind):
    found = SERVICE.failure(error, sent=sent)
    assert type(found) is kind
    assert ("providers.test.url" in (found.result.advice or "")) is (kind is Rejected)


def test_an_html_page_with_a_success_status_is_not_a_response_of_the_service():
    for result in (result_of(200, b"<html>Sign in</html>"), result_of(302)):
        assert isinstance(result, MaybeSent)
        assert "Test was not reached" in result.result.message
        assert "proxy" in result.result.advice


@pytest.mark.parametrize("message", [b'"half an emoji \\ud83d"', b'"\xff"', b"NaN"])
def test_a_refusal_with_an_unreadable_message_keeps_its_code(message):
    result = result_of(403, b'{"error": {"code": "7505", "message": ' + message + b"}}").result
    assert result.subcode == 7505
    assert not result.message or result.message.encode()


def test_the_check_fails_without_permission_and_is_undecided_if_the_service_is_busy():
    def ok(status):
        response = HttpResponse(status=status, body=b'{"error":{"code":"7504","message":"no"}}')
        return SERVICE.check_result(response, refusals={401: "Fix it.", 403: "Fix it."}, now=NOW).ok

    assert {status: ok(status) for status in (200, 404, 401, 403, 429, 503)} == {
        200: True, 404: True, 401: False, 403: False, 429: None, 503: None
    }  # fmt: skip
