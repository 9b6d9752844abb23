"""A minimal emulated provider, and a bench that serves it, for the tests of the emulator kit."""

import asyncio
import json
import ssl
from contextlib import aclosing, asynccontextmanager

import httpx

from transferkit.emulators import CallView, Emulator, Reply, RingingCall
from transferkit.testing import scenario, serve


class MinimalEmulator(Emulator):
    """A provider with one operation: `POST /calls/{id}/transfer` with the body `{"to": scenario}`."""

    name = "minimal"
    incoming_path = "/incoming"

    def __init__(self, **options):
        super().__init__(**options)
        self.callback_urls = {}
        self.executed = []
        self.hung_up = []

    async def handle(self, request):
        _, _, call_id, *action = [*request.path.split("/"), "", ""][:5]
        if call_id not in self.callback_urls:
            return Reply(status=404, body={"error": "no such call"})
        if action[0] != "transfer":
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
            await self.post(self.callback_urls[call_id], {"call": call_id, "word": word})

    def config(self, base_url, *, ca_file=None):
        return {"endpoint": base_url}

    def place_call(self, *, callback_url, group=False):
        call_id = f"call-{len(self.callback_urls)}"
        self.callback_urls[call_id] = callback_url
        return call_id

    def ring(self, *, callback_url):
        call_id = self.place_call(callback_url=callback_url)
        self.start(self.announce(call_id))
        return RingingCall(call_id=call_id, incoming_context="context")

    async def announce(self, call_id):
        await self.post(self.callback_urls[call_id], {"call": call_id, "word": "incoming"})

    def hang_up(self, call_id):
        self.hung_up.append(call_id)
        if not self.end_ringing(call_id, "caller_leaves"):
            self.start(self.transfer(call_id, scenario("caller_leaves")))

    def executions(self, call_id):
        return self.executed.count(call_id)

    def calls(self):
        return tuple(
            CallView(id=call_id, provider=self.name, state="up", executions=self.executions(call_id))
            for call_id in self.callback_urls
        )


class CallbackSink:
    """An ASGI app that receives callbacks; `words` contains the word of each."""

    def __init__(self):
        self.words = []

    async def __call__(self, scope, receive, send):
        self.words.append(json.loads((await receive())["body"])["word"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Bench:
    """A served emulator, the words of its callbacks, and an HTTP client."""

    def __init__(self, emulator, server, sink, sink_url, http):
        self.emulator, self.server, self.http = emulator, server, http
        self.url = server.url
        self.callback_url = f"{sink_url}/callbacks"
        self.words = sink.words

    def call(self):
        return self.emulator.place_call(callback_url=self.callback_url)

    async def transfer(self, call_id, to="answers", **options):
        return await self.http.post(f"{self.url}/calls/{call_id}/transfer", json={"to": to}, **options)

    async def control(self, method, path, body=None, **headers):
        """A request to the control API."""
        return await self.http.request(method, f"{self.url}/_emulator/{path}", json=body, headers=headers)

    async def ringing(self, call_id):
        """Return when the target of the call is ringing."""
        async with asyncio.timeout(30):
            while call_id not in self.emulator.ringing_targets:
                await self.emulator.journal.changed()


@asynccontextmanager
async def open_bench(*, tls=False):
    emulator, sink = MinimalEmulator(pace=0.001), CallbackSink()
    async with aclosing(emulator), serve(emulator.app, tls=tls) as server, serve(sink) as callbacks:
        verify = ssl.create_default_context(cafile=server.ca_file) if tls else False
        async with httpx.AsyncClient(trust_env=False, verify=verify, timeout=30) as http:
            yield Bench(emulator, server, sink, callbacks.url, http)


async def asgi_request(app, *messages, path="/x", client=("127.0.0.1", 1), headers=(), extensions=None):
    """Call an ASGI app without a server; returns the messages that it sent."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"localhost:80"), *headers],
        "client": client,
        "extensions": extensions or {},
    }
    to_receive, sent = list(messages or [{"type": "http.request"}]), []

    async def receive():
        return to_receive.pop(0)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    assert to_receive == []
    return sent
