"""Tokens and keys: what is believed, what is fetched, and how often."""

import asyncio
import contextlib
import json
import logging
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from transferkit import (
    CallbackConfig,
    CallbackError,
    CallbackNotVerified,
    CallbackRoute,
    SenderNotChecked,
    TokenPolicy,
)
from transferkit._callbacks.verification import tokens
from transferkit._callbacks.verification import verifier as verification
from transferkit._callbacks.verification.fetching import FetchError, fetch_over_http
from transferkit._callbacks.verification.keys import KeyRing, keys_in
from transferkit._callbacks.verification.tokens import (
    Signed,
    SignedTokens,
    bearer_token,
    check,
    key_id_of,
    signed_claims,
)
from transferkit._callbacks.verification.verifier import Verifier
from transferkit.testing import CallbackSigner, Forgery, ManualClock
from transferkit.testing.server import stop_accepting

ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
OPENID = "https://signer.example/openid"
SKEW = timedelta(minutes=2)

CLOCK = ManualClock()
SIGNER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
POLICY = TokenPolicy(openid_url=OPENID, issuers=(ISSUER, "https://other.example"), audience=AUDIENCE)
TENANTS = evolve(POLICY, tenant_claim="tid", allowed_tenants=(TENANT,))
SENDERS = evolve(POLICY, sender_claims=("azp", "appid"), allowed_senders=("app-1", "app-2"))

SIGNED = SIGNER.token(audience=AUDIENCE)
KEY = keys_in(SIGNER.jwks())[SIGNER.key_id]


def claims_of(token, policy=POLICY, *, now=None, skew=SKEW):
    key = keys_in(SIGNER.jwks())[key_id_of(token)]
    claims = signed_claims(token, key)
    check(claims, policy=policy, now=now or CLOCK.now(), skew=skew)
    return claims


def token(**more):
    return SIGNER.token(**{"audience": AUDIENCE, **more})


# --- the header ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_bearer_token_is_read(scheme):
    assert bearer_token({"authorization": f"{scheme} aa.bb.cc"}) == "aa.bb.cc"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "aa.bb.cc",
        "Basic aa.bb.cc",
        "Bearer aa.bb",
        "Bearer aa.bb.cc.dd.ee",
        "Bearer aa.bb.cc, Bearer aa.bb.cc",
        "Bearer aa.bb.cc dd",
        "Bearer aa.bb.c\u00e9",
        "Bearer a=.bb.cc",
        "Bearer\naa.bb.cc",
        "Bearer " + "a" * 20_000 + ".bb.cc",
    ],
)
def test_any_other_form_is_refused(header):
    with pytest.raises(CallbackNotVerified):
        bearer_token({"authorization": header})


def test_no_header_is_refused():
    with pytest.raises(CallbackNotVerified, match="no Authorization"):
        bearer_token({})


@given(header=st.text(max_size=60) | st.text("aeyJ.-_ Bearr", max_size=60))
def test_whatever_the_header_says_it_is_a_token_or_refused(header):
    with contextlib.suppress(CallbackNotVerified):
        key_id_of(bearer_token({"authorization": header}))


# --- the claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"headers": {"cty": None}},
        {"headers": {"typ": "at+jwt", "x5t": "x"}},
        {"issuer": "https://other.example"},
        {"audience": AUDIENCE.upper()},
        {"claims": {"aud": ["somebody", AUDIENCE]}},
        {"claims": {"nbf": None}},
        {"claims": {"exp": CLOCK.now().timestamp() + 0.5}},
    ],
)
def test_a_right_token_is_believed(made):
    assert claims_of(token(**made))["iss"] in POLICY.issuers


@pytest.mark.parametrize(
    ("forgery", "why"),
    [
        (Forgery.NONE_ALGORITHM, "algorithm is 'none', not RS256"),
        (Forgery.HS256_WITH_PUBLIC_KEY, "algorithm is 'HS256', not RS256"),
        (Forgery.PS256, "algorithm is 'PS256', not RS256"),
        (Forgery.WRONG_KEY, "signature is wrong"),
        (Forgery.NO_KEY_ID, "names no key"),
        (Forgery.TAMPERED, "signature is wrong"),
        (Forgery.WRONG_ISSUER, "issuer 'https://issuer.example' is not one of https://signer.example"),
        (Forgery.WRONG_AUDIENCE, f"audience '.*' is not {AUDIENCE}"),
        (Forgery.WRONG_TENANT, "tenant '.*' is not among the allowed"),
        (Forgery.EXPIRED, "expired 86100 s ago"),
        (Forgery.NOT_YET_VALID, "valid only in 86400 s"),
        (Forgery.NO_EXPIRY, "does not say when it expires"),
    ],
)
def test_a_wrong_one_is_refused_for_what_is_wrong(forgery, why):
    with pytest.raises(CallbackNotVerified, match=why):
        claims_of(SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=TENANT), TENANTS)


@pytest.mark.parametrize(
    "made",
    [
        {"headers": {"alg": None}},
        {"headers": {"kid": 7}},
        {"headers": {"kid": ""}},
        {"claims": {"iss": [ISSUER]}},
        {"claims": {"iss": None}},
        {"claims": {"aud": None}},
        {"claims": {"aud": []}},
        {"claims": {"aud": {"a": AUDIENCE}}},
        {"claims": {"aud": f"{AUDIENCE} "}},
        {"claims": {"exp": "9999999999"}},
        {"claims": {"exp": True}},
        {"claims": {"exp": float("nan")}},
        {"claims": {"exp": float("inf")}},
        {"claims": {"exp": 10**400}},
        {"claims": {"exp": [1]}},
        {"claims": {"nbf": "soon"}},
        {"claims": {"tid": TENANT}, "issuer": "https://signer.example/"},
    ],
)
def test_a_strange_one_is_refused(made):
    with pytest.raises(CallbackNotVerified):
        claims_of(token(**made))


@pytest.mark.parametrize("headers", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_a_token_that_demands_an_extension_is_refused(headers):
    with pytest.raises(CallbackNotVerified, match="demands an extension"):
        claims_of(token(headers=headers))


@pytest.mark.parametrize(
    ("seconds", "believed"), [(-121, False), (-120, True), (0, True), (419, True), (420, False)]
)
def test_clocks_may_differ_a_little(seconds, believed):
    signed = token(lifetime=300)
    at = CLOCK.now() + timedelta(seconds=seconds)
    with contextlib.nullcontext() if believed else pytest.raises(CallbackNotVerified, match="clock"):
        claims_of(signed, now=at)


def test_a_tenant_is_demanded_where_a_claim_is_named():
    anyone = evolve(TENANTS, allowed_tenants=())
    assert claims_of(token(tenant_id="whoever"), anyone)["tid"] == "whoever"
    assert claims_of(token(tenant_id=TENANT.upper()), TENANTS)
    for tenant in (None, "", 7):
        with pytest.raises(CallbackNotVerified, match="no tenant"):
            claims_of(token(claims={"tid": tenant}), anyone)


@pytest.mark.parametrize(
    ("claims", "believed"),
    [
        ({"azp": "app-1"}, True),
        ({"appid": "APP-2"}, True),
        ({"azp": "app-3", "appid": "app-1"}, False),
        ({"azp": "app-3"}, False),
        ({"azp": ["app-1"]}, False),
        ({}, False),
    ],
)
def test_a_sender_is_demanded_where_claims_are_named(claims, believed):
    with contextlib.nullcontext() if believed else pytest.raises(CallbackNotVerified, match="may not send"):
        claims_of(token(claims=claims), SENDERS)


def test_what_a_refusal_quotes_is_short_and_one_line():
    with pytest.raises(CallbackNotVerified) as caught:
        claims_of(token(issuer="x\nWARNING all is well " * 1000))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


# --- keys ---------------------------------------------------------------------------------------------


def test_keys_that_are_of_no_use_are_skipped(monkeypatch):
    good = SIGNER.jwks()["keys"][0]
    small = {**good, "kid": "small", "n": good["n"][:170]}
    skipped = [
        None,
        "text",
        {},
        {"kid": "no numbers", "kty": "RSA"},
        {**good, "kid": None},
        {**good, "kid": ["a"]},
        {**good, "kid": ""},
        {**good, "kid": "ec", "kty": "EC"},
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ps", "alg": "PS256"},
        {**good, "kid": "n", "n": "!!"},
        {**good, "kid": "n", "n": 7},
        {**good, "kid": "e", "e": "AQ"},
        {**good, "kid": "e", "e": good["n"]},
        {**good, "kid": "large", "n": good["n"] * 8},
        small,
    ]
    assert list(keys_in({"keys": [*skipped, good, {**good, "e": "Aw"}]})) == [good["kid"]]
    assert keys_in({"keys": [good]})[good["kid"]].public_numbers().e == 65537


def test_a_private_key_that_is_published_counts_as_its_public_half():
    (good,) = SIGNER.jwks()["keys"]
    key = keys_in({"keys": [{**good, "d": "AQAB", "p": "AQAB", "q": "AQAB"}]})[good["kid"]]
    assert not hasattr(key, "private_numbers")


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": [[]]}])
def test_a_document_without_keys_has_none(document):
    assert keys_in(document) == {}


class Source:
    """Serves a signer's documents, counts, and fails or waits when told."""

    def __init__(self, signer):
        self.signer = signer
        self.fetched = []
        self.down = False
        self.slow = asyncio.Event()
        self.slow.set()
        self.documents = {}

    @property
    def count(self):
        """Fetches of the keys, each with one of the document that names them."""
        return len([url for url in self.fetched if url == OPENID])

    async def __call__(self, url, *, ca_file=None, public=False):
        self.fetched.append(url)
        await self.slow.wait()
        if self.down:
            raise FetchError("the source is down")
        return self.documents[url] if url in self.documents else await self.signer.fetch(url)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source():
    signer = CallbackSigner(issuer=ISSUER)
    SIGNER.jwks()
    signer._made = list(SIGNER._made)  # keys take long to make
    return Source(signer)


@pytest.fixture
async def ring(source, clock):
    made = KeyRing(
        OPENID,
        ca_file=None,
        fetch=source,
        clock=clock,
        refresh=timedelta(hours=1),
        cooldown=timedelta(seconds=5),
    )
    yield made
    await made.aclose()


async def settled():
    """Whatever can go on without waiting for time has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_keys_are_fetched_once(ring, source):
    for _ in range(3):
        assert (await ring.key(source.signer.key_id)).key_size == 2048
    assert source.fetched == [OPENID, f"{OPENID}/keys"]


async def test_many_requests_wait_for_one_fetch(ring, source):
    source.slow.clear()
    asked = [asyncio.create_task(ring.key(source.signer.key_id)) for _ in range(100)]
    await settled()
    assert not any(task.done() for task in asked)
    source.slow.set()
    assert len(await asyncio.gather(*asked)) == 100
    assert source.count == 1


async def test_who_is_cancelled_while_it_waits_harms_nobody(ring, source):
    source.slow.clear()
    one, other = (asyncio.create_task(ring.key(source.signer.key_id)) for _ in range(2))
    await settled()
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    source.slow.set()
    assert await other


async def test_a_flood_of_unknown_key_ids_fetches_once_in_a_cool_down(ring, source, clock):
    await ring.key(source.signer.key_id)
    for number in range(3):
        refused = await asyncio.gather(
            *(ring.key(f"{number}-{other}") for other in range(200)), return_exceptions=True
        )
        assert {type(error) for error in refused} == {CallbackNotVerified}
        assert f"'{number}-0' is not among those that https://signer" in str(refused[0])
        assert source.count == 2 + number
        assert await ring.key(source.signer.key_id)
        clock.advance(5)


@pytest.mark.parametrize("seconds", [0, 4])
async def test_an_unknown_key_id_is_not_checked_during_the_cool_down(ring, source, clock, seconds):
    await ring.key(source.signer.key_id)
    with pytest.raises(CallbackNotVerified):
        await ring.key("one")
    clock.advance(seconds)
    with pytest.raises(SenderNotChecked, match="'another' is not among the known ones") as caught:
        await ring.key("another")
    assert caught.value.retry_after == timedelta(seconds=5 - seconds)
    assert source.count == 2


async def test_a_flood_of_unknown_key_ids_delays_a_rotation_by_a_cool_down_at_most(ring, source, clock):
    await ring.key(source.signer.key_id)
    with pytest.raises(CallbackNotVerified):
        await ring.key("forged")
    source.signer.rotate()
    waited = timedelta(0)
    while True:
        with contextlib.suppress(CallbackError):
            await ring.key("forged")
        try:
            await ring.key(source.signer.key_id)
            break
        except SenderNotChecked:
            clock.advance(1)
            waited += timedelta(seconds=1)
    assert waited == timedelta(seconds=5)


async def test_without_forged_key_ids_a_rotation_is_not_delayed(ring, source):
    await ring.key(source.signer.key_id)
    source.signer.rotate()
    assert await ring.key(source.signer.key_id)
    assert source.count == 2


async def test_an_unknown_key_id_is_not_checked_while_the_source_is_down(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(60)
    source.down = True
    with pytest.raises(SenderNotChecked, match=r"not fetched again \(the source is down\)"):
        await ring.key("another")
    assert await ring.key(source.signer.key_id), "the known ones stay in use"
    source.down = False
    clock.advance(0.1)
    with pytest.raises(CallbackNotVerified):
        await ring.key("another")


async def test_a_fetch_that_failed_is_tried_again_after_a_back_off_that_grows_to_a_few_seconds(
    ring, source, clock
):
    source.down = True
    pauses = []
    for failed in range(1, 10):
        with pytest.raises(SenderNotChecked, match="the source is down") as caught:
            await ring.key("one")
        assert source.count == failed
        pauses.append(caught.value.retry_after.total_seconds())
        clock.advance(pauses[-1] - 0.01)
        with pytest.raises(SenderNotChecked):
            await ring.key("one")
        assert source.count == failed, "not yet"
        clock.advance(0.01)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    source.down = False
    assert await ring.key(source.signer.key_id)
    clock.advance(60)
    source.down = True
    with pytest.raises(SenderNotChecked) as caught:
        await ring.key("another")
    assert caught.value.retry_after.total_seconds() == 0.1, "a success ends the back-off"


async def test_callbacks_that_wait_for_one_fetch_are_all_not_checked_if_it_fails(ring, source):
    source.down = True
    source.slow.clear()
    asked = [asyncio.create_task(ring.key(f"{number}")) for number in range(100)]
    await settled()
    source.slow.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {SenderNotChecked}
    assert source.count == 1


async def test_a_rotation_under_way_loses_nothing(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(60)
    source.signer.rotate()
    source.slow.clear()
    waiting = asyncio.create_task(ring.key(source.signer.key_id))
    await settled()
    assert await ring.key(old), "nobody with the old key waits"
    source.slow.set()
    assert await waiting
    assert await ring.key(old)
    assert source.count == 2


async def test_a_withdrawn_key_is_gone_with_the_next_fetch(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(60)
    source.signer.rotate(withdraw=True)
    await ring.key(source.signer.key_id)
    with pytest.raises(SenderNotChecked):
        await ring.key(old)
    clock.advance(5)
    with pytest.raises(CallbackNotVerified, match="not among those that https://signer"):
        await ring.key(old)


async def test_keys_are_renewed_in_the_background_before_they_grow_old(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(3599)
    await ring.key(source.signer.key_id)
    assert source.count == 1
    clock.advance(1)
    source.slow.clear()
    assert await ring.key(source.signer.key_id), "and nobody waits for it"
    await settled()
    assert source.count == 2
    source.slow.set()
    await settled()
    await ring.key(source.signer.key_id)
    assert source.count == 2


async def test_keys_that_nobody_used_for_a_day_are_renewed_first(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(timedelta(days=1))
    source.signer.rotate(withdraw=True)
    with pytest.raises(CallbackNotVerified):
        await ring.key(old)


async def test_known_keys_serve_while_the_source_is_down(ring, source, clock, caplog):
    await ring.key(source.signer.key_id)
    source.down = True
    for hours in range(1, 101):
        clock.advance(timedelta(hours=1))
        assert await ring.key(source.signer.key_id)
        await settled()
        assert source.count == 1 + hours, "and it is tried again"
    assert "the source is down" in caplog.text
    assert "1 known ones stay in use" in caplog.text


async def test_without_any_key_no_sender_is_checked_and_the_error_says_why(ring, source):
    source.down = True
    for _ in range(3):
        with pytest.raises(SenderNotChecked, match=r"no keys to check tokens with \(the source is down\)"):
            await ring.key("one")
    assert source.count == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"jwks_uri": 7}',
        b'{"jwks_uri": "file:///etc/passwd"}',
        b'{"jwks_uri": "http://signer.example/keys"}',
        b'{"jwks_uri": "https://127.0.0.1/keys"}',
        b'{"jwks_uri": "https://[::1]/keys"}',
        b'{"jwks_uri": "https://localhost/keys"}',
        b'{"jwks_uri": "https://169.254.169.254/metadata"}',
        b'{"jwks_uri": "https://[::bad"}',
    ],
)
async def test_a_bad_document_leaves_the_known_keys_in_use(ring, source, clock, document, caplog):
    await ring.key(source.signer.key_id)
    source.documents[OPENID] = document
    clock.advance(7200)
    assert await ring.key(source.signer.key_id)
    await settled()
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "keys_not_fetched"]
    assert record.levelno == logging.WARNING
    assert source.fetched[2:] == [OPENID], "what it names is not visited"
    assert await ring.key(source.signer.key_id)


async def test_a_set_without_a_usable_key_is_a_bad_document(ring, source, clock):
    await ring.key(source.signer.key_id)
    source.documents[f"{OPENID}/keys"] = b'{"keys": [{"kty": "EC", "kid": "1"}]}'
    clock.advance(7200)
    await ring.key(source.signer.key_id)
    await settled()
    assert await ring.key(source.signer.key_id)


async def test_closing_gives_up_a_fetch(ring, source):
    source.slow.clear()
    asked = asyncio.create_task(ring.key("one"))
    await settled()
    await ring.aclose()
    with pytest.raises(SenderNotChecked):
        await asked
    await ring.aclose()


async def test_a_clock_that_is_set_back_does_not_stop_renewals(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(timedelta(days=-3))
    await ring.key(source.signer.key_id)
    assert source.count == 2


# --- tokens that are used again -----------------------------------------------------------------------


@pytest.fixture
def verified(monkeypatch):
    """The tokens whose signatures were looked at."""
    seen = []

    def signed_claims(token, key):
        seen.append(token)
        return tokens.signed_claims(token, key)

    monkeypatch.setattr(verification, "signed_claims", signed_claims)
    return seen


@pytest.fixture
async def ask(source, clock, verified):
    """Verifies a callback with that token; tells what was wrong with it, if anything."""
    made, source.signer = source.signer._made, CallbackSigner(issuer=ISSUER, clock=clock)
    source.signer._made = made
    verifier = Verifier(clock=clock, config=CallbackConfig(clock_skew=SKEW), fetch=source)

    async def ask(token, *, policy=TENANTS, header="Bearer {}"):
        route = CallbackRoute(name="", policy=policy)
        headers = {"authorization": header.format(token)}
        try:
            tenant = await verifier.verify(route, method="POST", query="", headers=headers)
        except CallbackError as error:
            return str(error)
        return None if tenant == TENANT else f"tenant {tenant}"

    yield ask
    await verifier.aclose()


def token_of(signer, **more):
    return signer.token(**{"audience": AUDIENCE, "tenant_id": TENANT, "lifetime": 7200, **more})


async def test_the_signature_of_a_token_is_verified_once(ask, source, verified):
    one, other = token_of(source.signer), token_of(source.signer, claims={"jti": "2"})
    for token in (one, one, other, one, other):
        assert await ask(token) is None
    assert verified == [one, other]


async def test_a_token_that_is_used_again_still_expires(ask, source, clock, verified):
    token = token_of(source.signer, lifetime=300)
    assert await ask(token) is None
    clock.advance(timedelta(seconds=299) + SKEW)
    assert await ask(token) is None
    clock.advance(2)
    assert "expired" in await ask(token)
    assert verified == [token]
    clock.advance(timedelta(days=-1))
    assert "valid only in" in await ask(token)


async def test_a_token_that_is_used_again_is_held_against_each_routes_policy(ask, source, verified):
    token = token_of(source.signer)
    assert await ask(token) is None
    assert "the issuer" in await ask(token, policy=evolve(TENANTS, issuers=("https://other.example",)))
    assert "the audience" in await ask(token, policy=evolve(TENANTS, audience="another"))
    assert "the tenant" in await ask(token, policy=evolve(TENANTS, allowed_tenants=("another",)))
    assert "the application" in await ask(token, policy=evolve(TENANTS, sender_claims=("azp",)))
    assert verified == [token]


async def test_a_withdrawn_key_takes_the_tokens_with_it_that_were_used(ask, source, clock):
    token = token_of(source.signer)
    assert await ask(token) is None
    clock.advance(60)
    source.signer.rotate(withdraw=True)
    assert await ask(token_of(source.signer)) is None
    assert "not among the known ones" in await ask(token)
    clock.advance(5)
    assert "not among those that https://signer" in await ask(token)


async def test_a_token_is_verified_anew_with_keys_that_were_renewed(ask, source, clock, verified):
    token = token_of(source.signer)
    assert await ask(token) is None
    clock.advance(3600)
    assert await ask(token) is None, "the renewal is under way"
    await settled()
    assert await ask(token) is None
    assert verified == [token, token]


async def test_another_key_of_the_same_id_knows_no_token_of_the_first(ask, source, clock):
    token = token_of(source.signer)
    assert await ask(token) is None
    posing = CallbackSigner(issuer=ISSUER)
    (key,) = posing.jwks()["keys"]
    keys = {"keys": [{**key, "kid": source.signer.key_id}]}
    source.documents[OPENID] = json.dumps({"jwks_uri": f"{OPENID}/keys"}).encode()
    source.documents[f"{OPENID}/keys"] = json.dumps(keys).encode()
    clock.advance(3600)
    assert await ask(token) is None, "the renewal is under way"
    await settled()
    assert await ask(token) == "the token's signature is wrong"


async def test_one_signers_token_is_no_others(ask, source, verified):
    token = token_of(source.signer)
    assert await ask(token) is None
    stranger = CallbackSigner(issuer="https://stranger.example")
    (key,) = stranger.jwks()["keys"]
    elsewhere = "https://stranger.example/openid"
    source.documents[elsewhere] = json.dumps({"jwks_uri": f"{elsewhere}/keys"}).encode()
    keys = {"keys": [{**key, "kid": source.signer.key_id}]}
    source.documents[f"{elsewhere}/keys"] = json.dumps(keys).encode()
    assert await ask(token, policy=evolve(TENANTS, openid_url=elsewhere)) == "the token's signature is wrong"
    assert await ask(token) is None
    assert verified == [token, token]


@pytest.mark.parametrize("forgery", [one for one in Forgery if one is not Forgery.OVERSIZED])
async def test_no_forgery_is_taken_for_the_token_that_was_used(ask, source, forgery):
    source.signer = SIGNER
    assert await ask(token_of(SIGNER)) is None
    forged = SIGNER.forge(forgery, audience=AUDIENCE, tenant_id=TENANT)
    first = await ask(forged)
    assert first is not None
    assert await ask(forged) is not None, "nor is it remembered itself"


@given(place=st.integers(min_value=0), character=st.sampled_from("aZ0-_. ="))
def test_a_header_with_another_character_is_not_known(place, character):
    known = SignedTokens()
    header = f"Bearer {SIGNED}"
    known.add(header, Signed("1", KEY, {}))
    place %= len(header)
    changed = f"{header[:place]}{character}{header[place + 1 :]}"
    assert (known.find(changed) is None) == (changed != header)


async def test_only_so_many_tokens_are_remembered(monkeypatch):
    monkeypatch.setattr(tokens, "_MOST_SIGNED", 2)
    known = SignedTokens()
    for header in ("one", "two", "one", "three"):
        known.add(header, Signed("1", KEY, {}))
    assert [known.find(header) is not None for header in ("one", "two", "three")] == [True, False, True]


def test_what_is_remembered_shows_nothing():
    known = SignedTokens()
    known.add(SIGNED, Signed("1", KEY, {"oid": "somebody"}))
    assert "somebody" not in repr(known.find(SIGNED))
    assert SIGNED not in str(vars(known))


# --- fetching over HTTP ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def answering(*answers):
    """Serves raw answers on loopback, one a connection, the last for ever; None never answers."""
    left, handling = list(answers), set()

    async def handle(reader, writer):
        handling.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                await asyncio.Event().wait()
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await stop_accepting(server)
            for task in handling:
                task.cancel()
            await asyncio.gather(*handling, return_exceptions=True)


def answer(body=b"{}", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_document_is_fetched():
    async with answering(answer(b'{"a": 1}')) as url:
        assert json.loads(await fetch_over_http(url)) == {"a": 1}


async def test_a_redirect_is_followed_on_its_own_host_only():
    async with answering(answer(b"", "302 Found", Location="/there"), answer(b"found")) as url:
        assert await fetch_over_http(url) == b"found"
    async with answering(answer(b"", "302 Found", Location="http://127.0.0.1:1/")) as url:
        with pytest.raises(FetchError, match="another host"):
            await fetch_over_http(url)
    async with answering(answer(b"", "302 Found", Location="/again")) as url:
        with pytest.raises(FetchError, match="without end"):
            await fetch_over_http(url)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(status="404 Not Found"), "answers 404"),
        (answer(b"x" * 1_048_577), "larger than"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
async def test_what_cannot_be_used_is_said(said, why):
    async with answering(said) as url:
        with pytest.raises(FetchError, match=why):
            await fetch_over_http(url)


async def test_a_source_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr("transferkit._callbacks.verification.fetching._SECONDS", 0.3)
    async with answering(None) as url:
        with pytest.raises(FetchError, match=r"within 0.3 s|cannot be reached"):
            await fetch_over_http(url)


@pytest.mark.parametrize("url", ["http://signer.example/", "ftp://127.0.0.1/", "https://", "nonsense", ""])
async def test_only_https_is_fetched_except_on_loopback(url):
    with pytest.raises(FetchError):
        await fetch_over_http(url)


async def test_a_ca_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(FetchError, match="FileNotFoundError"):
        await fetch_over_http("https://127.0.0.1:1/", ca_file=tmp_path / "none.pem")
