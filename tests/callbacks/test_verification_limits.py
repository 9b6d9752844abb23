"""Where verification draws its lines: lengths, sizes, times and counts, on both sides of each."""

import asyncio
import base64
import contextlib
import logging
import ssl
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from attrs import evolve

from transferkit import CallbackConfig, CallbackNotVerified, CallbackRoute, SenderNotChecked, TokenPolicy
from transferkit._callbacks.verification import fetching
from transferkit._callbacks.verification.fetching import FetchError, check_address, fetch_over_http
from transferkit._callbacks.verification.keys import KeyRing, keys_in, published_keys
from transferkit._callbacks.verification.tokens import Signed, SignedTokens, bearer_token, key_id_of, shown
from transferkit._callbacks.verification.verifier import Verifier
from transferkit.provider.secret import Secret
from transferkit.testing import CallbackSigner, ManualClock
from transferkit.testing.server import stop_accepting

OPENID = "https://signer.example/openid"
KEYS = f"{OPENID}/keys"
SIGNER = CallbackSigner(issuer="https://signer.example", clock=ManualClock())
(GOOD,) = SIGNER.jwks()["keys"]
POLICY = TokenPolicy(openid_url=OPENID, issuers=(SIGNER.issuer,), audience="us")


def text_of(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def refused(why=""):
    return pytest.raises(CallbackNotVerified, match=why)


def unchecked(why=""):
    return pytest.raises(SenderNotChecked, match=why)


# --- headers ------------------------------------------------------------------------------------------


def test_the_longest_header_that_is_read():
    token = "a" * (16_384 - len("Bearer .b.c")) + ".b.c"
    assert bearer_token({"authorization": f"Bearer {token}"}) == token
    with refused("longer than 16384"):
        bearer_token({"authorization": f"Bearer a{token}"})


def test_space_around_the_header_is_no_part_of_it():
    assert bearer_token({"authorization": " Bearer a.b.c\t"}) == "a.b.c"


@pytest.mark.parametrize("size", range(1, 9))
def test_a_header_of_any_length_is_decoded(size):
    header = b'{"alg": "RS256", "kid": "%s"}' % (b"k" * size)
    assert key_id_of(f"{text_of(header)}.e30.") == "k" * size


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "is not a JWT"),
        (b"[]", "is not a JWT"),
        (b"[" * 100_000, "is not a JWT"),
        (b'{"kid": "k"}', "algorithm is missing, not RS256"),
        (b'{"alg": 7, "kid": "k"}', "algorithm is a int, not RS256"),
        (b'{"alg": "RS256", "kid": "k", "crit": []}', "extension"),
        (b'{"alg": "RS256", "kid": "k", "b64": true}', "extension"),
        (b'{"alg": "RS256"}', "names no key"),
    ],
)
def test_what_a_header_must_not_say(header, why):
    with refused(why):
        key_id_of(f"{text_of(header)}.e30.")


def test_a_long_text_is_shortened_and_one_that_is_not_too_long_is_not():
    assert shown("x" * 80) == repr("x" * 80)
    assert shown("x" * 81) == repr("x" * 80 + "…")


@pytest.mark.parametrize("time", [True, "soon", [], float("nan")])
async def test_a_time_that_is_none_is_named(time):
    verifier = Verifier(clock=ManualClock(), config=CallbackConfig(), fetch=SIGNER.fetch)
    token = SIGNER.token(audience="us", claims={"nbf": time})
    route, headers = CallbackRoute(name="", policy=POLICY), {"authorization": f"Bearer {token}"}
    with refused("the token's nbf is not a time"):
        await verifier.verify(route, method="POST", query="", headers=headers)


def test_the_longest_header_that_is_remembered():
    known, signed = SignedTokens(), Signed("k", keys_in({"keys": [GOOD]})[GOOD["kid"]], {})
    for size in (16_384, 16_385):
        known.add("a" * size, signed)
    assert known.find("a" * 16_384) is signed
    assert known.find("a" * 16_385) is None


def test_half_a_character_is_in_no_header_that_is_known():
    assert SignedTokens().find("Bearer \ud800.b.c") is None


# --- keys ---------------------------------------------------------------------------------------------


def with_size(bits):
    return {**GOOD, "n": text_of((2 ** (bits - 1) + 1).to_bytes(bits // 8 + 1).lstrip(b"\0"))}


def with_exponent(exponent):
    return {**GOOD, "e": text_of(exponent.to_bytes(8).lstrip(b"\0"))}


@pytest.mark.parametrize(
    ("jwk", "usable"),
    [
        (with_size(2047), False),
        (with_size(2048), True),
        (with_size(8192), True),
        (with_size(8193), False),
        (with_exponent(2**32 - 1), True),
        (with_exponent(2**32 + 1), False),
        ({name: GOOD[name] for name in ("kid", "kty", "n", "e")}, True),
        ({name: GOOD[name] for name in ("kid", "kty", "n")}, False),
        ({**GOOD, "use": None}, False),
        ({**GOOD, "alg": None}, False),
        ({**GOOD, "n": None}, False),
        ({**GOOD, "e": []}, False),
        ({**GOOD, "n": "é"}, False),
    ],
)
def test_which_keys_are_usable(jwk, usable):
    assert list(keys_in({"keys": [jwk]})) == ([GOOD["kid"]] if usable else [])


def test_of_two_keys_of_one_id_the_first_counts():
    (key,) = keys_in({"keys": [GOOD, with_exponent(3)]}).values()
    assert key.public_numbers().e == 65537


class Source:
    """Serves a signer's documents, and counts; `down` is what it raises."""

    def __init__(self, signer):
        self.signer = signer
        self.fetched = []
        self.down = None

    async def __call__(self, url, *, ca_file=None, public=False):
        self.fetched.append((url, ca_file))
        if self.down:
            raise self.down
        return await self.signer.fetch(url)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source():
    signer = CallbackSigner(issuer="https://signer.example")
    signer._made = list(SIGNER._made)  # keys take long to make
    return Source(signer)


@pytest.fixture
async def ring(source, clock, tmp_path):
    made = KeyRing(
        OPENID,
        ca_file=tmp_path,
        fetch=source,
        clock=clock,
        refresh=timedelta(hours=1),
        cooldown=timedelta(seconds=5),
    )
    yield made
    await made.aclose()


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_both_documents_are_fetched_with_the_certificates_that_are_configured(ring, source, tmp_path):
    await ring.key(source.signer.key_id)
    assert source.fetched == [(OPENID, tmp_path), (KEYS, tmp_path)]


@pytest.mark.parametrize(
    ("seconds", "checked"), [(0, False), (4.99, False), (5, True), (-1, True), (86_400, True)]
)
async def test_an_unknown_key_id_is_fetched_for_once_in_a_cool_down(ring, source, clock, seconds, checked):
    await ring.key(source.signer.key_id)
    with refused("'one'"):
        await ring.key("one")
    clock.advance(seconds)
    known = "the key 'another' is not among those that https://signer.example/openid publishes"
    cooling = (
        "the key 'another' is .* not fetched again .*openid was read for an unknown key less than 5 s ago"
    )
    with refused(known) if checked else unchecked(cooling):
        await ring.key("another")
    assert len(source.fetched) == (6 if checked else 4)


@pytest.mark.parametrize(("hours", "believed"), [(23.99, True), (24, False)])
async def test_how_long_a_withdrawn_key_is_believed_that_nobody_asked_about(
    ring, source, clock, hours, believed
):
    old = source.signer.key_id
    await ring.key(old)
    source.signer.rotate(withdraw=True)
    clock.advance(timedelta(hours=hours))
    with contextlib.nullcontext() if believed else refused("not among"):
        await ring.key(old)


@pytest.mark.parametrize(
    ("down", "why"),
    [
        (FetchError("the source is down"), r"\(the source is down\)"),
        (OSError("detail"), r"\(https://signer\.example/openid: OSError\)"),
        (FetchError(""), r"\(they were not fetched\)"),
        (FetchError("for +14255550123"), r"\(for \+\*"),
    ],
)
async def test_why_there_is_no_key(ring, source, down, why, caplog):
    source.down = down
    with unchecked(f"no keys to check tokens with {why}"):
        await ring.key("one")
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert (record.name, record.event, record.openid_url) == (
        "transferkit.callbacks",
        "keys_not_fetched",
        OPENID,
    )
    assert "0 known ones" in record.getMessage()


async def test_a_trouble_is_forgotten_once_it_is_over(ring, source, clock, caplog):
    caplog.set_level(logging.DEBUG)
    source.down = FetchError("for a while")
    with unchecked("for a while"):
        await ring.key("one")
    source.down = None
    clock.advance(0.1)
    await ring.key(source.signer.key_id)
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "keys_fetched"]
    assert (record.getMessage(), record.openid_url) == ("1 signing keys fetched", OPENID)
    assert ring._trouble == ""


async def test_a_renewal_has_a_name_and_closing_ends_it(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(3600)
    await ring.key(source.signer.key_id)
    (renewal,) = [task for task in asyncio.all_tasks() if task.get_name() == "transferkit-keys"]
    await ring.aclose()
    assert renewal.cancelled()


async def test_a_first_fetch_that_is_given_up_leaves_no_trouble_to_tell_of(ring):
    asked = asyncio.create_task(ring.key("one"))
    await asyncio.sleep(0)
    await ring.aclose()
    with unchecked(r"\(they were not fetched\)"):
        await asked


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ({OPENID: b"{"}, "^https://signer.example/openid is not JSON"),
        ({OPENID: b"[" * 100_000}, "^https://signer.example/openid is not JSON"),
        ({OPENID: b"7"}, "^https://signer.example/openid is not a JSON object"),
        ({OPENID: b"{}"}, "^https://signer.example/openid names no jwks_uri"),
        (
            {OPENID: b'{"jwks_uri": "https://10.0.0.1/"}'},
            "^https://signer.example/openid names keys that are not fetched: https://10.0.0.1/ is not",
        ),
        ({KEYS: b"{"}, "^https://signer.example/openid/keys is not JSON"),
        ({KEYS: b"{}"}, "^https://signer.example/openid/keys has no RSA key"),
    ],
)
async def test_what_is_wrong_with_a_document_is_said(documents, why):
    async def fetch(url, *, ca_file=None, public=False):
        return documents[url] if url in documents else await SIGNER.fetch(url)

    with pytest.raises(FetchError, match=why):
        await published_keys(OPENID, ca_file=None, fetch=fetch)


async def test_a_document_is_not_even_asked_for_where_its_address_is_not_safe(source):
    with pytest.raises(FetchError, match="is not https"):
        await published_keys("http://signer.example/openid", ca_file=None, fetch=source)
    assert source.fetched == []


# --- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://signer.example", None),
        ("http://localhost:8000/", None),
        ("http://127.9.9.9/", None),
        ("http://[::1]/", None),
        ("ftp://localhost/", "not https"),
        ("ftp://signer.example/", "not https"),
        ("http://signer.example/", "not https"),
        ("https:///openid", "not a web address"),
        ("https://signer.example:99999/", "not a web address"),
        ("https://[::bad/", "not a web address"),
    ],
)
def test_which_addresses_are_fetched(url, why):
    with contextlib.nullcontext() if why is None else pytest.raises(FetchError, match=why):
        check_address(url)


# --- fetching -----------------------------------------------------------------------------------------


class Server:
    """Answers on loopback with what it is given, in turn, and keeps what it was asked."""

    def __init__(self, *answers, tls=None):
        self.asked = []
        self._tls = tls
        self._left = list(answers)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        await stop_accepting(self._server)
        await self._server.wait_closed()

    async def _handle(self, reader, writer):
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n"))
        status, body, *headers = self._left.pop(0)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
        with contextlib.suppress(ConnectionError):
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        writer.close()


def moved(to):
    return "302 Found", b"", f"Location: {to}"


@pytest.mark.parametrize(("size", "fits"), [(1_048_576, True), (1_048_577, False)])
async def test_the_largest_document(size, fits):
    async with Server(("200 OK", b"x" * size)) as server:
        if fits:
            assert len(await fetch_over_http(server.url)) == size
        else:
            with pytest.raises(FetchError, match="is larger than 1048576 bytes"):
                await fetch_over_http(server.url)


@pytest.mark.parametrize(("redirects", "followed"), [(3, True), (4, False)])
async def test_the_most_redirects(redirects, followed):
    answers = [moved(f"/{number}") for number in range(redirects)]
    async with Server(*answers, ("200 OK", b"found")) as server:
        if followed:
            assert await fetch_over_http(f"{server.url}/openid") == b"found"
        else:
            with pytest.raises(FetchError, match="redirects without end"):
                await fetch_over_http(f"{server.url}/openid")


async def test_what_is_asked_for_is_json_that_is_not_compressed():
    async with Server(("200 OK", b"{}")) as server:
        await fetch_over_http(f"{server.url}/openid")
    (asked,) = server.asked
    assert asked[0] == "get /openid http/1.1"
    assert {"accept: application/json", "accept-encoding: identity"} <= set(asked)


async def test_what_comes_compressed_all_the_same_is_kept_as_it_came():
    async with Server(("200 OK", b"not gzip", "Content-Encoding: gzip")) as server:
        assert await fetch_over_http(server.url) == b"not gzip"


@pytest.mark.parametrize(
    "location", ["https://127.0.0.1:{port}/", "http://localhost:{port}/", "//[::1]:{port}/"]
)
async def test_no_redirect_leads_elsewhere(location):
    async with Server(moved("")) as server:
        port = server.url.rpartition(":")[2]
        server._left = [moved(location.format(port=port)), ("200 OK", b"found")]
        with pytest.raises(FetchError, match="redirects to another host"):
            await fetch_over_http(server.url)
    assert len(server.asked) == 1


async def test_no_proxy_is_asked_for_what_is_on_loopback(monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with Server(("200 OK", b"{}")) as server:
        assert await fetch_over_http(server.url) == b"{}"


async def test_other_addresses_are_fetched_through_the_environments_proxy(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "other.example")
    assert fetching._proxy(OPENID) == "http://127.0.0.1:1"
    assert fetching._proxy("https://other.example/openid") is None
    with pytest.raises(FetchError, match="cannot be reached"):
        await fetch_over_http(OPENID)


@pytest.mark.parametrize("url", ["http://signer.example/", "ftp://127.0.0.1/"])
async def test_an_address_is_looked_at_before_it_is_fetched(url):
    with pytest.raises(FetchError, match="is not https"):
        await fetch_over_http(url)


async def test_only_the_certificates_that_are_configured_are_believed(tmp_path):
    trustme = pytest.importorskip("trustme")
    right, wrong = trustme.CA(), trustme.CA()
    for name, authority in (("right", right), ("wrong", wrong)):
        authority.cert_pem.write_to_path(str(tmp_path / name))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    right.issue_cert("127.0.0.1").configure_cert(context)
    async with Server(("200 OK", b"{}"), tls=context) as server:
        for ca_file in (None, tmp_path / "wrong"):
            with pytest.raises(FetchError, match="cannot be reached"):
                await fetch_over_http(server.url, ca_file=ca_file)
        assert await fetch_over_http(server.url, ca_file=tmp_path / "right") == b"{}"
    assert len(server.asked) == 1


# --- secrets, and who is asked for what ---------------------------------------------------------------


SECRET = CallbackRoute(name="", secrets=(Secret(value="right"), Secret(value="")), needs="a secret")


async def verified(query, route=SECRET, *, method="POST", headers=()):
    verifier = Verifier(clock=ManualClock(), config=CallbackConfig())
    return await verifier.verify(route, method=method, query=query, headers=dict(headers))


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
async def test_which_secret_is_right(query, why):
    name = SECRET.secret_parameter
    with contextlib.nullcontext() if why is None else refused(why):
        assert await verified(query.replace("{}", name)) is None


async def test_a_route_that_proves_nothing_says_what_it_needs():
    with refused("nothing is configured to verify it with: set a secret"):
        await verified("", CallbackRoute(name="", needs="a secret"))


UNSET = Secret(env="TRANSFERKIT_NO_SUCH_VARIABLE")


async def test_a_sender_is_not_checked_while_the_secret_is_not_set():
    with unchecked("TRANSFERKIT_NO_SUCH_VARIABLE is not set"):
        await verified("secret=right", CallbackRoute(name="", secrets=(UNSET,)))


async def test_a_secret_that_is_not_set_does_not_cost_the_other_one():
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
async def test_a_base64_secret_is_accepted_as_it_is(secret):
    route = CallbackRoute(name="", secrets=(Secret(value=secret),))
    assert await verified(f"secret={secret}", route) is None


async def test_an_encoded_space_is_not_a_plus_sign():
    with refused("is wrong"):
        await verified("secret=a%20b", CallbackRoute(name="", secrets=(Secret(value="a+b"),)))


@pytest.mark.parametrize(
    ("method", "headers", "why"),
    [
        ("POST", {}, "no Authorization header"),
        ("OPTIONS", {}, None),
        ("OPTIONS", {"authorization": "none"}, "not one bearer token"),
        ("POST", {"authorization": "none"}, "not one bearer token"),
    ],
)
async def test_whose_token_is_looked_at(method, headers, why):
    route = CallbackRoute(name="", policy=POLICY)
    with contextlib.nullcontext() if why is None else refused(why):
        assert await verified("", route, method=method, headers=headers) is None


async def test_one_signer_with_other_certificates_is_another():
    verifier = Verifier(clock=ManualClock(), config=CallbackConfig())
    assert verifier._fetch is fetch_over_http
    first, again, other = (
        verifier._ring(policy) for policy in (POLICY, POLICY, evolve(POLICY, ca_file=Path("other.pem")))
    )
    assert first is again
    assert first is not other


async def test_closing_the_verifier_gives_up_what_it_fetches():
    begun = asyncio.Event()

    async def never(url, *, ca_file=None, public=False):
        begun.set()
        await asyncio.Event().wait()
        return b""

    verifier = Verifier(clock=ManualClock(), config=CallbackConfig(), fetch=never)
    route = CallbackRoute(name="", policy=POLICY)
    headers = {"authorization": f"Bearer {SIGNER.token(audience='us')}"}
    asked = asyncio.create_task(verifier.verify(route, method="POST", query="", headers=headers))
    await begun.wait()
    await verifier.aclose()
    with unchecked("they were not fetched"):
        await asyncio.wait_for(asked, 5)
