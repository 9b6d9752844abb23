"""Every exception of every HTTP layer has a result: not sent, perhaps sent, or not sendable."""

import asyncio
import importlib
import inspect
import ssl
from types import SimpleNamespace

import h11
import httpcore
import httpx
import pytest
from support.entra import FixedCredential
from transferkit_graph import GraphAdapter, GraphSettings, transport
from transferkit_graph import adapter as adapter_module

from transferkit.events import FailureReason as Reason
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected
from transferkit.requests import Call

httpx_aiohttp = pytest.importorskip("httpx_aiohttp")
aiohttp = importlib.import_module("aiohttp")


def exceptions_of(*modules):
    """Every exception class that a module shows, by name."""
    return sorted(
        {
            one
            for module in modules
            for one in vars(module).values()
            if inspect.isclass(one) and issubclass(one, Exception)
        },
        key=lambda one: (one.__module__, one.__qualname__),
    )


KEY = SimpleNamespace(host="graph.test", port=443, ssl=True, is_ssl=True)
INFO = aiohttp.RequestInfo("https://graph.test", "POST", {}, "https://graph.test")


def made(cls):
    """An instance of the class, whatever its constructor wants."""
    arguments = {
        aiohttp.ClientResponseError: (INFO, ()),
        aiohttp.ClientConnectorError: (KEY, OSError(111, "refused")),
        aiohttp.ClientConnectorCertificateError: (KEY, ssl.SSLError(1, "bad certificate")),
        aiohttp.ServerFingerprintMismatch: (b"1", b"2", "graph.test", 443),
        aiohttp.InvalidURL: ("https://graph.test",),
        aiohttp.NonHttpUrlClientError: ("ftp://graph.test",),
        UnicodeDecodeError: ("utf-8", b"", 0, 1, "why"),
        UnicodeEncodeError: ("utf-8", "", 0, 1, "why"),
        UnicodeTranslateError: ("", 0, 1, "why"),
        ExceptionGroup: ("several", [OSError()]),
        asyncio.IncompleteReadError: (b"", 1),
        asyncio.LimitOverrunError: ("why", 1),
    }
    if cls is aiohttp.client_exceptions.UnixClientConnectorError:
        return cls("/socket", KEY, OSError(111, "refused"))
    if cls is httpx.HTTPStatusError:
        request = httpx.Request("POST", "https://graph.test")
        return cls("why", request=request, response=httpx.Response(500, request=request))
    if issubclass(
        cls, (httpx.StreamConsumed, httpx.ResponseNotRead, httpx.RequestNotRead, httpx.StreamClosed)
    ):
        return cls()
    for known, given in arguments.items():
        if issubclass(cls, known):
            return cls(*given)
    return cls("why")


HTTPX = exceptions_of(httpx)
AIOHTTP = [
    one
    for one in exceptions_of(aiohttp, aiohttp.client_exceptions)
    if issubclass(one, (aiohttp.ClientError, aiohttp.WSMessageTypeError))
]
OTHERS = [
    one
    for one in exceptions_of(
        httpcore, asyncio, ssl, importlib.import_module("socket"), importlib.import_module("builtins"), h11
    )
    if not issubclass(one, Warning) and one is not h11.ProtocolError  # which is abstract
]

# Classes whose instances mean that no connection was made, so nothing can have been sent.
NEVER_CONNECTED = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError}
CANNOT_BE_SENT = {httpx.UnsupportedProtocol}
NEVER_CONNECTED_AIOHTTP = {
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "UnixClientConnectorError",
    "ConnectionTimeoutError",
    "ClientHttpProxyError",
}
CANNOT_BE_SENT_AIOHTTP = {
    "InvalidURL",
    "InvalidUrlClientError",
    "NonHttpUrlClientError",
}


class Raising(httpx.AsyncBaseTransport):
    """A transport that raises, as the real ones do."""

    def __init__(self, error):
        self._error = error

    async def handle_async_request(self, request):
        raise self._error


class RaisingAiohttp(httpx.AsyncBaseTransport):
    """httpx-aiohttp, with aiohttp raising beneath it."""

    def __init__(self, error):
        self._error = error

    async def handle_async_request(self, request):
        with httpx_aiohttp.transport.map_aiohttp_exceptions():
            raise self._error


async def outcome(carrier, submission):
    client = httpx.AsyncClient(transport=carrier)
    adapter = GraphAdapter(
        GraphSettings(base_url="https://graph.test", credential=FixedCredential()), http=client
    )
    try:
        assert (await adapter.inspect(Call("graph", "c1"))).presence is Presence.UNKNOWN
        return await adapter.submit(submission())
    finally:
        await client.aclose()


def test_the_lists_are_not_empty():
    assert {httpx.ReadError, httpx.InvalidURL, httpx.CookieConflict} <= set(HTTPX)
    assert {aiohttp.ServerDisconnectedError, aiohttp.ClientOSError} <= set(AIOHTTP)
    assert {httpcore.ReadTimeout, OSError, RuntimeError, h11.LocalProtocolError} <= set(OTHERS)
    assert {one.__name__ for one in AIOHTTP} >= NEVER_CONNECTED_AIOHTTP


@pytest.mark.parametrize("cls", HTTPX, ids=lambda cls: cls.__name__)
async def test_every_exception_of_httpx_has_a_result(submission, cls):
    answer = await outcome(Raising(made(cls)), submission)
    expected = NotSent if cls in NEVER_CONNECTED else Rejected if cls in CANNOT_BE_SENT else MaybeSent
    assert isinstance(answer, expected)
    assert (answer.result.reason is Reason.TIMEOUT) is issubclass(cls, httpx.TimeoutException)
    assert cls.__name__ in answer.result.message


@pytest.mark.parametrize("cls", AIOHTTP, ids=lambda cls: cls.__name__)
async def test_every_exception_of_aiohttp_below_httpx_has_a_result(submission, cls):
    answer = await outcome(RaisingAiohttp(made(cls)), submission)
    unsendable = cls.__name__ in CANNOT_BE_SENT_AIOHTTP
    never = cls.__name__ in NEVER_CONNECTED_AIOHTTP
    assert isinstance(answer, NotSent if never else Rejected if unsendable else MaybeSent)
    assert (answer.result.reason is Reason.TIMEOUT) is issubclass(cls, TimeoutError)


@pytest.mark.parametrize("cls", AIOHTTP, ids=lambda cls: cls.__name__)
async def test_every_untranslated_exception_of_aiohttp_has_a_result(submission, cls):
    answer = await outcome(Raising(made(cls)), submission)
    unsendable = cls.__name__ in CANNOT_BE_SENT_AIOHTTP
    never = cls.__name__ in NEVER_CONNECTED_AIOHTTP
    assert isinstance(answer, NotSent if never else Rejected if unsendable else MaybeSent)


@pytest.mark.parametrize("cls", OTHERS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
async def test_after_any_other_exception_the_request_may_have_been_sent(submission, cls):
    assert isinstance(await outcome(Raising(made(cls)), submission), MaybeSent)


class RaisingHttpcore:
    """httpx's own pool, raising."""

    def __init__(self, error):
        self._error = error

    async def handle_async_request(self, request):
        raise self._error

    async def aclose(self):
        pass


@pytest.mark.parametrize("cls", exceptions_of(httpcore), ids=lambda cls: cls.__name__)
async def test_every_exception_of_httpcore_below_httpx_has_a_result(submission, cls):
    carrier = httpx.AsyncHTTPTransport()
    carrier._pool = RaisingHttpcore(made(cls))
    answer = await outcome(carrier, submission)
    never = cls in {httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.ProxyError}
    unsendable = cls is httpcore.UnsupportedProtocol
    assert isinstance(answer, NotSent if never else Rejected if unsendable else MaybeSent)


async def test_a_cancelled_submission_is_cancelled(submission):
    with pytest.raises(asyncio.CancelledError):
        await outcome(Raising(asyncio.CancelledError()), submission)


async def test_the_text_of_an_exception_is_not_shown(submission):
    answer = await outcome(Raising(httpx.ReadError("Bearer s3cr3t to +14255550100")), submission)
    assert "s3cr3t" not in repr(answer)
    assert "55501" not in repr(answer)


def _fail(*_, **__):
    raise RuntimeError("Bearer s3cr3t to +14255550100")


@pytest.mark.parametrize("what", ["the body", "the client"])
async def test_a_failure_before_sending_is_not_sent(monkeypatch, submission, what):
    adapter = GraphAdapter(GraphSettings(base_url="https://graph.test", credential=FixedCredential()))
    name = {"the body": "body_of", "the client": "open_client"}[what]
    monkeypatch.setattr(adapter_module, name, _fail)
    answer = await adapter.submit(submission())
    assert isinstance(answer, NotSent)
    assert answer.result.message == "nothing was sent to Graph (RuntimeError)"


async def test_a_closed_client_is_rejected_with_advice(submission):
    client = httpx.AsyncClient()
    await client.aclose()
    adapter = GraphAdapter(GraphSettings(), http=client)
    answer = await adapter.submit(submission())
    assert isinstance(answer, Rejected)
    assert "open" in answer.result.advice


@pytest.mark.parametrize("host", ["xn--graph-\u0378.test", "graph\u0378.test"])
async def test_an_unusable_address_names_its_key(submission, host):
    settings = GraphSettings(base_url=f"https://{host}", credential=FixedCredential())
    adapter = GraphAdapter(settings)
    answer = await adapter.submit(submission())
    assert isinstance(answer, Rejected)
    assert "base_url" in answer.result.advice
    await adapter.aclose()


async def test_aiohttp_carries_the_requests_if_it_is_installed(monkeypatch):
    client = transport.open_client(GraphSettings())
    assert isinstance(client, httpx_aiohttp.HttpxAiohttpClient)
    await client.aclose()
    monkeypatch.setattr(transport, "find_spec", lambda _: None)
    client = transport.open_client(GraphSettings())
    assert type(client) is httpx.AsyncClient
    await client.aclose()


async def test_a_cookie_in_a_response_is_not_sent_back():
    received = []

    async def answer(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            received.append(head.lower())
            writer.write(b"HTTP/1.1 202 Accepted\r\nSet-Cookie: slice=1; Path=/\r\nContent-Length: 0\r\n\r\n")
            if len(received) > 1:
                break
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, transport.open_client(GraphSettings()) as client:
        for _ in range(2):
            response = await client.post(f"http://127.0.0.1:{port}/")
            assert "set-cookie" in response.headers
    assert len(received) == 2
    assert not any(b"\r\ncookie:" in head for head in received)
