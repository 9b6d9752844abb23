"""Who the application is: by a secret, by a certificate, by a managed identity; and what goes wrong there."""

import asyncio
import inspect
import logging
import ssl
import threading
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError

import msal
import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from msal.managed_identity import ManagedIdentityError
from transferkit_graph import GraphAdapter, GraphSettings
from transferkit_graph.auth import Tokens

from transferkit.events import Basis
from transferkit.events import FailureReason as Reason
from transferkit.identifiers import PhoneNumber
from transferkit.provider.results import NotSent, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Transfer

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
IDENTITY = "1de00000-0000-4000-8000-00000000eeee"
SOMEONE = PhoneNumber("+14255550100")
PASSWORD = "made-up password"


def pem_of(key, password=None):
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def certificate_of(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "transferkit tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CERTIFICATE, OTHER_CERTIFICATE = certificate_of(KEY), certificate_of(OTHER_KEY)
CURVE = ec.generate_private_key(ec.SECP256R1())


def by_certificate(pem, password=None):
    return {"client_secret": None, "certificate": pem, "certificate_password": password}


def token_requests(emulator):
    return [request.path.split("/")[1] for request in emulator.requests if request.path.endswith("/token")]


async def transferred(bench, submission, adapter, **more):
    call = bench.emulator.place_call(callback_url=bench.callback_url, **more)
    return await adapter.submit(submission(Transfer(call=call, to=SOMEONE)))


@pytest.mark.asyncio(loop_scope="module")
class TestCertificate:
    @pytest.mark.parametrize(
        ("pem", "password"),
        [
            (pem_of(KEY) + CERTIFICATE, None),
            (CERTIFICATE + pem_of(KEY), None),
            (pem_of(KEY, PASSWORD) + CERTIFICATE, PASSWORD),
            (pem_of(KEY) + OTHER_CERTIFICATE + CERTIFICATE, None),
            ("Bag Attributes: none\n" + pem_of(KEY) + "\nsubject=CN\n" + CERTIFICATE, None),
        ],
        ids=["key first", "certificate first", "encrypted key", "its chain", "as openssl writes it"],
    )
    async def test_its_signature_is_verified(self, bench, submission, pem, password):
        bench.emulator.add_certificate(CERTIFICATE)
        adapter = bench.adapter(**by_certificate(pem, password))
        assert isinstance(await transferred(bench, submission, adapter), Submitted)

    async def test_from_a_file(self, bench, submission, tmp_path):
        bench.emulator.add_certificate(CERTIFICATE)
        path = tmp_path / "client.pem"
        path.write_text(pem_of(KEY) + CERTIFICATE)
        adapter = bench.adapter(client_secret=None, certificate=Secret(file=path))
        assert isinstance(await transferred(bench, submission, adapter), Submitted)

    async def test_one_that_the_directory_does_not_know_is_refused(self, bench, submission):
        adapter = bench.adapter(**by_certificate(pem_of(OTHER_KEY) + OTHER_CERTIFICATE))
        answered = await transferred(bench, submission, adapter)
        assert isinstance(answered, Rejected)
        assert "AADSTS700027" in answered.result.message
        assert "certificate" in answered.result.advice

    async def test_one_that_was_renewed_is_read_anew(self, bench, submission, tmp_path):
        bench.emulator.add_certificate(CERTIFICATE)
        path = tmp_path / "client.pem"
        path.write_text(pem_of(OTHER_KEY) + certificate_of(OTHER_KEY))
        adapter = bench.adapter(client_secret=None, certificate=Secret(file=path))
        assert isinstance(await transferred(bench, submission, adapter), Rejected)
        path.write_text(pem_of(KEY) + CERTIFICATE)
        assert isinstance(await transferred(bench, submission, adapter), Submitted)

    async def test_it_gets_tokens_of_every_tenant(self, bench, submission):
        bench.emulator.add_certificate(CERTIFICATE)
        adapter = bench.adapter(**by_certificate(pem_of(KEY) + CERTIFICATE))
        call = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
        sent = submission(Transfer(call=call, to=SOMEONE), tenant_id=OTHER_TENANT)
        assert isinstance(await adapter.submit(sent), Submitted)
        assert token_requests(bench.emulator) == [OTHER_TENANT]

    async def test_the_key_is_never_shown(self, bench, submission, caplog):
        caplog.set_level(logging.DEBUG)
        bench.emulator.add_certificate(CERTIFICATE)
        adapter = bench.adapter(**by_certificate(pem_of(KEY, PASSWORD) + CERTIFICATE, PASSWORD))
        await transferred(bench, submission, adapter)
        seen = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        for text in (seen, repr(vars(adapter)), repr(bench.emulator.requests)):
            assert PASSWORD not in text
            assert pem_of(KEY).splitlines()[1] not in text
        assertion = next(request.body for request in bench.emulator.requests if request.method == "POST")
        assert "client_assertion=***" in assertion


@pytest.mark.parametrize(
    ("pem", "password", "key", "says"),
    [
        ("no PEM at all", None, "certificate", "0 private keys and 0 certificates"),
        (CERTIFICATE, None, "certificate", "0 private keys and 1 certificates"),
        (pem_of(KEY), None, "certificate", "1 private keys and 0 certificates"),
        (pem_of(KEY) + pem_of(OTHER_KEY) + CERTIFICATE, None, "certificate", "2 private keys"),
        (pem_of(KEY) + OTHER_CERTIFICATE, None, "certificate", "no certificate in it is that"),
        (pem_of(CURVE) + certificate_of(CURVE), None, "certificate", "not RSA"),
        (pem_of(KEY, PASSWORD) + CERTIFICATE, None, "certificate_password", "is missing"),
        (pem_of(KEY, PASSWORD) + CERTIFICATE, "wrong", "certificate", "cannot be read"),
        (pem_of(KEY) + CERTIFICATE, PASSWORD, "certificate_password", "has none"),
        (pem_of(KEY).replace("MII", "!!!") + CERTIFICATE, None, "certificate", "cannot be read"),
        (pem_of(KEY) + CERTIFICATE.replace("MII", "!!!"), None, "certificate", "cannot be read"),
    ],
    ids=[  # the keys are made anew in each process
        "no PEM",
        "no key",
        "no certificate",
        "two keys",
        "another key's certificate",
        "not RSA",
        "no password given",
        "wrong password",
        "password for a plain key",
        "broken key",
        "broken certificate",
    ],
)
async def test_a_certificate_that_cannot_be_used_says_why(submission, pem, password, key, says):
    given = {name: text and Secret(value=text) for name, text in by_certificate(pem, password).items()}
    adapter = GraphAdapter(GraphSettings(tenant_id="t", client_id="c", **given))
    answered = await adapter.submit(submission())
    await adapter.aclose()
    assert isinstance(answered, Rejected)
    assert answered.result.reason is Reason.UNAUTHORIZED
    assert f"providers.graph.{key}: " in answered.result.advice
    assert says in answered.result.advice
    assert "BEGIN" not in repr(answered)


@pytest.fixture
def machine(bench, monkeypatch):
    """The emulator as the machine's own token endpoint."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", bench.server.url)
    bench.emulator.add_managed_identity()
    bench.emulator.add_managed_identity(IDENTITY)
    return bench


@pytest.mark.asyncio(loop_scope="module")
class TestManagedIdentity:
    @pytest.mark.parametrize("identity", ["system", IDENTITY])
    async def test_the_machine_gives_the_token(self, machine, submission, identity):
        adapter = machine.adapter(client_secret=None, managed_identity=identity)
        for _ in range(2):
            assert isinstance(await transferred(machine, submission, adapter), Submitted)
        (asked,) = [request for request in machine.emulator.requests if "metadata" in request.path]
        assert asked.query["resource"] == "https://graph.microsoft.com"
        assert asked.query.get("client_id") == (None if identity == "system" else identity)

    async def test_it_needs_neither_tenant_nor_client_id(self, machine, submission):
        adapter = machine.adapter(
            client_secret=None, client_id=None, tenant_id=None, authority=None, managed_identity="system"
        )
        assert isinstance(await transferred(machine, submission, adapter), Submitted)

    async def test_an_identity_that_the_machine_has_not_is_refused(self, machine, submission):
        adapter = machine.adapter(client_secret=None, managed_identity="another")
        answered = await transferred(machine, submission, adapter)
        assert isinstance(answered, Rejected)
        assert answered.result.reason is Reason.UNAUTHORIZED
        assert "managed_identity" in answered.result.advice

    async def test_concurrent_askers_share_one_question(self, machine):
        tokens = machine.adapter(client_secret=None, managed_identity="system")._tokens
        got = await asyncio.gather(*(tokens.bearer(None) for _ in range(10)))
        assert len(set(got)) == 1
        assert isinstance(got[0], str)
        assert len(machine.emulator.requests) == 1

    async def test_a_token_that_was_revoked_is_replaced(self, machine, submission):
        adapter = machine.adapter(client_secret=None, managed_identity="system")
        assert isinstance(await transferred(machine, submission, adapter), Submitted)
        machine.emulator.revoke_tokens()
        assert isinstance(await transferred(machine, submission, adapter), Rejected)
        assert isinstance(await transferred(machine, submission, adapter), Submitted)

    async def test_a_call_of_another_tenant_is_refused_before_it_is_sent(self, machine, submission):
        adapter = machine.adapter(client_secret=None, managed_identity="system")
        answered = await adapter.submit(submission(tenant_id=OTHER_TENANT))
        assert isinstance(answered, Rejected)
        assert answered.result.reason is Reason.TENANT_MISMATCH
        assert "client_secret" in answered.result.advice
        assert machine.emulator.requests == ()

    async def test_7505_advises_another_credential(self, machine, submission):
        adapter = machine.adapter(
            client_secret=None, tenant_id=None, authority=None, managed_identity="system"
        )
        answered = await transferred(machine, submission, adapter, tenant_id=OTHER_TENANT)
        assert (answered.result.reason, answered.result.subcode) == (Reason.TENANT_MISMATCH, 7505)
        assert "managed identity" in answered.result.advice


class TestPlan:
    IDENTITY = GraphSettings(tenant_id="T1", managed_identity="system")
    SECRET = GraphSettings(tenant_id="T1", client_id="c", client_secret=Secret(value="s"))

    @pytest.mark.parametrize(
        ("settings", "tenant", "problems"),
        [
            (IDENTITY, "t2", ["call.tenant_id"]),
            (IDENTITY, "t1", []),
            (IDENTITY, None, []),
            (GraphSettings(managed_identity="system"), "t2", []),
            (SECRET, "t2", []),
        ],
    )
    def test_a_managed_identity_reaches_its_own_tenant_only(self, settings, tenant, problems):
        call = Call("graph", "57dab8b1-894c-409a-b240-bd8beae78896", tenant_id=tenant)
        request = Transfer(call=call, to=SOMEONE)
        assert [problem.field for problem in GraphAdapter(settings).plan(request).problems] == problems


class Machine:
    """A machine's endpoint that answers as told, beneath msal."""

    def __init__(self, status, text):
        self._answer = requests.Response()
        self._answer.status_code = status
        self._answer._content = text.encode()

    def __enter__(self):
        return self

    def send(self, request, **_):
        self._answer.request = request
        return self._answer

    def close(self):
        pass


@pytest.fixture
def on_a_machine(monkeypatch):
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://machine.test")


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, '{"access_token": "x", "expires_in": "3599"}', str),
        (200, '{"access_token": "x", "expires_in": "soon"}', NotSent),
        (200, "[]", NotSent),
        (200, "<html>", NotSent),
        (400, '{"error": "invalid_request", "error_description": "Identity not found"}', Rejected),
        (400, '{"error": {"code": "odd"}}', Rejected),
        (404, "", NotSent),
        (410, "", NotSent),
        (429, '{"error": "too many"}', NotSent),
        (500, '{"error": "unknown"}', NotSent),
        (503, "", NotSent),
    ],
)
async def test_what_a_machine_may_answer(on_a_machine, status, text, kind):
    tokens = Tokens(GraphSettings(managed_identity="system"))
    tokens._http.machine().mount("http://", Machine(status, text))
    assert isinstance(await tokens.bearer(None), kind)
    await tokens.aclose()


async def test_a_machine_without_such_an_endpoint_leaves_it_unsent(on_a_machine, raw_server, monkeypatch):
    async def stall(reader, _):
        await reader.read()

    async with raw_server(stall) as url:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # which would refuse, if it were asked
        tokens = Tokens(GraphSettings(managed_identity="system", timeout=0.05))
        answered = await tokens.bearer(None)
        await tokens.aclose()
    assert isinstance(answered, NotSent)
    assert answered.result.reason is Reason.TIMEOUT


async def test_all_that_is_missing_is_named_at_once(submission):
    answered = await GraphAdapter(GraphSettings()).submit(submission())
    for key in ("tenant_id", "client_id", "client_secret", "certificate", "managed_identity"):
        assert key in answered.result.advice


async def test_tokens_are_fetched_off_the_event_loop(monkeypatch):
    threads = []

    class Blocking:
        def get(self, *_, **__):
            threads.append(threading.current_thread())
            raise requests.ConnectionError("nobody there")

    tokens = Tokens(GraphSettings(tenant_id="t", client_id="c", client_secret=Secret(value="s")))
    monkeypatch.setattr(tokens._http, "authority", Blocking)
    assert isinstance(await tokens.bearer(None), NotSent)
    assert threads
    assert threading.main_thread() not in threads
    await tokens.aclose()


def raised_beneath_msal():
    """Every exception class of msal and of the HTTP clients beneath it."""
    modules = [
        *(requests.exceptions, urllib3.exceptions, ssl),
        *(msal.exceptions, msal.managed_identity, msal.oauth2cli.oidc, msal.oauth2cli.oauth2),
    ]
    found = {
        one
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, Exception) and not issubclass(one, Warning)
    }
    found |= {OSError, ConnectionResetError, TimeoutError, RuntimeError, KeyError, TypeError, ValueError}
    return sorted(found, key=lambda one: (one.__module__, one.__qualname__))


def raising(cls):
    error = cls.__new__(cls)
    error.args = ("Bearer s3cr3t",)
    return error


@pytest.mark.parametrize("cls", raised_beneath_msal(), ids=lambda one: f"{one.__module__}.{one.__name__}")
@pytest.mark.parametrize("place", ["get", "post"])
@pytest.mark.parametrize("kind", ["client_secret", "managed_identity"])
async def test_whatever_breaks_beneath_msal_nothing_was_sent(on_a_machine, monkeypatch, cls, place, kind):
    class Breaking:
        def get(self, url, **_):
            if place == "post" and "openid" in url:
                return _Found()
            raise raising(cls)

        def post(self, *_, **__):
            raise raising(cls)

    given = {
        "client_secret": {"tenant_id": "t", "client_id": "c", "client_secret": Secret(value="s")},
        "managed_identity": {"managed_identity": "system"},
    }[kind]
    tokens = Tokens(GraphSettings(authority="https://login.test/t", **given))
    monkeypatch.setattr(tokens._http, "authority", Breaking)
    monkeypatch.setattr(tokens._http, "machine", Breaking)
    answered = await tokens.bearer(None)
    assert isinstance(answered, (NotSent, Rejected))
    assert isinstance(answered, Rejected) is _says_no(cls, kind, place)
    timed_out = "Timeout" in cls.__name__ and isinstance(answered, NotSent)
    assert (answered.result.reason is Reason.TIMEOUT) is timed_out
    assert answered.result.basis is Basis.LOCAL
    assert answered.result.advice
    assert "s3cr3t" not in repr(answered)
    await tokens.aclose()


def _says_no(cls, kind, place):
    """Whether asking again is of no use. msal makes a plain ValueError of any in finding the authority."""
    if kind == "managed_identity" or issubclass(cls, JSONDecodeError):
        return issubclass(cls, ManagedIdentityError)
    if place == "get":
        return issubclass(cls, ValueError)
    return cls is ValueError or issubclass(cls, ManagedIdentityError)


class _Found:
    status_code = 200
    headers = {}  # noqa: RUF012 - a stub
    text = (
        '{"issuer": "https://login.test/t/v2.0", "token_endpoint": "https://login.test/t/token",'
        ' "authorization_endpoint": "https://login.test/t/authorize"}'
    )
