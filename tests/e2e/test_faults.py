"""The fault proxy does to a request what it says, as a plain HTTP client and the server behind it see it."""

import asyncio

import httpx
import pytest

from transferkit.testing import serve
from transferkit.testing.fault_proxy import (
    Close,
    Cut,
    Delay,
    Garbage,
    Hold,
    Repeat,
    Reset,
    Respond,
    Stall,
    fault_proxy,
)


@pytest.fixture
async def bodies():
    """What the server got."""
    return []


@pytest.fixture(params=[False, True], ids=["http", "https"])
async def proxy(request, bodies):
    async def echo(scope, receive, send):
        bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with (
        serve(echo, tls=request.param) as server,
        fault_proxy(server.url, ca_file=server.ca_file) as proxy,
    ):
        yield proxy


@pytest.fixture
async def http(proxy):
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=30) as client:
        yield client


async def test_without_a_fault_it_relays_on_a_kept_connection(proxy, http, bodies):
    answers = [await http.post("/a?b=c", content=content) for content in (b"one", b"two")]
    assert [answer.text for answer in answers] == ["ok", "ok"]
    assert bodies == [b"one", b"two"]
    assert {request.connection for request in proxy.requests} == {1}
    assert {(request.method, request.target, request.fault) for request in proxy.requests} == {
        ("POST", "/a?b=c", None)
    }


@pytest.mark.parametrize("forwarded", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reset, httpx.ReadError),
        (Close, httpx.RemoteProtocolError),
        (Garbage, httpx.RemoteProtocolError),
        (Stall, httpx.ReadTimeout),
    ],
)
async def test_the_answer_never_comes(proxy, http, bodies, fault, error, forwarded):
    proxy.apply(fault(forwarded=forwarded))
    with pytest.raises(error):
        await http.post("/", content=b"one", timeout=httpx.Timeout(30, read=0.5 if fault is Stall else 30))
    assert len(bodies) == forwarded
    assert (await http.post("/", content=b"two")).text == "ok", "the next request is relayed"


@pytest.mark.parametrize("forwarded", [False, True])
async def test_another_answer_comes(proxy, http, bodies, forwarded):
    proxy.apply(Respond(429, headers={"Retry-After": "1.5"}, body=b"later", forwarded=forwarded))
    answer = await http.post("/")
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (429, "1.5", "later")
    assert len(bodies) == forwarded


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
async def test_the_answer_breaks_off(proxy, http, bodies, part):
    proxy.apply(Cut(part))
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/")
    assert len(bodies) == 1


async def test_the_network_repeats_or_delays_a_request(proxy, http, bodies):
    proxy.apply(Repeat(3), Delay(0.01))
    assert [(await http.post("/")).text for _ in range(2)] == ["ok", "ok"]
    assert len(bodies) == 4


@pytest.mark.parametrize("forwarded", [False, True])
async def test_a_request_is_held_until_it_is_released(proxy, http, bodies, forwarded):
    release = asyncio.Event()
    proxy.apply(Hold(release, forwarded=forwarded), method="POST")
    held = asyncio.create_task(http.post("/"))
    assert (await http.get("/")).text == "ok", "others pass"
    assert not held.done()
    release.set()
    assert (await held).text == "ok"
    assert len(bodies) == 2


async def test_a_fault_may_wait_for_a_method(proxy, http):
    proxy.apply(Respond(500), method="POST")
    assert [(await http.request(method, "/")).status_code for method in ("GET", "POST", "POST")] == [
        200,
        500,
        200,
    ]


async def test_nobody_listens_while_it_is_down(proxy, http):
    before = proxy.url
    await http.post("/")
    async with proxy.down():
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):  # the kept connection died first
            await http.post("/")
        with pytest.raises(httpx.ConnectError):
            await http.post("/")
    assert proxy.url == before
    assert (await http.post("/")).text == "ok"
