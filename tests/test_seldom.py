"""Ways through the core that are seldom taken: found by the branches that no other test went along."""

import importlib.metadata
from datetime import timedelta
from pathlib import Path

import pytest

from transferkit import (
    AsyncClient,
    CallbackConfig,
    Config,
    ConfigError,
    FailureReason,
    MemoryStore,
    PhoneNumber,
    TokenPolicy,
)
from transferkit._lifecycle import CallKey, CallState, Lease
from transferkit._util.frozenmap import FrozenMap
from transferkit.codec import decode
from transferkit.config import load_config
from transferkit.provider.facts import Result
from transferkit.provider.registry import adapter_class
from transferkit.provider.results import NotSent, Submitted
from transferkit.stores import address, encoding
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing import CallbackSigner, FakeAdapter, ManualClock, Script

CLOCK = ManualClock()
SIGNER = CallbackSigner(issuer="https://signer.example", clock=CLOCK)
POLICY = TokenPolicy(openid_url="https://signer.example/openid", issuers=(SIGNER.issuer,), audience="us")


def client_of(adapter, **more):
    config = Config(source="test", provider="fake", callbacks=CallbackConfig(accept_unverified=True), **more)
    return AsyncClient(config, store=MemoryStore(), adapters={"fake": adapter}, clock=CLOCK)


# --- configurations -----------------------------------------------------------------------------------


def test_a_key_that_is_none_is_as_if_it_were_not_there():
    config = load_config({"provider": "fake", "callbacks": {"public_url": None}})
    assert config.callbacks.public_url is None


def test_a_variable_does_not_hide_the_table_that_others_fill(monkeypatch):
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


def test_a_client_refuses_a_store_that_is_none():
    with pytest.raises(ConfigError, match="no kind of store"):
        AsyncClient(Config(source="test", provider="fake", store="paper:"), adapters={})


@pytest.mark.parametrize(
    ("text", "driver", "problem"),
    [
        ("postgresql://app@db/calls", False, "needs a driver"),
        ("postgresql://app@db/calls?connections=none", True, "connections"),
    ],
)
def test_an_address_of_postgresql_needs_its_driver_and_sense(monkeypatch, text, driver, problem):
    if driver:
        pytest.importorskip("psycopg_pool")
    else:
        monkeypatch.setattr(address, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=problem):
        address.store_at(text, base=Path())


def test_an_address_of_postgresql_is_no_connection_yet():
    pytest.importorskip("psycopg_pool")
    store = address.store_at("postgresql://app@db.invalid/calls", base=Path())
    assert type(store).__name__ == "PostgresStore"


def test_where_the_distribution_is_unknown_the_remedy_names_what_is_installed(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    with pytest.raises(ConfigError, match=r"installed: .*fake"):
        adapter_class("nobody")


# --- a submission that was put off once -----------------------------------------------------------------


async def test_a_request_that_was_taken_after_a_refusal_does_not_fail_for_that_refusal():
    clock = ManualClock()
    adapter = FakeAdapter(clock=clock)
    too_many = NotSent(result=Result(code=429, reason=FailureReason.THROTTLED))
    adapter.will(Script(answer=too_many), Script(answer=Submitted()))
    config = Config(source="test", provider="fake")
    parts = {"store": MemoryStore(), "adapters": {"fake": adapter}, "clock": clock, "background": False}
    async with AsyncClient(config, **parts) as client:
        transfer = await client.transfer("one", to=PhoneNumber("+14255550100"))
        for pause in (0, 5, 200, 10):
            clock.advance(pause)
            await client.run_due()
        outcome = await transfer.outcome(timeout=5)
    assert len(adapter.submissions) == 2
    assert outcome.kind == "transfer.expired"


# --- values that are stored ---------------------------------------------------------------------------


def test_a_phone_number_is_read_as_nothing_else():
    assert decode(PhoneNumber, "+14255550100") == PhoneNumber("+14255550100")
    with pytest.raises(TypeError, match="not a phone number"):
        decode(PhoneNumber, "8:orgid:one")


def test_a_map_is_read_from_an_object_only():
    with pytest.raises(TypeError, match="JSON object"):
        decode(FrozenMap[str], ["one"])


def test_the_oldest_of_the_states_that_are_remembered_is_forgotten(monkeypatch):
    monkeypatch.setattr(encoding, "_STATES_KEPT", 1)
    cache = encoding.StateCache()
    calls = [CallKey("fake", name) for name in ("one", "two")]
    states = [CallState(sequence=number) for number in (1, 2)]
    first, second = map(cache.write, calls, states)
    assert list(cache._known) == [calls[1]]
    assert cache.read(calls[0], first) == states[0]
    assert cache.read(calls[1], second) is states[1]


async def test_a_consumer_whose_own_lease_is_over_holds_on():
    store = MemoryStore()
    await store.open_group("all", start=GroupStart.BEGINNING)
    member = Lease("me", CLOCK.now() - timedelta(seconds=1))
    assert await store.hold("all", member, now=CLOCK.now()) == frozenset(range(store.partitions))
