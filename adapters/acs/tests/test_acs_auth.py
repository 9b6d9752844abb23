"""Credentials: which are used, what is said where they are missing, and what the token authority can do."""

import json
import threading

import msal
import pytest
from transferkit_acs import AcsAdapter, AcsSettings

from transferkit.events import FailureReason
from transferkit.lifecycle import NotSent, Refused, Taken
from transferkit.secret import Secret
from transferkit.testing.server import serve

KEY = "c2VjcmV0LWtleQ=="
ENTRA = {
    "endpoint": "https://127.0.0.1:1",
    "tenant_id": "t1",
    "client_id": "c1",
    "client_secret": Secret(key="providers.acs.client_secret", value="entra-secret"),
}


async def submit(adapter, wanted):
    try:
        return await adapter.submit(wanted)
    finally:
        await adapter.aclose()


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({}, ["connection_string"]),
        ({"endpoint": "https://a.example"}, ["connection_string"]),
        ({"client_id": "c1"}, ["endpoint", "tenant_id", "client_secret"]),
        (ENTRA | {"client_secret": None}, ["client_secret"]),
        (
            ENTRA | {"client_secret": Secret(key="providers.acs.client_secret", env="NOT_SET")},
            ["client_secret"],
        ),
        (
            {"connection_string": Secret(key="providers.acs.connection_string", env="NOT_SET")},
            ["connection_string"],
        ),
        (
            {"connection_string": Secret(key="providers.acs.connection_string", value="broken")},
            ["connection_string"],
        ),
    ],
)
async def test_missing_credentials_are_a_refusal_that_names_the_keys(table, keys, submission, transfer):
    answer = await submit(AcsAdapter(AcsSettings(**table)), submission(transfer))
    assert isinstance(answer, Refused)
    assert answer.result.reason is FailureReason.UNAUTHORIZED
    assert all(f"providers.acs.{key}" in answer.result.advice for key in keys)
    assert answer.result.advice.count("providers.acs.") == len(keys)


async def test_secrets_are_resolved_when_something_is_sent(monkeypatch, submission, transfer):
    secret = Secret(key="providers.acs.connection_string", env="ACS_TEST_CONNECTION_STRING")
    adapter = AcsAdapter(AcsSettings(connection_string=secret))
    assert (await adapter.wire(submission(transfer))).url.startswith(
        "https://resource.communication.azure.com/"
    )
    monkeypatch.setenv("ACS_TEST_CONNECTION_STRING", f"endpoint=http://127.0.0.1:1;accesskey={KEY}")
    assert isinstance(await submit(adapter, submission(transfer)), NotSent)


async def test_a_preview_with_entra_shows_a_bearer_and_no_token(submission, transfer):
    wire = await AcsAdapter(AcsSettings(**ENTRA)).wire(submission(transfer))
    assert wire.headers["Authorization"] == "Bearer ***"
    assert "x-ms-date" not in wire.headers
    assert wire.url.startswith("https://127.0.0.1:1/calling/")


class Msal:
    """In the place of msal's application: says what the test wants."""

    answer = None
    made = None
    scopes = None

    def __init__(self, client_id, *, authority, client_credential, timeout):
        type(self).made = (client_id, authority, client_credential, timeout)

    def acquire_token_for_client(self, *, scopes, claims_challenge):
        type(self).scopes = (scopes, claims_challenge)
        if isinstance(self.answer, threading.Event):
            self.answer.wait(5)
            return {}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def authority(monkeypatch):
    monkeypatch.setattr(msal, "ConfidentialClientApplication", Msal)

    def says(answer):
        monkeypatch.setattr(Msal, "answer", answer)

    return says


async def test_a_token_of_entra_goes_with_the_request(authority, submission, transfer):
    authority({"access_token": "a-token", "expires_in": 3600})
    got = []

    async def app(scope, receive, send):
        got.append(dict(scope["headers"])[b"authorization"])
        await receive()
        await send(
            {
                "type": "http.response.start",
                "status": 202,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": b"{}"})

    async with serve(app, tls=True) as server:
        table = ENTRA | {"endpoint": server.url, "ca_file": server.ca_file}
        answer = await submit(AcsAdapter(AcsSettings(**table)), submission(transfer))
    assert isinstance(answer, Taken)
    assert got == [b"Bearer a-token"]
    assert Msal.made == ("c1", "https://login.microsoftonline.com/t1", "entra-secret", 30.0)
    assert Msal.scopes == (["https://communication.azure.com//.default"], None)


@pytest.mark.parametrize(
    ("says", "kind", "reason"),
    [
        (
            {"error": "invalid_client", "error_description": "Wrong secret."},
            Refused,
            FailureReason.UNAUTHORIZED,
        ),
        ({}, Refused, FailureReason.UNAUTHORIZED),
        (ValueError("no such tenant"), Refused, FailureReason.UNAUTHORIZED),
        ({"error": "temporarily_unavailable"}, NotSent, FailureReason.PROVIDER_ERROR),
        (ConnectionError("down"), NotSent, FailureReason.PROVIDER_ERROR),
        (json.JSONDecodeError("not JSON", "<html>", 0), NotSent, FailureReason.PROVIDER_ERROR),
    ],
    ids=["refused", "empty", "no tenant", "unavailable", "down", "garbage"],
)
async def test_what_a_token_authority_can_do(authority, says, kind, reason, submission, transfer):
    authority(says)
    answer = await submit(AcsAdapter(AcsSettings(**ENTRA)), submission(transfer))
    assert isinstance(answer, kind)
    assert answer.result.reason is reason
    assert answer.result.message
    assert "entra-secret" not in repr(answer)


async def test_a_token_authority_that_does_not_answer_in_time(authority, submission, transfer):
    late = threading.Event()
    authority(late)
    try:
        answer = await submit(AcsAdapter(AcsSettings(**ENTRA, timeout=0.05)), submission(transfer))
    finally:
        late.set()
    assert isinstance(answer, NotSent), "nothing can have left without a token"
