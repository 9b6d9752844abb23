"""What authenticates requests to ACS: missing credentials, tokens of Entra, challenges and deadlines.

`adapters/microsoft/tests` has the tests of the tokens themselves.
"""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define, field
from support.entra import Authority, FixedCredential, Papers, respond
from transferkit_acs import AcsAdapter, AcsSettings

from transferkit.events import FailureReason
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.results import NotSent, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.testing import ManualClock
from transferkit.testing.server import serve

KEY = "c2VjcmV0LWtleQ=="
SCOPE = "https://communication.azure.com//.default"
APPLICATION = {"endpoint": "https://127.0.0.1:1", "tenant_id": "t1", "client_id": "c1"}
CLIENT_SECRET = Secret(key="providers.acs.client_secret", value="entra-secret")
SECRET = {"tenant_id": "t1", "client_id": "c1", "client_secret": CLIENT_SECRET}
MORE_CLAIMS = base64.urlsafe_b64encode(b'{"access_token": {"nbf": {"essential": true}}}').rstrip(b"=")
CHALLENGE = b'Bearer error="insufficient_claims", claims="' + MORE_CLAIMS + b'"'


def unset(name: str) -> Secret:
    return Secret(key=f"providers.acs.{name}", env="NOT_SET")


async def submit(adapter, wanted):
    try:
        return await adapter.submit(wanted)
    finally:
        await adapter.aclose()


# --- what is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({}, ["connection_string"]),
        ({"endpoint": "https://a.example"}, ["connection_string"]),
        ({"client_id": "c1"}, ["endpoint", "tenant_id", "client_secret"]),
        ({"managed_identity": "system"}, ["endpoint"]),
        (
            {"certificate": Secret(key="providers.acs.certificate", value="none")},
            ["endpoint", "tenant_id", "client_id", "certificate"],
        ),
        (APPLICATION, ["client_secret"]),
        (APPLICATION | {"client_secret": unset("client_secret")}, ["client_secret"]),
        ({"client_secret": unset("client_secret")}, ["endpoint", "tenant_id", "client_id", "client_secret"]),
        (
            APPLICATION
            | {"certificate": unset("certificate"), "certificate_password": unset("certificate_password")},
            ["certificate", "certificate_password"],
        ),
        ({"connection_string": unset("connection_string")}, ["connection_string"]),
        (
            {"connection_string": Secret(key="providers.acs.connection_string", value="broken")},
            ["connection_string"],
        ),
        ({"connection_string": unset("connection_string"), "ca_file": "."}, ["ca_file", "connection_string"]),
    ],
)
async def test_missing_credentials_are_rejected_and_every_key_is_named(
    tmp_path, table, keys, submission, transfer
):
    table = table | ({"ca_file": tmp_path} if "ca_file" in table else {})
    answer = await submit(AcsAdapter(AcsSettings(**table)), submission(transfer))
    assert isinstance(answer, Rejected)
    assert answer.result.reason is FailureReason.UNAUTHORIZED
    named = [problem.partition(":")[0] for problem in answer.result.advice.split("; providers.acs.")]
    assert sorted(name.removeprefix("providers.acs.") for name in named) == sorted(keys)


async def test_secrets_are_resolved_for_the_first_request(monkeypatch, submission, transfer):
    secret = Secret(key="providers.acs.connection_string", env="ACS_TEST_CONNECTION_STRING")
    adapter = AcsAdapter(AcsSettings(connection_string=secret))
    assert (await adapter.wire(submission(transfer))).url.startswith(
        "https://resource.communication.azure.com/"
    )
    monkeypatch.setenv("ACS_TEST_CONNECTION_STRING", f"endpoint=http://127.0.0.1:1;accesskey={KEY}")
    assert isinstance(await submit(adapter, submission(transfer)), NotSent)


@pytest.mark.parametrize(
    "table",
    [
        APPLICATION | {"client_secret": CLIENT_SECRET},
        APPLICATION | {"certificate": Secret(file=Path("/none.pem"))},
        {"endpoint": "https://127.0.0.1:1", "managed_identity": "system"},
        {"endpoint": "https://127.0.0.1:1", "credential": FixedCredential()},
    ],
    ids=["secret", "certificate", "managed identity", "credential"],
)
async def test_a_preview_with_entra_shows_a_bearer_and_no_token(submission, transfer, table):
    wire = await AcsAdapter(AcsSettings(**table)).wire(submission(transfer))
    assert wire.headers["Authorization"] == "Bearer ***"
    assert "x-ms-date" not in wire.headers
    assert wire.url.startswith("https://127.0.0.1:1/calling/")


# --- tokens, over the wire ------------------------------------------------------------------------------


@define
class Service:
    """An ASGI app: the token authority, and ACS, which responds with the challenges before anything else."""

    entra: Authority = field(factory=Authority)
    bearers: list[bytes] = field(factory=list)
    challenges: list[bytes] = field(factory=list)

    async def __call__(self, scope, receive, send) -> None:
        if not scope["path"].startswith("/calling"):
            await self.entra(scope, receive, send)
            return
        self.entra.before(scope["path"])
        await receive()
        self.bearers.append(dict(scope["headers"])[b"authorization"])
        if self.challenges:
            await respond(send, 401, b"{}", (b"www-authenticate", self.challenges.pop()))
        else:
            await respond(send, 202, b"{}")


@pytest.fixture
def through(submission, transfer):
    """Submits with tokens of Entra to a `Service` that is served over TLS; returns the last result."""

    async def go(service: Service, *, times: int = 1, deadline: Deadline | None = None, **table):
        async with serve(service, tls=True) as server:
            table = {"endpoint": server.url, "authority": server.url, "ca_file": server.ca_file, **table}
            adapter = AcsAdapter(AcsSettings(**table))
            try:
                for _ in range(times):
                    answer = await adapter.submit(submission(transfer, deadline=deadline))
            finally:
                await adapter.aclose()
        return answer

    return go


async def test_a_token_of_entra_authenticates_the_request_and_is_cached(through):
    service = Service()
    assert isinstance(await through(service, times=2, **SECRET), Submitted)
    assert service.bearers == [b"Bearer a-token"] * 2
    (form,) = service.entra.forms
    assert (form["client_id"], form["client_secret"], form["scope"]) == ("c1", "entra-secret", SCOPE)
    assert service.entra.tenants == ["t1"]


async def test_a_certificate_authenticates_the_application(through):
    service = Service()
    certificate = Secret(key="providers.acs.certificate", value=Papers.make().pem())
    table = {"tenant_id": "t1", "client_id": "c1", "certificate": certificate}
    assert isinstance(await through(service, **table), Submitted)
    assert "client_assertion" in service.entra.forms[0]


async def test_a_managed_identity_gives_tokens(through, monkeypatch):
    token = {"access_token": "m-token", "expires_on": "4000000000", "token_type": "Bearer", "resource": "r"}
    machine, service = Authority(response=(200, json.dumps(token).encode())), Service()
    async with serve(machine) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "a-header")
        assert isinstance(await through(service, managed_identity="system"), Submitted)
    assert service.bearers == [b"Bearer m-token"]
    assert machine.forms[0]["resource"] == "https://communication.azure.com/"


async def test_a_credential_object_gives_tokens(through):
    service, credential = Service(), FixedCredential()
    assert isinstance(await through(service, times=2, credential=credential, tenant_id="t1"), Submitted)
    assert service.bearers == [b"Bearer token-of-nobody"] * 2
    assert credential.tenants == ["t1"]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ((400, b'{"error": "invalid_client", "error_description": "Wrong secret."}'), Rejected),
        ((503, b""), NotSent),
    ],
)
async def test_without_a_token_nothing_is_sent(through, response, kind):
    service = Service(entra=Authority(response=response))
    answer = await through(service, **SECRET)
    assert type(answer) is kind
    assert answer.result.message
    assert service.bearers == []


async def test_an_exception_of_a_credential_object_leaves_the_request_unsent(through):
    def fail():
        raise RuntimeError("broken")

    service = Service()
    answer = await through(service, credential=FixedCredential(before=fail))
    assert isinstance(answer, NotSent)
    assert service.bearers == []


async def test_a_challenge_for_more_claims_is_answered_once(through):
    service = Service(challenges=[CHALLENGE])
    assert isinstance(await through(service, **SECRET), Submitted)
    assert len(service.bearers) == 2, "the response to the first was 401, so it did not execute"
    assert "nbf" in service.entra.forms[1]["claims"]


async def test_without_a_token_for_a_challenge_the_response_of_acs_counts(through):
    service = Service(challenges=[CHALLENGE])

    def fail_after_the_challenge(path):
        if service.bearers and path.startswith("/t1"):
            service.entra.response = (503, b"")

    service.entra.before = fail_after_the_challenge
    answer = await through(service, **SECRET)
    assert isinstance(answer, Rejected)
    assert (answer.result.code, answer.result.reason) == (401, FailureReason.UNAUTHORIZED)
    assert isinstance(await through(service, **SECRET), NotSent), "only the authority responds with 503 now"
    assert len(service.bearers) == 1


async def test_a_refused_token_is_forgotten_also_without_a_token_for_the_challenge(through):
    service = Service(challenges=[CHALLENGE])

    def fail_once(path):
        status = 503 if len(service.entra.forms) == 1 else 200
        service.entra.response = (status, Authority().response[1])

    service.entra.before = fail_once
    assert isinstance(await through(service, times=2, **SECRET), Submitted)
    assert len(service.entra.forms) == 3, "the second submission does not use the token that ACS refused"


async def test_a_token_that_acs_refuses_is_not_used_again(through):
    service = Service(challenges=[b"Bearer"])
    await through(service, times=2, **SECRET)
    assert len(service.bearers) == 2
    assert len(service.entra.forms) == 2


@pytest.mark.parametrize(
    ("slow", "sent"), [("/t1/token_endpoint", 0), ("/calling", 1)], ids=["the token", "a challenge"]
)
async def test_nothing_is_sent_after_the_deadline(through, slow, sent):
    """A challenge is the SDK's own reason to send again, within one attempt."""
    clock = ManualClock()
    deadline = Deadline(clock.now() + timedelta(seconds=30), clock)

    def take_a_minute(path):
        if path.startswith(slow):
            clock.advance(60)

    service = Service(entra=Authority(before=take_a_minute), challenges=[CHALLENGE])
    with pytest.raises(DeadlinePassed):
        await through(service, deadline=deadline, **SECRET)
    assert len(service.bearers) == sent


def test_secrets_are_not_in_the_repr_of_settings():
    assert "entra-secret" not in repr(AcsSettings(**APPLICATION, client_secret=CLIENT_SECRET))
