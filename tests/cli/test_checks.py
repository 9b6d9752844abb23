"""The checks of `transferkit check`, with the fake provider and against the emulators."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from support.nats import BINARY, NatsServer

from transferkit import Secret
from transferkit._callbacks.verification.fetching import FetchError
from transferkit.cli.checks import run_checks
from transferkit.config import load_config
from transferkit.provider.adapter import CheckResult
from transferkit.provider.entry_points import EMULATORS, announced
from transferkit.provider.http import clock_skew
from transferkit.testing import CallbackSigner, FakeAdapter, ManualClock

PROVIDERS = [name for name in ("acs", "graph") if name in announced(EMULATORS)]
PUBLIC = "https://app.contoso.com/callbacks"
every_provider = pytest.mark.parametrize("provider", PROVIDERS)
graph_only = pytest.mark.skipif("graph" not in PROVIDERS, reason="transferkit-graph is not installed")
acs_only = pytest.mark.skipif("acs" not in PROVIDERS, reason="transferkit-acs is not installed")


@asynccontextmanager
async def emulated(provider):
    pytest.importorskip("starlette")
    from transferkit.emulators import emulators

    async with emulators(providers=[provider]) as running:
        yield running.running[provider], dict(running.tables[provider])


def configured(provider, table, *, store="memory:", callbacks=None):
    """A configuration. Its public URL is set without validation, so that any text can be checked."""
    callbacks = {"public_url": PUBLIC} if callbacks is None else dict(callbacks)
    url = callbacks.pop("public_url", None)
    config = load_config(
        {"provider": provider, "store": store, "callbacks": callbacks, "providers": {provider: table}}
    )
    return evolve(config, callbacks=evolve(config.callbacks, public_url=url))


async def checked(config, **more):
    """The results by name."""
    found = {}
    async for result in run_checks(config, **more):
        assert result.ok is not False or result.advice, f"{result} has no advice"
        found.setdefault(result.name, []).append(result)
    return found


def oks(found):
    return {name: [result.ok for result in results] for name, results in found.items()}


# --- providers --------------------------------------------------------------------------------------


@every_provider
async def test_every_check_passes_against_an_emulator(provider, tmp_path):
    async with emulated(provider) as (_, table):
        found = await checked(configured(provider, table, store=f"sqlite:////{tmp_path}/kept.db"))
    assert {ok for results in oks(found).values() for ok in results} == {True}
    expected = {"config", "secrets", "store", "callback url", "callbacks", "signing keys", "clock"}
    assert expected | {f"{provider} credentials"} <= set(found)


@every_provider
async def test_a_wrong_secret_fails_without_being_shown(provider, planted):
    async with emulated(provider) as (_, table):
        if provider == "acs":
            endpoint = table["connection_string"].partition(";")[0]
            table["connection_string"] = f"{endpoint};accesskey={planted.access_key}"
        else:
            table["client_secret"] = planted.client_secret
        found = await checked(configured(provider, table))
    (result,) = found[f"{provider} credentials"]
    assert result.ok is False
    assert not planted.shown_in(found)


@every_provider
async def test_a_provider_that_cannot_be_reached_fails(provider, unused_tcp_port):
    async with emulated(provider) as (_, table):
        gone = f"https://127.0.0.1:{unused_tcp_port}"
        if provider == "acs":
            table["endpoint"] = gone
        else:
            table["authority"] = f"{gone}/{table['tenant_id']}"
        found = await checked(configured(provider, table))
    (result,) = found[f"{provider} credentials"]
    assert result.ok is False
    assert "clock" not in found


@graph_only
async def test_credentials_fail_but_permissions_pass_if_only_the_api_cannot_be_reached(unused_tcp_port):
    async with emulated("graph") as (_, table):
        found = await checked(
            configured("graph", table | {"base_url": f"https://127.0.0.1:{unused_tcp_port}"})
        )
    assert oks(found)["graph credentials"] == [False]
    assert oks(found)["graph permissions"] == [True]


@graph_only
@pytest.mark.parametrize(
    ("granted", "settings", "ok", "message"),
    [
        ({"Calls.Initiate.All"}, {}, True, "Calls.Initiate.All"),
        ({"Calls.AccessMedia.All"}, {}, False, "it has Calls.AccessMedia.All"),
        (set(), {}, False, "has no permission"),
        ({"Calls.AudioVideo", "Calls.PSTN"}, {}, False, "lacks Calls.Initiate.All"),
        ({"Calls.AudioVideo", "Calls.PSTN"}, {"body": "2018"}, True, "Calls.AudioVideo, Calls.PSTN"),
        ({"Calls.AudioVideo"}, {"path": "app"}, None, "phone numbers are refused"),
        ({"Calls.PSTN"}, {"body": "2018"}, None, "people and bots are refused"),
        (set(), {"body": "2018"}, False, "lacks Calls.Initiate.All"),
    ],
)
async def test_the_permissions_of_a_token_are_checked(granted, settings, ok, message):
    async with emulated("graph") as (emulator, table):
        emulator.permissions = granted
        found = await checked(configured("graph", table | settings))
    (result,) = found["graph permissions"]
    assert result.ok is ok
    assert message in result.message


@graph_only
@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.bnVsbA.c", "a.eyJyb2xlcyI6MX0.c"])
def test_a_token_that_cannot_be_read_is_neither_good_nor_bad(token):
    from transferkit_graph.check import permitted
    from transferkit_graph.settings import GraphSettings

    assert permitted(token, GraphSettings()).ok is None


@graph_only
async def test_credentials_are_not_checked_if_the_tenant_is_that_of_each_call():
    table = {"client_id": "c", "client_secret": "s"}
    (result,) = (await checked(configured("graph", table), fetch=unreachable))["graph credentials"]
    assert result.ok is None
    assert "tenant" in result.message


@every_provider
@pytest.mark.parametrize("minutes", [7, -7])
async def test_a_clock_that_is_seven_minutes_off_fails(provider, minutes):
    async with emulated(provider) as (_, table):
        clock = ManualClock(datetime.now(UTC) + timedelta(minutes=minutes))
        found = await checked(configured(provider, table), clock=clock)
    (result,) = found["clock"]
    assert result.ok is False
    assert ("ahead of" if minutes > 0 else "behind") in result.message
    assert oks(found)[f"{provider} credentials"] == [True]


def test_the_clock_is_compared_with_the_date_header():
    now = datetime(2026, 5, 4, 9, 30, 5, tzinfo=UTC)
    assert clock_skew({"date": "Mon, 04 May 2026 09:30:00 GMT"}, now=now) == timedelta(seconds=5)
    assert clock_skew({"date": "Mon, 04 May 2026 09:31:05 GMT"}, now=now) == timedelta(minutes=-1)
    assert clock_skew({"date": "soon"}, now=now) is None
    assert clock_skew({}, now=now) is None


# --- keys -------------------------------------------------------------------------------------------


async def unreachable(url, *, ca_file=None, public=False):
    raise FetchError(f"{url} cannot be reached (ConnectError)")


async def broken(url, *, ca_file=None, public=False):
    raise RuntimeError("an application's own fetch")


async def empty(url, *, ca_file=None, public=False):
    return b'{"jwks_uri": "https://keys.contoso.com/keys"}' if "keys.c" not in url else b'{"keys": []}'


@every_provider
@pytest.mark.parametrize(
    ("fetch", "message"),
    [(unreachable, "cannot be reached"), (empty, "no RSA key"), (broken, "RuntimeError")],
)
async def test_missing_signing_keys_fail(provider, fetch, message):
    async with emulated(provider) as (_, table):
        found = await checked(configured(provider, table), fetch=fetch)
    (result,) = found["signing keys"]
    assert result.ok is False
    assert message in result.message
    assert oks(found)[f"{provider} credentials"] == [True]


@acs_only
async def test_a_key_document_that_two_paths_share_is_fetched_once():
    signer = CallbackSigner(issuer="https://signer.contoso.com")
    fetched = []

    async def fetch(url, *, ca_file=None, public=False):
        fetched.append(url)
        return await signer.fetch(url)

    same = "https://signer.contoso.com/openid"
    table = {
        "resource_id": "r", "openid_url": same, "eventgrid_openid_url": same, "eventgrid_audience": "a",
        "eventgrid_issuers": ["i"],
    }  # fmt: skip
    found = await checked(configured("acs", table), fetch=fetch)
    assert oks(found)["signing keys"] == [True]
    assert fetched.count(same) == 1


@acs_only
async def test_a_path_that_cannot_be_verified_fails_and_names_the_setting():
    found = await checked(configured("acs", {}), offline=True)
    calls, eventgrid = found["callbacks"]
    assert (calls.ok, eventgrid.ok) == (False, None)
    assert "/acs refuses every callback" in calls.message
    assert "resource_id" in calls.advice
    assert "eventgrid_secret" in eventgrid.advice


@every_provider
async def test_unverified_callbacks_fail(provider):
    callbacks = {"public_url": PUBLIC, "accept_unverified": True}
    found = await checked(configured(provider, {}, callbacks=callbacks), offline=True)
    assert oks(found)["callbacks"] == [False]


# --- the callback url -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "ok", "message"),
    [
        (None, None, "not set"),
        ("https://app.contoso.com", True, "app.contoso.com"),
        ("https://app.contoso.com:8443/deep/callbacks/", True, "not tested"),
        ("https://20.50.1.1/callbacks", True, "20.50.1.1"),
        ("http://app.contoso.com/callbacks", False, "not https"),
        ("app.contoso.com/callbacks", False, "not https"),
        ("https:///callbacks", False, "no host"),
        ("https://[::1/callbacks", False, "no host"),
        ("https://localhost/callbacks", False, "public internet"),
        ("https://127.0.0.1/callbacks", False, "public internet"),
        ("https://[fd00::1]/callbacks", False, "public internet"),
        ("https://192.168.7.7/callbacks", False, "public internet"),
        ("https://127\uff0e0\uff0e0\uff0e1/callbacks", False, "127.0.0.1, which is not on the public"),
        ("https://127.1/callbacks", False, "public internet"),
        ("https://[64:ff9b::a00:1]/callbacks", False, "public internet"),
        ("https://[fec0::1]/callbacks", False, "public internet"),
        ("https://localhost./callbacks", False, "public internet"),
        ("https://app/callbacks", False, "public internet"),
        ("https://app.cluster.local/callbacks", False, "public internet"),
        ("https://app.contoso.com/callbacks?code=s3cr3t", False, "query"),
        ("https://app.contoso.com/callbacks#here", False, "query"),
        ("https://me:s3cr3t@app.contoso.com/callbacks", False, "user name"),
    ],
)
async def test_the_callback_url_must_be_reachable_from_the_internet(url, ok, message):
    callbacks = {} if url is None else {"public_url": url}
    found = await checked(configured("fake", {}, callbacks=callbacks))
    (result,) = found["callback url"]
    assert result.ok is ok
    assert message in result.message
    assert "s3cr3t" not in str(found)


async def test_every_problem_of_the_callback_url_is_reported_at_once():
    found = await checked(configured("fake", {}, callbacks={"public_url": "http://u@10.0.0.1/a?b"}))
    assert all(
        word in found["callback url"][0].message for word in ("https", "10.0.0.1", "query", "user name")
    )


@every_provider
async def test_a_callback_url_on_this_machine_passes_with_an_emulator(provider):
    async with emulated(provider) as (_, table):
        callbacks = {"public_url": "http://127.0.0.1:8000/callbacks"}
        found = await checked(configured(provider, table, callbacks=callbacks))
    assert oks(found)["callback url"] == [True]


# --- the store --------------------------------------------------------------------------------------


async def test_a_store_in_memory_is_neither_good_nor_bad():
    (result,) = (await checked(configured("fake", {})))["store"]
    assert result.ok is None


async def test_the_check_of_the_store_leaves_no_group_behind(tmp_path):
    from transferkit import AsyncClient

    config = configured("fake", {}, store=f"sqlite:////{tmp_path}/kept.db")
    assert oks(await checked(config))["store"] == [True]
    async with AsyncClient(config, background=False) as client:
        assert await client.groups() == ()


@pytest.mark.parametrize("made", ["no folder", "no database"])
async def test_a_store_that_cannot_be_opened_fails(tmp_path, made):
    file = tmp_path / "kept.db"
    if made == "no database":
        file.write_bytes(b"a letter, nothing else" * 100)
    else:
        file = tmp_path / "missing" / "kept.db"
    (result,) = (await checked(configured("fake", {}, store=f"sqlite:////{file}")))["store"]
    assert result.ok is False
    assert "kept.db" in result.message


async def test_a_network_file_system_fails_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("transferkit.stores.sqlite.on_network_file_system", lambda _: "nfs4")
    (result,) = (await checked(configured("fake", {}, store=f"sqlite:////{tmp_path}/kept.db")))["store"]
    assert result.ok is False
    assert "nfs4" in result.message
    assert not list(tmp_path.iterdir())


async def test_a_database_server_is_not_contacted_offline():
    pytest.importorskip("psycopg")
    store = "postgresql://app:pl4nted@127.0.0.1:1/db"
    found = await checked(configured("fake", {}, store=store), offline=True)
    assert oks(found)["store"] == [None]
    found = await checked(configured("fake", {}, store=f"{store}?connect_timeout=2"))
    assert oks(found)["store"] == [False]
    assert "pl4nted" not in str(found)


# --- secrets, and the adapters' own checks -------------------------------------------------------------


@every_provider
async def test_a_secret_that_cannot_be_resolved_fails_and_is_named(provider, monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    names = {"acs": ["connection_string", "eventgrid_secret"], "graph": ["client_secret"]}[provider]
    table = {name: {"env": "NO_SUCH_SECRET"} for name in names}
    found = await checked(configured(provider, table), offline=True)
    assert oks(found)["secrets"] == [False] * len(names)
    assert all(f"providers.{provider}.{name}" in str(found["secrets"]) for name in names)
    monkeypatch.setenv("NO_SUCH_SECRET", "endpoint=https://pl4nted.example;accesskey=cGw0bnRlZA==")
    found = await checked(configured(provider, table), offline=True)
    assert oks(found)["secrets"] == [True]
    assert "pl4nted" not in str(found)


@pytest.mark.parametrize("offline", [True, False])
async def test_a_secret_of_the_wrong_form_fails_also_offline(offline, tmp_path):
    pytest.importorskip("transferkit_acs")
    found = await checked(configured("acs", {"connection_string": "pl4nted"}), offline=offline, fetch=broken)
    (result,) = found["secrets"]
    assert result.ok is False
    assert result.message == "providers.acs.connection_string is not a connection string"
    assert "accesskey=" in result.advice
    assert "pl4nted" not in str(found)


async def test_a_certificate_that_cannot_be_read_fails_also_offline(tmp_path):
    pytest.importorskip("transferkit_graph")
    table = {"tenant_id": "t", "client_id": "c", "certificate": "no certificate", "ca_file": "missing.pem"}
    found = await checked(configured("graph", table), offline=True)
    assert [result.message.partition(" ")[0] for result in found["secrets"]] == [
        "providers.graph.ca_file",
        "providers.graph.certificate",
    ]


async def test_our_own_words_about_a_secret_are_not_masked(monkeypatch):
    pytest.importorskip("transferkit_graph")
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    table = {"tenant_id": "t", "client_id": "c", "client_secret": {"env": "NO_SUCH_SECRET"}}
    found = await checked(configured("graph", table), fetch=broken)
    advice = found["graph credentials"][0].advice
    assert "providers.graph.client_secret: environment variable NO_SUCH_SECRET is not set" in advice
    assert "***" not in str(found)


async def test_an_adapter_whose_check_raises_is_a_failed_check(monkeypatch):
    async def check(_):
        raise RuntimeError("pl4nted")

    monkeypatch.setattr(FakeAdapter, "check", check)
    found = await checked(configured("fake", {}))
    assert oks(found)["fake"] == [False]
    assert "pl4nted" not in str(found)


async def test_the_messages_of_an_adapter_are_redacted(monkeypatch):
    async def check(_):
        failed = CheckResult(name="fake thing", ok=False, message="+14255550142", advice="call +14255550142")
        return (failed, evolve(failed, ok=True))

    monkeypatch.setattr(FakeAdapter, "check", check)
    assert "4255550142" not in str(await checked(configured("fake", {})))


@every_provider
async def test_offline_no_connection_is_opened(provider, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = await checked(
        configured(provider, {"resource_id": "r"} if provider == "acs" else {"client_id": "c"}),
        offline=True,
        fetch=broken,
    )
    assert oks(found)["signing keys"] == [None]
    assert oks(found)[provider] == [None]


async def test_a_callback_path_that_an_adapter_does_not_route_is_not_checked(monkeypatch):
    monkeypatch.setattr(FakeAdapter, "callback_paths", ("", "/more"))
    monkeypatch.setattr(FakeAdapter, "needs_settings", True)
    route = FakeAdapter.route
    monkeypatch.setattr(FakeAdapter, "route", lambda self, path: None if path else route(self, path))
    (result,) = (await checked(configured("fake", {}), offline=True))["callbacks"]
    assert result.message.startswith("/fake refuses")


# --- the relay ----------------------------------------------------------------------------------------


def relaying(url):
    relay = {"sink": "nats", "nats": {"servers": [url], "stream": "EVENTS", "timeout": 1}}
    return load_config({"provider": "fake", "relay": relay})


async def test_a_sink_that_can_be_opened_passes(tmp_path):
    if BINARY is None:
        pytest.skip("nats-server is not installed")
    server = NatsServer(tmp_path / "jetstream")
    await server.start()
    (missing,) = (await checked(relaying(server.url)))["relay"]
    assert (missing.ok, "no stream 'EVENTS'" in missing.message) == (False, True)
    await server.add_stream()
    (result,) = (await checked(relaying(server.url)))["relay"]
    assert result.ok
    await server.kill()


async def test_a_sink_is_not_opened_offline(unused_tcp_port):
    (result,) = (await checked(relaying(f"nats://127.0.0.1:{unused_tcp_port}"), offline=True))["relay"]
    assert result.ok is None


async def test_the_secrets_of_a_sink_are_resolved(unused_tcp_port):
    config = relaying(f"nats://127.0.0.1:{unused_tcp_port}")
    config = evolve(config, sink=evolve(config.sink, token=Secret(key="relay.nats.token", env="NOT_SET_1")))
    results = (await checked(config, offline=True))["secrets"]
    assert any("relay.nats.token" in result.message for result in results if result.ok is False)
