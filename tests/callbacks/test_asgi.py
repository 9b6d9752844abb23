"""The ASGI app: requests, bodies that are large or slow, and the lifespan."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support.callbacks import body, make_client, stored_kinds

from transferkit import (
    CallbackConfig,
    CallbackResponse,
    ClientClosed,
    MemoryStore,
    StoreError,
)
from transferkit._callbacks.asgi import CallbackApp
from transferkit.testing import FakeAdapter

# --- requests -----------------------------------------------------------------------------------------


async def call(
    app, *chunks, path="/fake", root_path="", method="POST", headers=(), query=b"", more_forever=False
):
    """Send a request to an ASGI app; returns status, headers, body and the number of chunks read."""
    taken, sent = 0, []
    messages = [
        {"type": "http.request", "body": chunk, "more_body": more_forever or number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]

    async def receive():
        nonlocal taken
        taken += 1
        return messages[taken - 1] if taken <= len(messages) else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "root_path": root_path,
        "headers": list(headers),
    }
    await app(scope, receive, send)
    if not sent:
        return None, {}, b"", taken
    start, *parts = sent
    assert start["type"] == "http.response.start"
    assert all(part["type"] == "http.response.body" for part in parts)
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], answered, b"".join(part["body"] for part in parts), taken


async def test_a_callback_over_asgi_is_stored(make, store):
    client = make()
    app = client.asgi()  # before the client is open
    async with client:
        status, headers, content, _ = await call(app, body("started"))
    assert (status, content) == (200, b"")
    assert headers["content-length"] == "0"
    assert await stored_kinds(store) == ["provider.other"]


async def test_a_body_may_arrive_in_chunks(make, store):
    content = body("started")
    async with make() as client:
        status, _, _, taken = await call(client.asgi(), content[:10], b"", content[10:20], content[20:])
    assert (status, taken) == (200, 4)
    assert await stored_kinds(store) == ["provider.other"]


async def test_a_body_that_is_too_large_is_not_read_to_its_end(make, store):
    async with make(max_body_bytes=100) as client:
        status, headers, content, taken = await call(client.asgi(), *[b"x" * 60] * 1000)
    assert status == 413
    assert taken == 2
    assert headers["content-length"] == str(len(content))
    assert "100" in json.loads(content)["error"]


async def test_a_sender_that_disconnects_gets_no_response_and_nothing_is_stored(make, store):
    async with make() as client:
        status, _, _, _ = await call(client.asgi(), body("started"), more_forever=True)
    assert status is None
    assert await stored_kinds(store) == []


async def test_a_body_that_does_not_arrive_times_out(make, store):
    async def never():
        await asyncio.Event().wait()

    sent = []

    async def send(message):
        sent.append(message)

    async with make(body_timeout=timedelta(seconds=0.02)) as client:
        scope = {"type": "http", "method": "POST", "path": "/fake", "headers": []}
        await client.asgi()(scope, never, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert await stored_kinds(store) == []


async def test_a_client_that_is_not_open_answers_503_with_retry_after(make):
    client = make()
    status, headers, _, _ = await call(client.asgi(), body("started"))
    assert (status, headers["retry-after"]) == (503, "5")


async def test_a_question_mark_in_the_path_does_not_start_the_query(make):
    seen = []

    async def receive(request):
        seen.append(request.url)
        return CallbackResponse(status=200)

    app = CallbackApp(receive, config=CallbackConfig())
    await call(app, b"", path="/fake/a b?c", query=b"secret=x%20y&z")
    assert seen == ["/fake/a%20b%3Fc?secret=x%20y&z"]


async def test_a_response_to_head_has_no_body(make):
    async with make() as client:
        status, headers, content, _ = await call(client.asgi(), b"", method="HEAD")
    assert (status, content) == (405, b"")
    assert int(headers["content-length"]) > 0


async def test_the_app_may_be_mounted_below_a_path(make):
    async with make() as client:
        status, *_ = await call(
            client.asgi(), body("started"), path="/callbacks/fake", root_path="/callbacks"
        )
    assert status == 200


async def test_a_server_may_leave_the_mount_prefix_out_of_the_path(make):
    async with make() as client:
        status, *_ = await call(client.asgi(), body("started"), path="/fake", root_path="/callbacks")
    assert status == 200


async def test_headers_are_decoded_as_latin_1(make):
    seen = []

    class Recording(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            seen.append(dict(callback.headers))
            return super().decode(callback)

    async with make(Recording) as client:
        await call(client.asgi(), body("started"), headers=[(b"x-thing", b"caf\xe9")])
    assert seen == [{"x-thing": "caf\xe9"}]


async def test_a_refusal_over_asgi_is_json(make):
    async with make() as client:
        status, headers, content, _ = await call(client.asgi(), b"", method="GET")
    assert status == 405
    assert headers["allow"] == "POST"
    assert headers["content-type"] == "application/json"
    assert json.loads(content)["error"]


async def test_a_websocket_is_refused(make):
    with pytest.raises(ValueError, match="websocket"):
        await make().asgi()({"type": "websocket"}, None, None)


# --- the lifespan -------------------------------------------------------------------------------------


class WatchedStore(MemoryStore):
    """A store that records how often it was opened and closed; either can be made to fail."""

    def __init__(self, *, trouble=None):
        super().__init__()
        self.calls, self._trouble = [], trouble

    async def open(self):
        if self._trouble == "open":
            raise StoreError("the disk is full; the caller is +14255550142")
        self.calls.append("open")
        await super().open()

    async def close(self):
        self.calls.append("close")
        await super().close()
        if self._trouble == "close":
            raise StoreError("the disk is gone")


class Lifespan:
    """The server side of a lifespan."""

    def __init__(self, app):
        self._to_app, self._from_app = asyncio.Queue(), asyncio.Queue()
        self.task = asyncio.create_task(app({"type": "lifespan"}, self._to_app.get, self._from_app.put))

    async def send(self, stage):
        self._to_app.put_nowait({"type": f"lifespan.{stage}"})
        return await asyncio.wait_for(self._from_app.get(), 5)


async def status_of(app, path="/fake", **more):
    status, *_ = await call(app, body("started"), path=path, **more)
    return status


async def test_an_app_that_a_server_runs_alone_opens_and_closes_the_client():
    store = WatchedStore()
    client = make_client(store)
    app = client.asgi()
    assert await status_of(app) == 503
    server = Lifespan(app)
    assert await server.send("startup") == {"type": "lifespan.startup.complete"}
    assert await status_of(app) == 200
    assert await server.send("shutdown") == {"type": "lifespan.shutdown.complete"}
    await server.task
    assert store.calls == ["open", "close"]
    assert await status_of(app) == 503
    with pytest.raises(ClientClosed):
        await client.run_due()


async def test_a_lifespan_does_not_close_a_client_that_was_open_before():
    store = WatchedStore()
    async with make_client(store) as client:
        server = Lifespan(client.asgi())
        await server.send("startup")
        await server.send("shutdown")
        await server.task
        assert await status_of(client.asgi()) == 200
    assert store.calls == ["open", "close"]


@pytest.mark.parametrize(("trouble", "stage"), [("open", "startup"), ("close", "shutdown")])
async def test_a_client_that_cannot_open_or_close_fails_the_lifespan(trouble, stage, caplog):
    server = Lifespan(make_client(WatchedStore(trouble=trouble)).asgi())
    answer = await server.send("startup")
    if stage == "shutdown":
        answer = await server.send("shutdown")
    await server.task
    assert answer["type"] == f"lifespan.{stage}.failed"
    assert "StoreError: the disk is" in answer["message"]
    assert "4255550142" not in answer["message"] + caplog.text
    assert f"lifespan.{stage}" in caplog.text


async def test_a_cancelled_lifespan_closes_the_client():
    store = WatchedStore()
    server = Lifespan(make_client(store).asgi())
    await server.send("startup")
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert store.calls == ["open", "close"]


async def test_the_lifespan_of_the_host_opens_the_client_of_a_mounted_app():
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")
    client = make_client(WatchedStore())

    @asynccontextmanager
    async def lifespan(_):
        async with client:
            yield

    host = applications.Starlette(routes=[routing.Mount("/callbacks", app=client.asgi())], lifespan=lifespan)
    mounted = {"path": "/callbacks/fake", "root_path": ""}
    assert await status_of(host, **mounted) == 503
    server = Lifespan(host)
    await server.send("startup")
    assert await status_of(host, **mounted) == 200
    await server.send("shutdown")
    await server.task
    assert await status_of(host, **mounted) == 503


async def test_uvicorn_runs_the_app_alone():
    uvicorn = pytest.importorskip("uvicorn")
    store = WatchedStore()
    client = make_client(store)
    config = uvicorn.Config(client.asgi(), port=0, lifespan="on", log_config=None, ws="none")
    server = uvicorn.Server(config)
    await asyncio.wait_for(_startup_and_shutdown(server, config), 10)
    assert store.calls == ["open", "close"]


async def _startup_and_shutdown(server, config):
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.lifespan.startup()
    assert not server.lifespan.should_exit
    await server.lifespan.shutdown()
