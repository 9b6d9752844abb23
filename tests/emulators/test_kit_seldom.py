"""Ways through the tools for tests that are seldom taken: emulators, their page, the proxy, the server."""

import asyncio
import contextlib
import gc
import socket
import threading
import warnings
from types import MappingProxyType

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from transferkit import MemoryStore
from transferkit._util.frozenmap import FrozenMap, thaw
from transferkit.codec import encode
from transferkit.emulators import (
    CallView,
    Emulator,
    Fault,
    Faults,
    RecordedRequest,
    Reply,
    RingingCall,
    SentCallback,
    callbacks,
)
from transferkit.emulators.page import Page, diagram
from transferkit.emulators.page.actions import ACTIONS, ActionError
from transferkit.emulators.page.reported import ReportedEvent, reported_events
from transferkit.emulators.page.stories import Line
from transferkit.provider.facts import Signal
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing import serve
from transferkit.testing import server as server_module
from transferkit.testing.contracts import adapter as adapter_contract
from transferkit.testing.contracts.store_groups import Consumer, record
from transferkit.testing.contracts.store_inputs import AT, new_call
from transferkit.testing.fault_proxy import FaultProxy, Stall, _read_request, fault_proxy

BODY = {"id": "1", "call_id": "call-1", "time": AT.isoformat(), "signals": ["failed"], "reason": "busy"}


class Small(Emulator):
    """A provider that does next to nothing."""

    name = "fake"
    incoming_path = "/incoming"

    def __init__(self, **options):
        super().__init__(**options)
        self.known, self.hung_up = {}, []

    async def handle(self, request):
        if request.path == "/speechless":
            self.start(asyncio.sleep(10))
        return Reply(status=200, body={"length": len(request.body)})

    def config(self, base_url, *, ca_file=None):
        return {}

    def place_call(self, *, callback_url, group=False):
        self.known[f"call-{len(self.known)}"] = callback_url
        return f"call-{len(self.known) - 1}"

    def ring(self, *, callback_url):
        return RingingCall(call_id=self.place_call(callback_url=callback_url))

    def hang_up(self, call_id):
        self.hung_up.append(call_id)

    def executions(self, call_id):
        return 0

    def calls(self):
        return tuple(CallView(id=call_id, provider=self.name, state="up") for call_id in self.known)


@pytest.fixture
async def emulator():
    emulator = Small(pace=0.001)
    yield emulator
    await emulator.aclose()


async def ask(emulator, *messages, path="/x", client=("127.0.0.1", 1), headers=(), method="POST"):
    """What an ASGI server is told to send; it serves nothing beyond ASGI itself."""
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"localhost:80"), *headers], "client": client,
    }  # fmt: skip
    to_come, sent = list(messages or [{"type": "http.request"}]), []

    async def receive():
        return to_come.pop(0)

    async def send(message):
        sent.append(message)

    await emulator.app(scope, receive, send)
    return sent


# --- an emulator's HTTP -------------------------------------------------------------------------------


async def test_an_emulator_speaks_http_alone(emulator):
    with pytest.raises(RuntimeError, match="only HTTP, not websocket"):
        await emulator.app({"type": "websocket"}, None, None)


@pytest.mark.parametrize("path", ["/x", "/_emulator/calls"])
async def test_a_client_who_goes_away_half_way_gets_and_leaves_nothing(emulator, path):
    part = {"type": "http.request", "body": b"half", "more_body": True}
    assert await ask(emulator, part, {"type": "http.disconnect"}, path=path) == []
    assert emulator.requests == ()


async def test_a_body_is_read_no_further_than_a_mebibyte(emulator):
    part = {"type": "http.request", "body": b"x" * 700_000, "more_body": True}
    _, body = await ask(emulator, part, part, part)
    assert body["body"] == b'{"length": 1400000}'


async def test_a_server_that_cannot_reset_a_connection_raises(emulator):
    emulator.faults.add(Fault.parse("reset_before"))
    with pytest.raises(ConnectionResetError, match="fault of the emulator"):
        await ask(emulator)


async def test_what_is_reset_is_over_when_the_client_has_noticed(emulator):
    emulator.faults.add(Fault.parse("reset_after"))
    aborted = []
    scope = {
        "type": "http", "method": "POST", "path": "/x", "query_string": b"", "scheme": "http", "headers": [],
        "extensions": {server_module.ABORT: lambda: aborted.append(1)},
    }  # fmt: skip
    messages = [{"type": "http.request"}, {"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    await emulator.app(scope, receive, None)
    assert (aborted, messages) == ([1], [])


async def test_what_never_says_anything_is_not_waited_for_for_ever(emulator, monkeypatch):
    monkeypatch.setattr(callbacks, "_FIRST_CALLBACK_SECONDS", 0.01)
    emulator.faults.add(Fault.parse("early"))
    (start, _) = await ask(emulator, path="/speechless")
    assert start["status"] == 200


@pytest.mark.parametrize("client", [None, ("192.0.2.1", 1)])
async def test_nobody_but_this_machine_directs_it(emulator, client):
    (start, _) = await ask(emulator, path="/_emulator/calls", client=client)
    assert start["status"] == 403


async def test_a_body_that_is_no_json_directs_nothing(emulator):
    headers = [(b"content-type", b"application/json")]
    message = {"type": "http.request", "body": b"{"}
    (start, _) = await ask(emulator, message, path="/_emulator/calls", headers=headers)
    assert start["status"] == 400


def test_a_fault_that_does_not_always_happen():
    fault = Fault.parse("lose,probability=0.5")
    assert Fault.parse(str(fault)) == fault
    faults = Faults()
    faults.add(Fault.parse("lose,probability=0"))
    assert faults.for_callback("x") is None
    with pytest.raises(ValueError, match="not between 0 and 1"):
        faults.chaos(seed=1, rate=2)


# --- the page -----------------------------------------------------------------------------------------


def test_the_page_s_buttons_direct_the_emulator():
    emulator = Small()
    do = {"fake": emulator}
    form = {"provider": "fake", "callback_url": "http://127.0.0.1:1/in"}
    assert "is ringing" in ACTIONS["ring"](do, form)
    assert emulator.known == {"call-0": "http://127.0.0.1:1/in/incoming"}
    about = {"provider": "fake", "call_id": "call-0"}
    for verb in ("answer", "decline"):
        assert ACTIONS[verb](do, about) == "The target is not ringing."
    assert ACTIONS["hang_up"](do, about) == "The caller hung up."
    assert emulator.hung_up == ["call-0"]
    with pytest.raises(ActionError, match="does not exist"):
        ACTIONS["hang_up"](do, {"provider": "fake", "call_id": "call-1"})


async def test_the_page_s_script_is_told_and_without_one_a_button_leads_back(emulator):
    page = Page({"fake": emulator}, addresses={"fake": "http://127.0.0.1:1"})
    async with serve(page.app) as served, httpx.AsyncClient(trust_env=False) as http:
        form = {"token": page._token, "provider": "fake", "callback_url": "http://127.0.0.1:1/in"}
        headers = {"Origin": served.url}
        answer = await http.post(f"{served.url}/do/place", data=form, headers=headers)
        told = await http.post(
            f"{served.url}/do/place", data=form, headers={**headers, "X-Requested-By": "page"}
        )
        page.close()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (told.status_code, told.text) == (200, "Placed the call call-1.")


async def test_a_page_that_closes_ends_what_is_live(emulator):
    page = Page({"fake": emulator}, addresses={"fake": "http://127.0.0.1:1"})
    told = []

    async def listen():
        told.extend([change async for change in page._changes()])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.05)
    page.close()
    async with asyncio.timeout(10):
        await listening
    assert told


def test_what_a_callback_says_where_nobody_can_tell():
    def sent(body):
        return SentCallback(url="http://x", body=body, status=200, at=AT)

    assert reported_events("nobody", sent(BODY)) == ()
    assert [heard.kind for heard in reported_events("fake", sent({"id": "1"}))][-1:] == ["malformed"]
    line = Line(provider="fake", number=1, record=sent(BODY))
    assert not line.executed


def test_why_a_transfer_fails_is_drawn_where_it_is_known():
    callback = SentCallback(url="http://x", body=BODY, status=200, at=AT)
    known = Line(provider="fake", number=1, record=callback, events=reported_events("fake", callback))
    assert diagram._failure(known) == "busy"
    unknown = Line(
        provider="fake", number=1, record=callback, events=(ReportedEvent(kind="x", signal=Signal.FAILED),)
    )
    assert diagram._failure(unknown) == "fails"
    asked = RecordedRequest(method="POST", path="/x", query={}, headers={}, body=None, status=200, at=AT)
    assert Line(provider="fake", number=1, record=asked).executed


# --- the proxy and the server -------------------------------------------------------------------------


async def test_a_proxy_may_be_closed_twice_and_stalls_whoever_goes_on_talking():
    proxy = FaultProxy("http://127.0.0.1:1")
    await proxy.open()
    proxy.apply(Stall())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        while not proxy.requests:  # noqa: ASYNC110 - the proxy reads in its own task
            await asyncio.sleep(0.01)
        writer.write(b"more")
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()
    await proxy.aclose()
    await proxy.aclose()


async def test_a_request_of_unknown_length_is_not_proxied():
    reader = asyncio.StreamReader()
    reader.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(ValueError, match="Content-Length"):
        await _read_request(reader)


async def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serve(None, port=taken.getsockname()[1]):
            pytest.fail("it was served")


async def test_a_server_that_does_not_start_is_told(monkeypatch):
    class Broken:
        started = False

        async def serve(self, sockets):
            raise RuntimeError("no certificate")

    monkeypatch.setattr(server_module, "_server", lambda *_: (Broken(), asyncio.Event()))
    with pytest.raises(RuntimeError, match="no certificate"):
        async with serve(None):
            pytest.fail("it was served")


def left_open(story) -> list[str]:
    """What a story in a loop of its own leaves for the garbage collector to close."""
    gc.collect()  # what others left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(story())
        gc.collect()
    return [str(warning.message) for warning in caught]


@contextlib.asynccontextmanager
async def served():
    async with serve(None) as server:
        yield server.url


@contextlib.asynccontextmanager
async def proxied():
    async with fault_proxy("http://127.0.0.1:1") as proxy:
        yield proxy.url


@contextlib.asynccontextmanager
async def answering():
    async with adapter_contract._unclear_provider(b"") as (url, _):
        yield url


@pytest.mark.parametrize("listening", [served, proxied, answering])
@pytest.mark.parametrize("turns", range(8))
def test_a_connection_accepted_as_a_server_stops_is_closed(turns, listening):
    async def story():
        async with listening() as url:
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
                for _ in range(turns):
                    await asyncio.sleep(0)

    assert left_open(story) == []


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_accepted_as_the_proxy_goes_down_is_reset(turns):
    async with fault_proxy("http://127.0.0.1:1") as proxy:
        with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2]))) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            async with proxy.down():
                client.settimeout(5)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


def test_a_connection_that_outlasts_the_grace_is_closed():
    asked, done = asyncio.Event(), threading.Event()

    async def deaf(*_):
        asked.set()
        while not done.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def story():
        async with serve(deaf) as server:
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: local\r\n\r\n")
            await asked.wait()
        done.set()
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()

    assert left_open(story) == []


# --- what the store in memory is told late ------------------------------------------------------------


async def test_what_was_acknowledged_cannot_be_given_back_unused():
    store = MemoryStore()
    await store.open_group("crm", start=GroupStart.BEGINNING)
    recorded = await record(store, new_call())
    consumer = Consumer(store)
    await consumer.hold()
    delivery = await consumer.next()
    assert await consumer.acknowledge(delivery)
    await consumer.leave(unused=delivery)
    await consumer.hold()
    assert await consumer.read_all() == []
    assert len(recorded) == 1


async def test_nor_what_was_released_and_dealt_with():
    store = MemoryStore()
    await store.open_group("crm", start=GroupStart.BEGINNING)
    (event,) = await record(store, new_call())
    consumer = Consumer(store)
    await consumer.hold()
    while not await store.parked("crm"):
        await consumer.begin()
    assert await store.release("crm", event.id)
    delivery = await consumer.next()
    assert delivery.released
    assert await consumer.acknowledge(delivery)
    await consumer.leave(unused=delivery)
    assert await store.parked("crm") == ()


def test_any_map_is_written():
    assert thaw(MappingProxyType({"one": (1, 2)})) == {"one": [1, 2]}
    assert encode(FrozenMap({"one": 1})) == {"one": 1}


# --- the adapter's contract ---------------------------------------------------------------------------


async def test_a_client_that_gives_up_is_no_request():
    async with adapter_contract._unclear_provider(b"") as (url, requests):
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
    assert requests == []
