"""The results of `submit` and `inspect` for everything that ACS or a network can do, over real sockets."""

import asyncio
import json
import socket
import struct
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.communication.callautomation import PhoneNumberIdentifier
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from transferkit_acs import AcsAdapter, AcsSettings, sdk
from transferkit_acs.auth import EntraCredential

from transferkit.events import Basis, FailureReason
from transferkit.identifiers import PhoneNumber
from transferkit.provider.facts import Result
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Redirect
from transferkit.testing.clock import ManualClock
from transferkit.testing.server import serve

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
CHAIN = "2d1254dd-0000-4000-8000-687dfe328daf"
SHORT = 0.2
"""Seconds, for what times out."""


def http(status: int, body: object = None, **headers: str) -> bytes:
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Said\r\n{head}Connection: close\r\n\r\n".encode() + content


def error(code: str, message: str = "Said so.") -> dict:
    return {"error": {"code": code, "message": message}}


@pytest.fixture
async def submit(answers, adapter_at, submission, transfer):
    """Submits to a server with a scripted response, and returns the result."""

    async def go(answer, **settings):
        async with answers(answer) as (url, _):
            adapter = adapter_at(url, **settings)
            try:
                return await adapter.submit(submission(transfer))
            finally:
                await adapter.aclose()

    return go


# --- answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        http(202, {"operationContext": "case 42"}),
        http(202, {}),
        http(202),
        http(200, {}),
        http(204),
        http(202, b"no json"),
        http(202, b"[1, 2]"),
        http(202, b"\xff", Content_Type="text/html; charset=nonsense"),
    ],
    ids=["context", "empty", "nothing", "200", "204", "garbage", "list", "html"],
)
async def test_any_2xx_is_submitted_whatever_its_body(submit, answer):
    assert isinstance(await submit(answer), Submitted)


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>Sign in</html>"), (302, b"")])
async def test_an_html_page_or_a_redirect_is_not_a_response_of_acs(submit, status, body):
    answer = await submit(http(status, body, Content_Type="text/html"))
    assert isinstance(answer, MaybeSent)
    assert "ACS was not reached" in answer.result.message


async def test_a_submitted_transfer_has_the_chain_id(submit):
    assert await submit(http(202, {}, X_Microsoft_Skype_Chain_ID=CHAIN)) == Submitted(correlation_id=CHAIN)


@pytest.mark.parametrize(
    ("status", "body", "subcode", "reason", "message"),
    [
        (404, error("8522"), 8522, FailureReason.CALL_NOT_FOUND, "Said so."),
        (409, error("8607"), 8607, FailureReason.CONFLICT, "Said so."),
        (400, error("8523"), 8523, FailureReason.UNSUPPORTED, "Said so."),
        (401, error("Denied"), None, FailureReason.UNAUTHORIZED, "Said so."),
        (403, b"<html>", None, FailureReason.FORBIDDEN, None),
        (412, None, None, FailureReason.CONFLICT, None),
        (400, {"error": "text"}, None, FailureReason.UNSUPPORTED, "text"),
        (400, b"plain text", None, FailureReason.UNSUPPORTED, "plain text"),
    ],
)
async def test_a_4xx_is_rejected(submit, status, body, subcode, reason, message):
    answer = await submit(http(status, body, X_Microsoft_Skype_Chain_ID=CHAIN))
    assert isinstance(answer, Rejected)
    assert (answer.result.code, answer.result.subcode) == (status, subcode)
    assert (answer.result.reason, answer.result.request_id) == (reason, CHAIN)
    assert answer.result.message == message


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [
        (429, {}, None),
        (429, {"Retry_After": "7"}, 7),
        (429, {"Retry_After": "0.25"}, 0.25),
        (429, {"Retry_After": "soon"}, None),
        (503, {"Retry_After": "0"}, 0),
        (503, {"Retry_After": "1.5"}, 1.5),
    ],
)
async def test_a_throttled_submission_was_not_sent(submit, status, header, wait):
    answer = await submit(http(status, error("8516"), **header))
    assert isinstance(answer, NotSent)
    assert answer.retry_after == (None if wait is None else timedelta(seconds=wait))
    assert answer.result.reason is FailureReason.THROTTLED


async def test_retry_after_may_be_a_date(answers, submission, transfer):
    clock = ManualClock(NOW)
    date = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    async with answers(http(503, None, Retry_After=date)) as (url, _):
        adapter = AcsAdapter(settings_for(url), clock=clock)
        answer = await adapter.submit(submission(transfer))
        await adapter.aclose()
    assert answer.retry_after == timedelta(seconds=90)


@pytest.mark.parametrize("status", [301, 307, 408, 500, 502, 503, 504])
async def test_a_request_that_may_have_executed_is_maybe_sent(submit, status):
    answer = await submit(http(status, None, Location="https://elsewhere.example/"))
    assert isinstance(answer, MaybeSent)
    assert answer.result.code == status


UNSETTLED = [(307, {"Location": "/again"})] + [
    (status, {"Retry_After": "0"} if with_header else {})
    for status in (408, 429, 500, 502, 503, 504)
    for with_header in (True, False)
]


@pytest.mark.parametrize(("status", "headers"), UNSETTLED)
async def test_a_submission_is_sent_once_whatever_the_response(
    answers, adapter_at, submission, transfer, status, headers
):
    async with answers(http(status, None, **headers)) as (url, seen):
        adapter = adapter_at(url)
        await adapter.submit(submission(transfer))
        assert len(seen) == 1
        await adapter.inspect(transfer.call)
        assert len(seen) == 2
        await adapter.aclose()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK's own headers
@pytest.mark.parametrize(("status", "header"), [(500, {}), (503, {}), (429, {"Retry_After": "0"})])
async def test_the_sdk_left_to_itself_would_send_again(answers, transfer, status, header):
    """What makes the test above worth having: here it can be seen to count."""
    async with answers(http(status, None, **header)) as (url, seen):
        client = CallAutomationClient(url, AzureKeyCredential("a2V5"), retry_backoff_factor=0)
        async with client:
            with pytest.raises(HttpResponseError):
                await client.get_call_connection(transfer.call.id).transfer_call_to_participant(
                    PhoneNumberIdentifier("+14255550100")
                )
        assert len(seen) == 4


# --- no answer ------------------------------------------------------------------------------------------


def settings_for(url: str, **more) -> AcsSettings:
    return AcsSettings(connection_string=Secret(value=f"endpoint={url};accesskey=a2V5"), **more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def unanswered(url, submission):
    adapter = AcsAdapter(settings_for(url, timeout=5.0))
    answer = await adapter.submit(submission)
    await adapter.aclose()
    return answer


async def test_without_a_connection_the_request_is_not_sent(submission, transfer):
    answer = await unanswered(f"http://127.0.0.1:{free_port()}", submission(transfer))
    message = "nothing was sent to ACS (ClientConnectorError, ConnectionRefusedError)"
    advice = "Check endpoint and ca_file of [providers.acs], and that this machine can reach ACS."
    assert answer == NotSent(
        result=Result(reason=FailureReason.PROVIDER_ERROR, message=message, advice=advice, basis=Basis.LOCAL)
    )


async def test_a_host_name_that_does_not_resolve_is_a_lasting_local_failure(submission, transfer):
    answer = await unanswered("http://no-such-host.invalid", submission(transfer))
    message = "the host name of ACS does not resolve (ClientConnectorDNSError, gaierror)"
    advice = "Check endpoint and ca_file of [providers.acs], and the DNS of this machine."
    assert answer == NotSent(
        result=Result(reason=FailureReason.PROVIDER_ERROR, message=message, advice=advice, basis=Basis.LOCAL),
        lasting=True,
    )


async def test_an_unset_secret_fails_at_once_and_names_the_variable(submission, transfer, monkeypatch):
    monkeypatch.delenv("ACS_CONNECTION", raising=False)
    secret = Secret(key="providers.acs.connection_string", env="ACS_CONNECTION")
    adapter = AcsAdapter(AcsSettings(connection_string=secret))
    answer = await adapter.submit(submission(transfer))
    assert isinstance(answer, Rejected)
    assert answer.result.basis is Basis.LOCAL
    assert "ACS_CONNECTION" in answer.result.advice


async def test_a_timeout_before_sending_is_not_sent(submission, transfer, monkeypatch):
    async def no_token(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(EntraCredential, "get_token", no_token)
    proof = {"tenant_id": "t1", "client_id": "c1", "client_secret": Secret(value="s")}
    adapter = AcsAdapter(AcsSettings(endpoint="https://127.0.0.1:1", timeout=0.05, **proof))
    answer = await adapter.submit(submission(transfer))
    await adapter.aclose()
    assert isinstance(answer, NotSent)
    assert answer.result.reason is FailureReason.TIMEOUT
    assert answer.result.message == "nothing was sent to ACS (TimeoutError)"


async def test_without_tls_the_request_is_not_sent(answers, submission, transfer):
    async def hang_up(reader, _):
        await reader.read(1)

    async with answers(hang_up) as (url, _):
        adapter = AcsAdapter(settings_for(url.replace("http:", "https:"), timeout=5.0))
        answer = await adapter.submit(submission(transfer))
        await adapter.aclose()
    assert isinstance(answer, NotSent)


async def test_with_an_untrusted_certificate_the_request_is_not_sent(submission, transfer):
    async def app(_scope, _receive, _send):
        raise AssertionError("nothing may be sent")

    async with serve(app, tls=True) as server:
        answer = await unanswered(server.url, submission(transfer))
    assert isinstance(answer, NotSent)
    assert answer.lasting
    assert answer.result.basis is Basis.LOCAL
    assert answer.result.message.startswith("the certificate of ACS is not trusted")


async def read_all(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].partition(b":")[2]))


def reset(writer):
    """Close so that the peer gets a reset instead of an end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def reset_at_once(_reader, writer):
    reset(writer)


async def reset_after_reading(reader, writer):
    await read_all(reader)
    reset(writer)


async def hang_up_after_reading(reader, _writer):
    await read_all(reader)


async def say_garbage(reader, writer):
    await read_all(reader)
    writer.write(b"\x00\x01 not http\r\n\r\n")
    await writer.drain()


async def break_off(reader, writer):
    await read_all(reader)
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Le")
    await writer.drain()


async def stall(reader, _writer):
    await read_all(reader)
    await reader.read(1)


async def trickle(reader, writer):
    await read_all(reader)
    writer.write(b"HTTP/1.1 202 Accepted\r\n")
    while not reader.at_eof():
        writer.write(b"X-More: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "behaviour",
    [reset_at_once, reset_after_reading, hang_up_after_reading, say_garbage, break_off],
    ids=lambda behaviour: behaviour.__name__,
)
async def test_after_a_lost_connection_the_request_may_have_executed(submit, behaviour):
    answer = await submit(behaviour)
    assert isinstance(answer, MaybeSent)
    assert answer.result.reason is FailureReason.PROVIDER_ERROR
    assert answer.result.message


@pytest.mark.parametrize("behaviour", [stall, trickle], ids=lambda behaviour: behaviour.__name__)
async def test_after_a_timeout_the_request_may_have_executed(submit, behaviour):
    answer = await submit(behaviour, timeout=SHORT)
    assert isinstance(answer, MaybeSent)
    assert answer.result.reason is FailureReason.TIMEOUT


def half(status: int, *, then: str, **headers: str):
    """Says the headers of an answer and the beginning of its body, then ends or trickles on."""
    lines = {"Content-Type": "application/json", "Content-Length": "100000", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())

    async def answer(reader, writer):
        await read_all(reader)
        writer.write(f'HTTP/1.1 {status} Said\r\n{head}\r\n{{"error": '.encode())
        await writer.drain()
        while then == "trickles" and not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


@pytest.mark.parametrize("then", ["ends", "trickles"])
async def test_a_success_whose_body_breaks_off_is_submitted(submit, then):
    answer = await submit(half(202, then=then, X_Microsoft_Skype_Chain_ID=CHAIN), timeout=SHORT)
    assert answer == Submitted(correlation_id=CHAIN)


@pytest.mark.parametrize("then", ["ends", "trickles"])
async def test_a_rejection_whose_body_breaks_off_is_a_rejection(submit, then):
    answer = await submit(half(403, then=then, X_Microsoft_Skype_Chain_ID=CHAIN), timeout=SHORT)
    assert isinstance(answer, Rejected)
    assert (answer.result.code, answer.result.subcode) == (403, None)
    assert (answer.result.reason, answer.result.request_id) == (FailureReason.FORBIDDEN, CHAIN)


async def test_retry_after_counts_although_the_body_breaks_off(submit):
    answer = await submit(half(429, then="ends", Retry_After="7"))
    assert isinstance(answer, NotSent)
    assert answer.retry_after == timedelta(seconds=7)


async def test_a_response_with_a_wrong_encoding_counts_by_its_status(submit):
    assert isinstance(await submit(http(202, b"no gzip", Content_Encoding="gzip")), Submitted)


async def test_a_connection_is_used_again_after_a_response(submission, transfer):
    connections = set()

    async def app(scope, receive, send):
        connections.add(tuple(scope["client"]))
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with serve(app) as server:
        adapter = AcsAdapter(settings_for(server.url, timeout=5.0))
        for _ in range(3):
            assert isinstance(await adapter.submit(submission(transfer)), Submitted)
        await adapter.aclose()
    assert len(connections) == 1


@pytest.mark.parametrize("what", ["the request", "the client"])
async def test_a_failure_before_sending_is_not_sent(monkeypatch, adapter_at, submission, transfer, what):
    def fail(*_, **__):
        raise RuntimeError("not repeated: +14255550100")

    monkeypatch.setattr(
        *{"the request": (sdk, "body_of", fail), "the client": (sdk, "SdkClient", fail)}[what]
    )
    adapter = adapter_at("http://127.0.0.1:1")
    answer = await adapter.submit(submission(transfer))
    await adapter.aclose()
    assert isinstance(answer, NotSent)
    assert answer.result.message == "nothing was sent to ACS (RuntimeError)"


async def test_a_cancelled_submission_is_cancelled(answers, adapter_at, submission, transfer):
    async with answers(stall) as (url, _):
        adapter = adapter_at(url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await adapter.submit(submission(transfer))
        await adapter.aclose()


# --- what is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["transfer", "redirect"])
async def test_wire_shows_what_submit_sends(answers, adapter_at, submission, transfer, kind):
    redirect = Redirect(call="incoming:1", to=PhoneNumber("+14255550101"), incoming_context="opaque")
    wanted = submission(transfer if kind == "transfer" else redirect)
    async with answers(http(202, {})) as (url, seen):
        adapter = adapter_at(url)
        wire = await adapter.wire(wanted)
        await adapter.submit(wanted)
        await adapter.aclose()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == f"{wire.method} {wire.url.removeprefix(url)} HTTP/1.1"
    assert json.loads(body) == wire.body
    shown = {name.lower(): value for name, value in wire.headers.items()}
    assert shown.pop("authorization") == "HMAC-SHA256 ***"
    assert sent["authorization"].startswith("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&")
    for name in ("x-ms-client-request-id", "x-ms-date"):  # new for each sending
        assert shown.pop(name)
    assert shown.items() <= sent.items()
    assert shown["repeatability-request-id"] == wanted.id
    assert shown["repeatability-first-sent"] == format_datetime(wanted.first_sent_at, usegmt=True)


async def test_a_submission_sent_again_is_the_same_request(answers, adapter_at, submission, transfer):
    again = submission(transfer)
    async with answers(http(500)) as (url, seen):
        adapter = adapter_at(url)
        await adapter.submit(again)
        await adapter.submit(again)
        await adapter.aclose()

    def repeatable(raw: bytes) -> list[bytes]:
        head, _, body = raw.partition(b"\r\n\r\n")
        return [line for line in head.split(b"\r\n") if line.lower().startswith(b"repeatability")] + [body]

    assert len(seen) == 2
    assert repeatable(seen[0]) == repeatable(seen[1])


# --- asking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "presence"),
    [
        (http(200, {"callConnectionState": "connected"}), Presence.CONNECTED),
        (http(200, {"callConnectionState": "Transferring"}), Presence.TRANSFERRING),
        (http(200, {"callConnectionState": "transferAccepted"}), Presence.TRANSFERRING),
        (http(200, {"callConnectionState": "disconnecting"}), Presence.GONE),
        (http(200, {"callConnectionState": "disconnected"}), Presence.GONE),
        (http(200, {"callConnectionState": "connecting"}), Presence.UNKNOWN),
        (http(200, {"callConnectionState": 5, "targets": "nonsense"}), Presence.UNKNOWN),
        (http(200, {"callConnectionState": "connected", "targets": [{"x": 1}, 2]}), Presence.CONNECTED),
        (http(200, b"garbage"), Presence.UNKNOWN),
        (http(404, error("8522")), Presence.GONE),
        (http(404), Presence.GONE),
        (http(405, error("8522")), Presence.UNKNOWN),
        (http(401), Presence.UNKNOWN),
        (http(500), Presence.UNKNOWN),
    ],
)
async def test_an_inspection_gives_the_presence(answers, adapter_at, transfer, answer, presence):
    async def reply(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(
            b"GET /calling/callConnections/" + transfer.call.id.encode() + b"?api-version="
        )
        writer.write(answer)
        await writer.drain()

    async with answers(reply) as (url, _):
        adapter = adapter_at(url)
        assert (await adapter.inspect(transfer.call)).presence is presence
        await adapter.aclose()


async def test_the_presence_of_a_ringing_call_is_unknown(adapter_at):
    assert (
        await adapter_at("http://127.0.0.1:1").inspect(Call("acs", "incoming:1"))
    ).presence is Presence.UNKNOWN


async def test_the_presence_is_unknown_if_acs_cannot_be_reached(transfer):
    inspection = await AcsAdapter(AcsSettings()).inspect(transfer.call)
    assert inspection.presence is Presence.UNKNOWN
    assert inspection.result.reason is FailureReason.UNAUTHORIZED


async def test_a_closed_adapter_can_be_used_again(answers, adapter_at, submission, transfer):
    async with answers(http(202, {})) as (url, _):
        adapter = adapter_at(url)
        for _ in range(2):
            assert isinstance(await adapter.submit(submission(transfer)), Submitted)
            await adapter.aclose()


async def test_an_unusable_ca_file_is_named(tmp_path, submission, transfer):
    path = tmp_path / "ca.pem"
    for content in (None, "no certificate"):
        if content:
            path.write_text(content)
        adapter = AcsAdapter(settings_for("https://127.0.0.1:1", ca_file=path))
        answer = await adapter.submit(submission(transfer))
        assert isinstance(answer, Rejected)
        assert "providers.acs.ca_file" in answer.result.advice
