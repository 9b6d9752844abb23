"""Credential objects of the application: azure-core's `TokenCredential` and `AsyncTokenCredential`."""

import asyncio
import threading
import time
from typing import ClassVar

import pytest
from transferkit_microsoft.credentials import Token, TokenCredential

from transferkit.config import load_config
from transferkit.errors import ConfigError
from transferkit.events import Basis
from transferkit.events import FailureReason as Reason
from transferkit.provider.results import NotSent, Rejected

azure = pytest.importorskip("azure.core.exceptions")
from azure.core.credentials import AccessToken  # noqa: E402 - after the check that it is installed

SCOPE = "https://service.test/.default"


class SyncCredential:
    """A `TokenCredential`."""

    error: ClassVar[Exception | None] = None

    def __init__(self, life=3600):
        self.life = life
        self.queries = []
        self.threads = []
        self.closed = False

    def get_token(self, *scopes, **options):
        self.queries.append((scopes, options))
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error
        return AccessToken(f"token {len(self.queries)}", int(time.time()) + self.life)

    def close(self):
        self.closed = True


class AsyncCredential(SyncCredential):
    """An `AsyncTokenCredential`."""

    async def get_token(self, *scopes, **options):
        await asyncio.sleep(0)
        return super().get_token(*scopes, **options)


class WrappedCredential(SyncCredential):
    """Returns an awaitable from a plain function, as a decorated asynchronous credential does."""

    def get_token(self, *scopes, **options):
        async def later():
            return SyncCredential.get_token(self, *scopes, **options)

        return later()


@pytest.mark.parametrize("cls", [SyncCredential, AsyncCredential, WrappedCredential])
async def test_a_credential_object_gives_the_token_and_stays_open(tokens_of, cls):
    credential = cls()
    getter = tokens_of(credential=credential)
    found = await asyncio.gather(*(getter.get(SCOPE) for _ in range(3)))
    await getter.aclose()
    assert {each.value for each in found} == {"token 1"}
    assert credential.queries == [((SCOPE,), {})]
    assert (credential.threads == [threading.main_thread()]) is (cls is not SyncCredential)
    assert not credential.closed


async def test_a_credential_object_receives_the_tenant_and_the_claims(tokens_of):
    credential = SyncCredential()
    getter = tokens_of(credential=credential, tenant_id="t1")
    for tenant, claims in ((None, None), ("t2", None), ("t2", "{}")):
        await getter.get(SCOPE, tenant, claims=claims)
    assert [options for _, options in credential.queries] == [
        {"tenant_id": "t1"},
        {"tenant_id": "t2"},
        {"tenant_id": "t2", "claims": "{}"},
    ]


async def test_a_token_that_expires_soon_is_fetched_again(tokens_of):
    getter = tokens_of(credential=SyncCredential(life=60))
    assert [(await getter.get(SCOPE)).value for _ in range(2)] == ["token 1", "token 2"]


class Response:
    reason = "because"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, status):
        self.status_code = status

    def text(self):
        return ""


def caused(error, cause):
    error.__cause__ = cause
    return error


AUTH = azure.ClientAuthenticationError


@pytest.mark.parametrize(
    ("error", "kind", "reason", "basis"),
    [
        (AUTH(message="AADSTS1: no"), Rejected, Reason.UNAUTHORIZED, Basis.LOCAL),
        (AUTH(message="AADSTS1: no", response=Response(401)), Rejected, Reason.UNAUTHORIZED, Basis.STATED),
        (AUTH(message="busy", response=Response(429)), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
        (AUTH(message="busy", response=Response(503)), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
        (caused(AUTH(message="failed"), azure.ServiceRequestError("no route")), NotSent,
         Reason.PROVIDER_ERROR, Basis.LOCAL),
        (azure.HttpResponseError(message="no", response=Response(400)), Rejected, Reason.UNAUTHORIZED,
         Basis.STATED),
        (azure.HttpResponseError(message="no", response=Response(500)), NotSent, Reason.PROVIDER_ERROR,
         Basis.LOCAL),
        (azure.ServiceRequestError("no route"), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
        (azure.ServiceResponseError("broken"), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
        (azure.ServiceRequestTimeoutError("late"), NotSent, Reason.TIMEOUT, Basis.LOCAL),
        (ValueError("invalid tenant id"), Rejected, Reason.UNAUTHORIZED, Basis.LOCAL),
        (TypeError("unexpected keyword argument"), Rejected, Reason.UNAUTHORIZED, Basis.LOCAL),
        (OSError("no"), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
        (RuntimeError("broken"), NotSent, Reason.PROVIDER_ERROR, Basis.LOCAL),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)  # fmt: skip
@pytest.mark.parametrize("cls", [SyncCredential, AsyncCredential])
async def test_the_exception_of_a_credential_decides_whether_to_retry(
    tokens_of, cls, error, kind, reason, basis
):
    credential = cls()
    credential.error = error
    answer = await tokens_of(credential=credential).get(SCOPE)
    assert type(answer) is kind
    assert (answer.result.reason, answer.result.basis) == (reason, basis)
    assert answer.result.message
    assert answer.result.advice
    assert kind is NotSent or "providers.test.credential" in answer.result.advice


async def test_causes_in_a_circle_are_read_once(tokens_of):
    first, second = AUTH(message="AADSTS1: no"), RuntimeError("no")
    credential = SyncCredential()
    credential.error = caused(first, caused(second, first))
    answer = await tokens_of(credential=credential).get(SCOPE)
    assert isinstance(answer, Rejected)
    assert answer.result.message == "AADSTS1: no"
    credential.error = caused(first, first)
    assert isinstance(await tokens_of(credential=credential).get(SCOPE), Rejected)


async def test_an_exception_that_quotes_a_password_does_not_show_it(tokens_of):
    credential = SyncCredential()
    credential.error = AUTH(message="https://user:pass-word@proxy.test client_secret=s3cret")
    answer = await tokens_of(credential=credential).get(SCOPE)
    assert "pass-word" not in answer.result.message
    assert "s3cret" not in answer.result.message


async def test_the_message_of_a_credential_is_one_line(tokens_of):
    credential = SyncCredential()
    credential.error = AUTH(message="failed to retrieve a token.\n\tAttempted: …")
    answer = await tokens_of(credential=credential).get(SCOPE)
    assert answer.result.message == "failed to retrieve a token. Attempted: …"


async def test_a_credential_that_takes_too_long_leaves_the_request_unsent(tokens_of):
    class Hanging:
        queries = 0

        async def get_token(self, *_, **__):
            self.queries += 1
            await asyncio.Event().wait()

    credential = Hanging()
    getter = tokens_of(credential=credential, timeout=0.05)
    for _ in range(3):
        answer = await getter.get(SCOPE)
        assert isinstance(answer, NotSent)
        assert answer.result.reason is Reason.TIMEOUT
    assert credential.queries > 1, "a query that hangs does not serve all later requests"


async def test_a_thread_that_hangs_serves_all_requests(tokens_of):
    """Each thread takes a place in the event loop's executor, which also resolves host names."""

    class Hanging(SyncCredential):
        release = threading.Event()

        def get_token(self, *scopes, **options):
            found = super().get_token(*scopes, **options)
            self.release.wait(10)
            return found

    credential = Hanging()
    getter = tokens_of(credential=credential, timeout=0.05)
    try:
        for _ in range(3):
            answer = await getter.get(SCOPE)
            assert isinstance(answer, NotSent)
            assert answer.result.reason is Reason.TIMEOUT
        async with asyncio.timeout(5):
            await getter.aclose()
        assert isinstance(await getter.get(SCOPE), NotSent)
        assert len(credential.threads) == 1
    finally:
        credential.release.set()
    async with asyncio.timeout(5):
        while not isinstance(answer := await getter.get(SCOPE), Token):
            pass
    assert answer.value == "token 1"
    assert len(credential.threads) == 1


EXPIRY = 4_000_000_000


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "no text"),
        (AccessToken(None, EXPIRY), "no text"),
        (AccessToken("", EXPIRY), "no text"),
        (AccessToken(" ", EXPIRY), "no text"),
        (AccessToken(b"s3cret", EXPIRY), "no text"),
        (AccessToken("s3cret-\u00e9", EXPIRY), "no text"),
        (AccessToken("s3cret\r\nX-More: 1", EXPIRY), "no text"),
        (AccessToken("s3cret", None), "expires_on"),
        (AccessToken("s3cret", str(EXPIRY)), "expires_on"),
        (AccessToken("s3cret", float("nan")), "expires_on"),
        (AccessToken("s3cret", float("inf")), "expires_on"),
    ],
)
@pytest.mark.parametrize("cls", [SyncCredential, AsyncCredential])
async def test_what_is_no_access_token_is_rejected_and_not_shown(tokens_of, monkeypatch, cls, found, says):
    monkeypatch.setattr(SyncCredential, "get_token", lambda *_, **__: found)
    answer = await tokens_of(credential=cls()).get(SCOPE)
    assert isinstance(answer, Rejected)
    assert (answer.result.reason, answer.result.basis) == (Reason.UNAUTHORIZED, Basis.LOCAL)
    assert says in answer.result.message
    assert answer.result.advice == "Check the credential object in providers.test.credential."
    assert "s3cret" not in repr(answer)


async def test_a_time_of_expiry_with_a_fraction_is_accepted(tokens_of, monkeypatch):
    monkeypatch.setattr(SyncCredential, "get_token", lambda *_, **__: AccessToken("x", EXPIRY + 0.5))
    assert (await tokens_of(credential=SyncCredential()).get(SCOPE)).expires_on == EXPIRY


# --- in the configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "more"), [("graph", {"client_id": "c"}), ("acs", {"endpoint": "https://a.example"})]
)
def test_a_dict_configuration_takes_a_credential_object(provider, more):
    pytest.importorskip(f"transferkit_{provider}")
    credential = AsyncCredential()
    settings = load_config({"providers": {provider: {"credential": credential, **more}}}).providers[provider]
    assert settings.credential is credential
    assert "Credential" not in repr(settings)


@pytest.mark.parametrize("value", ["text", 5, SyncCredential, object()])
def test_a_value_that_is_not_a_credential_object_is_refused_by_name(value):
    pytest.importorskip("transferkit_graph")
    with pytest.raises(ConfigError, match=r"providers\.graph\.credential: .*TokenCredential object"):
        load_config({"providers": {"graph": {"credential": value}}})


def test_azure_core_s_protocols_fit_the_annotation():
    from azure.core.credentials_async import AsyncTokenCredential

    assert isinstance(SyncCredential(), TokenCredential)
    assert issubclass(AsyncTokenCredential, TokenCredential)
    assert not isinstance(Token("x", 1), TokenCredential)
