"""The WSGI app: the same responses as over ASGI, for every way a server passes a body."""

import asyncio
import http.client
import io
import json
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferkit import AsyncClient, CallbackConfig, CallbackResponse, Client, Config, MemoryStore, StoreError
from transferkit._callbacks.wsgi import WsgiCallbackApp
from transferkit.testing import FakeAdapter

BODY = b'{"id": "d1", "call_id": "c1", "time": "2026-01-01T12:00:00+00:00", "signals": ["started"]}'


def config(**callbacks):
    return Config(
        source="test",
        provider="fake",
        callbacks=CallbackConfig(**{"accept_unverified": True, **callbacks}),
    )


@pytest.fixture
def make():
    made = []

    def make(store=None, **callbacks):
        client = Client(config(**callbacks), store=store or MemoryStore(), adapters={"fake": FakeAdapter()})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def environ(body=BODY, method="POST", path="/fake", **more):
    """As a server makes it; a value of None takes a variable away."""
    usual = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }
    return {name: value for name, value in usual.items() if value is not None}


def call(app, given=None, **more):
    """Status, headers and body of one request."""
    started = []
    chunks = app(given or environ(**more), lambda status, headers: started.append((status, dict(headers))))
    content = b"".join(chunks)
    ((status, headers),) = started
    return int(status.split(" ", 1)[0]), headers, content


def kept(client):
    with client.events(start="beginning", follow=False) as stream:
        return [event.kind for event in stream]


def seen_by(requests):
    def receive(request):
        requests.append(request)
        return CallbackResponse(status=200)

    return receive


# --- what arrives -----------------------------------------------------------------------------------


def test_a_callback_over_wsgi_is_stored(make):
    client = make()
    status, headers, content = call(client.wsgi())
    assert (status, headers["content-length"], content) == (200, "0", b"")
    assert kept(client) == ["provider.other"]


@pytest.mark.parametrize(
    ("method", "body", "status"), [("POST", b"no json", 400), ("GET", b"", 405), ("HEAD", b"", 405)]
)
def test_the_app_conforms_to_pep_3333(make, method, body, status):
    checked = validator(make().wsgi())
    started = []
    answer = checked(environ(body, method), lambda status, headers, *_: started.append(status))
    assert list(answer)
    answer.close()
    assert started[0].startswith(f"{status} ")


def test_path_query_and_headers_reach_the_receiver_unchanged():
    requests = []
    app = WsgiCallbackApp(seen_by(requests), config=CallbackConfig())
    more = {"HTTP_AUTHORIZATION": "Bearer x", "HTTP_X_THING": "caf\xe9", "CONTENT_TYPE": "application/json"}
    call(app, path="/acs/caf\xc3\xa9 b?c", QUERY_STRING="secret=x%20y&z", SCRIPT_NAME="/callbacks", **more)
    (request,) = requests
    assert (request.method, request.body) == ("POST", BODY)
    assert request.url == "/acs/caf%C3%A9%20b%3Fc?secret=x%20y&z"
    assert request.headers == {
        "authorization": "Bearer x",
        "x-thing": "caf\xe9",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }


@pytest.mark.parametrize("script_name", ["", "/callbacks"])
def test_the_app_may_be_mounted_below_a_path(make, script_name):
    client = make(public_url="https://app.contoso.com/callbacks")
    path = "/fake" if script_name else "/callbacks/fake"
    assert call(client.wsgi(), path=path, SCRIPT_NAME=script_name)[0] == 200


# --- bodies -----------------------------------------------------------------------------------------


class Slow(io.RawIOBase):
    """An input that gives a byte at a time, and takes its time."""

    def __init__(self, pause):
        self._pause = pause

    def read(self, _=-1):
        self._pause()
        return b"x"


class Failing(io.RawIOBase):
    def __init__(self, error):
        self._error = error

    def read(self, _=-1):
        raise self._error


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"CONTENT_LENGTH": None, "wsgi.input_terminated": True}, 200),  # chunks that the server has undone
        ({"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, 200),
        ({"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"CONTENT_LENGTH": None}, 400),  # no body at all, which no provider sends
        ({"CONTENT_LENGTH": "many"}, 400),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "\u0661"}, 400),
        ({"CONTENT_LENGTH": "9" * 5000}, 400),
        ({"CONTENT_LENGTH": str(len(BODY) + 1)}, 400),  # the sender went away
        ({"wsgi.input": Failing(ConnectionResetError())}, 400),
        ({"wsgi.input": Failing(ValueError("a framework's own"))}, 400),
        ({"wsgi.input": Failing(TimeoutError())}, 408),
    ],
)
def test_a_body_is_read_by_its_length_or_to_its_end(make, more, status):
    client = make()
    answered, headers, content = call(client.wsgi(), **more)
    assert answered == status
    assert bool(kept(client)) is (status == 200)
    assert int(headers["content-length"]) == len(content)
    assert status == 200 or json.loads(content)["error"]


@pytest.mark.parametrize("length", ["1000000", None])
def test_a_body_that_is_too_large_is_not_read_to_its_end(make, length):
    stream = io.BytesIO(b"x" * 1_000_000)
    more = {"CONTENT_LENGTH": length, "wsgi.input": stream, "wsgi.input_terminated": True}
    status, _, content = call(make(max_body_bytes=100).wsgi(), **more)
    assert status == 413
    assert "100" in json.loads(content)["error"]
    assert stream.tell() == 101


def test_a_body_that_arrives_too_slowly_times_out(make, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("transferkit._callbacks.wsgi.monotonic", lambda: now[0])

    def pause():
        now[0] += 0.3

    client = make(body_timeout=timedelta(seconds=1))
    status, headers, _ = call(client.wsgi(), **{"CONTENT_LENGTH": "50", "wsgi.input": Slow(pause)})
    assert status == 408
    assert "connection" not in headers  # PEP 3333 leaves that to the server


# --- what is answered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/fake", BODY),
        ("POST", "/nobody", BODY),
        ("GET", "/fake", b""),
        ("HEAD", "/fake", b""),
        ("POST", "/fake", b"no json"),
        ("POST", "/fake", b"x" * 101),
        ("POST", "/nobody", b"x" * 101),
    ],
)
async def test_wsgi_and_asgi_send_the_same_responses(make, method, path, body):
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    limit = {"max_body_bytes": 100}
    async with AsyncClient(config(**limit), store=MemoryStore(), adapters={"fake": FakeAdapter()}) as client:
        await client.asgi()(scope, receive, send)
    start, content = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    app = make(**limit).wsgi()
    given_ = environ(method=method, path=path, body=body)
    assert await asyncio.to_thread(call, app, given_) == (start["status"], headers, content["body"])


def test_a_closed_client_answers_503_with_retry_after(make):
    client = make()
    client.close()
    status, headers, _ = call(client.wsgi())
    assert (status, headers["retry-after"]) == (503, "5")


def test_a_store_that_cannot_be_opened_gets_503(make, caplog, planted):
    class Broken(MemoryStore):
        async def open(self):
            raise StoreError(f"no such disk: {planted.connection_string}")

    status, headers, _ = call(make(Broken()).wsgi())
    assert (status, headers["retry-after"]) == (503, "5")
    assert "no such disk" in caplog.text
    assert not planted.shown_in(caplog.text)


def test_a_status_without_a_reason_phrase_is_sent(make):
    app = WsgiCallbackApp(lambda _: CallbackResponse(status=299), config=CallbackConfig())
    started = []
    app(environ(), lambda status, _: started.append(status))
    assert started == ["299 Unknown"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200),
    path=st.text(st.characters(max_codepoint=255), max_size=20),
    query=st.text(st.characters(max_codepoint=255), max_size=20),
    headers=st.dictionaries(
        st.sampled_from(["HTTP_AUTHORIZATION", "HTTP_X_A", "CONTENT_TYPE"]),
        st.text(st.characters(max_codepoint=255), max_size=20),
    ),
    method=st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "HEAD"]),
)
def test_any_invalid_request_gets_an_error_response(make, body, path, query, headers, method):
    app = make().wsgi()
    status, answered, content = call(
        app, body=body, path=f"/fake{path}", QUERY_STRING=query, method=method, **headers
    )
    assert 400 <= status < 500
    assert method == "HEAD" or int(answered["content-length"]) == len(content)


# --- a real server ----------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(app):
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_wsgi_server_serves_the_app(make):
    with served(make().wsgi()) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/fake", BODY)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("POST", "/fake", b"no json")
        answer = connection.getresponse()
        assert answer.status == 400
        assert json.loads(answer.read())["error"]
        connection.close()
