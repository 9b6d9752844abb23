"""Signing keys: which keys of a document are used, and when they are fetched."""

import asyncio
import contextlib
import json
import logging
from datetime import timedelta

import pytest
from support.verification import (
    GOOD_JWK,
    KEYS_URL,
    OPENID_URL,
    SIGNER,
    KeySource,
    base64url,
    new_signer,
    refused,
    settled,
    unchecked,
)

from transferkit import (
    CallbackError,
    CallbackNotVerified,
    SenderNotChecked,
)
from transferkit._callbacks.verification.fetching import (
    FetchError,
    is_trusted,
)
from transferkit._callbacks.verification.keys import KeyRing, keys_in, published_keys
from transferkit.testing import CallbackSigner, ManualClock

REFRESH, COOLDOWN = timedelta(hours=1), timedelta(seconds=5)


def with_size(bits):
    return {**GOOD_JWK, "n": base64url((2 ** (bits - 1) + 1).to_bytes(bits // 8 + 1).lstrip(b"\0"))}


def with_exponent(exponent):
    return {**GOOD_JWK, "e": base64url(exponent.to_bytes(8).lstrip(b"\0"))}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source():
    return KeySource(new_signer())


@pytest.fixture
async def ring(source, clock, tmp_path):
    made = KeyRing(
        OPENID_URL, ca_file=tmp_path, fetch=source, clock=clock, refresh=REFRESH, cooldown=COOLDOWN
    )
    yield made
    await made.aclose()


# --- which keys of a document are used -----------------------------------------------------------------


def test_unusable_keys_are_skipped(monkeypatch):
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


def test_of_a_published_private_key_only_the_public_half_is_used():
    (good,) = SIGNER.jwks()["keys"]
    key = keys_in({"keys": [{**good, "d": "AQAB", "p": "AQAB", "q": "AQAB"}]})[good["kid"]]
    assert not hasattr(key, "private_numbers")


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": [[]]}])
def test_a_document_without_keys_has_none(document):
    assert keys_in(document) == {}


@pytest.mark.parametrize(
    ("jwk", "usable"),
    [
        (with_size(2047), False),
        (with_size(2048), True),
        (with_size(8192), True),
        (with_size(8193), False),
        (with_exponent(2**32 - 1), True),
        (with_exponent(2**32 + 1), False),
        ({name: GOOD_JWK[name] for name in ("kid", "kty", "n", "e")}, True),
        ({name: GOOD_JWK[name] for name in ("kid", "kty", "n")}, False),
        ({**GOOD_JWK, "use": None}, False),
        ({**GOOD_JWK, "alg": None}, False),
        ({**GOOD_JWK, "n": None}, False),
        ({**GOOD_JWK, "e": []}, False),
        ({**GOOD_JWK, "n": "é"}, False),
    ],
)
def test_a_key_is_usable_if_its_type_and_size_are_safe(jwk, usable):
    assert list(keys_in({"keys": [jwk]})) == ([GOOD_JWK["kid"]] if usable else [])


def test_of_two_keys_with_one_id_the_first_is_used():
    (key,) = keys_in({"keys": [GOOD_JWK, with_exponent(3)]}).values()
    assert key.public_numbers().e == 65537


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ({OPENID_URL: b"{"}, "^https://signer.example/openid is not JSON"),
        ({OPENID_URL: b"[" * 100_000}, "^https://signer.example/openid is not JSON"),
        ({OPENID_URL: b"7"}, "^https://signer.example/openid is not a JSON object"),
        ({OPENID_URL: b"{}"}, "^https://signer.example/openid names no jwks_uri"),
        (
            {OPENID_URL: b'{"jwks_uri": "https://10.0.0.1/"}'},
            "^https://signer.example/openid names a jwks_uri that is not fetched: https://10.0.0.1/ is not",
        ),
        ({KEYS_URL: b"{"}, "^https://signer.example/openid/keys is not JSON"),
        ({KEYS_URL: b"{}"}, "^https://signer.example/openid/keys has no RSA key"),
    ],
)
async def test_an_unusable_document_is_refused_with_the_reason(documents, why):
    async def fetch(url, *, ca_file=None, public=False):
        return documents[url] if url in documents else await SIGNER.fetch(url)

    with pytest.raises(FetchError, match=why):
        await published_keys(OPENID_URL, ca_file=None, fetch=fetch)


async def test_a_document_at_an_unsafe_address_is_not_fetched(source):
    with pytest.raises(FetchError, match="is not https"):
        await published_keys("http://signer.example/openid", ca_file=None, fetch=source)
    assert source.fetched == []


@pytest.mark.parametrize(
    ("named", "by", "trusted"),
    [
        ("https://signer.example/keys", OPENID_URL, True),
        ("https://SIGNER.example:443/keys", OPENID_URL, True),
        ("https://signer.example:8443/keys", OPENID_URL, False),
        ("https://keys.example/keys", OPENID_URL, False),
        ("https://emulator:9000/keys", "https://emulator:9000/openid", True),
        ("https://10.0.0.1/keys", "https://10.0.0.1/openid", True),
        ("https://10.0.0.2/keys", "https://10.0.0.1/openid", False),
        ("http://127.0.0.1:8000/keys", "http://localhost:8000/", True),
        ("https://signer.example/keys", "http://[::1]:8000/", True),
    ],
)
def test_a_document_is_trusted_for_keys_on_its_own_origin(named, by, trusted):
    assert is_trusted(named, by=by) is trusted


async def test_keys_on_another_origin_are_fetched_from_the_public_internet_only():
    signer, asked = CallbackSigner(issuer="https://signer.example"), []

    async def fetch(url, *, ca_file=None, public=False):
        asked.append((url, public))
        return json.dumps({"jwks_uri": named}).encode() if url == OPENID_URL else await signer.fetch("/keys")

    for named, public in ((f"{OPENID_URL}/keys", False), ("https://keys.example/keys", True)):
        asked.clear()
        assert await published_keys(OPENID_URL, ca_file=None, fetch=fetch)
        assert asked == [(OPENID_URL, False), (named, public)]


# --- when keys are fetched ----------------------------------------------------------------------------


async def test_keys_are_fetched_once(ring, source):
    for _ in range(3):
        assert (await ring.key(source.signer.key_id)).key_size == 2048
    assert source.fetched == [OPENID_URL, f"{OPENID_URL}/keys"]


async def test_many_requests_wait_for_one_fetch(ring, source):
    source.released.clear()
    asked = [asyncio.create_task(ring.key(source.signer.key_id)) for _ in range(100)]
    await settled()
    assert not any(task.done() for task in asked)
    source.released.set()
    assert len(await asyncio.gather(*asked)) == 100
    assert source.count == 1


async def test_a_cancelled_request_does_not_cancel_the_fetch_for_others(ring, source):
    source.released.clear()
    one, other = (asyncio.create_task(ring.key(source.signer.key_id)) for _ in range(2))
    await settled()
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    source.released.set()
    assert await other


async def test_both_documents_are_fetched_with_the_configured_certificates(ring, source, tmp_path):
    await ring.key(source.signer.key_id)
    assert source.fetched == [OPENID_URL, KEYS_URL]
    assert source.ca_files == [tmp_path, tmp_path]


async def test_keys_are_renewed_in_the_background_after_the_refresh_time(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(3599)
    await ring.key(source.signer.key_id)
    assert source.count == 1
    clock.advance(1)
    source.released.clear()
    assert await ring.key(source.signer.key_id), "no request waits for the renewal"
    await settled()
    assert source.count == 2
    source.released.set()
    await settled()
    await ring.key(source.signer.key_id)
    assert source.count == 2


async def test_keys_that_were_unused_for_a_day_are_renewed_before_use(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(timedelta(days=1))
    source.signer.rotate(withdraw=True)
    with refused():
        await ring.key(old)


@pytest.mark.parametrize(("hours", "believed"), [(23.99, True), (24, False)])
async def test_a_withdrawn_key_is_accepted_for_less_than_a_day_without_requests(
    ring, source, clock, hours, believed
):
    old = source.signer.key_id
    await ring.key(old)
    source.signer.rotate(withdraw=True)
    clock.advance(timedelta(hours=hours))
    with contextlib.nullcontext() if believed else refused("not one of"):
        await ring.key(old)


async def test_a_clock_that_is_set_back_does_not_stop_renewals(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(timedelta(days=-3))
    await ring.key(source.signer.key_id)
    assert source.count == 2


async def test_closing_cancels_a_running_fetch(ring, source):
    source.released.clear()
    asked = asyncio.create_task(ring.key("one"))
    await settled()
    await ring.aclose()
    with unchecked():
        await asked
    await ring.aclose()


async def test_a_renewal_runs_in_a_named_task_that_closing_cancels(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(3600)
    await ring.key(source.signer.key_id)
    (renewal,) = [task for task in asyncio.all_tasks() if task.get_name() == "transferkit-keys"]
    await ring.aclose()
    assert renewal.cancelled()


# --- unknown key ids and rotations --------------------------------------------------------------------


async def test_many_unknown_key_ids_start_one_fetch_per_cool_down(ring, source, clock):
    await ring.key(source.signer.key_id)
    for number in range(3):
        refused = await asyncio.gather(
            *(ring.key(f"{number}-{other}") for other in range(200)), return_exceptions=True
        )
        assert {type(error) for error in refused} == {CallbackNotVerified}
        assert f"'{number}-0' is not one of those that https://signer" in str(refused[0])
        assert source.count == 2 + number
        assert await ring.key(source.signer.key_id)
        clock.advance(5)


@pytest.mark.parametrize(
    ("seconds", "checked"), [(0, False), (4.99, False), (5, True), (-1, True), (86_400, True)]
)
async def test_an_unknown_key_id_starts_a_fetch_after_the_cool_down(ring, source, clock, seconds, checked):
    await ring.key(source.signer.key_id)
    with refused("'one'"):
        await ring.key("one")
    clock.advance(seconds)
    known = "the key 'another' is not one of those that https://signer.example/openid publishes"
    cooling = (
        "the key 'another' is .* not fetched again .*openid was read for an unknown key less than 5 s ago"
    )
    with refused(known) if checked else unchecked(cooling):
        await ring.key("another")
    assert len(source.fetched) == (6 if checked else 4)


@pytest.mark.parametrize("seconds", [0, 4])
async def test_an_unknown_key_id_is_not_checked_during_the_cool_down(ring, source, clock, seconds):
    await ring.key(source.signer.key_id)
    with refused():
        await ring.key("one")
    clock.advance(seconds)
    with unchecked("'another' is not one of the known keys") as caught:
        await ring.key("another")
    assert caught.value.retry_after == timedelta(seconds=5 - seconds)
    assert source.count == 2


async def test_unknown_key_ids_delay_a_key_rotation_by_at_most_one_cool_down(ring, source, clock):
    await ring.key(source.signer.key_id)
    with refused():
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


async def test_a_key_rotation_is_not_delayed_without_forged_key_ids(ring, source):
    await ring.key(source.signer.key_id)
    source.signer.rotate()
    assert await ring.key(source.signer.key_id)
    assert source.count == 2


async def test_a_known_key_is_used_while_a_rotated_key_is_fetched(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(60)
    source.signer.rotate()
    source.released.clear()
    waiting = asyncio.create_task(ring.key(source.signer.key_id))
    await settled()
    assert await ring.key(old), "a request with the known key does not wait"
    source.released.set()
    assert await waiting
    assert await ring.key(old)
    assert source.count == 2


async def test_a_withdrawn_key_is_refused_after_the_next_fetch(ring, source, clock):
    old = source.signer.key_id
    await ring.key(old)
    clock.advance(60)
    source.signer.rotate(withdraw=True)
    await ring.key(source.signer.key_id)
    with unchecked():
        await ring.key(old)
    clock.advance(5)
    with refused("not one of those that https://signer"):
        await ring.key(old)


# --- a source that fails ------------------------------------------------------------------------------


async def test_an_unknown_key_id_is_not_checked_while_the_source_is_down(ring, source, clock):
    await ring.key(source.signer.key_id)
    clock.advance(60)
    source.error = FetchError("the source is down")
    with unchecked(r"not fetched again \(the source is down\)"):
        await ring.key("another")
    assert await ring.key(source.signer.key_id), "the known ones stay in use"
    source.error = None
    clock.advance(0.1)
    with refused():
        await ring.key("another")


async def test_the_back_off_after_failed_fetches_grows_to_five_seconds(ring, source, clock):
    source.error = FetchError("the source is down")
    pauses = []
    for failed in range(1, 10):
        with unchecked("the source is down") as caught:
            await ring.key("one")
        assert source.count == failed
        pauses.append(caught.value.retry_after.total_seconds())
        clock.advance(pauses[-1] - 0.01)
        with unchecked():
            await ring.key("one")
        assert source.count == failed, "no fetch before the end of the back-off"
        clock.advance(0.01)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    source.error = None
    assert await ring.key(source.signer.key_id)
    clock.advance(60)
    source.error = FetchError("the source is down")
    with unchecked() as caught:
        await ring.key("another")
    assert caught.value.retry_after.total_seconds() == 0.1, "a success ends the back-off"


async def test_all_callbacks_that_wait_for_a_failed_fetch_are_not_checked(ring, source):
    source.error = FetchError("the source is down")
    source.released.clear()
    asked = [asyncio.create_task(ring.key(f"{number}")) for number in range(100)]
    await settled()
    source.released.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {SenderNotChecked}
    assert source.count == 1


async def test_known_keys_stay_in_use_while_the_source_is_down(ring, source, clock, caplog):
    await ring.key(source.signer.key_id)
    source.error = FetchError("the source is down")
    for hours in range(1, 101):
        clock.advance(timedelta(hours=1))
        assert await ring.key(source.signer.key_id)
        await settled()
        assert source.count == 1 + hours, "and it is tried again"
    assert "the source is down" in caplog.text
    assert "1 known keys stay in use" in caplog.text


async def test_without_any_key_the_error_says_why_there_is_none(ring, source):
    source.error = FetchError("the source is down")
    for _ in range(3):
        with unchecked(r"no keys to check tokens with \(the source is down\)"):
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
    source.documents[OPENID_URL] = document
    clock.advance(7200)
    assert await ring.key(source.signer.key_id)
    await settled()
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "keys_not_fetched"]
    assert record.levelno == logging.WARNING
    assert source.fetched[2:] == [OPENID_URL], "what it names is not visited"
    assert await ring.key(source.signer.key_id)


async def test_a_set_without_a_usable_key_is_a_bad_document(ring, source, clock):
    await ring.key(source.signer.key_id)
    source.documents[f"{OPENID_URL}/keys"] = b'{"keys": [{"kty": "EC", "kid": "1"}]}'
    clock.advance(7200)
    await ring.key(source.signer.key_id)
    await settled()
    assert await ring.key(source.signer.key_id)


@pytest.mark.parametrize(
    ("down", "why"),
    [
        (FetchError("the source is down"), r"\(the source is down\)"),
        (OSError("detail"), r"\(https://signer\.example/openid: OSError\)"),
        (FetchError(""), r"\(they were not fetched\)"),
        (FetchError("for +14255550123"), r"\(for \+\*"),
    ],
)
async def test_a_failed_fetch_is_logged_and_named_in_the_error(ring, source, down, why, caplog):
    source.error = down
    with unchecked(f"no keys to check tokens with {why}"):
        await ring.key("one")
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert (record.name, record.event, record.openid_url) == (
        "transferkit.callbacks",
        "keys_not_fetched",
        OPENID_URL,
    )
    assert "0 known keys" in record.getMessage()


async def test_a_successful_fetch_clears_the_last_error(ring, source, clock, caplog):
    caplog.set_level(logging.DEBUG)
    source.error = FetchError("for a while")
    with unchecked("for a while"):
        await ring.key("one")
    source.error = None
    clock.advance(0.1)
    await ring.key(source.signer.key_id)
    (record,) = [one for one in caplog.records if getattr(one, "event", "") == "keys_fetched"]
    assert (record.getMessage(), record.openid_url) == ("1 signing keys fetched", OPENID_URL)
    assert ring._last_error == ""


async def test_a_cancelled_first_fetch_leaves_no_error(ring):
    asked = asyncio.create_task(ring.key("one"))
    await asyncio.sleep(0)
    await ring.aclose()
    with unchecked(r"\(they were not fetched\)"):
        await asked
