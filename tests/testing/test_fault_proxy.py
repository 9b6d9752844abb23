"""The fault proxy: what a client and the server behind the proxy see of each fault."""

import asyncio
import socket

import httpx
import pytest

pytest.importorskip("uvicorn")

from transferkit.testing import serve
from transferkit.testing.fault_proxy import (
    Close,
    Cut,
    Delay,
    FaultProxy,
    Garbage,
    Hold,
    Repeat,
    Reset,
    Respond,
    Stall,
    _read_request,
    fault_proxy,
)


@pytest.fixture
async def bodies():
    """The bodies that the server received."""
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
    options = {"base_url": proxy.url, "trust_env": False, "timeout": 30, "verify": False}  # http
    async with httpx.AsyncClient(**options) as client:
        yield client


async def test_without_a_fault_requests_are_forwarded_and_the_connection_is_kept(proxy, http, bodies):
    responses = [await http.post("/a?b=c", content=content) for content in (b"one", b"two")]
    assert [response.text for response in responses] == ["ok", "ok"]
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
async def test_the_client_receives_no_response(proxy, http, bodies, fault, error, forwarded):
    proxy.apply(fault(forwarded=forwarded))
    with pytest.raises(error):
        await http.post("/", content=b"one", timeout=httpx.Timeout(30, read=0.2 if fault is Stall else 30))
    assert len(bodies) == forwarded
    assert (await http.post("/", content=b"two")).text == "ok"


@pytest.mark.parametrize("forwarded", [False, True])
async def test_the_client_receives_another_response(proxy, http, bodies, forwarded):
    proxy.apply(Respond(429, headers={"Retry-After": "1.5"}, body=b"later", forwarded=forwarded))
    response = await http.post("/")
    assert (response.status_code, response.headers["retry-after"], response.text) == (429, "1.5", "later")
    assert len(bodies) == forwarded


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
async def test_the_client_receives_a_part_of_the_response(proxy, http, bodies, part):
    proxy.apply(Cut(part))
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/")
    assert len(bodies) == 1


async def test_a_request_is_repeated_or_delayed(proxy, http, bodies):
    proxy.apply(Repeat(3), Delay(0.01))
    assert [(await http.post("/")).text for _ in range(2)] == ["ok", "ok"]
    assert len(bodies) == 4


@pytest.mark.parametrize("forwarded", [False, True])
async def test_a_request_is_held_until_it_is_released(proxy, http, bodies, forwarded):
    release = asyncio.Event()
    proxy.apply(Hold(release, forwarded=forwarded), method="POST")
    held = asyncio.create_task(http.post("/"))
    assert (await http.get("/")).text == "ok"
    assert not held.done()
    release.set()
    assert (await held).text == "ok"
    assert len(bodies) == 2


async def test_a_fault_can_apply_to_one_method_only(proxy, http):
    proxy.apply(Respond(500), method="POST")
    assert [(await http.request(method, "/")).status_code for method in ("GET", "POST", "POST")] == [
        200,
        500,
        200,
    ]


async def test_the_proxy_refuses_connections_while_it_is_down_and_keeps_its_address(proxy, http):
    before = proxy.url
    await http.post("/")
    async with proxy.down():
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):  # the kept connection is reset first
            await http.post("/")
        with pytest.raises(httpx.ConnectError):
            await http.post("/")
    assert proxy.url == before
    assert (await http.post("/")).text == "ok"


def port_of(proxy):
    return int(proxy.url.rpartition(":")[2])


async def test_a_stalled_client_that_sends_more_gets_no_response(proxy):
    proxy.apply(Stall())
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(30):
        while not proxy.requests:  # noqa: ASYNC110 - the proxy reads in its own task
            await asyncio.sleep(0.01)
        writer.write(b"more")
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()


async def test_a_proxy_can_be_closed_twice():
    proxy = FaultProxy("http://127.0.0.1:1")
    await proxy.open()
    await proxy.aclose()
    await proxy.aclose()


async def test_a_request_without_content_length_is_not_supported():
    reader = asyncio.StreamReader()
    reader.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(ValueError, match="Content-Length"):
        await _read_request(reader)


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_accepted_while_the_proxy_goes_down_is_reset(turns):
    async with fault_proxy("http://127.0.0.1:1") as proxy:
        with socket.create_connection(("127.0.0.1", port_of(proxy))) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            async with proxy.down():
                client.settimeout(30)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
