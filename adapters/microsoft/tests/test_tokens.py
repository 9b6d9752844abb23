"""Tokens: how often they are fetched, and what every answer of a token authority means."""

import asyncio
import inspect
import json
import logging
import socket
import ssl
import threading
import time
from pathlib import Path

import msal
import pytest
import requests
import urllib3
from msal.managed_identity import ManagedIdentityError
from transferkit_microsoft import entra, tokens
from transferkit_microsoft.credentials import Token

from transferkit.events import Basis
from transferkit.events import FailureReason as Reason
from transferkit.provider.results import NotSent, Rejected
from transferkit.provider.secret import Secret

SCOPE = "https://service.test/.default"
SECRET = {"tenant_id": "t1", "client_id": "c1", "client_secret": "entra-secret"}
UNREACHABLE = {**SECRET, "authority": "https://127.0.0.1:1"}


# --- caching and sharing --------------------------------------------------------------------------------


async def test_one_token_serves_many_requests(authority, tokens_of):
    entra_app, there = authority
    getter = tokens_of(**SECRET, **there)
    found = [await getter.get(SCOPE) for _ in range(3)]
    assert [each.value for each in found] == ["a-token"] * 3
    assert found[0].expires_on == pytest.approx(time.time() + 3600, abs=30)
    (form,) = entra_app.forms
    assert (form["client_id"], form["client_secret"]) == ("c1", "entra-secret")
    assert (form["scope"], form["grant_type"]) == (SCOPE, "client_credentials")


@pytest.mark.parametrize(
    ("life", "queries"), [(3600, [1, 1, 2, 2]), (299, [1, 2, 3, 4])], ids=["an hour", "299 seconds"]
)
async def test_a_token_is_used_for_a_minute_unless_it_expires_soon(monkeypatch, tokens_of, life, queries):
    now, asked = 1000.0, []
    monkeypatch.setattr(tokens, "monotonic", lambda: now)

    def source(scope, claims):
        asked.append((scope, claims))
        return {"access_token": "x", "expires_in": life}

    monkeypatch.setattr(tokens, "open_source", lambda *_: source)
    getter = tokens_of()
    counts = []
    for now in (1000.0, 1059.0, 1061.0, 1062.0):  # noqa: B007 - the clock reads it
        assert isinstance(await getter.get(SCOPE), Token)
        counts.append(len(asked))
    assert counts == queries
    getter.forget(None)
    await getter.get(SCOPE)
    assert len(asked) == queries[-1] + 1


async def test_concurrent_requests_for_one_tenant_share_one_query(authority, tokens_of):
    entra_app, there = authority
    getter = tokens_of(**SECRET, **there)
    found = await asyncio.gather(*(getter.get(SCOPE) for _ in range(10)))
    assert len({each.value for each in found}) == 1
    assert len(entra_app.forms) == 1


async def test_each_tenant_has_its_own_token(authority, tokens_of):
    entra_app, there = authority
    getter = tokens_of(**SECRET, **there)
    for tenant in (None, "t1", "t2", "t2"):
        assert isinstance(await getter.get(SCOPE, tenant), Token)
    assert entra_app.tenants == ["t1", "t2"]


async def test_a_cancelled_request_does_not_cancel_the_query_of_the_others(authority, tokens_of):
    _, there = authority
    getter = tokens_of(**SECRET, **there)
    first, second = (asyncio.create_task(getter.get(SCOPE)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Token)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_claims_challenge_is_a_query_of_its_own(authority, tokens_of):
    entra_app, there = authority
    getter = tokens_of(**SECRET, **there)
    claims = '{"access_token": {"nbf": {"essential": true}}}'
    for each in (None, claims, None):
        assert isinstance(await getter.get(SCOPE, claims=each), Token)
    assert len(entra_app.forms) == 2, "the token for the claims replaces the earlier one"
    assert "nbf" in entra_app.forms[1]["claims"]


async def test_tokens_are_fetched_off_the_event_loop(monkeypatch, tokens_of):
    threads = []

    def source(*_):
        threads.append(threading.current_thread())
        return {"access_token": "x", "expires_in": 3600}

    monkeypatch.setattr(tokens, "open_source", lambda *_: source)
    assert isinstance(await tokens_of().get(SCOPE), Token)
    assert threading.main_thread() not in threads


# --- what an authority can answer -----------------------------------------------------------------------

REFUSED = b'{"error": "invalid_client", "error_description": "AADSTS7000215: Wrong secret."}'


@pytest.mark.parametrize(
    ("response", "kind", "basis"),
    [
        ((400, REFUSED), Rejected, Basis.STATED),
        ((401, b'{"error": "unauthorized_client"}'), Rejected, Basis.STATED),
        ((200, b'{"token_type": "Bearer"}'), Rejected, Basis.LOCAL),
        ((200, b"<html>"), NotSent, Basis.LOCAL),
        ((200, b"[]"), NotSent, Basis.LOCAL),
        ((400, b'{"error": "temporarily_unavailable"}'), NotSent, Basis.STATED),
        ((429, b'{"error": "invalid_request"}'), NotSent, Basis.LOCAL),
        ((500, b"broken"), NotSent, Basis.LOCAL),
        ((503, b'{"error": "server_error"}'), NotSent, Basis.LOCAL),
    ],
)
async def test_the_response_to_a_token_request_decides_whether_to_retry(
    authority, tokens_of, response, kind, basis
):
    entra_app, there = authority
    entra_app.response = response
    answer = await tokens_of(**SECRET, **there).get(SCOPE)
    assert type(answer) is kind
    assert answer.result.basis is basis
    assert answer.result.reason is (Reason.UNAUTHORIZED if kind is Rejected else Reason.PROVIDER_ERROR)
    assert answer.result.message
    assert answer.result.advice
    if kind is Rejected:
        assert "tenant_id, client_id and client_secret in [providers.test]" in answer.result.advice


@pytest.mark.parametrize(
    ("discovery", "kind"),
    [
        ((400, b'{"error": "invalid_tenant"}'), Rejected),
        ((200, b"<html>"), NotSent),
        ((200, b"{}"), NotSent),
        ((200, b"[]"), NotSent),
        ((302, b""), NotSent),
        ((429, b""), NotSent),
        ((502, b""), NotSent),
    ],
)
async def test_the_response_to_the_discovery_decides_whether_to_retry(authority, tokens_of, discovery, kind):
    entra_app, there = authority
    entra_app.discovery = discovery
    answer = await tokens_of(**SECRET, **there).get(SCOPE)
    assert type(answer) is kind
    assert answer.result.basis is Basis.LOCAL


async def test_an_authority_that_cannot_be_reached_leaves_the_request_unsent(tokens_of):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}"
        assert isinstance(await tokens_of(**SECRET, authority=url).get(SCOPE), NotSent)


async def test_a_query_that_takes_longer_than_the_timeout_serves_the_next_request(monkeypatch, tokens_of):
    """msal may send several requests, each of which has its own limit."""
    release = threading.Event()

    def late(*_):
        release.wait(10)
        return lambda *_: {"access_token": "late", "expires_in": 3600}

    monkeypatch.setattr(tokens, "open_source", late)
    getter = tokens_of(**SECRET, timeout=0.3)
    try:
        answer = await getter.get(SCOPE)
    finally:
        release.set()
    assert isinstance(answer, NotSent)
    assert answer.result.reason is Reason.TIMEOUT
    assert (await getter.get(SCOPE)).value == "late"


async def test_without_a_thread_the_request_is_not_sent(monkeypatch, tokens_of):
    async def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    answer = await tokens_of(**UNREACHABLE).get(SCOPE)
    assert isinstance(answer, NotSent)
    assert "RuntimeError" in answer.result.message


def exceptions_below_msal():
    """Every exception class of msal and of the HTTP clients that it uses, and some built-in ones."""
    modules = [
        *(requests.exceptions, urllib3.exceptions, ssl),
        *(msal.exceptions, msal.managed_identity, msal.oauth2cli.oidc, msal.oauth2cli.oauth2),
    ]
    found = {
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Exception) and not issubclass(each, Warning)
    }
    found |= {OSError, ConnectionResetError, TimeoutError, RuntimeError, KeyError, TypeError, ValueError}
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


class Breaking:
    """The HTTP client below msal; raises at the discovery (`get`) or at the token request (`post`)."""

    def __init__(self, cls, place):
        self.error = cls.__new__(cls)
        self.error.args = ("Bearer s3cr3t",)
        self.place = place

    def get(self, url, **_):
        if self.place == "post" and "openid" in url:
            return self
        raise self.error

    def post(self, *_, **__):
        raise self.error

    def close(self):
        pass

    status_code = 200
    headers = {}  # noqa: RUF012 - a stub
    text = json.dumps(
        {
            name: f"https://login.test/t1/{name}"
            for name in ("issuer", "token_endpoint", "authorization_endpoint")
        }
    )


def is_final(cls, kind, place):
    """Whether another attempt is useless. msal makes a plain ValueError of any during discovery."""
    if issubclass(cls, json.JSONDecodeError):
        return False
    if kind == "managed_identity":
        return issubclass(cls, ManagedIdentityError)
    if place == "get":
        return issubclass(cls, ValueError)
    return cls is ValueError or issubclass(cls, ManagedIdentityError)


@pytest.mark.parametrize(
    ("kind", "place"), [("client_secret", "get"), ("client_secret", "post"), ("managed_identity", "get")]
)
@pytest.mark.parametrize(
    "cls", exceptions_below_msal(), ids=lambda each: f"{each.__module__}.{each.__name__}"
)
async def test_every_exception_below_msal_leaves_the_request_unsent(monkeypatch, tokens_of, cls, kind, place):
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://machine.test")
    monkeypatch.setattr(tokens, "open_session", lambda _: Breaking(cls, place))
    given = SECRET if kind == "client_secret" else {"managed_identity": "system"}
    answer = await tokens_of(**given, authority="https://login.test").get(SCOPE)
    assert type(answer) is (Rejected if is_final(cls, kind, place) else NotSent)
    timed_out = "Timeout" in cls.__name__ and isinstance(answer, NotSent)
    assert (answer.result.reason is Reason.TIMEOUT) is timed_out
    assert answer.result.basis is Basis.LOCAL
    assert answer.result.message
    assert answer.result.advice
    assert "s3cr3t" not in repr(answer) + answer.result.message


# --- configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ({"timeout": 30}, ["tenant_id", "client_id", "client_secret"]),
        ({"tenant_id": "t1", "client_secret": "s"}, ["client_id"]),
        ({"tenant_id": "t1", "client_id": "c1"}, ["client_secret"]),
        ({"client_secret": Secret(key="providers.test.client_secret", env="NOT_SET"), "ca_file": "."},
         ["tenant_id", "client_id", "ca_file", "client_secret"]),
        ({"tenant_id": "t1", "client_id": "c1",
          "certificate": Secret(key="providers.test.certificate", env="NOT_SET"),
          "certificate_password": Secret(key="providers.test.certificate_password", env="NOT_SET")},
         ["certificate", "certificate_password"]),
        ({"tenant_id": "t1", "client_id": "c1",
          "client_assertion": Secret(key="providers.test.client_assertion", file=Path("/none"))},
         ["client_assertion"]),
    ],
)  # fmt: skip
async def test_every_missing_or_unusable_key_is_named_at_once(tokens_of, given, keys):
    answer = await tokens_of(**given).get(SCOPE)
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.UNAUTHORIZED
    named = [problem.partition(":")[0] for problem in answer.result.advice.split("; providers.test.")]
    assert sorted(name.removeprefix("providers.test.") for name in named) == sorted(keys)


async def test_ca_file_is_the_only_trust_whatever_the_environment_says(
    authority, tokens_of, monkeypatch, tmp_path
):
    _, there = authority
    (tmp_path / "other.pem").write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    assert isinstance(await tokens_of(**SECRET, **there).get(SCOPE), Token)
    assert isinstance(await tokens_of(**SECRET, **there | {"ca_file": None}).get(SCOPE), NotSent)


async def test_a_secret_is_read_again_after_a_refusal(authority, tokens_of, tmp_path):
    entra_app, there = authority
    file = tmp_path / "secret"
    getter = tokens_of(tenant_id="t1", client_id="c1", client_secret=Secret(file=file), **there)
    entra_app.response = (401, REFUSED)
    file.write_text("old")
    assert isinstance(await getter.get(SCOPE), Rejected)
    entra_app.response = (200, b'{"access_token": "x", "expires_in": 3600}')
    file.write_text("new")
    assert isinstance(await getter.get(SCOPE), Token)
    assert [form["client_secret"] for form in entra_app.forms] == ["old", "new"]


async def test_a_federated_assertion_is_read_for_each_token_request(authority, tokens_of, tmp_path):
    entra_app, there = authority
    file = tmp_path / "token"
    getter = tokens_of(tenant_id="t1", client_id="c1", client_assertion=Secret(file=file), **there)
    for text in ("first", "second"):
        file.write_text(text)
        assert isinstance(await getter.get(SCOPE, claims=json.dumps({"access_token": {text: None}})), Token)
    assert [form["client_assertion"] for form in entra_app.forms] == ["first", "second"]
    assert "client_secret" not in entra_app.forms[0]


async def test_no_secret_or_token_is_logged(authority, tokens_of, caplog):
    _, there = authority
    caplog.set_level(logging.DEBUG)
    found = await tokens_of(**SECRET, **there).get(SCOPE)
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert text
    assert "entra-secret" not in text
    assert found.value not in text + repr(found)


# --- managed identities ---------------------------------------------------------------------------------

MACHINE_TOKEN = json.dumps(
    {
        "access_token": "m-token",
        "expires_on": str(int(time.time()) + 86_400),
        "resource": "r",
        "token_type": "Bearer",
    }
).encode()


@pytest.mark.parametrize(("identity", "client_id"), [("system", None), ("c1", "c1")])
async def test_the_machine_gives_tokens_to_a_managed_identity(machine, tokens_of, identity, client_id):
    async with machine(response=(200, MACHINE_TOKEN)) as app:
        getter = tokens_of(managed_identity=identity)
        found = await asyncio.gather(getter.get(SCOPE), getter.get(SCOPE, "any-tenant"))
    assert [each.value for each in found] == ["m-token"] * 2
    (form,) = app.forms
    assert form["resource"] == "https://service.test"
    assert form.get("client_id") == client_id
    assert app.headers[0][b"x-identity-header"] == b"a-header"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ((200, b'{"access_token": "x", "expires_on": "soon"}'), NotSent),
        ((200, b"[]"), NotSent),
        ((200, b"<html>"), NotSent),
        ((400, b'{"statusCode": 400, "message": "No identity."}'), Rejected),
        ((404, b""), NotSent),
        ((410, b""), NotSent),
        ((429, b'{"error": "too many"}'), NotSent),
        ((500, b'{"error": "unknown"}'), NotSent),
        ((503, b""), NotSent),
    ],
)
async def test_the_response_of_the_machine_decides_whether_to_retry(machine, tokens_of, response, kind):
    async with machine(response=response):
        answer = await tokens_of(managed_identity="system").get(SCOPE)
    assert type(answer) is kind
    assert kind is NotSent or "managed_identity" in answer.result.advice


async def test_a_managed_identity_has_no_token_of_another_tenant(tokens_of):
    answer = await tokens_of(managed_identity="system", tenant_id="T1").get(SCOPE, "t2")
    assert isinstance(answer, Rejected)
    assert (answer.result.reason, answer.result.basis) == (Reason.TENANT_MISMATCH, Basis.LOCAL)
    assert "client_secret" in answer.result.advice


def test_the_machine_is_reached_without_a_proxy(settings_of):
    assert entra.open_session(settings_of(managed_identity="system")).trust_env is False
    assert entra.open_session(settings_of()).trust_env is True
