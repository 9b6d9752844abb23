"""The configuration: where it is loaded from, strict validation, secrets and paths."""

import os
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from transferkit import AsyncClient, CallbackConfig, ConfigError, LifecycleConfig, Secret, load_config
from transferkit.config import GroupConfig, RetentionConfig
from transferkit.stores.consumer_groups import GroupStart

STUB = """
    from datetime import timedelta
    from enum import StrEnum
    from pathlib import Path
    from typing import Protocol, runtime_checkable

    from attrs import frozen
    from transferkit import Secret
    from transferkit.testing.fake import FakeAdapter


    class Shade(StrEnum):
        LIGHT = "light"
        DARK = "dark"


    @runtime_checkable
    class Closing(Protocol):
        def close(self): ...


    @frozen(kw_only=True)
    class Settings:
        resource: str
        key: Secret | None = None
        shade: Shade = Shade.LIGHT
        timeout: timedelta | None = None
        certificate: Path | None = None
        tenants: tuple[str, ...] = ()
        port: int | None = None
        ratio: float = 1.0
        loud: bool = False
        connection: Closing | None = None

        def __attrs_post_init__(self):
            if self.loud and self.ratio < 0:
                raise ValueError(f"ratio: {self.ratio} is not loud, {self.resource}")


    class Stub(FakeAdapter):
        name = "stub"
        settings_class = Settings

        def __init__(self, settings, *, clock=None):
            super().__init__(clock=clock)
            self.settings = settings
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The machine's own TRANSFERKIT_* variables are not set."""
    for name in list(os.environ):
        if name.startswith("TRANSFERKIT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def stub(install_adapter):
    """An installed adapter named `stub`, whose settings have a field of every type."""
    install_adapter("stub", STUB)


def problems(source=None):
    with pytest.raises(ConfigError) as raised:
        load_config(source)
    return {problem.field: problem for problem in raised.value.problems}


# --- sources -------------------------------------------------------------------------


def test_a_dict_is_loaded_with_defaults_for_what_it_leaves_out():
    config = load_config({"provider": "fake", "providers": {"fake": {}}})
    assert config.provider == "fake"
    assert config.store == "memory:"
    assert config.callbacks == CallbackConfig()
    assert config.lifecycle == LifecycleConfig()


def test_a_toml_file_is_loaded(tmp_path):
    path = tmp_path / "transferkit.toml"
    path.write_text(
        dedent(
            """
            provider = "fake"
            store = "memory:"

            [callbacks]
            public_url = "https://app.contoso.com/callbacks"
            max_body_bytes = 1000

            [lifecycle]
            grace = 2.5
            max_attempts = 3

            [providers.fake]
            """
        ),
        encoding="utf-8",
    )
    for source in (path, str(path)):
        config = load_config(source)
        assert config.callbacks.public_url == "https://app.contoso.com/callbacks"
        assert config.callbacks.max_body_bytes == 1000
        assert config.lifecycle.grace == timedelta(seconds=2.5)
        assert config.lifecycle.max_attempts == 3
        assert config.source == str(path)
        assert config.base == tmp_path


def test_variables_are_loaded(stub, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "stub")
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS__ACCEPT_UNVERIFIED", "true")
    monkeypatch.setenv("TRANSFERKIT_LIFECYCLE__GRACE", "2.5")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__RESOURCE", "r-1")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__PORT", "8080")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__TENANTS", "one, two")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__SHADE", "dark")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__KEY__ENV", "STUB_KEY")
    monkeypatch.setenv("STUB_KEY", "xyzzy")
    config = load_config()
    settings = config.providers["stub"]
    assert config.callbacks.accept_unverified is True
    assert config.lifecycle.grace == timedelta(seconds=2.5)
    assert (settings.resource, settings.port, settings.tenants) == ("r-1", 8080, ("one", "two"))
    assert repr(settings.shade) == "<Shade.DARK: 'dark'>"
    assert settings.key.resolve() == "xyzzy"


def test_a_number_in_a_variable_is_text_if_the_key_accepts_text(stub, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__RESOURCE", "42")
    assert load_config().providers["stub"].resource == "42"


def test_a_variable_names_a_file_and_other_variables_override_it(stub, tmp_path, monkeypatch):
    path = tmp_path / "transferkit.toml"
    path.write_text(
        '[providers.stub]\nresource = "file"\nport = 1\n[callbacks]\nmax_body_bytes = 7\n', encoding="utf-8"
    )
    monkeypatch.setenv("TRANSFERKIT_CONFIG", str(path))
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__RESOURCE", "variable")
    config = load_config()
    assert config.providers["stub"].resource == "variable"
    assert config.providers["stub"].port == 1
    assert config.callbacks.max_body_bytes == 7
    assert config.base == tmp_path


def test_variables_are_ignored_beside_a_path_or_a_dict(tmp_path, monkeypatch):
    path = tmp_path / "transferkit.toml"
    path.write_text('provider = "fake"\n', encoding="utf-8")
    monkeypatch.setenv("TRANSFERKIT_STORE", "sqlite:///variable.db")
    assert load_config(path).store == "memory:"
    assert load_config({"provider": "fake"}).store == "memory:"


@pytest.mark.parametrize("make", [load_config, AsyncClient.from_config])
def test_another_source_raises_type_error(make):
    with pytest.raises(TypeError, match=r"configuration: expected a file's path, a dict, or None .*got int"):
        make(123)


def test_a_variable_for_a_table_beside_one_for_its_key_is_a_problem(monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS", "x")
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS__PUBLIC_URL", "https://x")
    assert any(field.startswith("callbacks") for field in problems())


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path, name):
    found = problems(tmp_path / name)
    assert "cannot be read" in found["file"].message


@pytest.mark.parametrize("content", [b"provider = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_a_problem(tmp_path, content):
    (tmp_path / "transferkit.toml").write_bytes(content)
    assert "is not TOML" in problems(tmp_path / "transferkit.toml")["file"].message


def test_loading_resolves_no_secret(stub):
    config = load_config({"providers": {"stub": {"resource": "r", "key": {"env": "NO_SUCH_VARIABLE"}}}})
    AsyncClient(config)
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        config.providers["stub"].key.resolve()


# --- the default provider ---------------------------------------------------------------------------


def test_the_only_provider_is_the_default_one():
    assert load_config({"providers": {"fake": {}}}).provider == "fake"


def test_one_of_several_providers_must_be_named(stub):
    tables = {"fake": {}, "stub": {"resource": "r"}}
    found = problems({"providers": tables})
    assert found.keys() == {"provider"}
    assert "missing" in found["provider"].message
    assert found["provider"].accepts == "fake, stub"
    assert load_config({"provider": "stub", "providers": tables}).provider == "stub"


def test_the_default_provider_must_be_configured():
    found = problems({"provider": "acs", "providers": {"fake": {}}})
    assert "'acs' has no [providers.acs] table" in found["provider"].message
    assert found["provider"].accepts == "fake"


def test_an_empty_configuration_lacks_a_provider():
    assert problems({}).keys() == {"provider"}


@pytest.mark.parametrize("named", [None, ""])
def test_without_any_configuration_the_problem_says_how_to_name_a_file(monkeypatch, named):
    if named is not None:
        monkeypatch.setenv("TRANSFERKIT_CONFIG", named)
    (problem,) = problems().values()
    for way in ("--config FILE", "TRANSFERKIT_CONFIG=FILE", "from_config(PATH)"):
        assert way in problem.message
    monkeypatch.setenv("TRANSFERKIT_STORE", "memory:")
    assert problems().keys() == {"provider"}


# --- strictness -------------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once(stub):
    found = problems(
        {
            "provder": "fake",
            "store": 5,
            "callbacks": {"public_ur": "x", "accept_unverified": "yes"},
            "lifecycle": {"grace": -1, "max_attempts": 1.5},
            "groups": {"start": "end", "lease": 0, "max_attempts": 0},
            "providers": {
                "stub": {"shade": "grey", "port": "80", "resorce": "r", "tenants": "one"},
                "carrier-pigeon": {},
            },
        }
    )
    assert found.keys() >= {
        "provder",
        "store",
        "callbacks.public_ur",
        "callbacks.accept_unverified",
        "lifecycle.grace",
        "lifecycle.max_attempts",
        "groups.start",
        "groups.lease",
        "groups.max_attempts",
        "providers.stub.shade",
        "providers.stub.port",
        "providers.stub.resorce",
        "providers.stub.resource",
        "providers.stub.tenants",
        "providers.carrier-pigeon",
    }


@pytest.mark.parametrize(
    ("table", "field", "message", "accepts"),
    [
        ({"provder": "fake"}, "provder", "not a known key", "provider, store, callbacks"),
        ({"callbacks": {"url": "x"}}, "callbacks.url", "not a known key", "public_url"),
        (
            {"callbacks": {"accept_unverified": "yes"}},
            "callbacks.accept_unverified",
            "'yes'",
            "true or false",
        ),
        ({"callbacks": {"accept_unverified": 1}}, "callbacks.accept_unverified", "1", "true or false"),
        ({"callbacks": {"max_body_bytes": "big"}}, "callbacks.max_body_bytes", "'big'", "whole number"),
        ({"callbacks": {"max_body_bytes": True}}, "callbacks.max_body_bytes", "True", "whole number"),
        ({"callbacks": {"max_body_bytes": 1.5}}, "callbacks.max_body_bytes", "1.5", "whole number"),
        ({"callbacks": {"public_url": 5}}, "callbacks.public_url", "5", "text"),
        ({"callbacks": 5}, "callbacks", "5 is not a table", "table"),
        ({"lifecycle": {"grace": -1}}, "lifecycle.grace", "-1", "seconds"),
        ({"lifecycle": {"grace": "5s"}}, "lifecycle.grace", "'5s'", "seconds"),
        ({"lifecycle": {"grace": float("nan")}}, "lifecycle.grace", "nan", "seconds"),
        ({"lifecycle": {"grace": float("inf")}}, "lifecycle.grace", "inf", "seconds"),
        ({"lifecycle": {"grace": 0}}, "lifecycle.grace", "0", "more than 0 and no more than a day"),
        ({"lifecycle": {"grace": 1e12}}, "lifecycle.grace", "1000000000000", "no more than a day"),
        ({"lifecycle": {"inspect_gap": 0}}, "lifecycle.inspect_gap", "0", "more than 0"),
        ({"lifecycle": {"inspect_gap": 90_000}}, "lifecycle.inspect_gap", "90000", "no more than a day"),
        ({"lifecycle": {"max_attempts": 0}}, "lifecycle.max_attempts", "0", "1 or more"),
        ({"lifecycle": {"max_attempts": -3}}, "lifecycle.max_attempts", "-3", "1 or more"),
        ({"lifecycle": {"lease": 0}}, "lifecycle.lease", "0", "from 1 to a day"),
        ({"lifecycle": {"lease": 0.5}}, "lifecycle.lease", "0.5", "from 1 to a day"),
        ({"lifecycle": {"lease": 86_401}}, "lifecycle.lease", "86401", "longer than a request takes"),
        ({"callbacks": {"max_body_bytes": 0}}, "callbacks.max_body_bytes", "0", "1 or more"),
        ({"callbacks": {"max_body_bytes": -1}}, "callbacks.max_body_bytes", "-1", "1 or more"),
        ({"callbacks": {"max_body_bytes": 10**30}}, "callbacks.max_body_bytes", "1000", "a billion"),
        ({"callbacks": {"body_timeout": 90_000}}, "callbacks.body_timeout", "90000", "no more than a day"),
        ({"callbacks": {"clock_skew": 1e9}}, "callbacks.clock_skew", "1000000000", "from 0 to an hour"),
        ({"callbacks": {"clock_skew": -1}}, "callbacks.clock_skew", "-1", "not negative"),
        ({"callbacks": {"key_cooldown": 90_000}}, "callbacks.key_cooldown", "90000", "no more than a day"),
        ({"callbacks": {"public_url": ""}}, "callbacks.public_url", "''", "not empty"),
        ({"groups": {"start": "end"}}, "groups.start", "'end'", "beginning, now"),
        ({"groups": {"start": 5}}, "groups.start", "5", "beginning, now"),
        ({"groups": {"lease": 0}}, "groups.lease", "0", "more than 0"),
        ({"groups": {"lease": "x"}}, "groups.lease", "'x'", "seconds"),
        ({"groups": {"max_attempts": 0}}, "groups.max_attempts", "0", "1 or more"),
        ({"groups": {"lease": 1e6}}, "groups.lease", "1000000", "no more than a day"),
        ({"groups": {"max_attempts": 10**30}}, "groups.max_attempts", "1000", "a billion"),
        ({"groups": {"max_attempts": 1.5}}, "groups.max_attempts", "1.5", "whole number"),
        ({"groups": {"name": "crm"}}, "groups.name", "not a known key", "start, lease, max_attempts"),
        ({"retention": {"age": 0}}, "retention.age", "0", "more than 0"),
        ({"retention": {"group_idle": -1}}, "retention.group_idle", "-1", "seconds"),
        ({"retention": {"every": 1e13}}, "retention.every", "10000000000000", "a century"),
        ({"retention": {"every": 10**400}}, "retention.every", "1000", "seconds"),
        ({"retention": {"every": 0.5}}, "retention.every", "0.5", "from 1 to a century"),
        ({"store": 5}, "store", "is a int, not text", "memory:"),
        ({"store": "sqlite:///x.db?timeout=30"}, "store", "?busy_timeout=SECONDS", "sqlite:///FILE"),
        ({"store": "sqlite:///x.db?"}, "store", "write %3F", "sqlite:///FILE"),
        ({"store": "sqlite:///x.db?busy_timeout=soon"}, "store", "seconds from 0 to 3600", "sqlite:///FILE"),
        ({"store": "sqlite:///x.db?busy_timeout=-1"}, "store", "seconds from 0 to 3600", "sqlite:///FILE"),
        ({"store": "sqlite:///?busy_timeout=1"}, "store", "names no file", "sqlite:///FILE"),
        ({"store": "sqlite:///x.db#1"}, "store", "write %23", "sqlite:///FILE"),
        ({"store": "sqlite://t.db"}, "store", "three slashes before a relative file", "sqlite:///FILE"),
        ({"store": "sqlite:t.db"}, "store", "sqlite:///t.db", "sqlite:///FILE"),
        ({"store": "sqlite:"}, "store", "names no file", "sqlite:///FILE"),
        ({"callback": {}}, "callback", "did you mean callbacks?", "callbacks"),
        ({"callbacks": {"publicUrl": "x"}}, "callbacks.publicUrl", "did you mean public_url?", "public_url"),
        ({"groups": {"max-attempts": 3}}, "groups.max-attempts", "did you mean max_attempts?", "lease"),
        ({"provider": 5}, "provider", "5", "stub"),
        ({"providers": 5}, "providers", "5 is not a table", "[providers.NAME]"),
        ({"providers": {"stub": 5}}, "providers.stub", "5 is not a table", "table"),
        ({"providers": {"stub": {}}}, "providers.stub.resource", "missing", "text"),
        ({"providers": {"stub": {"resource": 5}}}, "providers.stub.resource", "5", "text"),
        ({"providers": {"stub": {"resource": " "}}}, "providers.stub.resource", "' '", "not empty"),
        ({"providers": {"stub": {"key": ""}}}, "providers.stub.key", "''", '{ env = "NAME" }'),
        ({"providers": {"stub": {"key": {"env": ""}}}}, "providers.stub.key", "''", '{ env = "NAME" }'),
        ({"providers": {"stub": {"key": {"file": ""}}}}, "providers.stub.key", "''", '{ env = "NAME" }'),
        ({"providers": {"stub": {"certificate": ""}}}, "providers.stub.certificate", "''", "path"),
        ({"providers": {"stub": {"tenants": []}}}, "providers.stub.tenants", "[]", "one or more"),
        ({"providers": {"stub": {"tenants": ["a", ""]}}}, "providers.stub.tenants", "''", "not empty"),
        ({"providers": {"stub": {"shade": "grey"}}}, "providers.stub.shade", "'grey'", "light, dark"),
        ({"providers": {"stub": {"tenants": "one"}}}, "providers.stub.tenants", "'one'", "list of text"),
        ({"providers": {"stub": {"tenants": [1]}}}, "providers.stub.tenants", "1", "text"),
        ({"providers": {"stub": {"port": "80"}}}, "providers.stub.port", "'80'", "whole number"),
        ({"providers": {"stub": {"certificate": 5}}}, "providers.stub.certificate", "5", "path"),
        ({"providers": {"stub": {"timeout": "x"}}}, "providers.stub.timeout", "'x'", "seconds"),
        (
            {"providers": {"stub": {"resourse": "r"}}},
            "providers.stub.resourse",
            "not a known key",
            "resource",
        ),
        ({"providers": {"stub": {"key": 5}}}, "providers.stub.key", "int", '{ env = "NAME" }'),
        ({"providers": {"stub": {"key": {"env": 5}}}}, "providers.stub.key", "dict", '{ env = "NAME" }'),
        ({"providers": {"stub": {"key": {"env": "A", "file": "b"}}}}, "providers.stub.key", "dict", "env"),
    ],
)
def test_a_problem_names_the_key_its_value_and_what_is_accepted(stub, table, field, message, accepts):
    found = problems({"providers": {"stub": {"resource": "r"}}, **table})
    assert message in found[field].message
    assert accepts in found[field].accepts


@pytest.mark.parametrize(
    "url",
    [
        "app.contoso.com/callbacks",
        "/callbacks",
        "ftp://app.contoso.com/callbacks",
        "https:///callbacks",
        "https://:443/callbacks",
        "https://[::1/callbacks",
        "https://app.contoso.com:99999/callbacks",
        "https://app.contoso.com/call backs",
        " https://app.contoso.com/callbacks",
        "https://app.contoso.com/callbacks\n",
        "https://äpp.contoso.com/callbacks",
        "https://app.contoso.com/callbacks?",
        "https://app.contoso.com/callbacks?case=s3cr3t",
        "https://app.contoso.com/callbacks#s3cr3t",
        "https://s3cr3t@app.contoso.com/callbacks",
        "https://me:s3cr3t@app.contoso.com/callbacks",
    ],
)
def test_a_public_url_that_no_path_can_be_added_to_is_refused_without_its_secret(url):
    found = problems({"provider": "fake", "callbacks": {"public_url": url}})["callbacks.public_url"]
    assert found.message.startswith("got ")
    assert "https://HOST/PATH" in found.accepts
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://app.contoso.com",
        "https://app.contoso.com/callbacks",
        "HTTPS://APP.contoso.com:8443/callbacks/",
        "http://127.0.0.1:8000/callbacks",
        "http://[::1]:8000",
        "http://app:8000/callbacks",
    ],
)
def test_a_public_url_may_be_http_for_emulators(url):
    assert load_config({"provider": "fake", "callbacks": {"public_url": url}}).callbacks.public_url == url


def test_the_limits_of_every_key_are_accepted():
    day, century = timedelta(days=1), timedelta(days=36_500)
    data = {
        "provider": "fake",
        "callbacks": {"max_body_bytes": 1, "body_timeout": 0.01, "clock_skew": 0, "key_cooldown": 86_400},
        "lifecycle": {"grace": 86_400, "inspect_gap": 0.01, "max_attempts": 1, "lease": 1},
        "groups": {"lease": 86_400, "max_attempts": 10**9},
        "retention": {"age": 36_500 * 86_400, "group_idle": 0.01, "every": 1},
    }
    config = load_config(data)
    assert config.callbacks.clock_skew == timedelta(0)
    assert (config.lifecycle.grace, config.lifecycle.lease) == (day, timedelta(seconds=1))
    assert (config.groups.max_attempts, config.retention.age) == (10**9, century)


def test_an_empty_variable_is_a_problem(stub, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__RESOURCE", "")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__TENANTS", " , ")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__KEY__ENV", "")
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS__PUBLIC_URL", "")
    assert problems().keys() >= {
        "providers.stub.resource",
        "providers.stub.tenants",
        "providers.stub.key",
        "callbacks.public_url",
    }


def test_a_variable_must_contain_what_its_key_accepts(stub, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__RESOURCE", "r")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__STUB__PORT", "eighty")
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS__ACCEPT_UNVERIFIED", "maybe")
    found = problems()
    assert "'eighty'" in found["providers.stub.port"].message
    assert "'maybe'" in found["callbacks.accept_unverified"].message


def test_the_error_names_the_source_and_lists_every_problem(tmp_path):
    path = tmp_path / "transferkit.toml"
    path.write_text("store = 5\nprovider = 6\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    first, *lines = str(raised.value).splitlines()
    assert str(path) in first
    assert len(lines) == len(raised.value.problems) == 2


def test_an_error_of_an_adapters_settings_class_is_one_of_the_problems(stub, planted):
    settings = {"resource": planted.number, "loud": True, "ratio": -1}
    found = problems({"lifecycle": {"lease": 0}, "providers": {"stub": settings}})
    assert found.keys() == {"lifecycle.lease", "providers.stub"}
    assert found["providers.stub"].message == "ratio: -1.0 is not loud, +*********42"


def test_an_object_from_python_must_have_the_methods_of_its_type(stub, tmp_path):
    with (tmp_path / "log.txt").open("w") as file:
        table = {"resource": "r", "connection": file}
        assert load_config({"providers": {"stub": table}}).providers["stub"].connection is file
    found = problems({"providers": {"stub": {"resource": "r", "connection": "s3cr3t"}}})
    problem = found["providers.stub.connection"]
    assert problem.message == "a str is not accepted"
    assert problem.accepts == "a Closing object, from Python only"


def test_an_unknown_default_provider_without_a_table_is_a_problem():
    assert "'nobody' has no [providers.nobody] table" in problems({"provider": "nobody"})["provider"].message


def test_a_missing_adapter_is_one_of_the_problems():
    found = problems({"provider": "carrier-pigeon", "providers": {"carrier-pigeon": {}}})
    assert found.keys() == {"providers.carrier-pigeon"}
    assert "fake" in found["providers.carrier-pigeon"].accepts


def test_a_whole_number_is_accepted_for_a_number(stub):
    settings = load_config({"providers": {"stub": {"resource": "r", "ratio": 2, "timeout": 3}}}).providers[
        "stub"
    ]
    assert settings.ratio == 2.0
    assert settings.timeout == timedelta(seconds=3)


def test_a_store_of_an_unknown_kind_is_refused_without_showing_a_password():
    found = problems({"store": "punchcards://me:pass-phrase@drawer", "provider": "fake"})
    assert "punchcards" in found["store"].message
    assert "pass-phrase" not in str(found["store"])
    assert "memory:" in str(found["store"])


def test_groups_and_retention_have_defaults():
    config = load_config({"provider": "fake"})
    assert config.groups == GroupConfig(
        start=GroupStart.BEGINNING, lease=timedelta(seconds=30), max_attempts=5
    )
    assert config.retention == RetentionConfig(
        age=timedelta(days=30), group_idle=timedelta(days=30), every=timedelta(hours=1)
    )


def test_groups_and_retention_can_be_set(monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_GROUPS__START", "now")
    monkeypatch.setenv("TRANSFERKIT_GROUPS__LEASE", "0.5")
    monkeypatch.setenv("TRANSFERKIT_GROUPS__MAX_ATTEMPTS", "1")
    monkeypatch.setenv("TRANSFERKIT_RETENTION__AGE", "86400")
    config = load_config()
    assert config.groups == GroupConfig(start=GroupStart.NOW, lease=timedelta(seconds=0.5), max_attempts=1)
    assert config.retention.age == timedelta(days=1)


# --- secrets and paths ------------------------------------------------------------------------------


def test_a_secret_is_text_a_variable_or_a_file(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_KEY", "from env")
    (tmp_path / "key.txt").write_text("from file\n", encoding="utf-8")
    path = tmp_path / "transferkit.toml"
    for given, secret in (
        ('"outright"', "outright"),
        ('{ env = "STUB_KEY" }', "from env"),
        ('{ file = "key.txt" }', "from file"),
    ):
        path.write_text(f'[providers.stub]\nresource = "r"\nkey = {given}\n', encoding="utf-8")
        key = load_config(path).providers["stub"].key
        assert isinstance(key, Secret)
        assert key.resolve() == secret


def test_an_error_of_a_secret_names_its_key(stub):
    config = load_config({"providers": {"stub": {"resource": "r", "key": {"file": "/no/such/file"}}}})
    with pytest.raises(ConfigError, match=r"providers\.stub\.key: .*/no/such/file"):
        config.providers["stub"].key.resolve()


def test_relative_paths_are_relative_to_the_configuration_file(stub, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = elsewhere / "transferkit.toml"
    path.write_text('[providers.stub]\nresource = "r"\ncertificate = "cert.pem"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for source in (path, "elsewhere/transferkit.toml"):
        assert load_config(source).providers["stub"].certificate == elsewhere / "cert.pem"


def test_without_a_file_relative_paths_are_relative_to_the_working_directory(stub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {"resource": "r", "certificate": "cert.pem"}
    assert load_config({"providers": {"stub": table}}).providers["stub"].certificate == tmp_path / "cert.pem"
    absolute = load_config({"providers": {"stub": {**table, "certificate": "/etc/cert.pem"}}})
    assert absolute.providers["stub"].certificate == Path("/etc/cert.pem")


def test_a_configuration_does_not_show_its_secrets(stub, planted):
    config = load_config({"providers": {"stub": {"resource": "r", "key": planted.client_secret}}})
    assert config.providers["stub"].key.resolve() == planted.client_secret
    assert not planted.shown_in(f"{config!r} {config} {config.providers!r} {config.providers['stub']!r}")
    assert not planted.shown_in(vars(AsyncClient(config)))


@pytest.mark.parametrize(
    "wrong", [lambda s: [s], lambda s: {"value": s}, lambda s: {"env": [s]}, lambda s: {s: s}]
)
def test_a_problem_does_not_show_a_secret(stub, planted, wrong):
    with pytest.raises(ConfigError) as raised:
        load_config({"providers": {"stub": {"key": wrong(planted.client_secret), "port": planted.number}}})
    assert "providers.stub.key" in str(raised.value)
    assert not planted.shown_in(f"{raised.value} {raised.value!r}")
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_a_settings_field_of_another_type_raises_type_error(install_adapter):
    install_adapter("stub", STUB.replace("port: int", "port: complex"))
    with pytest.raises(TypeError, match="complex"):
        load_config({"providers": {"stub": {"resource": "r", "port": 1}}})


def test_a_key_with_the_value_none_counts_as_missing():
    config = load_config({"provider": "fake", "callbacks": {"public_url": None}})
    assert config.callbacks.public_url is None


def test_a_variable_does_not_replace_a_table_that_other_variables_fill(monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_CALLBACKS__MAX_BODY_BYTES", "7")
    monkeypatch.setenv("TRANSFERKIT_callbacks", "not a table")
    assert load_config().callbacks.max_body_bytes == 7


@pytest.mark.parametrize("text", ["max_attempts = " + "9" * 5000, "a = " + "[" * 30_000, "a = \xff"])
def test_a_file_that_python_cannot_read_is_a_configuration_error(tmp_path, text):
    file = tmp_path / "transferkit.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(file)
