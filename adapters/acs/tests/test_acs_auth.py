"""Credentials: which are used, what is said where they are missing, and what the token authority can do."""

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import msal
import pytest
from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from transferkit_acs import AcsAdapter, AcsSettings

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.deadline import Deadline, DeadlinePassed
from transferkit.provider.results import NotSent, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.testing import ManualClock
from transferkit.testing.server import serve

KEY = "c2VjcmV0LWtleQ=="
SCOPE = "https://communication.azure.com//.default"
APPLICATION = {"endpoint": "https://127.0.0.1:1", "tenant_id": "t1", "client_id": "c1"}
ENTRA = APPLICATION | {"client_secret": Secret(key="providers.acs.client_secret", value="entra-secret")}


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
async def test_missing_credentials_are_a_refusal_that_names_the_keys(
    tmp_path, table, keys, submission, transfer
):
    table = table | ({"ca_file": tmp_path} if "ca_file" in table else {})
    answer = await submit(AcsAdapter(AcsSettings(**table)), submission(transfer))
    assert isinstance(answer, Rejected)
    assert answer.result.reason is FailureReason.UNAUTHORIZED
    named = [problem.partition(":")[0] for problem in answer.result.advice.split("; providers.acs.")]
    assert sorted(name.removeprefix("providers.acs.") for name in named) == sorted(keys)


async def test_secrets_are_resolved_when_something_is_sent(monkeypatch, submission, transfer):
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
        ENTRA,
        APPLICATION | {"certificate": Secret(file=Path("/none.pem"))},
        {"endpoint": "https://127.0.0.1:1", "managed_identity": "system"},
    ],
    ids=["secret", "certificate", "managed identity"],
)
async def test_a_preview_with_entra_shows_a_bearer_and_no_token(submission, transfer, table):
    wire = await AcsAdapter(AcsSettings(**table)).wire(submission(transfer))
    assert wire.headers["Authorization"] == "Bearer ***"
    assert "x-ms-date" not in wire.headers
    assert wire.url.startswith("https://127.0.0.1:1/calling/")


# --- tokens, over the wire ------------------------------------------------------------------------------


@define
class Entra:
    """An ASGI app: the token authority and ACS on one port. `says` is the authority's answer."""

    says: tuple[int, bytes] = (200, json.dumps({"access_token": "a-token", "expires_in": 3600}).encode())
    discovered: tuple[int, bytes] | None = None
    asked: list[dict[str, list[str]]] = field(factory=list)
    headers: list[dict[bytes, bytes]] = field(factory=list)
    bearers: list[bytes] = field(factory=list)
    challenges: list[bytes] = field(factory=list)
    asked_for: Callable[[str], None] = field(default=lambda _: None)
    """Called with the path of each request before it is answered."""

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope["headers"])
        self.asked_for(scope["path"])
        body = (await receive()).get("body", b"")
        extra = []
        if scope["path"].startswith("/calling"):
            self.bearers.append(headers[b"authorization"])
            status, content = (401, b"{}") if self.challenges else (202, b"{}")
            extra = [(b"www-authenticate", self.challenges.pop())] if self.challenges else []
        elif scope["path"].endswith("openid-configuration"):
            base = f"https://{headers[b'host'].decode()}/t1"
            names = ("authorization_endpoint", "token_endpoint", "issuer")
            found = json.dumps({name: f"{base}/{name}" for name in names}).encode()
            status, content = self.discovered or (200, found)
        else:
            self.asked.append(parse_qs((body or scope["query_string"]).decode()))
            self.headers.append(headers)
            status, content = self.says
        lines = [(b"content-type", b"application/json"), *extra]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def through(submission, transfer):
    """Submits with Entra's tokens, all of it served over TLS on loopback; gives the answer."""

    async def go(entra: Entra, *, times: int = 1, deadline: Deadline | None = None, **table):
        async with serve(entra, tls=True) as server:
            table = {"endpoint": server.url, "authority": server.url, "ca_file": server.ca_file, **table}
            adapter = AcsAdapter(AcsSettings(**table))
            try:
                for _ in range(times):
                    answer = await adapter.submit(submission(transfer, deadline=deadline))
            finally:
                await adapter.aclose()
        return answer

    return go


SECRET = {"tenant_id": "t1", "client_id": "c1", "client_secret": ENTRA["client_secret"]}


async def test_a_token_of_entra_goes_with_the_request_and_is_kept(through):
    entra = Entra()
    assert isinstance(await through(entra, times=2, **SECRET), Submitted)
    assert entra.bearers == [b"Bearer a-token"] * 2
    (asked,) = entra.asked
    assert asked["client_id"] == ["c1"]
    assert asked["client_secret"] == ["entra-secret"]
    assert asked["scope"] == [SCOPE]
    assert asked["grant_type"] == ["client_credentials"]


async def test_nothing_but_ca_file_is_trusted(through, monkeypatch, tmp_path):
    entra = Entra()
    (tmp_path / "other.pem").write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    assert isinstance(await through(entra, **SECRET), Submitted)
    answer = await through(entra, ca_file=None, **SECRET)
    assert isinstance(answer, NotSent)


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ((400, b'{"error": "invalid_client", "error_description": "Wrong secret."}'), Rejected),
        ((401, b'{"error": "unauthorized_client"}'), Rejected),
        ((200, b"{}"), Rejected),
        ((200, b"<html>"), NotSent),
        ((200, b"[]"), NotSent),
        ((400, b'{"error": "temporarily_unavailable"}'), NotSent),
        ((429, b'{"error": "invalid_request"}'), NotSent),
        ((500, b'{"error": "server_error"}'), NotSent),
        ((503, b""), NotSent),
    ],
)
async def test_what_a_token_authority_can_answer(through, says, kind):
    entra = Entra(says=says)
    answer = await through(entra, **SECRET)
    assert type(answer) is kind
    assert answer.result.reason is {Rejected: FailureReason.UNAUTHORIZED}.get(
        kind, FailureReason.PROVIDER_ERROR
    )
    assert answer.result.message
    said = b'"error"' in says[1] and says[0] not in {429, 500}
    assert answer.result.basis is (Basis.STATED if said else Basis.LOCAL)
    assert entra.bearers == [], "nothing may be sent without a token"
    if kind is Rejected:
        assert "tenant_id, client_id and client_secret" in answer.result.advice


@pytest.mark.parametrize(
    ("discovered", "kind"),
    [((400, b"{}"), Rejected), ((200, b"<html>"), NotSent), ((429, b""), NotSent), ((502, b""), NotSent)],
)
async def test_what_an_authority_can_answer_that_is_asked_for_its_endpoints(through, discovered, kind):
    assert type(await through(Entra(discovered=discovered), **SECRET)) is kind


async def test_a_challenge_for_more_claims_is_met_once(through):
    claims = base64.urlsafe_b64encode(b'{"access_token": {"nbf": {"essential": true}}}').rstrip(b"=")
    entra = Entra(challenges=[b'Bearer error="insufficient_claims", claims="' + claims + b'"'])
    assert isinstance(await through(entra, **SECRET), Submitted)
    assert len(entra.bearers) == 2, "the first was answered 401, so it did not execute"
    assert "nbf" in entra.asked[1]["claims"][0]


@pytest.mark.parametrize(
    ("slow", "sent"), [("/t1/token_endpoint", 0), ("/calling", 1)], ids=["its token", "a challenge"]
)
async def test_nothing_is_sent_after_the_deadline_whatever_took_so_long(through, slow, sent):
    """A challenge is the SDK's own reason to send again, within one attempt."""
    clock = ManualClock()
    deadline = Deadline(clock.now() + timedelta(seconds=30), clock)

    def take_a_minute(path):
        if path.startswith(slow):
            clock.advance(60)

    claims = base64.urlsafe_b64encode(b'{"access_token": {"nbf": {"essential": true}}}').rstrip(b"=")
    entra = Entra(
        challenges=[b'Bearer error="insufficient_claims", claims="' + claims + b'"'], asked_for=take_a_minute
    )
    with pytest.raises(DeadlinePassed):
        await through(entra, deadline=deadline, **SECRET)
    assert len(entra.bearers) == sent


# --- certificates ---------------------------------------------------------------------------------------


@define
class Papers:
    """A private key and its certificate, in the forms that files have."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, key) -> "Papers":
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bot")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @property
    def public(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def private(self, password: str | None = None) -> str:
        lock = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, lock).decode()

    def pem(self, password: str | None = None) -> str:
        return self.public + self.private(password)


@pytest.fixture(scope="module")
def papers() -> Papers:
    return Papers.make(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="module")
def others() -> Papers:
    return Papers.make(rsa.generate_private_key(65537, 2048))


def certified(pem: str, password: str | None = None) -> dict:
    secret = None if password is None else Secret(key="providers.acs.certificate_password", value=password)
    return {
        "tenant_id": "t1",
        "client_id": "c1",
        "certificate": Secret(key="providers.acs.certificate", value=pem),
        "certificate_password": secret,
    }


@pytest.mark.parametrize(
    ("make", "password"),
    [
        (lambda own, _: own.public + own.private(), None),
        (lambda own, _: own.private("a-pass-phrase") + own.public, "a-pass-phrase"),
        (lambda own, issuer: issuer.public + own.public + own.private(), None),
    ],
    ids=["plain", "encrypted", "a chain"],
)
async def test_an_application_may_show_a_certificate(through, papers, others, make, password):
    entra = Entra()
    assert isinstance(await through(entra, **certified(make(papers, others), password)), Submitted)
    (asked,) = entra.asked
    assert "client_secret" not in asked
    (assertion,) = asked["client_assertion"]
    said = jwt.decode(assertion, papers.key.public_key(), algorithms=["PS256"], options={"verify_aud": False})
    assert (said["iss"], said["sub"]) == ("c1", "c1")
    digest = base64.urlsafe_b64encode(papers.certificate.fingerprint(hashes.SHA256())).decode()
    assert jwt.get_unverified_header(assertion)["x5t#S256"].rstrip("=") == digest.rstrip("=")


@pytest.mark.parametrize(
    ("make", "password", "advice"),
    [
        (lambda _own, _other: "nonsense", None, ": holds no private key"),
        (lambda own, _: own.public, None, ": holds no private key"),
        (lambda own, _: own.private(), None, ": holds no certificate"),
        (lambda own, _: own.pem("right"), "wrong", ": holds no private key"),
        (lambda own, _: own.pem("right"), None, "_password: is missing"),
        (lambda own, _: own.pem(), "needless", "_password: is given"),
        (lambda own, other: own.public + other.private(), None, ": holds the private key of another"),
        (
            lambda _own, _other: Papers.make(ec.generate_private_key(ec.SECP256R1())).pem(),
            None,
            ": holds a private key of a kind",
        ),
    ],
    ids=[
        "nonsense",
        "no key",
        "no certificate",
        "wrong password",
        "no password",
        "needless password",
        "another's key",
        "no RSA key",
    ],
)
async def test_an_unusable_certificate_is_named_and_not_shown(
    papers, others, make, password, advice, submission, transfer
):
    table = certified(make(papers, others), password) | {"endpoint": "https://127.0.0.1:1"}
    answer = await submit(AcsAdapter(AcsSettings(**table)), submission(transfer))
    assert isinstance(answer, Rejected)
    assert answer.result.advice.startswith(f"providers.acs.certificate{advice}")
    assert "BEGIN" not in answer.result.advice


# --- managed identities ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "client_id"),
    [("system", None), ("c1", ["c1"])],
    ids=["the machine's", "one assigned by the user"],
)
async def test_a_managed_identity_gives_tokens(through, monkeypatch, identity, client_id):
    expires = int(datetime.now(UTC).timestamp()) + 86_400
    token = {"access_token": "m-token", "expires_on": str(expires), "token_type": "Bearer", "resource": "r"}
    machine, acs = Entra(says=(200, json.dumps(token).encode())), Entra()
    async with serve(machine) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "a-header")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        answer = await through(acs, managed_identity=identity)
    assert isinstance(answer, Submitted)
    assert acs.bearers == [b"Bearer m-token"]
    (asked,) = machine.asked
    assert asked["resource"] == ["https://communication.azure.com/"]
    assert asked.get("client_id") == client_id
    assert machine.headers[0][b"x-identity-header"] == b"a-header"


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ((400, b'{"statusCode": 400, "message": "No identity."}'), Rejected),
        ((404, b""), NotSent),
        ((503, b""), NotSent),
    ],
)
async def test_what_a_machine_can_answer(through, monkeypatch, says, kind):
    acs = Entra()
    async with serve(Entra(says=says)) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.url)
        monkeypatch.setenv("IDENTITY_HEADER", "a-header")
        answer = await through(acs, managed_identity="system")
    assert type(answer) is kind
    assert acs.bearers == []
    assert kind is NotSent or "managed_identity" in answer.result.advice


# --- an authority that is silent ------------------------------------------------------------------------


async def test_a_token_authority_that_does_not_answer_in_time(monkeypatch, submission, transfer):
    late = threading.Event()
    monkeypatch.setattr(msal, "ConfidentialClientApplication", lambda *_, **__: late.wait(5))
    try:
        answer = await submit(AcsAdapter(AcsSettings(**ENTRA, timeout=1.0)), submission(transfer))
    finally:
        late.set()
    assert isinstance(answer, NotSent), "nothing can have left without a token"


def test_secrets_are_in_no_repr():
    table = ENTRA | {"certificate_password": None}
    assert "entra-secret" not in repr(AcsSettings(**table))
    with pytest.raises(ConfigError) as caught:
        unset("client_secret").resolve()
    assert "entra-secret" not in str(caught.value)
