"""Callbacks from anyone: forged tokens and wrong secrets are refused, repetitions change nothing."""

import asyncio
import logging
from datetime import timedelta
from typing import ClassVar

import pytest
from support.callbacks import CALL, body, post

from transferkit import (
    AsyncClient,
    CallbackConfig,
    CallbackRoute,
    Config,
    MemoryStore,
    TokenPolicy,
)
from transferkit._callbacks.verification.fetching import FetchError
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, FakeAdapter, Forgery, ManualClock, scenario

AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
SIGNER = CallbackSigner(issuer="https://signer.example", clock=ManualClock())
OTHER = CallbackSigner(issuer="https://other.example", clock=ManualClock())


class Guarded(FakeAdapter):
    """A fake whose callbacks need a token, at `/secret` a secret in the URL, and at `/both` both."""

    signer = SIGNER
    secrets = (Secret(value="new secret"), Secret(value="old+secret"))
    decoded: ClassVar = []

    def route(self, path):
        if path in {"/secret", "/both"}:
            policy = None if path == "/secret" else self.policy
            return CallbackRoute(name=path, policy=policy, secrets=self.secrets)
        return CallbackRoute(name="fake", policy=self.policy) if not path else None

    @property
    def policy(self):
        issuer = self.signer.issuer
        return TokenPolicy(
            openid_url=f"{issuer}/openid",
            issuers=(issuer,),
            audience=AUDIENCE,
            tenant_claim="tid",
            allowed_tenants=(TENANT,),
        )

    @classmethod
    def decode(cls, callback):
        cls.decoded.append(callback)
        return super().decode(callback)


class OtherProvider(Guarded):
    """Another provider of the same application: the same audience, another signer."""

    signer = OTHER


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def fetch(fetched):
    async def fetch(url, *, ca_file=None, public=False):
        fetched.append(url)
        signer = OTHER if url.startswith(OTHER.issuer) else SIGNER
        return await signer.fetch(url)

    return fetch


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make(fetch, clock):
    Guarded.decoded.clear()

    def make(store=None, **callbacks):
        adapters = {"fake": Guarded(clock=clock), "other": OtherProvider(clock=clock)}
        config = Config(source="test", provider="fake", callbacks=CallbackConfig(**callbacks))
        store = store or MemoryStore()
        return AsyncClient(config, store=store, adapters=adapters, clock=clock, fetch_keys=fetch)

    return make


def token(signer=SIGNER, **more):
    return signer.token(**{"audience": AUDIENCE, "tenant_id": TENANT, **more})


def request(content=None, *, bearer=None, url="/fake", **headers):
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    return post(content or body("returned"), url, headers=headers)


def refusals(caplog):
    return [record for record in caplog.records if getattr(record, "event", "") == "callback_refused"]


async def nothing_is_kept(client):
    return not await client._store.read(None) and not Guarded.decoded


# --- forged ---------------------------------------------------------------------------------------------

WHY = {
    Forgery.NONE_ALGORITHM: "algorithm is 'none'",
    Forgery.HS256_WITH_PUBLIC_KEY: "algorithm is 'HS256'",
    Forgery.PS256: "algorithm is 'PS256'",
    Forgery.WRONG_KEY: "signature is wrong",
    Forgery.UNKNOWN_KEY_ID: "is not one of those that https://signer.example/openid publishes",
    Forgery.NO_KEY_ID: "names no key",
    Forgery.TAMPERED: "signature is wrong",
    Forgery.WRONG_ISSUER: "the issuer 'https://issuer.example' is not",
    Forgery.WRONG_AUDIENCE: f"is not {AUDIENCE}",
    Forgery.WRONG_TENANT: "is not one of the allowed tenants",
    Forgery.EXPIRED: "expired",
    Forgery.NOT_YET_VALID: "valid only in",
    Forgery.NO_EXPIRY: "does not say when it expires",
    Forgery.OVERSIZED: "longer than 16384 characters",
}


async def test_a_callback_with_a_signed_token_is_accepted(make):
    async with make() as client:
        response = await client.receive(request(bearer=token()))
        assert (response.status, len(response.events)) == (200, 1)
        assert Guarded.decoded[0].tenant_id == TENANT


@pytest.mark.parametrize("forgery", Forgery)
async def test_a_forged_token_is_refused(make, forgery, fetched, caplog):
    forged = SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=TENANT)
    async with make() as client:
        response = await client.receive(request(bearer=forged))
        assert response.status == 401
        assert response.events == ()
        assert await nothing_is_kept(client), "its body is never parsed"
    (record,) = refusals(caplog)
    assert (record.levelno, record.provider, record.route) == (logging.WARNING, "fake", "fake")
    assert WHY[forgery] in record.message
    assert not [part for part in forged.split(".") if part and part in f"{caplog.text} {response.body}"]
    assert len(fetched) <= 2


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "no Authorization header"),
        ({"authorization": ""}, "no Authorization header"),
        ({"authentication": f"Bearer {token()}"}, "no Authorization header"),
        ({"authorization": token()}, "not one bearer token"),
        ({"authorization": f"Basic {token()}"}, "not one bearer token"),
        ({"authorization": f"Bearer {token()} {token()}"}, "not one bearer token"),
        (
            {"authorization": f"Bearer {token()}", "Authorization": f"Bearer {token()}"},
            "not one bearer token",
        ),
    ],
)
async def test_a_callback_without_one_bearer_token_is_refused(make, headers, why, caplog):
    async with make() as client:
        response = await client.receive(request(**headers))
        assert response.status == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert await nothing_is_kept(client)
    assert why in refusals(caplog)[0].message


async def test_a_token_is_accepted_on_the_paths_of_its_own_provider_only(make, caplog):
    async with make() as client:
        assert (await client.receive(request(bearer=token(OTHER), url="/other"))).status == 200
        Guarded.decoded.clear()
        assert (await client.receive(request(bearer=token(OTHER)))).status == 401
        # Not even if it says that it is the other's, or names the other's key.
        assert (await client.receive(request(bearer=token(OTHER, issuer=SIGNER.issuer)))).status == 401
        posing = token(OTHER, issuer=SIGNER.issuer, headers={"kid": SIGNER.key_id})
        assert (await client.receive(request(bearer=posing))).status == 401
        assert not Guarded.decoded
    assert [record.cause for record in refusals(caplog)] == ["key", "signature"]


async def test_many_unknown_key_ids_start_one_fetch_per_cool_down(make, fetched, clock):
    forged = [token(headers={"kid": f"made-up-{number}"}) for number in range(50)]
    async with make() as client:
        assert (await client.receive(request(bearer=token(lifetime=3600)))).status == 200
        for second in range(11):
            answers = await asyncio.gather(*(client.receive(request(bearer=one)) for one in forged))
            # 401 where the keys were fetched again for it, 503 where it was too early for that.
            assert {answer.status for answer in answers} == {503 if second % 5 else 401}
            assert len(fetched) == 2 * (2 + second // 5), "two documents in a cool-down"
            assert (await client.receive(request(bearer=token(lifetime=3600)))).status == 200
            clock.advance(1)


async def test_a_key_rotation_is_accepted_within_the_cool_down_despite_unknown_key_ids(
    make, clock, monkeypatch
):
    signer = CallbackSigner(issuer=SIGNER.issuer, clock=clock)
    signer._keys = list(SIGNER._keys)  # creating a key takes long
    monkeypatch.setattr(SIGNER, "fetch", signer.fetch)
    async with make() as client:
        for _ in range(2):
            assert (await client.receive(request(bearer=token(headers={"kid": "made-up"})))).status == 401
        signer.rotate()
        response = await client.receive(request(bearer=token(signer)))
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        clock.advance(5)
        assert (await client.receive(request(bearer=token(headers={"kid": "made-up"})))).status == 401
        assert (await client.receive(request(bearer=token(signer)))).status == 200


async def test_no_key_is_fetched_for_a_header_that_is_not_a_token(make, fetched):
    async with make() as client:
        for header in ("", "Bearer", "Bearer a.b.c", "Basic eA==", f"Bearer {'x' * 20_000}"):
            assert (await client.receive(request(authorization=header))).status == 401
        for forgery in (Forgery.NONE_ALGORITHM, Forgery.HS256_WITH_PUBLIC_KEY, Forgery.NO_KEY_ID):
            forged = SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=TENANT)
            assert (await client.receive(request(bearer=forged))).status == 401
    assert fetched == []


@pytest.mark.parametrize(
    "trouble", [OSError("no route"), FetchError("https://signer.example/openid answers 503"), b"<html>"]
)
async def test_a_sender_is_not_checked_while_the_keys_cannot_be_fetched(
    make, caplog, monkeypatch, clock, trouble
):
    async def fail(url, *, ca_file=None, public=False):
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    async with make() as client:
        with monkeypatch.context() as patch:
            patch.setattr(client._receiver._verifier, "_fetch", fail)
            response = await client.receive(request(bearer=token()))
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert await nothing_is_kept(client)
            ring = client._receiver._verifier._ring(Guarded(clock=clock).policy)
        ring._fetch = SIGNER.fetch
        clock.advance(0.1)
        assert (await client.receive(request(bearer=token()))).status == 200
    assert not refusals(caplog)
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "callback_not_checked"]
    assert (record.levelno, record.provider, record.cause) == (logging.ERROR, "fake", "keys")
    assert "https://signer.example/openid" in record.message


async def test_an_unusable_token_is_refused_even_if_the_keys_cannot_be_fetched(make, monkeypatch):
    async def fail(url, *, ca_file=None, public=False):
        raise OSError("no route")

    async with make() as client:
        monkeypatch.setattr(client._receiver._verifier, "_fetch", fail)
        assert (await client.receive(request())).status == 401
        for forgery in (Forgery.NONE_ALGORITHM, Forgery.NO_KEY_ID):
            forged = SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=TENANT)
            assert (await client.receive(request(bearer=forged))).status == 401


async def test_a_repeated_callback_changes_nothing(make):
    async with make() as client:
        transfer = await client.transfer(CALL, to=scenario("silent").number)
        callback = request(body("accepted", "succeeded"), bearer=token())
        first = await client.receive(callback)
        assert first.events[-1].kind == "transfer.completed"
        for _ in range(3):
            again = await client.receive(callback)
            assert (again.status, again.events) == (200, ())
        assert await transfer.outcome(timeout=5) == first.events[-1]
        log = [event.kind for event in await client.history(transfer.id)]
        assert [kind for kind in log if kind.startswith("transfer.")] == [
            "transfer.requested",
            "transfer.submitted",
            "transfer.accepted",
            "transfer.completed",
        ]


async def test_a_repeated_callback_is_refused_after_its_token_expired(make, clock):
    async with make() as client:
        callback = request(bearer=token())
        assert (await client.receive(callback)).status == 200
        clock.advance(timedelta(minutes=7))
        assert (await client.receive(callback)).status == 401


async def test_a_token_is_not_bound_to_its_body(make):
    """No provider signs the body, so anyone who obtains a token can use it until it expires. Hence TLS."""
    async with make() as client:
        bearer = token()
        assert (await client.receive(request(bearer=bearer))).status == 200
        another = await client.receive(request(body("returned", delivery="d-2"), bearer=bearer))
        assert (another.status, len(another.events)) == (200, 1)


async def test_a_secret_in_the_url_is_accepted_on_routes_that_require_one(make, caplog):
    async with make() as client:
        for query in ("secret=new%20secret", "secret=old%2Bsecret", "a=b&secret=new+secret&c"):
            assert (await client.receive(request(url=f"/fake/secret?{query}"))).status == 200
        Guarded.decoded.clear()
        for query in (
            "",
            "secret=",
            "secret=wrong",
            "secret=new%20secret&secret=new%20secret",
            "Secret=new%20secret",
            "secret=new%20secret%00",
            "secret=%ff",
            "secret=\udc80",
            "&".join(["x=y"] * 200),
        ):
            assert (await client.receive(request(url=f"/fake/secret?{query}"))).status == 401
        assert (await client.receive(request(url="/fake/secret", bearer=token()))).status == 401
        assert not Guarded.decoded
    assert "new" not in "".join(record.getMessage() for record in refusals(caplog))
    assert "the secret in the URL ('secret') is wrong" in caplog.text


async def test_a_route_with_a_token_and_a_secret_requires_both(make):
    async with make() as client:
        url = "/fake/both?secret=new%20secret"
        assert (await client.receive(request(url=url))).status == 401
        assert (await client.receive(request(url="/fake/both", bearer=token()))).status == 401
        assert (await client.receive(request(url=url, bearer=token()))).status == 200


async def test_an_empty_secret_matches_nothing(make, monkeypatch):
    monkeypatch.setattr(Guarded, "secrets", (Secret(value=""),))
    async with make() as client:
        for query in ("secret=", "secret", "secret=x"):
            assert (await client.receive(request(url=f"/fake/secret?{query}"))).status == 401


async def test_a_sender_is_not_checked_while_the_secret_is_not_set(make, monkeypatch, caplog):
    secret = Secret(key="providers.fake.secret", env="NO_SUCH_VARIABLE")
    monkeypatch.setattr(Guarded, "secrets", (secret,))
    async with make() as client:
        for query in ("secret=", "secret", "secret=x"):
            response = await client.receive(request(url=f"/fake/secret?{query}"))
            assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert "environment variable NO_SUCH_VARIABLE is not set (providers.fake.secret)" in caplog.text
