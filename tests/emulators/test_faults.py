"""The faults of an emulator: what they do to requests and callbacks, and when they are applied."""

import asyncio
import socket
from contextlib import aclosing
from random import Random

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.emulated_provider import MinimalEmulator, asgi_request

from transferkit.emulators import Fault, FaultKind, Faults, Reply, callbacks
from transferkit.emulators.faults import CALLBACK_FAULTS, REQUEST_FAULTS
from transferkit.testing.server import ABORT

# --- requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "header"), [("status=429,retry_after=1.5", "1.5"), ("status=503", None)])
async def test_a_request_with_the_fault_status_is_rejected_and_not_executed(bench, text, header):
    bench.emulator.faults.add(Fault.parse(f"{text},match=transfer"))
    call = bench.call()
    assert (await bench.http.get(f"{bench.url}/calls/{call}")).status_code == 200
    response = await bench.transfer(call)
    assert response.status_code == int(text[7:10])
    assert response.headers.get("retry-after") == header
    assert "error" in response.json()
    assert bench.emulator.executions(call) == 0
    assert (await bench.transfer(call)).status_code == 202
    assert [request.fault is None for request in bench.emulator.requests] == [True, False, True]


@pytest.mark.parametrize(("kind", "executions"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_connection_gets_rst_and_no_byte_of_a_response(bench, kind, executions):
    call = bench.call()
    bench.emulator.faults.add(Fault.parse(kind))
    body = b'{"to": "answers"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.server.port)
    writer.write(
        b"POST /calls/%b/transfer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        % (call.encode(), len(body), body)
    )
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(30):
            await reader.read()
    writer.close()
    assert bench.emulator.executions(call) == executions
    assert [(request.status, request.fault) for request in bench.emulator.requests] == [(0, kind)]
    assert (await bench.transfer(call)).status_code == 202


async def test_other_connections_are_not_reset(bench):
    call = bench.call()
    other = socket.create_connection(("127.0.0.1", bench.server.port))
    other.settimeout(0)
    bench.emulator.faults.add(Fault.parse("reset_before"))
    with pytest.raises(httpx.TransportError):
        await bench.transfer(call)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    other.close()


async def test_a_reset_fails_on_a_server_that_cannot_reset_connections(emulator):
    emulator.faults.add(Fault.parse("reset_before"))
    with pytest.raises(ConnectionResetError, match="fault of the emulator"):
        await asgi_request(emulator.app)


async def test_a_reset_request_ends_when_the_server_has_noticed_the_disconnection(emulator):
    emulator.faults.add(Fault.parse("reset_after"))
    aborted = []
    messages = [{"type": "http.request"}, {"type": "http.request"}, {"type": "http.disconnect"}]
    extensions = {ABORT: lambda: aborted.append(1)}
    assert await asgi_request(emulator.app, *messages, extensions=extensions) == []
    assert aborted == [1]


@pytest.mark.parametrize(("kind", "executions"), [("slow", 0), ("slow_after", 1)])
async def test_a_slow_request_is_executed_late_or_its_response_is_late(bench, kind, executions):
    call = bench.call()
    bench.emulator.faults.add(Fault.parse(f"{kind}=60"))
    if executions:
        waiting = asyncio.create_task(bench.transfer(call))
        async with asyncio.timeout(30):
            while not bench.emulator.executions(call):
                await bench.emulator.journal.changed()
        await bench.emulator.settle()
        assert not waiting.done()
        waiting.cancel()
    else:
        with pytest.raises(httpx.ReadTimeout):
            await bench.transfer(call, timeout=httpx.Timeout(30, read=0.2))
    assert bench.emulator.executions(call) == executions


async def test_an_early_callback_is_sent_before_the_response(bench):
    bench.emulator.faults.add(Fault.parse("early"))
    await bench.transfer(bench.call())
    assert bench.words[:1] == ["ends"]


async def test_a_request_without_callbacks_is_not_delayed_by_the_fault_early(bench):
    bench.emulator.faults.add(Fault.parse("early,times=always"))
    assert (await bench.http.get(f"{bench.url}/calls/{bench.call()}")).status_code == 200


class SilentEmulator(MinimalEmulator):
    """Starts background work that sends no callback."""

    async def handle(self, request):
        self.start(asyncio.sleep(3600))
        return Reply(status=200)


async def test_the_fault_early_does_not_wait_forever_for_a_callback(monkeypatch):
    monkeypatch.setattr(callbacks, "_FIRST_CALLBACK_SECONDS", 0.01)
    async with aclosing(SilentEmulator()) as emulator:
        emulator.faults.add(Fault.parse("early"))
        (start, _) = await asgi_request(emulator.app)
    assert start["status"] == 200


# --- callbacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("duplicate,match=ends", ["ends", "ends", "answers"]),
        ("lose,match=ends", ["answers"]),
        ("reorder,match=ends", ["answers", "ends"]),
        ("delay=0.2,match=ENDS", ["answers", "ends"]),
        ("reorder,match=answers", ["ends", "answers"]),  # no callback follows that could overtake it
        ("lose,match=nothing of the kind", ["ends", "answers"]),
        ("spelling,match=ends", ["ends", "answers"]),  # this provider has no other spelling
    ],
)
async def test_a_callback_fault_changes_what_the_application_receives(bench, text, words):
    bench.emulator.faults.add(Fault.parse(text))
    await bench.transfer(bench.call())
    await bench.emulator.settle()
    assert bench.words == words
    lost = [callback.fault for callback in bench.emulator.callbacks if callback.status is None]
    assert lost == (["lose,match=ends"] if text == "lose,match=ends" else [])


class ShoutingEmulator(MinimalEmulator):
    """A provider with another spelling of its callbacks."""

    def other_spelling(self, body):
        return body | {"word": body["word"].upper()}


async def test_the_fault_spelling_uses_and_records_the_providers_other_spelling(bench):
    async with aclosing(ShoutingEmulator()) as emulator:
        emulator.faults.add(Fault.parse("spelling,match=ends"))
        for word in ("ends", "answers"):
            await emulator.post(bench.callback_url, {"call": "c1", "word": word})
    assert bench.words == ["ENDS", "answers"]
    recorded = [(callback.body["word"], callback.fault) for callback in emulator.callbacks]
    assert recorded == [("ENDS", "spelling,match=ends"), ("answers", None)]


# --- when faults are applied ------------------------------------------------------------------------


def test_a_fault_is_applied_as_often_as_it_says():
    faults = Faults()
    faults.add(Fault.parse("status=429,times=2,match=Transfer"), Fault.parse("slow=0"))
    applied = [faults.for_request(path) for path in ("/x", "/transfer", "/a/transfer", "/transfer")]
    assert [fault.kind if fault else None for fault in applied] == ["slow", "status", "status", None]
    assert faults.active == ()
    assert faults.for_callback("transfer") is None


def test_a_fault_applies_either_to_requests_or_to_callbacks():
    faults = Faults()
    faults.add(*(Fault(kind=kind, times=None) for kind in FaultKind))
    assert faults.for_request("/x").kind in REQUEST_FAULTS
    assert faults.for_callback("x").kind in CALLBACK_FAULTS
    faults.clear()
    assert (faults.for_request("/x"), faults.for_callback("x")) == (None, None)


def test_a_fault_with_probability_zero_is_never_applied():
    faults = Faults()
    faults.add(Fault.parse("lose,probability=0"))
    assert faults.for_callback("x") is None


def test_chaos_with_the_same_seed_applies_the_same_faults():
    def applied(seed, rate=0.5):
        faults = Faults()
        faults.chaos(seed=seed, rate=rate)
        return [(faults.for_request("/x"), faults.for_callback("x")) for _ in range(50)]

    assert applied(1) == applied(1)
    assert applied(1) != applied(2)
    assert {fault for pair in applied(1, rate=0) for fault in pair} == {None}
    kinds = {fault.kind for pair in applied(3, rate=1) for fault in pair}
    assert kinds == set(FaultKind) - {FaultKind.SPELLING}


def test_chaos_rejects_a_rate_that_is_not_a_probability():
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Faults().chaos(seed=1, rate=2)


def test_clearing_the_faults_ends_chaos():
    faults = Faults()
    faults.chaos(seed=1, rate=1)
    assert faults.seed == 1
    faults.clear()
    assert (faults.seed, faults.for_request("/x")) == (None, None)


async def test_with_chaos_every_request_and_every_delivered_callback_is_recorded(bench):
    bench.emulator.faults.chaos(seed=5, rate=0.4)
    draw = Random(5)  # noqa: S311 - it is to be repeated, not to be secret
    for _ in range(20):
        try:
            await bench.transfer(bench.call(), draw.choice(["answers", "busy"]))
        except httpx.TransportError:
            continue
    await bench.emulator.settle()
    delivered = [callback for callback in bench.emulator.callbacks if callback.status is not None]
    assert len(bench.words) == len(delivered)
    assert len(bench.emulator.requests) == 20
    assert {request.status for request in bench.emulator.requests} > {202}


# --- the text form of a fault -----------------------------------------------------------------------


@settings(deadline=None)
@given(
    kind=st.sampled_from(FaultKind),
    match=st.none() | st.text("abcXYZ/:-", min_size=1),
    times=st.none() | st.integers(1, 99),
    status=st.integers(400, 599),
    retry_after=st.none() | st.integers(0, 100).map(lambda n: n / 8),
    seconds=st.integers(0, 100).map(lambda n: n / 8),
)
def test_parsing_the_text_of_a_fault_gives_the_same_fault(kind, match, times, status, retry_after, seconds):
    fault = Fault(
        kind=kind, match=match, times=times, status=status, retry_after=retry_after, seconds=seconds
    )
    parsed = Fault.parse(str(fault))
    assert str(parsed) == str(fault)
    assert (parsed.kind, parsed.match, parsed.times, parsed.retry_after) == (kind, match, times, retry_after)


def test_a_fault_with_a_probability_is_applied_without_a_limit_by_default():
    fault = Fault.parse("duplicate,probability=0.5")
    assert fault.times is None
    assert Fault.parse(str(fault)) == fault
    assert Fault.parse("duplicate,probability=0.5,times=3").times == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "explode",
        "status=200",
        "status=many",
        "slow=-1",
        "slow=inf",
        "slow=nan",
        "lose,times=0",
        "lose,times=often",
        "lose,probability=2",
        "lose,colour=red",
    ],
)
def test_an_impossible_fault_is_rejected(text):
    with pytest.raises(ValueError, match=r"expected|is not between"):
        Fault.parse(text)
