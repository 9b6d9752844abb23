"""Fixtures of the tests of tokens: settings, and a token authority over TLS."""

import contextlib

import pytest
import trustme
from attrs import frozen
from support.entra import Authority
from transferkit_microsoft.settings import EntraSettings
from transferkit_microsoft.tokens import Tokens

from transferkit.provider.secret import Secret
from transferkit.testing.server import serve

SECRET = {"tenant_id": "t1", "client_id": "c1", "client_secret": "entra-secret"}


@frozen(kw_only=True)
class Settings(EntraSettings):
    table = "providers.test"


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory):
    """Trust one authority, not all public ones, which no test needs and which take long to load."""
    file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture
def settings_of():
    """Makes settings, from texts for secrets; by default of an application with a client secret."""

    def make(**given):
        given = given or SECRET
        secrets = ("client_secret", "certificate", "certificate_password", "client_assertion")
        made = {
            name: Secret(key=f"providers.test.{name}", value=value)
            for name, value in given.items()
            if name in secrets and isinstance(value, str)
        }
        return Settings(**{**given, **made})

    return make


@pytest.fixture
async def tokens_of(settings_of):
    """Makes `Tokens` of settings, and closes them at the end."""
    made = []

    def make(**given):
        made.append(Tokens(settings_of(**given)))
        return made[-1]

    yield make
    for tokens in made:
        await tokens.aclose()


@pytest.fixture
async def authority():
    """An `Authority` over TLS; `settings` leads to it."""
    made = Authority()
    async with serve(made, tls=True) as server:
        yield made, {"authority": server.url, "ca_file": server.ca_file}


@pytest.fixture
def machine(monkeypatch):
    """Serves an `Authority` as the endpoint of the machine that gives tokens to managed identities."""

    @contextlib.asynccontextmanager
    async def run(**given):
        made = Authority(**given)
        async with serve(made) as server:
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", "a-header")
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            yield made

    return run
