"""Tokens of callbacks: which are accepted, and why the others are refused."""

import contextlib
import json
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.verification import (
    AUDIENCE,
    CLOCK,
    ISSUER,
    OPENID_URL,
    SIGNER,
    TENANT,
    base64url,
    refused,
)

from transferkit import (
    CallbackNotVerified,
    TokenPolicy,
)
from transferkit._callbacks.verification.keys import keys_in
from transferkit._callbacks.verification.tokens import (
    bearer_token,
    check_claims,
    key_id_of,
    quoted,
    signed_claims,
)
from transferkit.testing import Forgery

SKEW = timedelta(minutes=2)
POLICY = TokenPolicy(openid_url=OPENID_URL, issuers=(ISSUER, "https://other.example"), audience=AUDIENCE)
TENANTS = evolve(POLICY, tenant_claim="tid", allowed_tenants=(TENANT,))
SENDERS = evolve(POLICY, sender_claims=("azp", "appid"), allowed_senders=("app-1", "app-2"))


def claims_of(token, policy=POLICY, *, now=None, skew=SKEW):
    key = keys_in(SIGNER.jwks())[key_id_of(token)]
    claims = signed_claims(token, key)
    check_claims(claims, policy=policy, now=now or CLOCK.now(), skew=skew)
    return claims


def token(**more):
    return SIGNER.token(**{"audience": AUDIENCE, **more})


# --- the Authorization header ---------------------------------------------------------------------------


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
def test_an_authorization_header_in_another_form_is_refused(header):
    with refused():
        bearer_token({"authorization": header})


def test_a_request_without_an_authorization_header_is_refused():
    with refused("no Authorization"):
        bearer_token({})


@given(header=st.text(max_size=60) | st.text("aeyJ.-_ Bearr", max_size=60))
def test_any_authorization_header_is_a_token_or_is_refused(header):
    with contextlib.suppress(CallbackNotVerified):
        key_id_of(bearer_token({"authorization": header}))


def test_an_authorization_header_has_at_most_16384_characters():
    token = "a" * (16_384 - len("Bearer .b.c")) + ".b.c"
    assert bearer_token({"authorization": f"Bearer {token}"}) == token
    with refused("longer than 16384"):
        bearer_token({"authorization": f"Bearer a{token}"})


def test_space_around_an_authorization_header_is_ignored():
    assert bearer_token({"authorization": " Bearer a.b.c\t"}) == "a.b.c"


# --- the token's header -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 9))
def test_a_token_header_needs_no_base64_padding(size):
    header = b'{"alg": "RS256", "kid": "%s"}' % (b"k" * size)
    assert key_id_of(f"{base64url(header)}.e30.") == "k" * size


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "is not a JWT"),
        (b"[]", "is not a JWT"),
        (b'"RS256"', "is not a JWT"),
        (b"7", "is not a JWT"),
        (b"[" * 100_000, "is not a JWT"),
        (b'{"kid": "k"}', "algorithm is missing, not RS256"),
        (b'{"alg": 7, "kid": "k"}', "algorithm is a int, not RS256"),
        (b'{"alg": "RS256", "kid": "k", "crit": []}', "extension"),
        (b'{"alg": "RS256", "kid": "k", "b64": true}', "extension"),
        (b'{"alg": "RS256"}', "names no key"),
    ],
)
def test_a_token_header_that_cannot_be_used_is_refused_with_the_reason(header, why):
    with refused(why):
        key_id_of(f"{base64url(header)}.e30.")


@pytest.mark.parametrize("headers", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_a_token_that_requires_an_extension_is_refused(headers):
    with refused("requires an extension"):
        claims_of(token(headers=headers))


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
def test_a_token_that_fits_the_policy_is_accepted(made):
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
        (Forgery.WRONG_TENANT, "tenant '.*' is not one of the allowed"),
        (Forgery.EXPIRED, "expired 86100 s ago"),
        (Forgery.NOT_YET_VALID, "valid only in 86400 s"),
        (Forgery.NO_EXPIRY, "does not say when it expires"),
    ],
)
def test_a_forged_token_is_refused_with_the_reason(forgery, why):
    with refused(why):
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
def test_a_token_with_a_claim_of_a_wrong_type_is_refused(made):
    with refused():
        claims_of(token(**made))


@pytest.mark.parametrize(
    ("seconds", "believed"), [(-121, False), (-120, True), (0, True), (419, True), (420, False)]
)
def test_the_clocks_of_signer_and_receiver_may_differ_by_the_skew(seconds, believed):
    signed = token(lifetime=300)
    at = CLOCK.now() + timedelta(seconds=seconds)
    with contextlib.nullcontext() if believed else refused("clock"):
        claims_of(signed, now=at)


def test_a_token_must_name_a_tenant_if_the_policy_names_its_claim():
    anyone = evolve(TENANTS, allowed_tenants=())
    assert claims_of(token(tenant_id="whoever"), anyone)["tid"] == "whoever"
    assert claims_of(token(tenant_id=TENANT.upper()), TENANTS)
    for tenant in (None, "", 7):
        with refused("no tenant"):
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
def test_a_token_must_name_an_allowed_sender_if_the_policy_names_its_claims(claims, believed):
    with contextlib.nullcontext() if believed else refused("not one of the allowed senders"):
        claims_of(token(claims=claims), SENDERS)


def test_a_refusal_quotes_a_claim_shortened_and_on_one_line():
    with pytest.raises(CallbackNotVerified) as caught:
        claims_of(token(issuer="x\nWARNING all is well " * 1000))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_quoted_text_has_at_most_80_characters():
    assert quoted("x" * 80) == repr("x" * 80)
    assert quoted("x" * 81) == repr("x" * 80 + "…")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "claims are not JSON"),
        (b"\xff", "claims are not JSON"),
        (b"[" * 100_000, "claims are not JSON"),
        (b"[]", "claims are not a JSON object"),
        (b"null", "claims are not a JSON object"),
    ],
)
def test_signed_bytes_that_are_not_a_json_object_are_refused(payload, why):
    header = json.dumps({"alg": "RS256", "kid": SIGNER.key_id}).encode()
    signed = f"{base64url(header)}.{base64url(payload)}"
    signature = base64url(SIGNER._key.rs256(signed.encode()))
    with refused(why):
        signed_claims(f"{signed}.{signature}", keys_in(SIGNER.jwks())[SIGNER.key_id])


@pytest.mark.parametrize("time", [True, "soon", [], float("nan")])
def test_a_time_claim_that_is_not_a_time_is_refused(time):
    with refused("the token's nbf is not a time"):
        claims_of(token(claims={"nbf": time}))
