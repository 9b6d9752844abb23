"""Fixtures for the Graph adapter's tests: adapters, its emulator on a socket, and misbehaving servers."""

import json
import ssl
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
import trustme
from support.entra import FixedCredential
from support.scripted_server import responding, scripted_server
from transferkit_graph import GraphAdapter, GraphSettings, transport
from transferkit_graph.emulator import GraphEmulator
from transferkit_microsoft.tokens import Tokens

from transferkit.identifiers import PhoneNumber
from transferkit.provider.adapter import Callback, Submission
from transferkit.provider.deadline import Deadline
from transferkit.provider.secret import Secret
from transferkit.requests import Transfer
from transferkit.testing.server import serve

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
CALL_ID = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
PACE = 0.001


class FixedClock:
    def now(self):
        return NOW

    async def wait(self, event, until):
        raise AssertionError("an adapter does not wait")


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory):
    """Trust one authority, not all public ones, which no test needs and every client takes long to load."""
    file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture
def submission():
    """Makes a submission of a request, by default of a plain transfer."""

    def make(request=None, **more):
        request = request or Transfer(call=CALL_ID, to=PhoneNumber("+14255550100"))
        more.setdefault("deadline", Deadline(datetime.now(UTC) + timedelta(minutes=1)))
        return Submission(id=str(uuid4()), request=request, first_sent_at=NOW, **more)

    return make


@pytest.fixture
def decode():
    """The facts of a body, given as JSON value or bytes."""

    def run(body, **more):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return GraphAdapter.decode(Callback(body=content, received_at=NOW, **more))

    return run


def settings_of(table):
    """Settings from an emulator's plain table, as the configuration would read them."""
    secrets = {
        name: Secret(value=table[name], key=f"providers.graph.{name}")
        for name in ("client_secret", "certificate", "certificate_password")
        if isinstance(table.get(name), str)
    }
    return GraphSettings(**{**table, **secrets, "ca_file": Path(table["ca_file"])})


class Bench:
    """The emulator on a socket, adapters for it, and the callbacks that it sends."""

    def __init__(self, emulator, server):
        self.emulator = emulator
        self.server = server
        self.callback_url = None
        self.callbacks = []
        self._adapters = []

    @property
    def table(self):
        return self.emulator.config(self.server.url, ca_file=self.server.ca_file)

    def adapter(self, **more):
        adapter = GraphAdapter(settings_of({**self.table, **more}), clock=FixedClock())
        self._adapters.append(adapter)
        return adapter

    async def token(self):
        """A token of the emulator's Entra, as the adapter gets it."""
        settings = settings_of(self.table)
        tokens = Tokens(settings)
        try:
            return (await tokens.get(settings.scope)).value
        finally:
            await tokens.aclose()

    def facts(self):
        return [fact for callback in self.callbacks for fact in GraphAdapter.decode(callback)]

    def signals(self):
        return [[signal.value for signal in fact.signals] for fact in self.facts()]

    async def take(self, scope, receive, send):
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.callbacks.append(Callback(body=body, headers=headers, received_at=NOW))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def clear(self):
        for adapter in self._adapters:
            await adapter.aclose()
        await self.emulator.aclose()
        self.emulator.pace = PACE
        self.emulator.reset()
        self._adapters.clear()
        self.callbacks.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served():
    """Stopping a server takes a while, so one serves all tests of a module."""
    emulator = GraphEmulator(pace=PACE)
    async with aclosing(emulator), serve(emulator.app, tls=True) as server:
        bench = Bench(emulator, server)

        async def sink(scope, receive, send):
            await bench.take(scope, receive, send)

        async with serve(sink) as callbacks:
            bench.callback_url = f"{callbacks.url}/graph"
            yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def bench(served):
    yield served
    await served.clear()


@pytest_asyncio.fixture(loop_scope="module", params=["aiohttp", "httpx"])
async def graph_at(request, monkeypatch):
    """Makes an adapter for an address, with tokens that need no authority, on either transport."""
    if request.param == "aiohttp":
        pytest.importorskip("httpx_aiohttp")
    else:
        monkeypatch.setattr(transport, "find_spec", lambda _: None)
    adapters = []

    def make(base_url, **more):
        settings = {"credential": FixedCredential(), **more}
        adapter = GraphAdapter(GraphSettings(base_url=base_url, **settings), clock=FixedClock())
        adapters.append(adapter)
        return adapter

    yield make
    for adapter in adapters:
        await adapter.aclose()


@pytest.fixture
def raw_server():
    return scripted_server


@pytest.fixture
def answering():
    return responding


@pytest_asyncio.fixture(loop_scope="module")
async def browser(bench):
    """A plain HTTP client that trusts the emulator: for requests that the adapter would not send."""
    context = ssl.create_default_context(cafile=str(bench.server.ca_file))
    async with httpx.AsyncClient(base_url=bench.server.url, verify=context) as client:
        yield client
