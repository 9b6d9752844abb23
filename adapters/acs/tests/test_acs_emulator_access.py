"""Authentication of requests to the emulator: access-key signatures and Entra tokens."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from transferkit_acs.emulator.access import AUDIENCE, check_signature, check_token, signature_of
from transferkit_acs.emulator.errors import AcsError

from transferkit.testing.signing import CallbackSigner, Forgery

# Made with: openssl dgst -sha256 -mac HMAC
KEY = "YSBrZXkgdGhhdCB0ZXN0cyBtYWRlIHVw"
BODY = b'{"target":{"rawId":"4:+14255550101"}}'
HASH = "+g8XNOo0bUWKZVU5TwdARNTGDDCUEr9kC7BU44WMS84="
SIGNATURE = "Pd9gCt1+fBhj7YV4SEkwW1KXyslQ1lzrrFQZfBiJekA="
TARGET = "/calling/callConnections/c1:transferToParticipant?api-version=2026-03-12"
SIGNED = {
    "host": "acs.example",
    "x-ms-date": "Mon, 04 May 2026 09:30:00 GMT",
    "x-ms-content-sha256": HASH,
    "authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={SIGNATURE}",
}


def signed(method="POST", target=TARGET, body=BODY, **headers):
    lines = {name: value for name, value in {**SIGNED, **headers}.items() if value is not None}
    check_signature(KEY, method=method, target=target, headers=lines, body=body)


VECTORS = [  # method, target, host, body, its SHA-256, the signature; the date is that of SIGNED
    ("POST", TARGET, "acs.example", BODY, HASH, SIGNATURE),
    (
        "POST",
        "/calling/callConnections:redirect?api-version=2026-03-12",
        "acs.example:8443",
        b'{"incomingCallContext":"opaque","target":{"rawId":"8:acs:r1_u1"}}',
        "d9P96PUEjrxyQwxysB06j9K5Q+IqAujBmITEWtCxndY=",
        "CLCSbYuwT4dEjrPWD+yN4gXIYneM9RW22l9eXPBPEMs=",
    ),
    (
        "GET",
        "/calling/callConnections/c1?api-version=2026-03-12",
        "acs.example",
        b"",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "OslWaInB178qXMublmwen+0SU/0iZWn1P+OVGcLYySM=",
    ),
]


@pytest.mark.parametrize(
    ("method", "target", "host", "body", "digest", "signature"), VECTORS, ids=["transfer", "redirect", "get"]
)
def test_a_signature_equals_the_one_that_openssl_computes(method, target, host, body, digest, signature):
    authorization = SIGNED["authorization"].replace(SIGNATURE, signature)
    headers = {"host": host, "x-ms-content-sha256": digest, "authorization": authorization}
    signed(method, target, body, **headers)
    assert signature_of(KEY, f"{method}\n{target}\n{SIGNED['x-ms-date']};{host};{digest}") == signature


def test_a_signature_of_escaped_colons_is_accepted_if_the_path_is_sent_unescaped():
    signed_target, sent = (
        f"/calling/callConnections/c1/participants/8{colon}acs{colon}r1_u1?api-version=2026-03-12"
        for colon in ("%3A", ":")
    )
    text = f"POST\n{signed_target}\n{SIGNED['x-ms-date']};acs.example;{HASH}"
    authorization = SIGNED["authorization"].replace(SIGNATURE, signature_of(KEY, text))
    for target in (signed_target, sent):
        signed(target=target, authorization=authorization)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "GET"}, "7509"),
        ({"target": TARGET + "&x=1"}, "7509"),
        ({"body": BODY + b" "}, "7509"),
        ({"host": "other.example"}, "7509"),
        ({"x-ms-date": "Mon, 04 May 2026 09:30:01 GMT"}, "7509"),
        ({"x-ms-date": "yesterday"}, "7509"),
        ({"x-ms-date": None}, "7509"),
        ({"x-ms-content-sha256": None}, "7509"),
        ({"authorization": SIGNED["authorization"] + "x"}, "7509"),
        ({"authorization": SIGNED["authorization"].replace("host;", "")}, "7509"),
        ({"authorization": "HMAC-SHA256 \u00e9"}, "7509"),
        ({"authorization": "Basic a-password"}, "7501"),
        ({"authorization": None}, "7501"),
    ],
)
def test_any_other_signature_is_rejected(change, code):
    with pytest.raises(AcsError) as caught:
        signed(**change)
    assert (caught.value.status, caught.value.code) == (401, code)


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entra():
    return CallbackSigner(issuer="https://sts.windows.net/tenant/")


def check(token, *issuers, after=timedelta()):
    check_token(token, issuers, now=datetime.now(UTC) + after)


@pytest.mark.parametrize("audience", ["https://communication.azure.com/", "https://communication.azure.com"])
def test_a_token_for_acs_is_accepted(entra, audience):
    check(entra.token(audience=audience), entra)


def test_a_token_of_any_trusted_issuer_is_accepted(entra):
    other = CallbackSigner(issuer="https://sts.windows.net/other/")
    for issuer in (entra, other):
        check(issuer.token(audience=AUDIENCE), entra, other)


@pytest.mark.parametrize("forgery", [one for one in Forgery if one is not Forgery.WRONG_TENANT])
def test_a_forged_token_is_rejected(entra, forgery):
    token = entra.forge(forgery, audience=AUDIENCE)
    if forgery is Forgery.OVERSIZED:
        check(token, entra)  # only its length is wrong, which HTTP servers limit
        return
    with pytest.raises(AcsError) as caught:
        check(token, entra)
    assert (caught.value.status, caught.value.code) == (401, "7501")
    assert token not in str(caught.value)


@pytest.mark.parametrize("after", [timedelta(minutes=-1), timedelta(minutes=6)])
def test_the_emulators_clock_decides_whether_a_token_is_valid(entra, after):
    with pytest.raises(AcsError, match="not valid at this time"):
        check(entra.token(audience=AUDIENCE), entra, after=after)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30."])
def test_text_that_is_not_a_token_is_rejected(entra, token):
    with pytest.raises(AcsError):
        check(token, entra)


# --- over HTTP ------------------------------------------------------------------------------------------


async def ask(bench, token):
    path = f"/calling/callConnections/{bench.call()}?api-version=2026-03-12"
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(bench.url + path, headers={"Authorization": f"Bearer {token}"})


async def test_a_request_with_a_bearer_token_is_accepted_if_the_token_is_valid(bench):
    entra = CallbackSigner(issuer="https://sts.windows.net/a-tenant-of-ours/")
    ours = entra.token(audience=AUDIENCE)
    callbacks = bench.emulator.signer.token(audience=bench.emulator.resource_id)
    statuses = [(await ask(bench, token)).status_code for token in (bench.emulator.token(), ours, callbacks)]
    assert statuses == [200, 401, 401]
    bench.emulator.trust(entra)
    assert (await ask(bench, ours)).status_code == 200
    assert (await ask(bench, bench.emulator.token(lifetime=-1))).status_code == 401


async def test_credentials_are_not_recorded(bench, wire):
    assert (await wire("GET", "/calling/callConnections/none")).status_code == 404
    assert (await ask(bench, bench.emulator.token())).status_code == 200
    kept = [request.headers["authorization"] for request in bench.emulator.requests]
    assert kept == ["HMAC-SHA256 ***", "Bearer ***"]
