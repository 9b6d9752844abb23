"""The whole way: an application's client, this adapter, the emulator and the receiver, over loopback."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from attrs import define
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.emulator import AcsEmulator

from transferkit.client import AsyncClient
from transferkit.config import CallbackConfig, Config, LifecycleConfig
from transferkit.events import (
    Basis,
    CallIncoming,
    Evidence,
    RedirectCompleted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.secret import Secret
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario
from transferkit.testing.server import serve


@define
class Office:
    emulator: AcsEmulator
    client: AsyncClient
    callbacks: str


@pytest.fixture(params=[True, False], ids=["own callback address", "the call's address"])
async def office(request, one_house) -> AsyncIterator[Office]:
    emulator = AcsEmulator(pace=0)
    house = one_house(emulator, emulator.app)
    async with serve(house) as server:
        table = emulator.config(server.url)
        secret = Secret(value=table.pop("connection_string"))
        adapter = AcsAdapter(AcsSettings(**table, connection_string=secret, timeout=5.0))
        public = server.url if request.param else None
        config = Config(
            source="test",
            provider="acs",
            callbacks=CallbackConfig(public_url=public, accept_unverified=True),
            lifecycle=LifecycleConfig(grace=timedelta(milliseconds=50)),
        )
        async with AsyncClient(config, adapters={"acs": adapter}) as client:
            house.other = client.asgi()
            yield Office(emulator, client, f"{server.url}/acs")
        await emulator.aclose()


OUTCOMES = {
    Ending.COMPLETES: (TransferCompleted, Basis.STATED),
    Ending.FAILS: (TransferFailed, Basis.STATED),
    Ending.CALLER_LEAVES: (TransferFailed, Basis.STATED),
    Ending.SILENT: (TransferExpired, Basis.INFERRED),
}


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_each_scenario_has_its_outcome(office, line):
    call = office.emulator.place_call(callback_url=office.callbacks)
    deadline = 0.2 if line.ending is Ending.SILENT else 30
    transfer = await office.client.transfer(
        call, to=line.number, operation_context="case 42", deadline=deadline
    )
    outcome = await transfer.outcome(timeout=20)
    kind, basis = OUTCOMES[line.ending]
    assert (type(outcome), outcome.basis) == (kind, basis)
    assert outcome.operation_context == "case 42"
    if isinstance(outcome, TransferFailed):
        assert outcome.reason is line.reason
    if isinstance(outcome, TransferExpired):
        assert outcome.evidence is Evidence.CALL_CONNECTED
    assert office.emulator.executions(call) == 1


async def test_an_incoming_call_is_redirected(office):
    async with office.client.events() as stream:
        office.emulator.ring(callback_url=f"{office.callbacks}/eventgrid")
        incoming = await anext(stream)
        assert isinstance(incoming, CallIncoming)
        redirect = await office.client.redirect(incoming, to=scenario("answers").number)
        outcome = await redirect.outcome(timeout=10)
    assert isinstance(outcome, RedirectCompleted)
    assert outcome.basis is Basis.INFERRED
    assert office.emulator.executions(incoming.call_id) == 1
