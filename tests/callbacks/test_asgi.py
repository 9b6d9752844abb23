"""The ASGI app's life: served by itself it opens the client, mounted it leaves that to the host."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from transferkit import AsyncClient, CallbackConfig, ClientClosed, Config, MemoryStore, StoreError
from transferkit.testing import FakeAdapter

BODY = b'{"id": "d1", "call_id": "c1", "time": "2026-01-01T12:00:00+00:00", "signals": ["started"]}'


class Watched(MemoryStore):
    """A store that knows how often it was opened and closed, and may refuse either."""

    def __init__(self, *, trouble=None):
        super().__init__()
        self.did, self._trouble = [], trouble

    async def open(self):
        if self._trouble == "open":
            raise StoreError("the disk is full; the caller is +14255550142")
        self.did.append("open")
        await super().open()

    async def close(self):
        self.did.append("close")
        await super().close()
        if self._trouble == "close":
            raise StoreError("the disk is gone")


def make(store):
    config = Config(
        source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True), store="memory:"
    )
    return AsyncClient(config, store=store, adapters={"fake": FakeAdapter()})


class Lifespan:
    """A server's side of a lifespan."""

    def __init__(self, app):
        self._told, self._heard = asyncio.Queue(), asyncio.Queue()
        self.task = asyncio.create_task(app({"type": "lifespan"}, self._told.get, self._heard.put))

    async def tell(self, stage):
        self._told.put_nowait({"type": f"lifespan.{stage}"})
        return await asyncio.wait_for(self._heard.get(), 5)


async def post(app, path="/fake", **more):
    sent = []

    async def receive():
        return {"type": "http.request", "body": BODY}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], **more}
    await app(scope, receive, send)
    return sent[0]["status"]


async def test_served_by_itself_it_opens_the_client_and_closes_it():
    store = Watched()
    client = make(store)
    app = client.asgi()
    assert await post(app) == 503
    server = Lifespan(app)
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    assert await post(app) == 200
    assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    await server.task
    assert store.did == ["open", "close"]
    assert await post(app) == 503
    with pytest.raises(ClientClosed):
        await client.run_due()


async def test_a_client_that_is_open_already_stays_open():
    store = Watched()
    async with make(store) as client:
        server = Lifespan(client.asgi())
        await server.tell("startup")
        await server.tell("shutdown")
        await server.task
        assert await post(client.asgi()) == 200
    assert store.did == ["open", "close"]


@pytest.mark.parametrize(("trouble", "stage"), [("open", "startup"), ("close", "shutdown")])
async def test_the_server_is_told_what_fails(trouble, stage, caplog):
    server = Lifespan(make(Watched(trouble=trouble)).asgi())
    answer = await server.tell("startup")
    if stage == "shutdown":
        answer = await server.tell("shutdown")
    await server.task
    assert answer["type"] == f"lifespan.{stage}.failed"
    assert "StoreError: the disk is" in answer["message"]
    assert "4255550142" not in answer["message"] + caplog.text
    assert f"lifespan.{stage}" in caplog.text


async def test_a_server_that_is_stopped_midway_leaves_the_client_closed():
    store = Watched()
    server = Lifespan(make(store).asgi())
    await server.tell("startup")
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert store.did == ["open", "close"]


async def test_mounted_the_hosts_lifespan_opens_the_client():
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")
    client = make(Watched())

    @asynccontextmanager
    async def lifespan(_):
        async with client:
            yield

    host = applications.Starlette(routes=[routing.Mount("/callbacks", app=client.asgi())], lifespan=lifespan)
    mounted = {"path": "/callbacks/fake", "root_path": ""}
    assert await post(host, **mounted) == 503
    server = Lifespan(host)
    await server.tell("startup")
    assert await post(host, **mounted) == 200
    await server.tell("shutdown")
    await server.task
    assert await post(host, **mounted) == 503


async def test_a_server_runs_it_without_a_host():
    uvicorn = pytest.importorskip("uvicorn")
    store = Watched()
    client = make(store)
    config = uvicorn.Config(client.asgi(), port=0, lifespan="on", log_config=None, ws="none")
    server = uvicorn.Server(config)
    await asyncio.wait_for(_startup_and_shutdown(server, config), 10)
    assert store.did == ["open", "close"]


async def _startup_and_shutdown(server, config):
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.lifespan.startup()
    assert not server.lifespan.should_exit
    await server.lifespan.shutdown()
