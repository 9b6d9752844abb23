"""Refused callbacks: the status of the response, and what is logged how often."""

import json
import logging

import pytest
from support.callbacks import body, post, stored_kinds

from transferkit import (
    CallbackRoute,
    Secret,
)
from transferkit.testing import FakeAdapter

# --- before the sender is checked ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
async def test_a_method_that_the_route_does_not_have_is_refused(make, store, method):
    async with make() as client:
        response = await client.receive(post(method=method))
    assert response.status == 405
    assert response.headers["allow"] == "POST"
    assert await stored_kinds(store) == []


async def test_a_body_above_the_limit_is_refused(make, store):
    content = body("started")
    async with make(max_body_bytes=len(content)) as client:
        assert (await client.receive(post(content))).status == 200
        response = await client.receive(post(content + b" "))
    assert response.status == 413
    assert str(len(content)) in json.loads(response.body)["error"]


async def test_the_size_is_checked_before_the_sender(make):
    async with make(accept_unverified=False, max_body_bytes=5) as client:
        assert (await client.receive(post())).status == 413


# --- senders that are not verified --------------------------------------------------------------------


async def test_a_sender_that_is_not_verified_is_refused_by_default(make, store, caplog, planted):
    decoded = []

    class Recording(FakeAdapter):
        @classmethod
        def decode(cls, callback):
            decoded.append(callback)
            return ()

    async with make(Recording, accept_unverified=False) as client:
        response = await client.receive(post(headers={"authorization": f"Bearer {planted.token}"}))
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert decoded == [], "its body is not parsed"
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "callback_refused"]
    assert record.levelno == logging.WARNING
    assert record.provider == "fake"
    assert "callback refused: " in record.message
    assert await stored_kinds(store) == []


async def test_a_refusal_names_the_missing_settings(make, caplog):
    class Unconfigured(FakeAdapter):
        def route(self, path):
            return CallbackRoute(name="fake", needs="providers.fake.signer")

    async with make(Unconfigured, accept_unverified=False) as client:
        assert (await client.receive(post())).status == 401
    assert "no verification is configured for this path: set providers.fake.signer" in caplog.text


async def test_accepting_unverified_callbacks_is_logged_when_the_client_opens(make, caplog):
    async with make():
        pass
    (record,) = [
        record for record in caplog.records if getattr(record, "event", "") == "callbacks_unverified"
    ]
    assert record.levelno == logging.WARNING
    assert "accept_unverified" in record.message


async def test_nothing_is_logged_when_a_client_opens_that_verifies_callbacks(make, caplog):
    async with make(accept_unverified=False):
        pass
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- how often refusals are logged --------------------------------------------------------------------


class WithSecrets(FakeAdapter):
    """A fake with two paths, each with a secret in the URL, and with a hint for misdirected requests."""

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


async def test_refusals_with_one_cause_are_logged_once_a_minute_with_their_number(make, caplog):
    async with make(WithSecrets, accept_unverified=False) as client:
        for second in range(121):
            for _ in range(3):
                assert (await client.receive(post(url="/fake?secret=wrong"))).status == 401
            client._clock.advance(1)
            assert len(refused(caplog)) == 1 + second // 60
    wrong = "the secret in the URL ('secret') is wrong"
    assert refused(caplog) == [wrong, f"{wrong} (179 more in between)", f"{wrong} (179 more in between)"]


async def test_a_refusal_with_another_cause_or_path_is_logged_immediately(make, caplog):
    wrong, missing = (
        "the secret in the URL ('secret') is wrong",
        "the URL has 0 parameters 'secret'; exactly one is required",
    )
    async with make(WithSecrets, accept_unverified=False) as client:
        for _ in range(2):
            for url in ("/fake?secret=wrong", "/fake", "/fake/other?secret=wrong"):
                await client.receive(post(url=url))
    assert refused(caplog) == [wrong, missing, wrong]
    causes = [getattr(record, "cause", None) for record in caplog.records]
    assert [cause for cause in causes if cause] == ["secret", "no_secret", "secret"]


async def test_an_adapter_can_name_the_path_that_a_refused_request_belongs_to(make, caplog):
    headers = {"X-Other": "1"}
    async with make(WithSecrets, accept_unverified=False) as client:
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


async def test_a_refusal_is_logged_after_the_clock_was_set_back(make, caplog):
    async with make(WithSecrets, accept_unverified=False) as client:
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
