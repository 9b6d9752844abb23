"""Receiving: one callback in, one answer out, and a 2xx only after the commit."""

import asyncio
import json
import logging
from datetime import timedelta
from functools import partial

import pytest

from transferkit import (
    AsyncClient,
    CallbackConfig,
    CallbackRequest,
    CallbackResponse,
    CallbackRoute,
    Config,
    MalformedCallback,
    MemoryStore,
    Secret,
    StoreError,
)
from transferkit._callbacks.asgi import CallbackApp
from transferkit._lifecycle import CallKey
from transferkit.provider.adapter import HandshakeResponse
from transferkit.stores.unreadable import UnreadableRow
from transferkit.testing import FakeAdapter, ManualClock, scenario

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"


def body(*signals, call=CALL, delivery="d-1", **more):
    said = {"id": delivery, "call_id": call, "time": "2026-01-01T12:00:00+00:00", "signals": signals, **more}
    return json.dumps(said).encode()


def post(content=None, url="/fake", **more):
    return CallbackRequest(**{"method": "POST", "url": url, "body": content or body("started"), **more})


class Choosy(FakeAdapter):
    """A fake with several callback paths, which answers with 202 and takes bodies of many lines."""

    def route(self, path):
        if path in {"", "/eventgrid"}:
            return CallbackRoute(name=path or "main", policy=None, success_status=202)
        if path.startswith("/transfers/"):
            return CallbackRoute(name="own", policy=None, transfer_id=path.removeprefix("/transfers/"))
        return None

    @classmethod
    def decode(cls, callback):
        facts, wrong = [], None
        for number, line in enumerate(callback.body.splitlines()):
            import attrs

            try:
                facts += super().decode(attrs.evolve(callback, body=line))
            except MalformedCallback as error:
                wrong = (f"[{number}]", error.message)
        if wrong:
            raise MalformedCallback(cls.name, *wrong, facts=facts)
        return tuple(facts)


class Flaky(MemoryStore):
    """A store that fails as often as it is told, each time after a while, and at what concerns some calls."""

    def __init__(self):
        super().__init__()
        self.failures = 0
        self.tries = 0
        self.fails_after = lambda: None
        self.unreadable = set()

    async def apply_all(self, inputs, step):
        self.tries += 1
        if self.failures:
            self.failures -= 1
            self.fails_after()
            raise StoreError("disk full")
        for call, _ in inputs:
            if call.id in self.unreadable:
                raise UnreadableRow(f"the state of call {call} cannot be read", call)
        return await super().apply_all(inputs, step)


@pytest.fixture
def store():
    return Flaky()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make(store, clock):
    def make(adapter=FakeAdapter, **callbacks):
        config = Config(
            source="test",
            provider="fake",
            callbacks=CallbackConfig(**{"accept_unverified": True, **callbacks}),
        )
        return AsyncClient(config, store=store, adapters={"fake": adapter(clock=clock)}, clock=clock)

    return make


async def kept(store, call=CALL):
    return [event.kind for event in await store.call_events(CallKey("fake", call))]


# --- the way in -------------------------------------------------------------------------------------


async def test_a_callback_becomes_events_and_a_2xx(make, store):
    async with make() as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        response = await client.receive(post(body("started")))
        assert response.status == 200
        assert [event.kind for event in response.events][-1] == "transfer.started"
        assert {event.transfer_id for event in response.events} == {transfer.id}
        response = await client.receive(post(body("accepted", "succeeded", delivery="d-2")))
        assert (await transfer.outcome(timeout=5)) == response.events[-1]
        assert all(event.sequence and event.id for event in response.events)


async def test_what_is_not_ours_comes_back_for_the_application(make):
    async with make() as client:
        response = await client.receive(post(body("returned", call="theirs")))
    assert [(event.kind, event.call_id, event.transfer_id) for event in response.events] == [
        ("call.connected", "theirs", None)
    ]
    assert response.events[0].raw["signals"] == ("returned",)


async def test_the_success_status_is_the_providers(make):
    async with make(Choosy) as client:
        assert (await client.receive(post())).status == 202


async def test_a_repetition_is_a_success_without_events(make, store):
    async with make() as client:
        await client.receive(post())
        again = await client.receive(post())
    assert (again.status, again.events) == (200, ())
    assert await kept(store) == ["provider.other"]


async def test_a_path_of_a_transfers_own_names_it(make, store):
    async with make(Choosy) as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        response = await client.receive(post(body("failed"), url="/fake/transfers/another"))
        assert [(event.kind, event.transfer_id) for event in response.events] == [("provider.other", None)]
        response = await client.receive(
            post(body("failed", delivery="d-2"), url=f"/fake/transfers/{transfer.id}")
        )
        assert response.events[-1].kind == "transfer.failed"


@pytest.mark.parametrize("url", ["/fake", "/fake/", "/fake?token=x", "https://app.contoso.com/fake", "fake"])
async def test_ways_to_write_the_path(make, url):
    async with make() as client:
        assert (await client.receive(post(url=url))).status == 200


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://app.contoso.com/callbacks/fake", 200),
        ("/callbacks/fake", 200),
        ("/fake", 200),
        ("/callbacksfake", 404),
        ("/callbacks/callbacks/fake", 404),
        ("/callbacks", 404),
        ("/other/fake", 404),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_path_of_the_public_url_may_be_there_or_not(make, url, status, slash):
    async with make(public_url=f"https://app.contoso.com/callbacks{slash}") as client:
        assert (await client.receive(post(url=url))).status == status


@pytest.mark.parametrize(
    "url",
    [
        "https://app.contoso.com/fake/fake/transfers/t-1",
        "/fake/fake/transfers/t-1",
        "/fake/transfers/t-1",
        "/fake/eventgrid",
        "/fake/fake",
        "/fake",
    ],
)
async def test_nor_does_it_matter_that_the_public_path_ends_in_a_providers_name(make, url):
    async with make(Choosy, public_url="https://app.contoso.com/fake") as client:
        assert (await client.receive(post(url=url))).status in {200, 202}
        assert (await client.receive(post(url="/fake/no/such"))).status == 404


async def test_there_a_callback_still_names_its_transfer(make):
    async with make(Choosy, public_url="https://app.contoso.com/fake") as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        response = await client.receive(post(body("failed"), url=f"/fake/transfers/{transfer.id}"))
        assert response.events[-1].kind == "transfer.failed"


def test_header_names_have_no_case():
    request = CallbackRequest(method="POST", url="/fake", headers={"Authorization": "x", "X-MS-Thing": "y"})
    assert request.headers == {"authorization": "x", "x-ms-thing": "y"}


async def test_headers_and_time_reach_the_adapter(make):
    seen = []

    class Watching(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            seen.append(callback)
            return super().decode(callback)

    async with make(Watching) as client:
        await client.receive(post(headers={"X-Thing": "y"}))
    assert seen[0].headers["x-thing"] == "y"
    assert seen[0].received_at == ManualClock().now()
    assert seen[0].route == "fake"


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/", "", "/acs", "/fake/no/such", "/FAKE", "//fake2", "/fake%2f"])
async def test_an_unknown_path_is_not_found(make, store, url):
    async with make() as client:
        response = await client.receive(post(url=url))
    assert response.status == 404
    assert json.loads(response.body)["error"]
    assert response.headers["content-type"] == "application/json"
    assert await kept(store) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
async def test_only_post(make, store, method):
    async with make() as client:
        response = await client.receive(post(method=method))
    assert response.status == 405
    assert response.headers["allow"] == "POST"
    assert await kept(store) == []


async def test_a_body_has_a_limit(make, store):
    content = body("started")
    async with make(max_body_bytes=len(content)) as client:
        assert (await client.receive(post(content))).status == 200
        response = await client.receive(post(content + b" "))
    assert response.status == 413
    assert str(len(content)) in json.loads(response.body)["error"]


async def test_who_is_not_verified_is_refused_by_default(make, store, caplog, planted):
    decoded = []

    class Watching(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            decoded.append(callback)
            return ()

    async with make(Watching, accept_unverified=False) as client:
        response = await client.receive(post(headers={"authorization": f"Bearer {planted.token}"}))
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert decoded == [], "its body is never parsed"
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_refused"]
    assert record.levelno == logging.WARNING
    assert record.provider == "fake"
    assert "callback refused: " in record.message
    assert await kept(store) == []


async def test_the_refusal_names_what_to_configure(make, caplog):
    class Unconfigured(FakeAdapter):
        def route(self, path):
            return CallbackRoute(name="fake", needs="providers.fake.signer")

    async with make(Unconfigured, accept_unverified=False) as client:
        assert (await client.receive(post())).status == 401
    assert "no verification is configured for this path: set providers.fake.signer" in caplog.text


class Open(FakeAdapter):
    """A fake of two paths, each with a secret in its URL, and with a word for requests that are astray."""

    def route(self, path):
        secret = Secret(value="right")
        return CallbackRoute(name=path or "main", secrets=(secret,)) if path in {"", "/other"} else None

    def refusal_hint(self, route, headers):
        return "it belongs at /fake/other" if "x-other" in headers and route.name == "main" else None


def refused(caplog):
    return [
        record.getMessage().removeprefix("callback refused: ")
        for record in caplog.records
        if getattr(record, "event", "") == "callback_refused"
    ]


async def test_refusals_of_one_cause_are_logged_once_a_minute_with_their_number(make, caplog):
    async with make(Open, accept_unverified=False) as client:
        for second in range(121):
            for _ in range(3):
                assert (await client.receive(post(url="/fake?secret=wrong"))).status == 401
            client._clock.advance(1)
            assert len(refused(caplog)) == 1 + second // 60
    wrong = "the secret in the URL ('secret') is wrong"
    assert refused(caplog) == [wrong, f"{wrong} (179 more in between)", f"{wrong} (179 more in between)"]


async def test_a_refusal_of_another_cause_or_path_is_logged_at_once(make, caplog):
    wrong, missing = (
        "the secret in the URL ('secret') is wrong",
        "the URL has 0 parameters 'secret'; exactly one is required",
    )
    async with make(Open, accept_unverified=False) as client:
        for _ in range(2):
            for url in ("/fake?secret=wrong", "/fake", "/fake/other?secret=wrong"):
                await client.receive(post(url=url))
    assert refused(caplog) == [wrong, missing, wrong]
    causes = [getattr(record, "cause", None) for record in caplog.records]
    assert [cause for cause in causes if cause] == ["secret", "no_secret", "secret"]


async def test_an_adapter_says_where_a_refused_request_belongs(make, caplog):
    headers = {"X-Other": "1"}
    async with make(Open, accept_unverified=False) as client:
        await client.receive(post())
        await client.receive(post(headers=headers))
        assert (await client.receive(post(headers=headers, method="OPTIONS"))).status == 405
        assert (await client.receive(post(method="OPTIONS"))).status == 405
        await client.receive(post(url="/fake/other", headers=headers))
    missing = "the URL has 0 parameters 'secret'; exactly one is required"
    assert refused(caplog) == [
        missing,
        f"{missing}; it belongs at /fake/other",
        "its method is not POST; it belongs at /fake/other",
        missing,
    ]


async def test_a_clock_that_is_set_back_does_not_silence_the_log(make, caplog):
    async with make(Open, accept_unverified=False) as client:
        await client.receive(post())
        client._clock.advance(-3600)
        await client.receive(post())
    assert len(refused(caplog)) == 2


async def test_a_sender_that_cannot_be_checked_is_logged_once_a_minute(make, caplog):
    class Unset(FakeAdapter):
        def route(self, path):
            return CallbackRoute(name="fake", secrets=(Secret(key="fake.secret", env="NO_SUCH_VARIABLE"),))

    async with make(Unset, accept_unverified=False) as client:
        for _ in range(3):
            assert (await client.receive(post(url="/fake?secret=x"))).status == 503
        client._clock.advance(60)
        assert (await client.receive(post(url="/fake?secret=x"))).status == 503
    said = [
        record.getMessage()
        for record in caplog.records
        if getattr(record, "event", "") == "callback_not_checked"
    ]
    why = "a secret cannot be read: environment variable NO_SUCH_VARIABLE is not set (fake.secret)"
    assert said == [
        f"callback not checked, answered 503: {why}",
        f"callback not checked, answered 503: {why} (2 more in between)",
    ]


async def test_the_size_is_looked_at_before_the_sender(make):
    async with make(accept_unverified=False, max_body_bytes=5) as client:
        assert (await client.receive(post())).status == 413


async def test_to_accept_anyone_is_said_at_the_start(make, caplog):
    async with make():
        pass
    (record,) = [
        record for record in caplog.records if getattr(record, "event", "") == "callbacks_unverified"
    ]
    assert record.levelno == logging.WARNING
    assert "accept_unverified" in record.message


async def test_and_nothing_is_said_otherwise(make, caplog):
    async with make(accept_unverified=False):
        pass
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"null", b'{"id": "1"}', b"[" * 100_000])
async def test_a_malformed_body_is_the_senders_fault(make, store, content, caplog):
    async with make() as client:
        response = await client.receive(post(content))
    assert response.status == 400
    assert json.loads(response.body)["error"].startswith("body: ")
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_malformed"]
    assert (record.levelno, record.provider, record.kept) == (logging.WARNING, "fake", 0)


async def test_one_bad_element_costs_no_good_one(make, store, caplog):
    content = b"\n".join([body("started", call="one"), b"{", body("started", call="two")])
    async with make(Choosy) as client:
        response = await client.receive(post(content))
    assert response.status == 400
    assert json.loads(response.body)["error"].startswith("[1]: ")
    assert await kept(store, "one") == await kept(store, "two") == ["provider.other"]
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_malformed"]
    assert record.kept == 2


async def test_an_empty_callback_is_a_success(make, store):
    async with make(Choosy) as client:
        response = await client.receive(CallbackRequest(method="POST", url="/fake"))
    assert (response.status, response.events) == (202, ())


async def test_one_callback_is_one_transaction(make, store):
    class Half(Flaky):
        async def apply_all(self, inputs, step):
            assert len(inputs) == 2
            return await super().apply_all(inputs, step)

    store = Half()
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    client = AsyncClient(config, store=store, adapters={"fake": Choosy()}, clock=ManualClock())
    async with client:
        response = await client.receive(post(b"\n".join([body("started"), body("accepted", delivery="d-2")])))
    assert len(response.events) == 2


async def test_a_commit_that_takes_long_to_fail_is_not_tried_again(make, store, clock):
    async with make() as client:
        for seconds, tries in ((0, 3), (0.9, 2), (5, 1)):
            store.failures, store.tries, store.fails_after = 1000, 0, partial(clock.advance, seconds)
            assert (await client.receive(post())).status == 503
            assert store.tries == tries
            store.failures = 0
        assert (await client.receive(post())).status == 200


async def test_a_callback_about_an_unreadable_call_keeps_what_it_says_of_others(make, store, caplog):
    said = b"\n".join(body(call=call, delivery=f"d-{call}") for call in ("one", "two", "three", "four"))
    async with make(Choosy) as client:
        store.unreadable = {"two", "four"}
        response = await client.receive(post(said))
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert [await kept(store, call) for call in ("one", "two", "three", "four")] == [
            ["provider.other"],
            [],
            ["provider.other"],
            [],
        ]
        (record,) = [one for one in caplog.records if getattr(one, "event", "") == "callback_not_stored"]
        assert "the state of call fake:four cannot be read" in record.getMessage()
        store.unreadable = set()
        response = await client.receive(post(said))
        assert response.status == 202
        assert {event.call_id for event in response.events} == {"two", "four"}


async def test_a_store_that_calls_another_call_unreadable_keeps_nothing(make, store):
    store.unreadable = {CALL}
    refuse = store.apply_all

    async def apply_all(inputs, step):
        try:
            return await refuse(inputs, step)
        except UnreadableRow as error:
            raise UnreadableRow(error.what) from None

    store.apply_all = apply_all
    async with make() as client:
        assert (await client.receive(post())).status == 503


async def test_what_cannot_be_kept_is_not_acknowledged(make, store, caplog):
    async with make() as client:
        store.failures = 1000
        response = await client.receive(post())
        store.failures = 0
        assert response.status == 503
        assert response.headers["retry-after"] == "5"
        assert response.events == ()
        assert await kept(store) == []
        (record,) = [
            record for record in caplog.records if getattr(record, "event", "") == "callback_not_stored"
        ]
        assert record.levelno == logging.ERROR
        assert (await client.receive(post())).status == 200
    assert await kept(store) == ["provider.other"]


async def test_a_commit_that_fails_once_is_tried_again(make, store):
    async with make() as client:
        store.failures = 1
        assert (await client.receive(post())).status == 200
    assert await kept(store) == ["provider.other"]


async def test_no_refusal_shows_what_was_sent(make, planted, store):
    hot = f"{planted.number} {planted.token} {planted.client_secret}"
    async with make() as client:
        for request in (
            post(url=f"/{hot}"),
            post(hot.encode()),
            post(json.dumps({"id": "1", "call_id": "2", "time": hot, "signals": [hot]}).encode()),
            post(body("started", reason=hot)),
        ):
            response = await client.receive(request)
            assert response.status in {400, 404}
            assert not planted.shown_in(
                f"{response!r} {response.body!r} {dict(response.headers)} {request!r}"
            )


async def test_a_defect_is_no_acknowledgement_and_no_exception(make, store, caplog, planted):
    class Defective(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            raise ZeroDivisionError(planted.number)

    async with make(Defective) as client:
        response = await client.receive(post())
    assert response.status == 500
    assert "ZeroDivisionError" in caplog.text
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_failed"]
    assert (record.levelno, record.provider) == (logging.ERROR, "fake")
    assert await kept(store) == []


class Leaky(MemoryStore):
    """A store somebody else wrote, whose errors quote what they could not keep."""

    hot = ""

    async def apply_all(self, inputs, step):
        raise StoreError(f"lost: {self.hot}") from OSError(f"could not write {self.hot}")


async def test_no_words_of_a_stores_errors_are_logged_as_they_are(caplog, planted):
    Leaky.hot = f"{planted.number} with Bearer {planted.token}"
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True))
    adapters = {"fake": FakeAdapter()}
    async with AsyncClient(config, store=Leaky(), adapters=adapters, background=False) as client:
        assert (await client.receive(post())).status == 503
    names = [getattr(record, "event", "") for record in caplog.records]
    assert (names.count("commit_retried"), names.count("callback_not_stored")) == (2, 1)
    assert "OSError: could not write +*" in caplog.text, "the cause is still told"
    assert not planted.shown_in(caplog.text)
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_call_id_that_holds_a_number_is_logged_without_it(make, store, caplog, planted):
    store.failures = 1
    async with make() as client:
        await client.receive(post(body("started", call=f"sip:{planted.number}@pbx", correlation_id="c")))
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "commit_retried"]
    assert record.call_ids == ["sip:+*********42@pbx"]


@pytest.mark.parametrize("url", ["https://[", "//[::1", "http://a:b/fake/", "\udc80", "?", "#", "//fake//"])
async def test_an_address_that_cannot_be_read_is_no_path_of_ours(make, url):
    async with make() as client:
        assert (await client.receive(post(url=url))).status in {200, 404}


def test_a_header_that_is_there_twice_has_both_values():
    headers = [("X-Thing", "a"), ("x-other", "b"), ("x-thing", "c")]
    assert CallbackRequest(method="POST", url="/", headers=headers).headers == {
        "x-thing": "a, c",
        "x-other": "b",
    }


# --- handshakes -------------------------------------------------------------------------------------


class Greeted(FakeAdapter):
    """A fake that asks first, by either method."""

    def route(self, path):
        return CallbackRoute(name="fake", methods=("POST", "OPTIONS")) if not path else None

    def handshake(self, callback):
        if callback.method == "POST":
            return HandshakeResponse(body=b"welcome") if callback.body == b"may I?" else None
        if "x-origin" not in callback.headers:
            raise MalformedCallback("fake", "header X-Origin", "is missing")
        return HandshakeResponse(status=204, headers={"X-Allowed": callback.headers["x-origin"]})


async def test_a_handshake_is_answered_and_stored_nowhere(make, store, caplog):
    caplog.set_level("INFO")
    async with make(Greeted) as client:
        response = await client.receive(post(b"may I?"))
        assert (response.status, response.body, response.events) == (200, b"welcome", ())
        response = await client.receive(post(method="OPTIONS", headers={"X-Origin": "there"}))
        assert (response.status, dict(response.headers)) == (204, {"x-allowed": "there"})
        assert (await client.receive(post(method="OPTIONS"))).status == 400
        assert (await client.receive(post(method="GET"))).headers["allow"] == "POST, OPTIONS"
        assert await store.read(None) == ()
        assert (await client.receive(post())).status == 200
    assert "callback_greeted" in {getattr(record, "event", "") for record in caplog.records}


async def test_a_handshake_is_authenticated_as_its_path_is(make):
    async with make(Greeted, accept_unverified=False) as client:
        assert (await client.receive(post(b"may I?"))).status == 401
        assert (await client.receive(post(method="OPTIONS", headers={"X-Origin": "there"}))).status == 401


# --- as an ASGI app ---------------------------------------------------------------------------------


async def call(
    app, *chunks, path="/fake", root_path="", method="POST", headers=(), query=b"", more_forever=False
):
    """One request to an ASGI app: the status, headers and body, and how many chunks were read."""
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


async def test_the_receiver_is_an_asgi_app(make, store):
    client = make()
    app = client.asgi()  # before the client is open
    async with client:
        status, headers, content, _ = await call(app, body("started"))
    assert (status, content) == (200, b"")
    assert headers["content-length"] == "0"
    assert await kept(store) == ["provider.other"]


async def test_a_body_comes_in_chunks(make, store):
    content = body("started")
    async with make() as client:
        status, _, _, taken = await call(client.asgi(), content[:10], b"", content[10:20], content[20:])
    assert (status, taken) == (200, 4)
    assert await kept(store) == ["provider.other"]


async def test_too_large_a_body_is_not_read_to_its_end(make, store):
    async with make(max_body_bytes=100) as client:
        status, headers, content, taken = await call(client.asgi(), *[b"x" * 60] * 1000)
    assert status == 413
    assert taken == 2
    assert headers["content-length"] == str(len(content))
    assert "100" in json.loads(content)["error"]


async def test_a_sender_who_goes_away_gets_and_leaves_nothing(make, store):
    async with make() as client:
        status, _, _, _ = await call(client.asgi(), body("started"), more_forever=True)
    assert status is None
    assert await kept(store) == []


async def test_a_body_that_does_not_come_is_given_up(make, store):
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
    assert await kept(store) == []


async def test_a_client_that_is_not_open_yet_asks_to_be_asked_again(make):
    client = make()
    status, headers, _, _ = await call(client.asgi(), body("started"))
    assert (status, headers["retry-after"]) == (503, "5")


async def test_the_query_reaches_the_receiver_and_is_no_part_of_the_path(make):
    seen = []

    async def receive(request):
        seen.append(request.url)
        return CallbackResponse(status=200)

    app = CallbackApp(receive, config=CallbackConfig())
    await call(app, b"", path="/fake/a b?c", query=b"secret=x%20y&z")
    assert seen == ["/fake/a%20b%3Fc?secret=x%20y&z"]


async def test_an_answer_to_head_has_no_body(make):
    async with make() as client:
        status, headers, content, _ = await call(client.asgi(), b"", method="HEAD")
    assert (status, content) == (405, b"")
    assert int(headers["content-length"]) > 0


async def test_it_may_be_mounted_below_a_path(make):
    async with make() as client:
        status, *_ = await call(
            client.asgi(), body("started"), path="/callbacks/fake", root_path="/callbacks"
        )
    assert status == 200


async def test_it_is_served_at_a_path_of_its_own_by_some_frameworks(make):
    """Older ASGI servers leave the mount's prefix out of `path`."""
    async with make() as client:
        status, *_ = await call(client.asgi(), body("started"), path="/fake", root_path="/callbacks")
    assert status == 200


async def test_headers_reach_the_receiver(make):
    seen = []

    class Watching(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            seen.append(dict(callback.headers))
            return super().decode(callback)

    async with make(Watching) as client:
        await call(client.asgi(), body("started"), headers=[(b"x-thing", b"caf\xe9")])
    assert seen == [{"x-thing": "caf\xe9"}]


async def test_a_refusal_is_json(make):
    async with make() as client:
        status, headers, content, _ = await call(client.asgi(), b"", method="GET")
    assert status == 405
    assert headers["allow"] == "POST"
    assert headers["content-type"] == "application/json"
    assert json.loads(content)["error"]


async def test_the_lifespan_is_the_applications(make):
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return received.pop(0)

    async def send(message):
        sent.append(message["type"])

    await make().asgi()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_anything_but_http_is_refused(make):
    with pytest.raises(ValueError, match="websocket"):
        await make().asgi()({"type": "websocket"}, None, None)
