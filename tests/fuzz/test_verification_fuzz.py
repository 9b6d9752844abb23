"""Tokens and signing keys from anyone: accepted only if a second, independent reading of the rules agrees."""

import base64
import ipaddress
import json
import math
import socket
from datetime import timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fuzzing import (
    ODD_VALUES,
    as_bytes,
    as_text,
    corpus,
    damaged_bytes,
    damaged_json,
    damaged_text,
    one_in,
    written_json,
)

from transferkit import CallbackConfig, CallbackError, CallbackRoute, TokenPolicy
from transferkit._callbacks.verification.fetching import FetchError
from transferkit._callbacks.verification.keys import published_keys
from transferkit._callbacks.verification.verifier import Verifier
from transferkit.testing import CallbackSigner, ManualClock

ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
SENDER = "4a5b6c7d-app"
SKEW = timedelta(minutes=2)
CLOCK = ManualClock()
NOW = int(CLOCK.now().timestamp())
POLICY = TokenPolicy(
    openid_url=f"{ISSUER}/openid",
    issuers=(ISSUER, "https://second.example"),
    audience=AUDIENCE,
    tenant_claim="tid",
    allowed_tenants=(TENANT,),
    sender_claims=("azp", "appid"),
    allowed_senders=(SENDER,),
)
SIGNER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
STRANGER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
VERIFIER = Verifier(clock=CLOCK, config=CallbackConfig(clock_skew=SKEW), fetch=SIGNER.fetch)
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "tid": TENANT, "azp": SENDER, "nbf": NOW, "exp": NOW + 300}
HEADER = {"alg": "RS256", "kid": SIGNER._key.id, "typ": "JWT", "cty": "JWT"}
ODD_CLAIMS = [
    *ODD_VALUES, NOW, NOW - 119, NOW - 121, NOW + 121, NOW + 119, str(NOW + 300), float(NOW + 300), -1e400,
    AUDIENCE, AUDIENCE.upper(), f"{AUDIENCE} ", [AUDIENCE], [[AUDIENCE]], ISSUER, f"{ISSUER}/", [ISSUER],
    TENANT, TENANT.upper(), SENDER, "RS256", "rs256", "none", "HS256", "PS256", "RS512", "KEY", ["KEY"],
]  # fmt: skip


# --- tokens -----------------------------------------------------------------------------------------


def nearly(values):
    """The values, with one changed to an odd one, or damaged."""
    names = st.sampled_from([*values, "appid", "crit", "b64"])
    one_odd = st.builds(lambda name, odd: {**values, name: odd}, names, st.sampled_from(ODD_CLAIMS))
    return st.just(values) | one_odd | damaged_json([values], ODD_CLAIMS)


@st.composite
def tokens(draw):
    header, claims = json.dumps(draw(nearly(HEADER))), draw(written_json(nearly(CLAIMS)))
    signatures = ["genuine"] * 6 + ["stranger's", "none", "cut", "zeros", "another's"]
    case = {"header": header, "claims": as_text(claims), "signature": draw(st.sampled_from(signatures))}
    if draw(one_in(5)):
        case["edit"] = draw(st.tuples(st.integers(0, 4000), st.sampled_from("AZaz09-_.= \n,\x00é")))
    schemes = ["bearer ", "BEARER  ", "Basic ", "", "Bearer", "Bearer Bearer ", " Bearer "]
    return {**case, "scheme": draw(st.sampled_from(schemes)) if draw(one_in(10)) else "Bearer "}


def signed_token(case):
    """The token of a case, and whether the published key signed exactly that token."""
    signed = f"{base64url(case['header'].encode())}.{base64url(as_bytes(case['claims']))}"
    right = SIGNER._key.rs256(signed.encode())
    signature = {
        "genuine": right,
        "stranger's": STRANGER._key.rs256(signed.encode()),
        "none": b"",
        "cut": right[:-1],
        "zeros": bytes(len(right)),
        "another's": SIGNER._key.rs256(b"something else"),
    }[case["signature"]]
    token = f"{signed}.{base64url(signature)}"
    if "edit" in case:
        at, character = case["edit"]
        at %= len(token)
        token = f"{token[:at]}{character}{token[at + 1 :]}"
    head, _, tail = token.rpartition(".")
    return token, head == signed and unpadded(tail) == right


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpadded(segment):
    """The bytes of base64 without padding. The last character has bits that mean nothing."""
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return b""


def acceptable(header, claims):
    """The rules of the policy, written a second time from its description."""
    expires, begins, audience = claims.get("exp"), claims.get("nbf"), claims.get("aud")
    audiences = [str(one).lower() for one in (audience if isinstance(audience, list) else [audience])]
    return (
        header.get("alg") == "RS256"
        and not {"crit", "b64"} & header.keys()
        and is_time(expires)
        and expires + SKEW.total_seconds() > NOW
        and (begins is None or (is_time(begins) and begins - SKEW.total_seconds() <= NOW))
        and claims.get("iss") in POLICY.issuers
        and AUDIENCE in audiences
        and str(claims.get("tid")).lower() == TENANT
        and str(claims["azp"] if "azp" in claims else claims.get("appid")).lower() == SENDER
    )


def is_time(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


async def check_token(case):
    token, genuine = signed_token(case)
    headers = {"authorization": f"{case['scheme']}{token}"}
    route = CallbackRoute(name="fuzz", policy=POLICY)
    refused = None
    try:
        tenant = await VERIFIER.verify(route, method="POST", query="", headers=headers)
    except CallbackError as error:
        refused = error
    if refused is None:
        assert genuine, "the key did not sign this token"
        assert acceptable(json.loads(case["header"]), json.loads(as_bytes(case["claims"])))
        assert tenant.lower() == TENANT
    else:
        message = f"{refused} {refused!r}"
        assert not [part for part in token.split(".")[1:] if len(part) > 40 and part[:40] in message]
        assert "\n" not in message, "the message could look like a further log record"
        unchanged = (case["header"], case["claims"]) == (json.dumps(HEADER), json.dumps(CLAIMS))
        assert not (genuine and unchanged and case["scheme"] == "Bearer "), message


@settings(max_examples=3 * settings.default.max_examples)
@given(case=tokens())
async def test_a_token_is_accepted_only_if_it_is_genuine_and_fits_the_policy(case):
    await check_token(case)


# --- signing keys -----------------------------------------------------------------------------------

ADDRESSES = [
    f"{ISSUER}/keys", "http://signer.example/keys", "ftp://signer.example/k", "file:///etc/passwd", "//keys",
    "", "https://", "https://signer.example:99999/k", "https://127.0.0.1/keys", "https://localhost:8080/",
    "https://169.254.169.254/metadata", "https://10.0.0.1/", "https://user:word@10.0.0.1/", "https://[::1]/",
    "https://[fd00::1]/k", "https://[::ffff:127.0.0.1]/k", "https://[fe80::1%25eth0]/", "https://localhost./",
    "https://LOCALHOST/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://10.0.0.1\\@signer.example/",
]  # fmt: skip
DOCUMENT = SIGNER.openid_configuration(ISSUER)
KEYS = {"keys": [{**key, "kid": "one"} for key in SIGNER.jwks()["keys"]]}


@st.composite
def documents(draw):
    document, keys = DOCUMENT, KEYS
    match draw(st.sampled_from(["address", "document", "keys"])):
        case "address":
            address = draw(st.sampled_from(ADDRESSES))
            document = {**DOCUMENT, "jwks_uri": draw(damaged_text(address)) if draw(one_in(3)) else address}
        case "document":
            document = draw(damaged_json([DOCUMENT], [KEYS]))
        case _:
            keys = draw(damaged_json([KEYS], [DOCUMENT]))
    written = {"document": json.dumps(document).encode(), "keys": json.dumps(keys).encode()}
    if draw(one_in(4)):
        name = draw(st.sampled_from([*written]))
        written[name] = draw(damaged_bytes(written[name]))
    return {name: as_text(data) for name, data in written.items()}


async def check_keys(case):
    fetched = []

    async def fetch(url, *, ca_file=None, public=False):
        fetched.append(url)
        return as_bytes(case["document" if len(fetched) == 1 else "keys"])

    try:
        keys = await published_keys(f"{ISSUER}/openid", ca_file=None, fetch=fetch)
    except FetchError:
        keys = None
    assert keys is None or keys
    for address in fetched[1:]:
        url = httpx.URL(address)
        assert url.scheme == "https"
        assert not is_inside(url.host), address
    for key in (keys or {}).values():
        assert 2048 <= key.key_size <= 8192


def is_inside(host):
    """Whether a host is this machine or, by its number, in a private network."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    try:  # also as the C library reads a number: 127.1, 0x7f000001
        return not ipaddress.ip_address(socket.inet_aton(host.rstrip("."))).is_global
    except (OSError, UnicodeEncodeError):
        return host.rstrip(".").lower() == "localhost"


@settings(max_examples=3 * settings.default.max_examples)
@given(case=documents())
async def test_keys_come_from_the_public_internet_and_have_a_safe_size(case):
    await check_keys(case)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus("keys").items()])
async def test_a_key_document_that_once_failed_is_refused(case):
    await check_keys(case)
