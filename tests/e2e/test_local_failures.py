"""Failures on our side: reported within seconds, and with basis `local`."""

import asyncio
from datetime import timedelta

import pytest

from transferkit import (
    AsyncClient,
    Basis,
    FailureReason,
    MemoryStore,
    PhoneNumber,
    TransferFailed,
    load_config,
)
from transferkit.testing import ManualClock

TARGET = PhoneNumber("+14255550100")
GRAPH = {"tenant_id": "t", "client_id": "c"}
NO_NAME = {
    "graph": {**GRAPH, "client_secret": "s", "authority": "https://login.invalid/t"},
    "acs": {"connection_string": "endpoint=https://acs.invalid/;accesskey=c2VjcmV0"},
}
NO_SECRET = {
    "graph": {**GRAPH, "client_secret": {"env": "NOT_SET"}},
    "acs": {"connection_string": {"env": "NOT_SET"}},
}


async def outcome_of(provider, table):
    """The outcome of a transfer, with the clock advanced from one piece of due work to the next."""
    clock, store = ManualClock(), MemoryStore()
    config = load_config({"provider": provider, "providers": {provider: table}})
    async with AsyncClient(config, clock=clock, store=store, background=False) as client:
        transfer = await client.transfer("411f0b00-dc73-4528-a9e6-968ba983d2a1", to=TARGET)
        await asyncio.gather(*client._tasks)
        while (due := await store.next_due()) is not None:
            clock.advance(due - clock.now())
            await client.run_due()
        return await transfer.outcome(timeout=0)


@pytest.mark.parametrize("provider", ["graph", "acs"])
async def test_a_host_name_that_does_not_resolve_is_reported_within_seconds(provider):
    outcome = await outcome_of(provider, NO_NAME[provider])
    assert isinstance(outcome, TransferFailed)
    assert (outcome.basis, outcome.reason) == (Basis.LOCAL, FailureReason.PROVIDER_ERROR)
    assert outcome.elapsed < timedelta(seconds=3)
    assert "does not resolve" in outcome.message
    assert "DNS" in outcome.advice


@pytest.mark.parametrize("provider", ["graph", "acs"])
async def test_an_unset_secret_is_reported_immediately_with_the_name_of_its_variable(provider, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    outcome = await outcome_of(provider, NO_SECRET[provider])
    assert isinstance(outcome, TransferFailed)
    assert (outcome.basis, outcome.reason) == (Basis.LOCAL, FailureReason.UNAUTHORIZED)
    assert outcome.elapsed == timedelta(0)
    assert "NOT_SET" in outcome.advice
