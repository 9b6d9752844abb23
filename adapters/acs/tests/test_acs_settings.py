"""The keys of `[providers.acs]`, and the messages about wrong ones."""

from itertools import combinations
from pathlib import Path

import pytest
from support.entra import FixedCredential
from transferkit_acs import AcsSettings, ApiVersion
from transferkit_acs.settings import ConnectionString

from transferkit.config import load_config
from transferkit.errors import ConfigError
from transferkit.provider.secret import Secret

KEY = "a2V5"


@pytest.mark.parametrize(
    "text",
    [
        f"endpoint=https://contoso.communication.azure.com/;accesskey={KEY}",
        f"accesskey={KEY};endpoint=https://contoso.communication.azure.com",
        f"Endpoint=contoso.communication.azure.com ; AccessKey={KEY};",
    ],
)
def test_a_connection_string_is_read_in_any_order(text):
    read = ConnectionString.read(text, key="k")
    assert read == ConnectionString(endpoint="https://contoso.communication.azure.com", access_key=KEY)
    assert KEY not in repr(read)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"accesskey={KEY}",
        "endpoint=https://a.example",
        "endpoint=https://a.example;accesskey=%",
    ],
)
def test_an_unusable_connection_string_is_named_and_not_shown(text):
    with pytest.raises(ConfigError) as caught:
        ConnectionString.read(text, key="providers.acs.connection_string")
    assert caught.value.problems[0].field == "providers.acs.connection_string"
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ({"api_version": "2019-01-01"}, "2019-01-01"),
        ({"endpoint": "contoso"}, "endpoint"),
        ({"endpoint": "ftp://a.example"}, "endpoint"),
        ({"authority": "http://login.example"}, "authority"),
        ({"authority": "https://proxy.example/entra", "tenant_id": "t"}, "authority: expected no path but"),
        ({"authority": "https://proxy.example/entra/t", "tenant_id": "t"}, "authority: expected no path but"),
        ({"authority": "https://proxy.example/entra", "eventgrid_tenant_id": "t"}, "authority: expected no"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"connection_string": Secret(value="x"), "client_id": "c"}, "connection_string"),
        ({"endpoint": "http://a.example", "client_id": "c"}, "endpoint"),
    ],
)
def test_wrong_settings_name_the_key(table, name):
    with pytest.raises(ValueError, match=name):
        AcsSettings(**table)


SECRET = Secret(value="x")


def test_every_contradiction_of_credentials_is_named_at_once():
    with pytest.raises(ValueError, match="only one") as caught:
        AcsSettings(
            connection_string=SECRET,
            client_secret=SECRET,
            certificate_password=SECRET,
            managed_identity="",
            tenant_id="t1",
            endpoint="http://a.example",
        )
    assert str(caught.value).split("; ") == [
        "connection_string and client_secret and managed_identity: only one of them may be given",
        "certificate_password: needs certificate",
        'managed_identity: expected "system" or a client id',
        "tenant_id: not beside connection_string",
        "tenant_id: not beside managed_identity",
        "endpoint: a token of Entra is sent over https only",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        combinations(
            [
                "connection_string",
                "client_secret",
                "certificate",
                "client_assertion",
                "managed_identity",
                "credential",
            ],
            2,
        )
    ),
)
def test_there_is_one_kind_of_credential(first, second):
    values = {"managed_identity": "system", "credential": FixedCredential()}
    for name in (first, second):
        AcsSettings(**{name: values.get(name, SECRET)})
    with pytest.raises(ValueError, match=f"{first} and {second}: only one"):
        AcsSettings(**{name: values.get(name, SECRET) for name in (first, second)})


def test_every_key_is_read_from_a_configuration(tmp_path):
    (tmp_path / "bot.pem").write_text("a certificate")
    table = {"managed_identity": "system", "endpoint": "https://a.example"}
    config = load_config({"providers": {"acs": table}})
    assert config.providers["acs"].managed_identity == "system"
    table = {"certificate": {"file": str(tmp_path / "bot.pem")}, "certificate_password": {"env": "NOT_SET"}}
    settings = load_config({"providers": {"acs": table}}).providers["acs"]
    assert settings.certificate.resolve() == "a certificate"
    assert settings.certificate_password.key == "providers.acs.certificate_password"


def test_the_newest_known_version_is_the_default():
    assert AcsSettings().api_version is ApiVersion.V2026_03_12 is max(ApiVersion)


@pytest.mark.parametrize(
    ("table", "endpoint"),
    [
        ({}, "https://resource.communication.azure.com"),
        ({"endpoint": "https://contoso.example/"}, "https://contoso.example"),
        (
            {"connection_string": Secret(value=f"endpoint=https://a.example/;accesskey={KEY}")},
            "https://a.example",
        ),
        ({"connection_string": Secret(value="broken")}, "https://resource.communication.azure.com"),
        ({"connection_string": Secret(env="NOT_SET")}, "https://resource.communication.azure.com"),
        ({"connection_string": Secret(file=Path("/none"))}, "https://resource.communication.azure.com"),
        (
            {"connection_string": Secret(env="NOT_SET"), "endpoint": "https://b.example"},
            "https://b.example",
        ),
    ],
)
def test_the_endpoint_is_known_without_resolving_a_secret(table, endpoint):
    assert AcsSettings(**table).shown_endpoint == endpoint
