"""The keys of `[providers.graph]`, read strictly."""

import pytest
from transferkit_graph import GraphCloud, GraphSettings

from transferkit.config import load_config
from transferkit.errors import ConfigError
from transferkit.provider.secret import Secret

TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"


def read(table):
    return load_config({"providers": {"graph": table}}).providers["graph"]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """As if the distribution's entry point were there, installed or not."""
    from transferkit_graph import GraphAdapter

    from transferkit import config

    monkeypatch.setattr(config, "adapter_class", {"graph": GraphAdapter}.__getitem__)


def test_the_configuration_reads_every_key(tmp_path):
    settings = read(
        {
            "tenant_id": "t",
            "client_id": "c",
            "client_secret": {"env": "GRAPH_CLIENT_SECRET"},
            "cloud": "us-gov-l4",
            "api": "v1.0",
            "path": "applications",
            "app_id": "a",
            "body": "2018",
            "allowed_tenants": ["t", "u"],
            "base_url": "https://127.0.0.1:1",
            "authority": "https://127.0.0.1:1/t",
            "ca_file": str(tmp_path / "ca.pem"),
            "timeout": 5,
            "openid_url": "https://127.0.0.1:1/openid",
            "issuers": ["https://issuer.test"],
        }
    )
    assert settings.cloud is GraphCloud.US_GOV_L4
    assert settings.client_secret.key == "providers.graph.client_secret"
    assert (settings.timeout, settings.allowed_tenants) == (5.0, ("t", "u"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"cloud": "germany"}, "germany"),
        ({"api": "v2.0"}, "v2.0"),
        ({"path": "calls"}, "calls"),
        ({"body": "2019"}, "2019"),
        ({"path": "applications"}, "app_id: needed"),
        ({"timeout": 0}, "timeout: expected seconds"),
        ({"base_url": "graph.test"}, "base_url: expected an address"),
        ({"base_url": "https://graph.test:no"}, "base_url: expected an address"),
        ({"base_url": "http://graph.test"}, "base_url: a token is sent over https only"),
        ({"base_url": "http://10.0.0.7:8080"}, "base_url: a token is sent over https only"),
        ({"authority": "http://login.test/t"}, "authority: expected an address"),
        ({"authority": "https://proxy.test/entra"}, "authority: expected no path but a tenant"),
        ({"client": "c"}, "is not a known key"),
        ({"client_secret": "s", "certificate": "c"}, "client_secret and certificate: only one"),
        (
            {"client_secret": "s", "managed_identity": "system"},
            "client_secret and managed_identity: only one",
        ),
        ({"certificate": "c", "managed_identity": "system"}, "certificate and managed_identity: only one"),
        (
            {"client_secret": "s", "certificate": "c", "managed_identity": "system"},
            "client_secret and certificate and managed_identity: only one",
        ),
        ({"certificate_password": "p"}, "certificate_password: needs certificate"),
        ({"managed_identity": ""}, "providers.graph.managed_identity"),
        ({"managed_identity": True}, "providers.graph.managed_identity"),
    ],
)
def test_a_wrong_key_is_named(table, says):
    with pytest.raises(ConfigError) as caught:
        read(table)
    assert says in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"])
def test_an_emulator_on_this_machine_may_do_without_tls(url):
    assert GraphSettings(base_url=url).calls_url.startswith(url)


def test_every_contradiction_of_the_credentials_is_named_at_once():
    secrets = {"client_secret": Secret(value="s"), "certificate_password": Secret(value="p")}
    with pytest.raises(ValueError, match="only one") as caught:
        GraphSettings(**secrets, managed_identity="")
    for words in ("only one", "needs certificate", "expected"):
        assert words in str(caught.value)


def test_a_secret_has_the_name_of_its_key():
    settings = read({"certificate": {"env": "PEM"}, "certificate_password": {"env": "PASSWORD"}})
    assert settings.certificate.key == "providers.graph.certificate"
    assert settings.certificate_password.key == "providers.graph.certificate_password"


@pytest.mark.parametrize(
    ("settings", "authority", "scope"),
    [
        ({}, "https://login.microsoftonline.com/t1", "https://graph.microsoft.com/.default"),
        (
            {"cloud": "us-gov-l5"},
            "https://login.microsoftonline.us/t1",
            "https://dod-graph.microsoft.us/.default",
        ),
        (
            {"cloud": "china"},
            "https://login.chinacloudapi.cn/t1",
            "https://microsoftgraph.chinacloudapi.cn/.default",
        ),
        (
            {"authority": "https://127.0.0.1:9/home.test", "base_url": "https://127.0.0.1:9"},
            "https://127.0.0.1:9/t1",
            "https://graph.microsoft.com/.default",
        ),
    ],
)
def test_the_scope_is_that_of_the_cloud_and_the_authority_that_of_the_tenant(settings, authority, scope):
    chosen = GraphSettings(**settings)
    assert chosen.authority_of("t1") == authority
    assert chosen.scope == scope


@pytest.mark.parametrize(
    ("settings", "tenant"),
    [
        ({}, None),
        ({"tenant_id": "t"}, "t"),
        ({"authority": "https://login.test/home.test"}, "home.test"),
        ({"authority": f"https://login.test/{TENANT}/"}, TENANT),
        ({"authority": "https://login.test/home.test", "tenant_id": "t"}, "t"),
        ({"authority": "https://login.test/common", "tenant_id": "t"}, "t"),
        ({"authority": "https://login.test/t", "tenant_id": "t"}, "t"),
        ({"authority": "https://login.test"}, None),
    ],
)
def test_the_default_tenant_is_the_setting_else_the_tenant_of_the_authority(settings, tenant):
    assert GraphSettings(**settings).default_tenant == tenant
