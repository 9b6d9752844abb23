"""The receiver: which path leads to which provider, and what the response says."""

import json
import logging

import pytest
from support.callbacks import CALL, SeveralLines, body, post, stored_kinds

from transferkit import (
    CallbackRequest,
    CallbackRoute,
    MalformedCallback,
)
from transferkit.provider.adapter import HandshakeResponse
from transferkit.testing import FakeAdapter, ManualClock, scenario

# --- responses ----------------------------------------------------------------------------------------


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


async def test_an_event_without_a_transfer_is_returned_to_the_application(make):
    async with make() as client:
        response = await client.receive(post(body("returned", call="theirs")))
    assert [(event.kind, event.call_id, event.transfer_id) for event in response.events] == [
        ("call.connected", "theirs", None)
    ]
    assert response.events[0].raw["signals"] == ("returned",)


async def test_the_success_status_is_that_of_the_route(make):
    async with make(SeveralLines) as client:
        assert (await client.receive(post())).status == 202


async def test_a_repetition_is_a_success_without_events(make, store):
    async with make() as client:
        await client.receive(post())
        again = await client.receive(post())
    assert (again.status, again.events) == (200, ())
    assert await stored_kinds(store) == ["provider.other"]


async def test_an_empty_callback_is_a_success(make, store):
    async with make(SeveralLines) as client:
        response = await client.receive(CallbackRequest(method="POST", url="/fake"))
    assert (response.status, response.events) == (202, ())


async def test_no_response_shows_what_was_sent(make, planted, store):
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


async def test_a_defect_of_an_adapter_gets_500_and_is_logged(make, store, caplog, planted):
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
    assert await stored_kinds(store) == []


async def test_a_defect_in_finding_the_route_gets_500_and_is_logged(make, caplog):
    class Defective(FakeAdapter):
        def route(self, path):
            raise ZeroDivisionError

    async with make(Defective) as client:
        assert (await client.receive(post())).status == 500
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_failed"]
    assert record.provider is None


async def test_a_defect_in_the_hint_of_a_refusal_gets_500_and_is_logged(make, caplog):
    class Defective(FakeAdapter):
        def refusal_hint(self, route, headers):
            raise ZeroDivisionError

    async with make(Defective) as client:
        assert (await client.receive(CallbackRequest(method="GET", url="/fake"))).status == 500
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_failed"]
    assert "ZeroDivisionError" in record.getMessage()


# --- paths and headers --------------------------------------------------------------------------------


async def test_a_callback_at_the_address_of_a_transfer_belongs_to_that_transfer(make, store):
    async with make(SeveralLines) as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        response = await client.receive(post(body("failed"), url="/fake/transfers/another"))
        assert [(event.kind, event.transfer_id) for event in response.events] == [("provider.other", None)]
        response = await client.receive(
            post(body("failed", delivery="d-2"), url=f"/fake/transfers/{transfer.id}")
        )
        assert response.events[-1].kind == "transfer.failed"


@pytest.mark.parametrize("url", ["/fake", "/fake/", "/fake?token=x", "https://app.contoso.com/fake", "fake"])
async def test_a_url_may_be_absolute_or_a_path(make, url):
    async with make() as client:
        assert (await client.receive(post(url=url))).status == 200


@pytest.mark.parametrize("url", ["https://[", "//[::1", "http://a:b/fake/", "\udc80", "?", "#", "//fake//"])
async def test_a_url_that_cannot_be_parsed_is_not_found(make, url):
    async with make() as client:
        assert (await client.receive(post(url=url))).status in {200, 404}


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
async def test_the_public_path_may_end_in_the_name_of_a_provider(make, url):
    async with make(SeveralLines, public_url="https://app.contoso.com/fake") as client:
        assert (await client.receive(post(url=url))).status in {200, 202}
        assert (await client.receive(post(url="/fake/no/such"))).status == 404


async def test_a_public_path_that_is_a_provider_name_keeps_the_address_of_a_transfer(make):
    async with make(SeveralLines, public_url="https://app.contoso.com/fake") as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        response = await client.receive(post(body("failed"), url=f"/fake/transfers/{transfer.id}"))
        assert response.events[-1].kind == "transfer.failed"


@pytest.mark.parametrize("url", ["/", "", "/acs", "/fake/no/such", "/FAKE", "//fake2", "/fake%2f"])
async def test_an_unknown_path_is_not_found(make, store, url):
    async with make() as client:
        response = await client.receive(post(url=url))
    assert response.status == 404
    assert json.loads(response.body)["error"]
    assert response.headers["content-type"] == "application/json"
    assert await stored_kinds(store) == []


def test_header_names_are_case_insensitive():
    request = CallbackRequest(method="POST", url="/fake", headers={"Authorization": "x", "X-MS-Thing": "y"})
    assert request.headers == {"authorization": "x", "x-ms-thing": "y"}


def test_the_values_of_a_repeated_header_are_joined():
    headers = [("X-Thing", "a"), ("x-other", "b"), ("x-thing", "c")]
    assert CallbackRequest(method="POST", url="/", headers=headers).headers == {
        "x-thing": "a, c",
        "x-other": "b",
    }


async def test_headers_and_time_reach_the_adapter(make):
    seen = []

    class Recording(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            seen.append(callback)
            return super().decode(callback)

    async with make(Recording) as client:
        await client.receive(post(headers={"X-Thing": "y"}))
    assert seen[0].headers["x-thing"] == "y"
    assert seen[0].received_at == ManualClock().now()
    assert seen[0].route == "fake"


# --- handshakes ---------------------------------------------------------------------------------------


class Handshaking(FakeAdapter):
    """A fake whose provider sends handshakes, by POST or OPTIONS."""

    def route(self, path):
        return CallbackRoute(name="fake", methods=("POST", "OPTIONS")) if not path else None

    def handshake(self, callback):
        if callback.method == "POST":
            return HandshakeResponse(body=b"welcome") if callback.body == b"may I?" else None
        if "x-origin" not in callback.headers:
            raise MalformedCallback("fake", "header X-Origin", "is missing")
        return HandshakeResponse(status=204, headers={"X-Allowed": callback.headers["x-origin"]})


async def test_a_handshake_is_answered_and_not_stored(make, store, caplog):
    caplog.set_level("INFO")
    async with make(Handshaking) as client:
        response = await client.receive(post(b"may I?"))
        assert (response.status, response.body, response.events) == (200, b"welcome", ())
        response = await client.receive(post(method="OPTIONS", headers={"X-Origin": "there"}))
        assert (response.status, dict(response.headers)) == (204, {"x-allowed": "there"})
        assert (await client.receive(post(method="OPTIONS"))).status == 400
        assert (await client.receive(post(method="GET"))).headers["allow"] == "POST, OPTIONS"
        assert await store.read(None) == ()
        assert (await client.receive(post())).status == 200
    assert "callback_handshake" in {getattr(record, "event", "") for record in caplog.records}


async def test_the_sender_of_a_handshake_is_verified(make):
    async with make(Handshaking, accept_unverified=False) as client:
        assert (await client.receive(post(b"may I?"))).status == 401
        assert (await client.receive(post(method="OPTIONS", headers={"X-Origin": "there"}))).status == 401
