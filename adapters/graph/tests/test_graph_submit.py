"""The results of `submit` and `inspect` for everything that Graph or a network can do, over real sockets."""

import asyncio
import json
import socket
from datetime import timedelta

import httpx
import pytest
from support.entra import FixedCredential
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.events import Basis
from transferkit.events import FailureReason as Reason
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.requests import Call
from transferkit.testing.server import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = 0.2
"""Seconds, for what times out."""


def http(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(code, message="as Graph says", **inner):
    return json.dumps({"error": {"code": code, "message": message, "innerError": inner}}).encode()


@pytest.fixture
def submit(raw_server, graph_at, submission):
    """Submits to a server of that behaviour."""

    async def run(behave, **settings):
        async with raw_server(behave) as url:
            return await graph_at(url, **settings).submit(submission())

    return run


@pytest.mark.parametrize(
    "answer",
    [
        http(202),
        http(204),
        http(200, b'{"id": "op", "status": "Running"}'),
        http(200, b"not json"),
    ],
)
async def test_any_2xx_is_submitted(submit, answering, answer):
    assert await submit(answering(answer)) == Submitted()


@pytest.mark.parametrize("header", ["X-Microsoft-Skype-Chain-ID", "Scenario-Id"])
async def test_the_call_chain_of_a_response_is_the_correlation_id(submit, answering, header):
    assert await submit(answering(http(202, **{header: "chain-1"}))) == Submitted(correlation_id="chain-1")


@pytest.mark.parametrize(
    ("answer", "reason", "subcode"),
    [
        (http(400, error("BadRequest")), Reason.UNSUPPORTED, None),
        (http(401, error("InvalidAuthenticationToken")), Reason.UNAUTHORIZED, None),
        (http(403, error("7505")), Reason.TENANT_MISMATCH, 7505),
        (http(403, error(7505)), Reason.TENANT_MISMATCH, 7505),
        (http(403, error("Forbidden")), Reason.FORBIDDEN, None),
        (http(404, error("8522")), Reason.CALL_NOT_FOUND, 8522),
        (http(409, error("8607")), Reason.CONFLICT, 8607),
        (http(412), Reason.CONFLICT, None),
        (http(400, b"<html>"), Reason.UNSUPPORTED, None),
        (http(400, b'{"error": "text"}'), Reason.UNSUPPORTED, None),
        (http(400, b"[" * 100_000), Reason.UNSUPPORTED, None),
        (http(418), Reason.UNKNOWN, None),
    ],
)
async def test_a_4xx_is_rejected(submit, answering, answer, reason, subcode):
    answered = await submit(answering(answer))
    assert isinstance(answered, Rejected)
    assert (answered.result.reason, answered.result.subcode) == (reason, subcode)


@pytest.mark.parametrize(
    ("headers", "inner"),
    [
        ({"request_id": "r1"}, {"request-id": "other"}),
        ({}, {"request-id": "r1"}),
        ({}, {"requestId": "r1"}),
    ],
)
async def test_a_rejection_has_the_code_message_and_request_id_of_graph(submit, answering, headers, inner):
    answered = await submit(answering(http(403, error("7505", "Tenant mismatch.", **inner), **headers)))
    result = answered.result
    assert (result.code, result.subcode, result.message) == (403, 7505, "Tenant mismatch.")
    assert result.request_id == "r1"
    assert "tenant" in result.advice


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("3", 3),
        ("2.128", 2.128),
        ("0", 0),
        ("Mon, 04 May 2026 12:30:20 GMT", 20),
        ("Mon, 04 May 2026 12:29:00 GMT", 0),
        ("9e99", 86400),
    ],
)
async def test_a_response_with_retry_after_was_not_executed(submit, answering, status, retry_after, seconds):
    answered = await submit(answering(http(status, Retry_After=retry_after)))
    assert isinstance(answered, NotSent)
    assert answered.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("nonsense", ["soon", "nan", ""])
async def test_429_is_not_sent_also_without_a_usable_retry_after(submit, answering, nonsense):
    answered = await submit(answering(http(429, Retry_After=nonsense)))
    assert isinstance(answered, NotSent)
    assert (answered.retry_after, answered.result.reason) == (None, Reason.THROTTLED)


@pytest.mark.parametrize(
    "answer",
    [
        http(503),
        http(503, Retry_After="soon"),
        http(500, error("9999")),
        http(502),
        http(504),
        http(408),
        http(301, Location="http://127.0.0.1:9/elsewhere"),
        http(307, Location="http://127.0.0.1:9/elsewhere"),
        http(302, Location="foo:bar"),  # httpx raises InvalidURL
        http(304),
    ],
)
async def test_a_request_that_may_have_executed_is_maybe_sent(submit, answering, answer):
    assert isinstance(await submit(answering(answer)), MaybeSent)


async def test_without_a_connection_the_request_is_not_sent(graph_at, submission):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        answered = await graph_at(f"http://127.0.0.1:{unused.getsockname()[1]}").submit(submission())
    assert isinstance(answered, NotSent)
    assert (answered.retry_after, answered.lasting) == (None, False)
    assert answered.result.basis is Basis.LOCAL
    assert "ConnectionRefusedError" in answered.result.message
    assert "base_url" in answered.result.advice


async def test_a_host_name_that_does_not_resolve_is_a_lasting_local_failure(graph_at, submission):
    answered = await graph_at("https://graph.invalid").submit(submission())
    assert isinstance(answered, NotSent)
    assert answered.lasting
    assert answered.result.basis is Basis.LOCAL
    assert answered.result.message.startswith("the host name of Graph does not resolve")
    assert answered.result.advice.endswith("and the DNS of this machine.")


async def test_an_untrusted_certificate_is_a_lasting_local_failure(graph_at, submission):
    async def app(_scope, _receive, _send):
        raise AssertionError("nothing may be sent")

    async with serve(app, tls=True) as server:
        answered = await graph_at(server.url).submit(submission())
    assert isinstance(answered, NotSent)
    assert answered.lasting
    assert answered.result.basis is Basis.LOCAL
    assert answered.result.message.startswith("the certificate of Graph is not trusted")
    assert "ca_file" in answered.result.advice


async def test_the_environment_s_proxy_is_used(raw_server, graph_at, submission, monkeypatch):
    asked = []

    async def forward(reader, writer):
        asked.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(202))
        await writer.drain()

    async with raw_server(forward) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await graph_at("http://localhost:1").submit(submission()) == Submitted()
    assert asked[0].startswith(b"POST http://localhost:1/v1.0/communications/calls/")


async def test_with_an_unreachable_proxy_the_request_is_not_sent(graph_at, submission, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused.getsockname()[1]}")
        answered = await graph_at("https://graph.invalid").submit(submission())
    assert isinstance(answered, NotSent)


async def test_with_a_proxy_that_refuses_the_request_is_not_sent(
    raw_server, graph_at, submission, answering, monkeypatch
):
    async with raw_server(answering(http(403))) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        answered = await graph_at("https://graph.invalid").submit(submission())
    assert isinstance(answered, NotSent)


async def test_a_broken_tls_handshake_is_not_sent(raw_server, graph_at, submission):
    async def speak_plainly(_, writer):
        writer.write(http(202))
        await writer.drain()

    async with raw_server(speak_plainly) as url:
        answered = await graph_at(url.replace("http:", "https:")).submit(submission())
    assert isinstance(answered, NotSent)


def reset(writer):
    writer.transport.abort()


async def reset_before_reading(_, writer):
    reset(writer)


async def reset_after_reading(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def close_without_answer(reader, _):
    await reader.readuntil(b"\r\n\r\n")


async def reset_within_the_answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Le")
    await writer.drain()


async def garbage(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "behave",
    [reset_before_reading, reset_after_reading, close_without_answer, reset_within_the_answer, garbage],
)
async def test_after_a_broken_exchange_the_request_may_have_been_sent(submit, behave):
    answered = await submit(behave)
    assert isinstance(answered, MaybeSent)
    assert answered.result.reason is Reason.PROVIDER_ERROR


async def test_a_broken_keep_alive_connection_sends_the_request_once(raw_server, graph_at, submission):
    seen = []

    async def answer_one_and_drop_the_next(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            seen.append(head)
            if len(seen) > 1:
                reset(writer)
                return
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async with raw_server(answer_one_and_drop_the_next) as url:
        adapter = graph_at(url)
        assert await adapter.submit(submission()) == Submitted()
        assert isinstance(await adapter.submit(submission()), MaybeSent)
    assert len(seen) == 2


async def test_without_a_response_in_time_the_request_may_have_been_sent(submit):
    async def stall(reader, _):
        await reader.read()

    answered = await submit(stall, timeout=SHORT)
    assert isinstance(answered, MaybeSent)
    assert answered.result.reason is Reason.TIMEOUT


async def test_a_response_that_arrives_byte_by_byte_times_out(submit):
    async def drip(_, writer):
        writer.write(b"HTTP/1.1 202 Accepted\r\n")
        while not writer.is_closing():
            writer.write(b"X-More: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    answered = await submit(drip, timeout=SHORT)
    assert isinstance(answered, MaybeSent)
    assert answered.result.reason is Reason.TIMEOUT


def half(status, *, then, **headers):
    """Says the headers of an answer and the beginning of its body, then ends or drips on."""
    lines = [f"HTTP/1.1 {status} X", "Content-Length: 100000"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def behave(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join([*lines, "", '{"error": ']).encode())
        await writer.drain()
        while then == "drips" and not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    return behave


@pytest.mark.parametrize(("status", "then"), [(200, "ends"), (202, "ends"), (202, "drips")])
async def test_a_success_whose_body_breaks_off_is_submitted(submit, status, then):
    answered = await submit(half(status, then=then, Scenario_Id="chain-1"), timeout=SHORT)
    assert answered == Submitted(correlation_id="chain-1")


@pytest.mark.parametrize("then", ["ends", "drips"])
async def test_a_rejection_whose_body_breaks_off_is_a_rejection(submit, then):
    answered = await submit(half(403, then=then, request_id="r1"), timeout=SHORT)
    assert isinstance(answered, Rejected)
    assert (answered.result.code, answered.result.subcode) == (403, None)
    assert (answered.result.reason, answered.result.request_id) == (Reason.FORBIDDEN, "r1")


async def test_retry_after_counts_although_the_body_breaks_off(submit):
    answered = await submit(half(503, then="ends", Retry_After="7"))
    assert isinstance(answered, NotSent)
    assert answered.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [500, 302])
async def test_a_5xx_whose_body_breaks_off_is_maybe_sent(submit, status):
    answered = await submit(half(status, then="ends"))
    assert isinstance(answered, MaybeSent)
    assert answered.result.code == status


async def test_a_response_with_a_wrong_encoding_counts_by_its_status(submit, answering):
    assert await submit(answering(http(202, b"no gzip", Content_Encoding="gzip"))) == Submitted()


async def test_an_incomplete_description_of_a_call_is_unknown(raw_server, graph_at):
    async with raw_server(half(200, then="ends")) as url:
        inspection = await graph_at(url).inspect(Call("graph", "c1"))
    assert inspection.presence is Presence.UNKNOWN


async def test_submit_sends_what_wire_shows_with_the_real_token(raw_server, graph_at, submission):
    seen = {}

    async def keep(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        seen["line"], seen["headers"] = line, headers
        seen["body"] = json.loads(await reader.readexactly(int(headers["content-length"])))
        writer.write(http(202))
        await writer.drain()

    async with raw_server(keep) as url:
        adapter, sent = graph_at(url), submission()
        shown = await adapter.wire(sent)
        await adapter.submit(sent)
    assert seen["line"] == f"{shown.method} {shown.url.removeprefix(url)} HTTP/1.1"
    assert shown.headers["Authorization"] == "Bearer ***"
    assert seen["headers"]["authorization"] == "Bearer token-of-nobody"
    for name, value in shown.headers.items():
        if name != "Authorization":
            assert seen["headers"][name.lower()] == value
    assert seen["headers"]["content-type"] == "application/json"
    assert seen["headers"]["client-request-id"] == sent.id
    assert seen["body"]["transferTarget"]["identity"]["phone"]["id"] == "+14255550100"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_graph_refuses_is_not_used_again(
    raw_server, graph_at, submission, answering, status
):
    credential = FixedCredential()
    async with raw_server(answering(http(status))) as url:
        adapter = graph_at(url, credential=credential)
        for _ in range(2):
            await adapter.submit(submission(tenant_id="t9"))
    assert credential.tenants == ["t9"] * 2


async def test_a_given_http_client_is_used_and_not_closed(raw_server, answering, submission):
    async with raw_server(answering(http(202))) as url, httpx.AsyncClient() as client:
        adapter = GraphAdapter(GraphSettings(base_url=url, credential=FixedCredential()), http=client)
        assert await adapter.submit(submission()) == Submitted()
        await adapter.aclose()
        assert not client.is_closed


async def test_a_closed_adapter_can_be_used_again(raw_server, answering, submission, graph_at):
    async with raw_server(answering(http(202))) as url:
        adapter = graph_at(url)
        for _ in range(2):
            assert await adapter.submit(submission()) == Submitted()
            await adapter.aclose()


@pytest.mark.parametrize(
    ("answer", "presence"),
    [
        (http(200, b'{"state": "established"}'), Presence.CONNECTED),
        (http(200, b'{"state": "Hold"}'), Presence.CONNECTED),
        (http(200, b'{"state": "transferring"}'), Presence.TRANSFERRING),
        (http(200, b'{"state": "transferAccepted"}'), Presence.TRANSFERRING),
        (http(200, b'{"state": "terminated", "resultInfo": null}'), Presence.GONE),
        (http(200, b'{"state": "incoming"}'), Presence.UNKNOWN),
        (http(200, b'{"state": 7}'), Presence.UNKNOWN),
        (http(200, b"not json"), Presence.UNKNOWN),
        (http(200, b"[]"), Presence.UNKNOWN),
        (http(404, error("8522")), Presence.GONE),
        (http(404), Presence.GONE),
        (http(400, error("8522")), Presence.GONE),
        (http(403, error("7505")), Presence.UNKNOWN),
        (http(429), Presence.UNKNOWN),
        (http(500), Presence.UNKNOWN),
        (http(302, Location="http://127.0.0.1:9/"), Presence.UNKNOWN),
    ],
)
async def test_an_inspection_gives_the_presence(raw_server, graph_at, answering, answer, presence):
    async with raw_server(answering(answer)) as url:
        inspection = await graph_at(url).inspect(Call("graph", "c1"))
    assert inspection.presence is presence


async def test_an_inspection_of_an_ended_call_has_its_codes(raw_server, graph_at, answering):
    ended = b'{"state": "terminated", "resultInfo": {"code": 200, "subcode": 4521}}'
    async with raw_server(answering(http(200, ended))) as url:
        inspection = await graph_at(url).inspect(Call("graph", "c1"))
    assert inspection.result.reason is Reason.CALLER_LEFT


@pytest.mark.parametrize("behave", [reset_after_reading, garbage])
async def test_an_inspection_raises_nothing(raw_server, graph_at, behave):
    async with raw_server(behave) as url:
        inspection = await graph_at(url).inspect(Call("graph", "c1"))
    assert inspection.presence is Presence.UNKNOWN
