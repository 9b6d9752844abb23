"""The emulator kit: HTTP in between, faults, ringing targets, callbacks, and the control API."""

import asyncio
import json
import socket
import ssl
from contextlib import aclosing, asynccontextmanager
from random import Random

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferkit.emulators import (
    CallView,
    EmulatedRequest,
    Emulator,
    Fault,
    FaultKind,
    Faults,
    Reply,
    RingingCall,
)
from transferkit.emulators import faults as fault_words
from transferkit.testing import scenario, serve


class Exchange(Emulator):
    """A provider of the shortest wire there is: `POST /calls/{id}/transfer` with `{"to": scenario}`."""

    name = "exchange"

    def __init__(self, **options):
        super().__init__(**options)
        self.known = {}
        self.executed = []

    async def handle(self, request):
        _, _, call_id, *action = request.path.split("/")
        if call_id not in self.known:
            return Reply(status=404, body={"error": "no such call"})
        if action != ["transfer"]:
            return Reply(status=200, body={"id": call_id, "target": request.raw_target})
        line = scenario(request.json()["to"])
        if status := self.rejection_status(call_id, line):
            return Reply(status=status, headers={"Retry-After": "0.5"})
        self.executed.append(call_id)
        self.start(self.transfer(call_id, line))
        return Reply(status=202)

    async def transfer(self, call_id, line):
        line = await self.ring_target(call_id, line)
        for word in ("ends", line.name):
            await self.post(self.known[call_id], {"call": call_id, "word": word})

    def config(self, base_url, *, ca_file=None):
        return {"endpoint": base_url}

    def place_call(self, *, callback_url, group=False):
        call_id = f"call-{len(self.known)}"
        self.known[call_id] = callback_url
        return call_id

    def ring(self, *, callback_url):
        call_id = self.place_call(callback_url=callback_url)
        self.start(self.announce(call_id))
        return RingingCall(call_id=call_id, incoming_context="context")

    async def announce(self, call_id):
        await self.post(self.known[call_id], {"call": call_id, "word": "incoming"})

    def hang_up(self, call_id):
        if not self.end_ringing(call_id, "caller_leaves"):
            self.start(self.transfer(call_id, scenario("caller_leaves")))

    def executions(self, call_id):
        return self.executed.count(call_id)

    def calls(self):
        return tuple(
            CallView(id=call_id, provider=self.name, state="up", executions=self.executions(call_id))
            for call_id in self.known
        )


class Bench:
    """The emulator, served; what its callbacks said; and an HTTP client of it."""

    def __init__(self, emulator, server, sink, http):
        self.emulator, self.server, self.sink, self.http = emulator, server, sink, http
        self.url = server.url
        self.callback_url = f"{sink.url}/callbacks"
        self.words = sink.words

    def call(self):
        return self.emulator.place_call(callback_url=self.callback_url)

    async def transfer(self, call_id, to="answers"):
        return await self.http.post(f"{self.url}/calls/{call_id}/transfer", json={"to": to})


class Sink:
    """Takes callbacks; `words` is what they said, `gone` what was answered meanwhile."""

    def __init__(self):
        self.words, self.url = [], ""
        self.got = asyncio.Event()

    async def __call__(self, scope, receive, send):
        body = (await receive())["body"]
        self.words.append(json.loads(body)["word"])
        self.got.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def a_bench(*, tls=False):
    emulator, sink = Exchange(pace=0.001), Sink()
    async with aclosing(emulator), serve(emulator.app, tls=tls) as server, serve(sink) as callbacks:
        trust = ssl.create_default_context(cafile=server.ca_file) if tls else True
        sink.url = callbacks.url
        async with httpx.AsyncClient(trust_env=False, verify=trust) as http:
            yield Bench(emulator, server, sink, http)


@pytest.fixture
async def bench():
    async with a_bench() as made:
        yield made


# --- requests and records ---------------------------------------------------------------------------


async def test_a_request_reaches_the_provider_as_it_was_sent(bench):
    call = bench.call()
    answer = await bench.http.get(f"{bench.url}/calls/{call}/a%2Fb?x=1&x=%C3%A9&y=")
    assert answer.json()["target"] == f"/calls/{call}/a%2Fb?x=1&x=%C3%A9&y="
    (seen,) = bench.emulator.requests
    assert (seen.method, seen.path, seen.status) == ("GET", f"/calls/{call}/a/b", 200)
    assert seen.query == {"x": "é", "y": ""}
    assert seen.reply_body == {"id": call, "target": answer.json()["target"]}


async def test_credentials_are_kept_nowhere(bench, planted):
    headers = {"Authorization": f"Bearer {planted.token}"}
    form = {"client_secret": planted.client_secret, "grant_type": "client_credentials"}
    await bench.http.post(f"{bench.url}/calls/none", data=form, headers=headers)
    (seen,) = bench.emulator.requests
    assert seen.headers["authorization"] == "Bearer ***"
    assert seen.body == "client_secret=***&grant_type=client_credentials"
    await bench.emulator.post(f"{bench.callback_url}", {"word": "x"}, headers=headers)
    (said,) = bench.emulator.callbacks
    assert said.headers["authorization"] == "Bearer ***"
    assert planted.shown_in(repr(bench.emulator.requests) + str(vars(bench.emulator))) == []


def test_a_hostile_body_is_a_value_error():
    for body in (b"", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            EmulatedRequest(method="POST", path="/", raw_target="/", base_url="", body=body).json()


async def test_it_serves_over_tls_too():
    async with a_bench(tls=True) as bench:
        assert (await bench.transfer(bench.call())).status_code == 202
        bench.emulator.faults.add(Fault(kind=FaultKind.RESET_BEFORE))
        with pytest.raises(httpx.TransportError):
            await bench.transfer(bench.call())


# --- scenarios --------------------------------------------------------------------------------------


async def test_a_scenario_plays_and_settles(bench):
    call = bench.call()
    assert (await bench.transfer(call)).status_code == 202
    await bench.emulator.settle()
    assert bench.words == ["ends", "answers"]
    assert [callback.status for callback in bench.emulator.callbacks] == [200, 200]
    assert bench.emulator.executions(call) == 1


@pytest.mark.parametrize(
    ("decide", "word"),
    [
        (Emulator.answer_target, "answers"),
        (Emulator.decline_target, "declined"),
        (lambda emulator, call: emulator.end_ringing(call, "busy"), "busy"),
        (Exchange.hang_up, "caller_leaves"),
    ],
)
async def test_a_target_rings_until_somebody_decides(bench, decide, word):
    call = bench.call()
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    assert bench.emulator.ringing_targets == {call}
    assert bench.words == []
    decide(bench.emulator, call)
    await bench.emulator.settle()
    assert bench.words == ["ends", word]
    assert not bench.emulator.answer_target(call)


async def test_a_target_of_any_scenario_may_be_answered_early(bench):
    bench.emulator.pace = 30
    call = bench.call()
    await bench.transfer(call, "slow")
    async with asyncio.timeout(5):
        while call not in bench.emulator.ringing_targets:
            await bench.emulator.journal.changed()
        assert bench.emulator.answer_target(call)
        await bench.emulator.settle()
    assert bench.words == ["ends", "answers"]


def test_no_ringing_ends_undecided():
    for name in ("manual", "forbidden"):
        with pytest.raises(ValueError, match=name):
            Exchange().end_ringing("call", name)
    with pytest.raises(KeyError):
        Exchange().end_ringing("call", "explodes")


async def test_some_scenarios_turn_the_request_away(bench):
    call = bench.call()
    assert [(await bench.transfer(call, "throttled")).status_code for _ in range(3)] == [429, 202, 202]
    assert [(await bench.transfer(call, "forbidden")).status_code for _ in range(3)] == [403] * 3
    assert (await bench.transfer(bench.call(), "throttled")).status_code == 429, "each call has its own count"


# --- request faults ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "header"), [("status=429,retry_after=1.5", "1.5"), ("status=503", None)])
async def test_a_service_in_trouble(bench, text, header):
    bench.emulator.faults.add(Fault.parse(f"{text},match=transfer"))
    call = bench.call()
    assert (await bench.http.get(f"{bench.url}/calls/{call}")).status_code == 200
    answer = await bench.transfer(call)
    assert answer.status_code == int(text[7:10])
    assert answer.headers.get("retry-after") == header
    assert "error" in answer.json()
    assert bench.emulator.executions(call) == 0
    assert (await bench.transfer(call)).status_code == 202
    assert [seen.fault is None for seen in bench.emulator.requests] == [True, False, True]


@pytest.mark.parametrize(("kind", "executions"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_connection_is_reset(bench, kind, executions):
    """As seen by a bare socket: no byte of an answer, and RST instead of an orderly end."""
    call = bench.call()
    bench.emulator.faults.add(Fault.parse(kind))
    body = b'{"to": "answers"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.server.port)
    writer.write(
        b"POST /calls/%b/transfer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        % (call.encode(), len(body), body)
    )
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            await reader.read()
    writer.close()
    assert bench.emulator.executions(call) == executions
    assert [(seen.status, seen.fault) for seen in bench.emulator.requests] == [(0, kind)]
    assert (await bench.transfer(call)).status_code == 202, "others are not disturbed"


async def test_only_the_connection_of_the_request_is_reset(bench):
    call = bench.call()
    other = socket.create_connection(("127.0.0.1", bench.server.port))
    other.settimeout(0)
    bench.emulator.faults.add(Fault.parse("reset_before"))
    with pytest.raises(httpx.TransportError):
        await bench.transfer(call)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    other.close()


@pytest.mark.parametrize(("kind", "executions"), [("slow", 0), ("slow_after", 1)])
async def test_a_slow_service(bench, kind, executions):
    call = bench.call()
    bench.emulator.faults.add(Fault.parse(f"{kind}=1.5"))
    with pytest.raises(httpx.ReadTimeout):
        await bench.http.post(
            f"{bench.url}/calls/{call}/transfer", json={"to": "answers"}, timeout=httpx.Timeout(5, read=0.5)
        )
    assert bench.emulator.executions(call) == executions


async def test_a_callback_overtakes_the_answer(bench):
    bench.emulator.pace = 0.02
    bench.emulator.faults.add(Fault.parse("early"))
    await bench.transfer(bench.call())
    assert bench.words[:1] == ["ends"]


async def test_what_says_nothing_cannot_overtake(bench):
    bench.emulator.faults.add(Fault.parse("early,times=always"))
    assert (await bench.http.get(f"{bench.url}/calls/{bench.call()}")).status_code == 200


# --- callback faults --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("duplicate,match=ends", ["ends", "ends", "answers"]),
        ("lose,match=ends", ["answers"]),
        ("reorder,match=ends", ["answers", "ends"]),
        ("delay=0.1,match=ENDS", ["answers", "ends"]),
        ("reorder,match=answers", ["ends", "answers"]),  # nothing follows that could overtake it
        ("lose,match=nothing of the kind", ["ends", "answers"]),
        ("spelling,match=ends", ["ends", "answers"]),  # this provider has no other
    ],
)
async def test_callbacks_go_wrong(bench, text, words):
    bench.emulator.faults.add(Fault.parse(text))
    await bench.transfer(bench.call())
    await bench.emulator.settle()
    assert bench.words == words
    lost = [callback.fault for callback in bench.emulator.callbacks if callback.status is None]
    assert lost == (["lose,match=ends"] if text == "lose,match=ends" else [])


class Shouting(Exchange):
    """A provider that has another spelling of its words."""

    def other_spelling(self, body):
        return body | {"word": body["word"].upper()}


async def test_a_provider_defines_its_other_spellings(bench):
    async with aclosing(Shouting()) as emulator:
        emulator.faults.add(Fault.parse("spelling,match=ends"))
        for word in ("ends", "answers"):
            await emulator.post(bench.callback_url, {"call": "c1", "word": word})
    assert bench.words == ["ENDS", "answers"]
    kept = [(callback.body["word"], callback.fault) for callback in emulator.callbacks]
    assert kept == [("ENDS", "spelling,match=ends"), ("answers", None)], "recorded as it was posted"


async def test_nobody_who_listens_is_no_trouble(bench):
    for url in ("http://127.0.0.1:9/", "not an address"):
        assert await bench.emulator.post(url, {}) is None
    assert [callback.status for callback in bench.emulator.callbacks] == [None, None]


# --- which faults, and when -------------------------------------------------------------------------


def test_a_fault_happens_as_often_as_it_says():
    faults = Faults()
    faults.add(Fault.parse("status=429,times=2,match=Transfer"), Fault.parse("slow=0"))
    taken = [faults.for_request(path) for path in ("/x", "/transfer", "/a/transfer", "/transfer")]
    assert [fault.kind if fault else None for fault in taken] == ["slow", "status", "status", None]
    assert faults.active == ()
    assert faults.for_callback("transfer") is None


def test_a_request_fault_is_none_of_a_callback():
    faults = Faults()
    faults.add(*(Fault(kind=kind, times=None) for kind in FaultKind))
    assert faults.for_request("/x").kind in fault_words.REQUEST_FAULTS
    assert faults.for_callback("x").kind in fault_words.CALLBACK_FAULTS
    faults.clear()
    assert (faults.for_request("/x"), faults.for_callback("x")) == (None, None)


def test_chaos_is_repeated_by_its_seed():
    def told(seed, rate=0.5):
        faults = Faults()
        faults.chaos(seed=seed, rate=rate)
        return [(faults.for_request("/x"), faults.for_callback("x")) for _ in range(50)]

    assert told(1) == told(1)
    assert told(1) != told(2)
    assert {fault for pair in told(1, rate=0) for fault in pair} == {None}
    kinds = {fault.kind for pair in told(3, rate=1) for fault in pair}
    assert kinds == set(FaultKind) - {FaultKind.SPELLING}, "which is no trouble of the network"


def test_clearing_ends_the_chaos():
    faults = Faults()
    faults.chaos(seed=1, rate=1)
    assert faults.seed == 1
    faults.clear()
    assert (faults.seed, faults.for_request("/x")) == (None, None)


@settings(deadline=None)
@given(
    kind=st.sampled_from(FaultKind),
    match=st.none() | st.text("abcXYZ/:-", min_size=1),
    times=st.none() | st.integers(1, 99),
    status=st.integers(400, 599),
    retry_after=st.none() | st.integers(0, 100).map(lambda n: n / 8),
    seconds=st.integers(0, 100).map(lambda n: n / 8),
)
def test_a_fault_reads_as_it_is_written(kind, match, times, status, retry_after, seconds):
    fault = Fault(
        kind=kind, match=match, times=times, status=status, retry_after=retry_after, seconds=seconds
    )
    again = Fault.parse(str(fault))
    assert str(again) == str(fault)
    assert (again.kind, again.match, again.times, again.retry_after) == (kind, match, times, retry_after)


def test_a_probability_means_always():
    assert Fault.parse("duplicate,probability=0.5").times is None
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
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|is not between"):
        Fault.parse(text)


async def test_under_chaos_what_is_executed_is_still_said_or_lost(bench):
    bench.emulator.faults.chaos(seed=5, rate=0.4)
    draw = Random(5)  # noqa: S311 - it is to be repeated, not to be secret
    for _ in range(20):
        try:
            await bench.transfer(bench.call(), draw.choice(["answers", "busy"]))
        except httpx.TransportError:
            continue
    await bench.emulator.settle()
    said = [callback for callback in bench.emulator.callbacks if callback.status is not None]
    assert len(bench.words) == len(said)
    assert len(bench.emulator.requests) == 20
    assert {request.status for request in bench.emulator.requests} > {202}


# --- the fixture ------------------------------------------------------------------------------------


@pytest.mark.transferkit_faults("reset_after,match=transfer", "duplicate,times=always")
@pytest.mark.transferkit_faults("slow=2")
async def test_a_marker_switches_faults_on(transferkit_emulators):
    async with transferkit_emulators as emulated:
        for emulator in emulated.running.values():
            kinds = [fault.kind for fault in emulator.faults.active]
            assert sorted(kinds) == ["duplicate", "reset_after", "slow"]
        assert set(emulated.tables) == set(emulated.running) == set(emulated.servers)


# --- watching ---------------------------------------------------------------------------------------


async def test_the_journal_has_everything_in_order_and_wakes(bench):
    woken = asyncio.create_task(bench.emulator.journal.changed())
    await bench.transfer(bench.call())
    await bench.emulator.settle()
    await asyncio.wait_for(woken, 5)
    entries = bench.emulator.journal.entries
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert {type(entry.record).__name__ for entry in entries} == {"RecordedRequest", "SentCallback"}
    bench.emulator.reset()
    assert not bench.emulator.journal.entries
    assert not bench.emulator.requests


# --- the control API --------------------------------------------------------------------------------


async def control(bench, method, path, said=None, **headers):
    return await bench.http.request(method, f"{bench.url}/_emulator/{path}", json=said, headers=headers)


async def test_calls_are_directed_from_outside(bench):
    placed = await control(bench, "POST", "calls", {"callback_url": bench.callback_url})
    call = placed.json()["id"]
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    (view,) = (await control(bench, "GET", "calls")).json()
    assert (view["id"], view["target_rings"], view["executions"]) == (call, True, 1)
    assert (await control(bench, "POST", f"calls/{call}/decline")).json() == {"rang": True}
    assert (await control(bench, "POST", f"calls/{call}/answer")).json() == {"rang": False}
    await bench.emulator.settle()
    assert (await control(bench, "POST", f"calls/{call}/hang_up")).status_code == 204
    await bench.emulator.settle()
    assert bench.words == ["ends", "declined", "ends", "caller_leaves"]
    (request,) = (await control(bench, "GET", "requests")).json()
    assert (request["path"], request["status"]) == (f"/calls/{call}/transfer", 202)
    assert [one["body"]["word"] for one in (await control(bench, "GET", "callbacks")).json()] == bench.words
    assert (await control(bench, "POST", "reset")).status_code == 204
    assert (await control(bench, "GET", "requests")).json() == []


async def test_a_ringing_ends_as_told_from_outside(bench):
    call = bench.call()
    await bench.transfer(call, "manual")
    await bench.emulator.settle()
    assert (await control(bench, "POST", f"calls/{call}/end_ringing", {"scenario": "no_answer"})).json()[
        "rang"
    ]
    await bench.emulator.settle()
    assert bench.words[-1] == "no_answer"
    refused = await control(bench, "POST", f"calls/{call}/end_ringing", {"scenario": "explodes"})
    assert refused.status_code == 400
    assert "declined" in refused.json()["error"]


async def test_it_rings_at_the_usual_address(bench):
    assert (await control(bench, "POST", "ring")).status_code == 400
    bench.emulator.callback_url = bench.callback_url
    rung = (await control(bench, "POST", "ring")).json()
    await bench.emulator.settle()
    assert rung == {"call_id": "call-0", "incoming_context": "context"}
    assert bench.words == ["incoming"]


async def test_faults_are_switched_from_outside(bench):
    switched = await control(bench, "POST", "faults", {"fault": "status=500,match=transfer"})
    assert switched.json() == {"active": ["status=500,match=transfer"], "chaos_seed": None}
    assert (await bench.transfer(bench.call())).status_code == 500
    assert (await control(bench, "POST", "chaos", {"seed": 7, "rate": 1})).json()["chaos_seed"] == 7
    assert (await control(bench, "DELETE", "faults")).status_code == 204
    assert (await bench.transfer(bench.call())).status_code == 202
    assert (await control(bench, "POST", "faults", {"fault": "explode"})).status_code == 400
    assert (await control(bench, "POST", "chaos", {"seed": "x"})).status_code == 400


async def test_it_tells_the_scenarios(bench):
    told = {line["name"]: line["number"] for line in (await control(bench, "GET", "scenarios")).json()}
    assert told["busy"] == scenario("busy").number.number


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("PUT", "calls", 404), ("POST", "calls/none/answer", 404)],
)
async def test_what_the_control_api_does_not_know(bench, method, path, status):
    answer = await control(bench, method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Host": "rebound.example.org"},
    ],
)
async def test_no_page_of_another_site_directs_it(bench, headers):
    answer = await control(bench, "POST", "reset", None, **headers)
    assert answer.status_code == 403


async def test_nor_a_form(bench):
    form = await bench.http.post(f"{bench.url}/_emulator/calls", data={"callback_url": bench.callback_url})
    assert form.status_code == 415
    text = await bench.http.post(f"{bench.url}/_emulator/calls", json=["no object"])
    assert text.status_code == 400


async def test_the_control_api_is_no_part_of_the_record(bench):
    await control(bench, "GET", "calls")
    assert bench.emulator.requests == ()
