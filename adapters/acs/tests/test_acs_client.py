"""End to end over loopback: an application's client, the adapter, the emulator and the receiver."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attrs import define
from support.takeover import passing
from transferkit_acs import AcsAdapter, AcsSettings
from transferkit_acs.emulator import AcsEmulator

from transferkit.client import AsyncClient
from transferkit.config import CallbackConfig, Config, LifecycleConfig
from transferkit.errors import InvalidRequest
from transferkit.events import (
    Basis,
    CallIncoming,
    Evidence,
    RedirectCompleted,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit.identifiers import CommunicationUser, PhoneNumber
from transferkit.provider.secret import Secret
from transferkit.testing.clock import ManualClock
from transferkit.testing.scenarios import SCENARIOS, Ending, scenario
from transferkit.testing.server import serve

USER = CommunicationUser("8:acs:1c7e0d8a-5f4b-4f0e-8a7d-9a4c1b2d3e4f_6f0e2b7c-3a1d-4c5e-9b8f-0a1b2c3d4e5f")


@define
class Office:
    emulator: AcsEmulator
    client: AsyncClient
    callbacks: str


@pytest.fixture(params=[True, False], ids=["own callback address", "the call's address"])
async def office(request, shared_port) -> AsyncIterator[Office]:
    emulator = AcsEmulator(pace=0)
    app = shared_port(emulator, emulator.app)
    async with aclosing(emulator), serve(app) as server:
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
            app.other = client.asgi()
            yield Office(emulator, client, f"{server.url}/acs")


OUTCOMES = {
    Ending.COMPLETES: (TransferCompleted, Basis.STATED),
    Ending.FAILS: (TransferFailed, Basis.STATED),
    Ending.CALLER_LEAVES: (TransferFailed, Basis.STATED),
    Ending.SILENT: (TransferExpired, Basis.INFERRED),
    Ending.RETURNED: (TransferExpired, Basis.INFERRED),
    Ending.MANUAL: (TransferExpired, Basis.INFERRED),
    Ending.REFUSED: (TransferFailed, Basis.STATED),
}


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
async def test_each_scenario_has_its_outcome(office, line):
    call = office.emulator.place_call(callback_url=office.callbacks)
    deadline = 0.2 if OUTCOMES[line.ending][0] is TransferExpired else 30
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
    assert office.emulator.executions(call) == (line.ending is not Ending.REFUSED)


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


async def test_a_redirects_caller_id_is_refused_before_anything_is_sent(office):
    """The SDK would leave it out and say nothing."""
    async with office.client.events() as stream:
        office.emulator.ring(callback_url=f"{office.callbacks}/eventgrid")
        incoming = await anext(stream)
        to, caller_id = scenario("answers").number, PhoneNumber("+14255550100")
        with pytest.raises(InvalidRequest) as caught:
            await office.client.redirect(incoming, to=to, caller_id=caller_id)
        assert [problem.field for problem in caught.value.problems] == ["caller_id"]
        assert office.emulator.requests == ()
        redirect = await office.client.redirect(incoming, to=to, caller_id=caller_id, on_unsupported="drop")
        await redirect.outcome(timeout=10)
        requested = await anext(stream)
    assert requested.dropped == ("caller_id",)
    assert office.emulator.executions(incoming.call_id) == 1


async def test_a_call_from_an_acs_user_is_not_redirected_to_a_phone(office):
    async with office.client.events() as stream:
        office.emulator.ring(callback_url=f"{office.callbacks}/eventgrid", caller=USER)
        incoming = await anext(stream)
        with pytest.raises(InvalidRequest) as caught:
            await office.client.redirect(incoming, to=scenario("answers").number)
        assert [problem.field for problem in caught.value.problems] == ["to[0]"]
        assert "answer the call, and transfer it" in str(caught.value)
        assert office.emulator.requests == ()
        redirect = await office.client.redirect(incoming, to=USER)
        assert isinstance(await redirect.outcome(timeout=10), RedirectCompleted)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 0.1\r\nContent-Length: 0\r\n\r\n", TransferFailed),
        (b"HTTP/1.1 429 Slow down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", TransferFailed),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", TransferExpired),
    ],
    ids=["503", "429", "500"],
)
async def test_every_attempt_has_the_same_repeatability_id(answers, adapter_at, first, kind):
    """The SDK's own tries would multiply ours. Each of ours repeats the same request under the same id."""
    async with answers(first) as (url, seen):
        config = Config(
            source="test",
            provider="acs",
            lifecycle=LifecycleConfig(max_attempts=2, inspect_gap=timedelta(milliseconds=50)),
        )
        clock = ManualClock(datetime.now(UTC))
        async with AsyncClient(config, adapters={"acs": adapter_at(url)}, clock=clock) as client:
            transfer = await client.transfer(str(uuid4()), to=PhoneNumber("+14255550101"), deadline=10)
            outcome = await passing(clock, transfer.outcome(), steps=0.25)
    sent = [raw for raw in seen if raw.startswith(b"POST")]
    assert isinstance(outcome, kind)
    assert len(sent) == 2
    heads = [raw.partition(b"\r\n\r\n")[0].lower().split(b"\r\n") for raw in sent]
    repeated = [{line for line in head if line.startswith(b"repeatability-")} for head in heads]
    assert len(repeated[0]) == 2
    assert repeated[0] == repeated[1]
    assert f"repeatability-request-id: {transfer.id}".encode() in repeated[0]
