"""Connections over which callbacks arrive: kept open, owned by one process, and watched for gaps."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from attrs import evolve
from support.client import ANSWERS, CALL, SILENT, until_kind
from support.waiting import logged, until

from transferkit import AsyncClient, CallbackConfig, Config, RouteCompleted, StoreError, TransferCompleted
from transferkit._engine import connections
from transferkit._engine.connections import KeptConnection
from transferkit._lifecycle import CallKey, Lease
from transferkit.events import ProviderOther
from transferkit.provider.adapter import Callback, Connection, ConnectionFailed
from transferkit.provider.facts import Delivery, Fact, Signal
from transferkit.provider.results import Presence
from transferkit.requests import RequestKind
from transferkit.testing import FakeAdapter

LEASE = timedelta(seconds=15)
NAME = "connection:fake:pbx"


class Wired(FakeAdapter):
    """A fake whose callbacks arrive over a connection that the test opens and cuts."""

    def __init__(self, *, clock):
        super().__init__(clock=clock)
        self.attempts = 0
        self.refused = asyncio.Event()
        self.cut = asyncio.Event()
        self.connected = asyncio.Event()
        self.inspected = []
        self.verdicts = {}

    def listen(self, deliver):
        super().listen(deliver)
        return Connection(name="pbx", receive=self._receive)

    async def _receive(self, opened):
        self.attempts += 1
        if self.refused.is_set():
            raise ConnectionFailed("the PBX refused the password")
        self.cut.clear()
        opened()
        self.connected.set()
        try:
            await self.cut.wait()
        finally:
            self.connected.clear()

    async def inspect(self, call, *, tenant_id=None):
        self.inspected.append(call.id)
        return await super().inspect(call, tenant_id=tenant_id)

    async def stated_verdict(self, call, transfer_id):
        verdict = self.verdicts.get(call.id)
        return verdict(transfer_id) if verdict else None


def success(call_id, transfer_id):
    event = ProviderOther(time=CLOCK_START, provider="fake", call_id=call_id)
    return Fact(
        event=event,
        signals=(Signal.ACCEPTED, Signal.SUCCEEDED),
        delivery=Delivery(f"verdict:{transfer_id}"),
        transfer_id=transfer_id,
        call_alive=False,
    )


CLOCK_START = None


@pytest.fixture(autouse=True)
def quick(monkeypatch, clock):
    global CLOCK_START  # noqa: PLW0603 - the time of the test's clock
    CLOCK_START = clock.now()
    monkeypatch.setattr(connections, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(connections, "_LONGEST_PAUSE", 0.002)


@pytest.fixture
def wired(clock):
    return Wired(clock=clock)


async def test_callbacks_arrive_over_the_connection(make, wired):
    async with asyncio.timeout(20), make(wired) as client, client.events() as stream:
        await wired.connected.wait()
        body = {"id": "1", "call_id": CALL, "time": CLOCK_START.isoformat(), "signals": ["call_ended"]}
        await wired._deliver(Callback(body=json.dumps(body).encode(), received_at=CLOCK_START), adapter=wired)
        assert (await anext(stream)).kind == "call.ended"


async def test_a_connection_that_ends_is_opened_again(make, wired, caplog):
    async with asyncio.timeout(20), make(wired):
        for number in (1, 2, 3):
            await wired.connected.wait()
            assert wired.attempts == number
            wired.connected.clear()
            wired.cut.set()
    assert {record.levelname for record in logged(caplog, "connection_lost")} == {"ERROR"}


async def test_a_refused_connection_is_logged_with_the_reason_and_tried_again(make, wired, caplog):
    wired.refused.set()
    async with asyncio.timeout(20), make(wired):
        await until(lambda: wired.attempts > 3)
        assert "the PBX refused the password" in logged(caplog, "connection_lost")[0].getMessage()
        wired.refused.clear()
        await wired.connected.wait()


async def test_an_adapter_that_raises_does_not_end_the_connection(make, wired, caplog, planted, monkeypatch):
    async def broken(opened):
        wired.attempts += 1
        if wired.attempts < 3:
            raise KeyError(planted.number)
        opened()
        await asyncio.Event().wait()

    monkeypatch.setattr(wired, "_receive", broken)
    async with asyncio.timeout(20), make(wired):
        await until(lambda: logged(caplog, "connection_opened"))
    assert "KeyError" in logged(caplog, "connection_lost")[0].getMessage()


async def test_a_client_without_background_work_opens_no_connection(wired, store, clock):
    config = Config(source="test", provider="fake")
    client = AsyncClient(config, store=store, adapters={"fake": wired}, clock=clock, background=False)
    async with asyncio.timeout(20), client:
        await asyncio.sleep(0.01)
    assert wired.attempts == 0


# --- one process of a fleet ---------------------------------------------------------------------------


async def test_one_process_connects_and_another_takes_over_when_it_closes(make, clock, caplog):
    first, second = Wired(clock=clock), Wired(clock=clock)
    async with asyncio.timeout(20):
        async with make(first):
            await first.connected.wait()
            async with make(second):
                await until(lambda: logged(caplog, "connection_waiting"))
                clock.advance(LEASE / 3)
                await asyncio.sleep(0.01)
                assert (first.attempts, second.attempts) == (1, 0)
        async with make(second):
            await second.connected.wait()


async def test_a_process_takes_over_when_the_lease_of_a_dead_one_ends(make, wired, store, clock):
    now = clock.now()
    assert await store.take_lease(NAME, Lease("a dead process", now + LEASE), now=now)
    async with asyncio.timeout(20), make(wired):
        for _ in range(2):
            clock.advance(LEASE / 3)
            await asyncio.sleep(0.01)
            assert wired.attempts == 0
        clock.advance(LEASE / 3)
        await wired.connected.wait()


async def test_the_lease_is_renewed_while_the_connection_is_open(make, wired, store, clock):
    async with asyncio.timeout(20), make(wired):
        await wired.connected.wait()
        for _ in range(7):
            clock.advance(LEASE / 3)
            await asyncio.sleep(0.01)
        now = clock.now()
        assert not await store.take_lease(NAME, Lease("another", now + LEASE), now=now)
        assert wired.attempts == 1


async def test_a_process_that_lost_its_lease_closes_the_connection(make, wired, store, clock, caplog):
    async with asyncio.timeout(20), make(wired):
        await wired.connected.wait()
        for task in asyncio.all_tasks():
            if task.get_name() == "transferkit-connection-fake":
                owner = store._leases[NAME].owner
        await store.drop_lease(NAME, owner)
        now = clock.now()
        assert await store.take_lease(NAME, Lease("another", now + LEASE), now=now)
        clock.advance(LEASE / 3)
        await until(lambda: logged(caplog, "connection_yielded"))
        assert not wired.connected.is_set()


async def test_a_connection_stays_open_while_the_store_fails_until_its_lease_ends(
    make, wired, store, clock, caplog, monkeypatch
):
    async def broken(name, lease, *, now):
        raise StoreError("disk gone")

    async with asyncio.timeout(20), make(wired):
        await wired.connected.wait()
        monkeypatch.setattr(store, "take_lease", broken)
        for failures in (1, 2):
            clock.advance(LEASE / 3)
            await until(lambda failures=failures: len(logged(caplog, "connection_lease_failed")) >= failures)
            assert wired.connected.is_set()
        clock.advance(LEASE / 3)
        await until(lambda: logged(caplog, "connection_yielded"))
        assert not wired.connected.is_set()
        monkeypatch.undo()
        clock.advance(LEASE / 3)
        await wired.connected.wait()


async def test_the_lease_has_the_configured_time(make, wired, store, clock):
    config = CallbackConfig(connection_lease=timedelta(seconds=60))
    async with asyncio.timeout(20), make(wired, callbacks=config):
        await wired.connected.wait()
        assert store._leases[NAME].until == clock.now() + timedelta(seconds=60)


# --- after a gap --------------------------------------------------------------------------------------


async def test_open_transfers_are_inspected_when_the_connection_is_back(make, wired, store):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        calls = [str(uuid4()) for _ in range(12)]
        for call in calls:
            await client.transfer(call, to=SILENT)
            await until_kind(store, "transfer.submitted", call)
        assert wired.inspected == []
        wired.cut.set()
        await until(lambda: len(wired.inspected) == len(calls))
        assert sorted(wired.inspected) == sorted(calls)


async def test_a_consultation_is_not_inspected_as_a_transfer_which_would_delete_its_due_work(
    make, wired, store
):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        consultation = await client.consult(str(uuid4()), to=SILENT)
        await until_kind(store, "consultation.ringing", consultation.request.call.id)
        call = str(uuid4())
        await client.transfer(call, to=SILENT)
        await until_kind(store, "transfer.submitted", call)
        wired.cut.set()
        await until(lambda: call in wired.inspected)
        assert consultation.request.call.id not in wired.inspected


async def test_a_verdict_whose_callback_was_lost_in_the_gap_is_the_stated_outcome(make, wired, store):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        transfer = await client.transfer(CALL, to=SILENT)
        await until_kind(store, "transfer.submitted")
        wired.verdicts[CALL] = lambda id_: success(CALL, id_)
        wired.presence[CALL] = Presence.GONE
        wired.cut.set()
        outcome = await transfer.outcome()
        assert isinstance(outcome, TransferCompleted)
        assert outcome.basis == "stated"


async def test_a_verdict_about_an_attempt_of_a_route_that_was_lost_in_the_gap_is_its_outcome(
    make, wired, store
):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        route = await client.route(CALL, [SILENT, ANSWERS])
        await until_kind(store, "transfer.submitted")
        wired.verdicts[CALL] = lambda id_: success(CALL, id_)
        wired.cut.set()
        outcome = await route.outcome()  # the clock stands still
        assert isinstance(outcome, RouteCompleted)
        assert outcome.basis == "stated"


class HoldsLater(Wired):
    """A wired fake that accepts a hold before the caller is held."""

    @property
    def capabilities(self):
        known = super().capabilities
        hold = evolve(known.steps[RequestKind.HOLD], completes_on_acceptance=False)
        return evolve(known, steps={**known.steps, RequestKind.HOLD: hold})


async def test_the_open_step_of_a_consultation_is_inspected_on_the_callers_call(make, store, clock):
    wired = HoldsLater(clock=clock)
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        await client.consult(CALL, to=SILENT)
        await until_kind(store, "step.submitted")
        wired.cut.set()
        await until(lambda: wired.inspected)
        assert wired.inspected == [CALL]


async def test_a_verdict_that_arrives_again_after_the_inspection_is_a_repetition(make, wired, store, clock):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        transfer = await client.transfer(CALL, to=SILENT)
        await until_kind(store, "transfer.submitted")
        wired.verdicts[CALL] = lambda id_: success(CALL, id_)
        wired.cut.set()
        await transfer.outcome()
        count = len(await store.call_events(CallKey("fake", CALL)))
        wired.decode = lambda _: (success(CALL, transfer.id),)
        await wired._deliver(Callback(body=b"", received_at=clock.now()), adapter=wired)
        assert len(await store.call_events(CallKey("fake", CALL))) == count


@pytest.mark.parametrize(
    "verdict", [lambda _: success(CALL, str(uuid4())), lambda id_: success("another call", id_)]
)
async def test_the_verdict_of_another_transfer_or_call_is_ignored(make, wired, store, caplog, verdict):
    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        transfer = await client.transfer(CALL, to=SILENT)
        await until_kind(store, "transfer.submitted")
        wired.verdicts[CALL] = verdict
        wired.cut.set()
        await until(lambda: logged(caplog, "adapter_failed"))
        assert (await store.transfer(transfer.id)).outcome is None


async def test_an_adapter_that_raises_when_it_is_queried_for_a_verdict_states_nothing(
    make, wired, store, caplog, planted
):
    def broken(_):
        raise KeyError(planted.number)

    async with asyncio.timeout(20), make(wired) as client:
        await wired.connected.wait()
        transfer = await client.transfer(CALL, to=SILENT)
        await until_kind(store, "transfer.submitted")
        wired.verdicts[CALL] = broken
        wired.cut.set()
        await until(lambda: logged(caplog, "adapter_failed"))
        assert (await store.transfer(transfer.id)).outcome is None


async def test_a_store_that_fails_during_the_inspections_does_not_close_the_connection(
    make, wired, store, caplog, monkeypatch
):
    async def broken(provider):
        raise StoreError("disk gone")

    monkeypatch.setattr(store, "open_transfers", broken)
    async with asyncio.timeout(20), make(wired):
        await until(lambda: logged(caplog, "work_failed"))
        assert wired.connected.is_set()
        assert wired.attempts == 1


def test_a_new_connection_is_neither_up_nor_down():
    names = [attribute.alias for attribute in KeptConnection.__attrs_attrs__ if attribute.init]
    assert KeptConnection(**dict.fromkeys(names)).is_up is None
