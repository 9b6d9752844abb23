"""The verifier: secrets in the URL, tokens of each route's policy, and keys that change."""

import asyncio
import contextlib
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from attrs import evolve
from support.verification import (
    AUDIENCE,
    ISSUER,
    OPENID_URL,
    SIGNER,
    TENANT,
    KeySource,
    new_signer,
    refused,
    settled,
    unchecked,
)

from transferkit import (
    CallbackConfig,
    CallbackError,
    CallbackRoute,
    TokenPolicy,
)
from transferkit._callbacks.verification.fetching import (
    fetch_over_http,
)
from transferkit._callbacks.verification.verifier import Verifier
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, ManualClock

SKEW = timedelta(minutes=2)
POLICY = TokenPolicy(
    openid_url=OPENID_URL, issuers=(ISSUER,), audience=AUDIENCE, tenant_claim="tid", allowed_tenants=(TENANT,)
)

SECRET = CallbackRoute(name="", secrets=(Secret(value="right"), Secret(value="")), needs="a secret")

UNSET = Secret(env="TRANSFERKIT_NO_SUCH_VARIABLE")


async def verified(query, route=SECRET, *, method="POST", headers=()):
    verifier = Verifier(clock=ManualClock(), config=CallbackConfig())
    return await verifier.verify(route, method=method, query=query, headers=dict(headers))


# --- secrets in the URL -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("{}=right", None),
        ("a=1&{}=right&b=2", None),
        ("{}=", "is wrong"),
        ("{}=wrong", "is wrong"),
        ("{}=r\u00efght", "is wrong"),
        ("a=right", "has 0 parameters"),
        ("{}=right&{}=right", "has 2 parameters"),
        ("{}=right&{}=", "has 2 parameters"),
        ("{}=right" + "&a=1" * 99, None),
        ("{}=right" + "&a=1" * 100, "cannot be read"),
    ],
)
async def test_the_query_must_contain_a_configured_secret_once(query, why):
    name = SECRET.secret_parameter
    with contextlib.nullcontext() if why is None else refused(why):
        assert await verified(query.replace("{}", name)) is None


async def test_a_sender_is_not_checked_if_the_secret_cannot_be_read():
    with unchecked("TRANSFERKIT_NO_SUCH_VARIABLE is not set"):
        await verified("secret=right", CallbackRoute(name="", secrets=(UNSET,)))


async def test_a_second_secret_is_accepted_if_the_first_cannot_be_read():
    route = CallbackRoute(name="", secrets=(UNSET, Secret(value="right")))
    assert await verified("secret=right", route) is None
    with unchecked("TRANSFERKIT_NO_SUCH_VARIABLE is not set"):
        await verified("secret=wrong", route)


@pytest.mark.parametrize(
    "secret",
    ["s3cret", "Zm9v+YmFy/Zm9v==", "a b", "a+b c", "ä+ö", "50%", "a=b", "?", "~!*'()", "%41", "a&b#c"],
)
async def test_every_secret_is_accepted_percent_encoded(secret):
    route = CallbackRoute(name="", secrets=(Secret(value=secret),))
    assert await verified(f"secret={quote(secret, safe='')}", route) is None
    assert await verified(f"secret={quote_plus(secret)}", route) is None


@pytest.mark.parametrize("secret", ["s3cret", "Zm9v+YmFy/Zm9v==", "+/+/==", "a=b", "~!*'()"])
async def test_a_base64_secret_is_accepted_unencoded(secret):
    route = CallbackRoute(name="", secrets=(Secret(value=secret),))
    assert await verified(f"secret={secret}", route) is None


async def test_an_encoded_space_is_not_a_plus_sign():
    with refused("is wrong"):
        await verified("secret=a%20b", CallbackRoute(name="", secrets=(Secret(value="a+b"),)))


# --- tokens -------------------------------------------------------------------------------------------


async def test_a_route_without_verification_names_the_missing_settings():
    with refused("no verification is configured for this path: set a secret"):
        await verified("", CallbackRoute(name="", needs="a secret"))


@pytest.mark.parametrize(
    ("method", "headers", "why"),
    [
        ("POST", {}, "no Authorization header"),
        ("OPTIONS", {}, None),
        ("OPTIONS", {"authorization": "none"}, "not one bearer token"),
        ("POST", {"authorization": "none"}, "not one bearer token"),
    ],
)
async def test_a_handshake_needs_no_token_but_a_given_one_is_checked(method, headers, why):
    route = CallbackRoute(name="", policy=POLICY)
    with contextlib.nullcontext() if why is None else refused(why):
        assert await verified("", route, method=method, headers=headers) is None


async def test_the_certificate_authorities_are_part_of_a_key_ring_s_identity():
    verifier = Verifier(clock=ManualClock(), config=CallbackConfig())
    assert verifier._fetch is fetch_over_http
    first, again, other = (
        verifier._ring(policy) for policy in (POLICY, POLICY, evolve(POLICY, ca_file=Path("other.pem")))
    )
    assert first is again
    assert first is not other


async def test_closing_the_verifier_cancels_its_fetches():
    begun = asyncio.Event()

    async def never(url, *, ca_file=None, public=False):
        begun.set()
        await asyncio.Event().wait()
        return b""

    verifier = Verifier(clock=ManualClock(), config=CallbackConfig(), fetch=never)
    route = CallbackRoute(name="", policy=POLICY)
    headers = {"authorization": f"Bearer {SIGNER.token(audience=AUDIENCE)}"}
    asked = asyncio.create_task(verifier.verify(route, method="POST", query="", headers=headers))
    await begun.wait()
    await verifier.aclose()
    with unchecked("they were not fetched"):
        await asyncio.wait_for(asked, 5)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source(clock):
    return KeySource(new_signer(clock))


@pytest.fixture
async def check(source, clock):
    """Verifies a callback with a token; returns why it was refused, or None."""
    verifier = Verifier(clock=clock, config=CallbackConfig(clock_skew=SKEW), fetch=source)

    async def check(token, *, policy=POLICY):
        route, headers = CallbackRoute(name="", policy=policy), {"authorization": f"Bearer {token}"}
        try:
            tenant = await verifier.verify(route, method="POST", query="", headers=headers)
        except CallbackError as error:
            return str(error)
        assert tenant == TENANT
        return None

    yield check
    await verifier.aclose()


def token_of(signer, **more):
    return signer.token(**{"audience": AUDIENCE, "tenant_id": TENANT, "lifetime": 7200, **more})


async def test_a_token_that_was_accepted_expires_later(check, source, clock):
    token = token_of(source.signer, lifetime=300)
    assert await check(token) is None
    clock.advance(timedelta(seconds=299) + SKEW)
    assert await check(token) is None
    clock.advance(2)
    assert "expired" in await check(token)
    clock.advance(timedelta(days=-1))
    assert "valid only in" in await check(token)


async def test_a_token_is_checked_against_the_policy_of_each_route(check, source):
    token = token_of(source.signer)
    assert await check(token) is None
    assert "the issuer" in await check(token, policy=evolve(POLICY, issuers=("https://other.example",)))
    assert "the audience" in await check(token, policy=evolve(POLICY, audience="another"))
    assert "the tenant" in await check(token, policy=evolve(POLICY, allowed_tenants=("another",)))
    assert "the application" in await check(token, policy=evolve(POLICY, sender_claims=("azp",)))


async def test_a_withdrawn_key_invalidates_tokens_that_were_accepted(check, source, clock):
    token = token_of(source.signer)
    assert await check(token) is None
    clock.advance(60)
    source.signer.rotate(withdraw=True)
    assert await check(token_of(source.signer)) is None
    assert "not one of the known keys" in await check(token)
    clock.advance(5)
    assert "not one of those that https://signer" in await check(token)


async def test_a_key_that_replaces_another_with_the_same_id_does_not_verify_its_tokens(check, source, clock):
    token = token_of(source.signer)
    assert await check(token) is None
    posing = CallbackSigner(issuer=ISSUER)
    (key,) = posing.jwks()["keys"]
    keys = {"keys": [{**key, "kid": source.signer.key_id}]}
    source.documents[OPENID_URL] = json.dumps({"jwks_uri": f"{OPENID_URL}/keys"}).encode()
    source.documents[f"{OPENID_URL}/keys"] = json.dumps(keys).encode()
    clock.advance(3600)
    assert await check(token) is None, "the renewal is under way"
    await settled()
    assert await check(token) == "the token's signature is wrong"


async def test_each_openid_document_has_its_own_keys(check, source):
    token = token_of(source.signer)
    assert await check(token) is None
    stranger = CallbackSigner(issuer="https://stranger.example")
    (key,) = stranger.jwks()["keys"]
    elsewhere = "https://stranger.example/openid"
    source.documents[elsewhere] = json.dumps({"jwks_uri": f"{elsewhere}/keys"}).encode()
    keys = {"keys": [{**key, "kid": source.signer.key_id}]}
    source.documents[f"{elsewhere}/keys"] = json.dumps(keys).encode()
    assert await check(token, policy=evolve(POLICY, openid_url=elsewhere)) == "the token's signature is wrong"
    assert await check(token) is None
