"""Due work while the store fails, and submissions that closing cut off."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support import failing_store
from support.failing_store import CALL, LEASE, SILENT, FailingStore, in_time
from support.waiting import logged, until

from transferkit import (
    AsyncClient,
    Config,
    ConsultationAnswered,
    ConsultationCompleted,
    StoreError,
    TransferCompleted,
    TransferExpired,
)
from transferkit._lifecycle import CallKey, Decision, Due, Peeked, Work, step
from transferkit.provider.facts import Result
from transferkit.provider.results import NotSent
from transferkit.testing import FakeAdapter, Script, scenario
from transferkit.testing.contracts.store_inputs import fact, new_call

broken_filter, clock, fake, make, store = (
    failing_store.broken_filter,
    failing_store.clock,
    failing_store.fake,
    failing_store.make,
    failing_store.store,
)


async def test_due_work_is_read_again_after_an_error(make, store, clock, caplog):
    store.fails["next_due"] = 1
    async with make() as client:
        await until(lambda: logged(caplog, "store_failed"))
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


@pytest.mark.parametrize("error", [MemoryError("once"), KeyError("a bug")])
async def test_the_scheduler_survives_any_exception_of_the_store(make, store, clock, caplog, error):
    store.error = error
    store.fails["next_due"] = 2
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        assert isinstance(await in_time(transfer.outcome(), clock), TransferExpired)
    assert str(error) in logged(caplog, "store_failed")[0].getMessage()


async def test_the_scheduler_survives_a_log_filter_that_raises(make, store, clock, broken_filter):
    store.fails["next_due"] = 2
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        assert isinstance(await in_time(transfer.outcome(), clock), TransferExpired)


@pytest.mark.parametrize("error", [StoreError("disk gone"), ZeroDivisionError()])
async def test_logged_causes_of_store_errors_are_redacted(make, store, clock, caplog, planted, error):
    error.__cause__ = ConnectionError(f"at {planted.number}, password={planted.client_secret}")
    store.error = error
    store.fails.update({"next_due": 1, "prune": 1, "transfer": 1})
    async with make() as client:
        await until(lambda: logged(caplog, "prune_failed"))
        await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        await until(lambda: logged(caplog, "work_failed"))
    for name in ("store_failed", "prune_failed", "work_failed"):
        (record,) = logged(caplog, name)
        assert "ConnectionError" in record.getMessage()
        assert record.exc_info is None


async def test_a_logged_error_of_an_inspection_is_redacted(make, store, clock, caplog, planted):
    class Breaks(FakeAdapter):
        async def inspect(self, call, *, tenant_id=None):
            raise RuntimeError(f"no line to {planted.number}")

    async with make(Breaks(clock=clock), background=False) as client:
        await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        await client.run_due()
    assert "RuntimeError" in logged(caplog, "adapter_failed")[0].getMessage()


class NotOurs(FailingStore):
    """Hands out work whatever adapters the asker has."""

    async def lease_due(self, *, providers=None, **which):
        return await super().lease_due(**which)


async def test_leased_work_of_another_provider_is_not_done(clock, fake, caplog):
    store = NotOurs()
    async with make_pair(store, clock, fake) as (able, unable):
        gate = store.hold_up("Answered")
        transfer = await able.transfer(CALL, to=SILENT, deadline=600)
        await store.reached.wait()
        store.gates.clear()
        clock.advance(LEASE)
        before = await store.state(CallKey("fake", CALL))
        assert await unable.run_due() == 1
        assert await store.state(CallKey("fake", CALL)) == before
        (record,) = logged(caplog, "work_failed")
        assert (record.transfer_id, record.levelname) == (transfer.id, "ERROR")
        clock.advance(LEASE)
        assert await able.run_due() >= 1
        gate.set()
    assert len(fake.submissions) == 2


@asynccontextmanager
async def make_pair(store, clock, fake):
    """A client that has the adapter, and one that has another."""

    class Other(FakeAdapter):
        name = "other"

    def client_of(adapter):
        config, adapters = Config(source="test", provider=adapter.name), {adapter.name: adapter}
        return AsyncClient(config, store=store, adapters=adapters, clock=clock, background=False)

    async with client_of(fake) as able, client_of(Other(clock=clock)) as unable:
        yield able, unable


async def test_a_process_leases_only_work_that_its_adapters_can_do(store, clock, fake):
    fake.will(Script(answer=NotSent(result=Result(), retry_after=timedelta(seconds=10))), Script())
    async with make_pair(store, clock, fake) as (able, unable):
        transfer = await able.transfer(CALL, to=SILENT, deadline=60)
        await until(lambda: fake.submissions)
        await asyncio.sleep(0.01)
        clock.advance(10)
        assert await unable.run_due() == 0
        assert await able.run_due() == 1
        assert len(fake.submissions) == 2
        clock.advance(60)
        assert await unable.run_due() == 1  # the deadline; the question to the provider is not its own
        assert (await store.transfer(transfer.id)).outcome is None
        assert await able.run_due() == 1
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


@pytest.mark.parametrize("fails", ["transfer", "DueReached"])
async def test_due_work_that_failed_is_done_again_after_its_lease(make, store, clock, caplog, fails):
    async with make(background=False) as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        store.fails[fails] = 1
        assert await client.run_due() == 1
        record = [(entry.transfer_id, entry.work) for entry in logged(caplog, "work_failed")]
        assert record == [(transfer.id, "deadline")]
        assert await client.run_due() == 0
        clock.advance(LEASE)
        assert await client.run_due() >= 1
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


async def test_due_work_of_a_removed_transfer_does_nothing(make, store, clock, caplog):
    async with make(background=False) as client:
        await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        store.fails["forgotten"] = 1
        before = await store.end_of_log()
        assert await client.run_due() == 1
        assert await store.end_of_log() == before


async def test_due_work_of_a_request_that_retention_removed_is_deleted(make, store, clock):
    def leave_work(call, state, happened, mark):
        return Decision(state=state, due=(Due(transfer_id="removed", work=Work.ADVANCE, at=clock.now()),))

    await store.apply(CallKey("fake", CALL), Peeked(at=clock.now()), leave_work)
    async with make(background=False) as client:
        assert await client.run_due() == 1
        assert await store.next_due() is None


@pytest.mark.parametrize("fails", ["StepOpened", "ConsultationAdvanced"])
async def test_a_consultation_goes_on_after_a_transient_error_before_its_lease_ends(
    make, store, fails, caplog
):
    async with make() as client:
        consultation = await client.consult(CALL, to=scenario("answers").number)
        assert isinstance(await consultation.answered(timeout=10), ConsultationAnswered)
        store.fails[fails] = 1
        outcome = await consultation.complete(timeout=10)  # the clock stands still
        assert isinstance(outcome, ConsultationCompleted)
        assert len(logged(caplog, "work_failed")) == 1


async def test_a_consultation_whose_errors_go_on_waits_for_the_end_of_its_lease(
    make, store, clock, caplog, monkeypatch
):
    monkeypatch.setattr("transferkit._engine.scheduler._ADVANCE_PAUSES", (0.001, 0.002))
    async with make(background=False) as client:
        await client.consult(CALL, to=scenario("answers").number)
        store.fails["ConsultationAdvanced"] = 3
        await client.run_due()
        assert len(logged(caplog, "work_failed")) == 3
        assert await store.next_due() == clock.now() + LEASE


async def test_old_calls_that_could_not_be_removed_are_removed_later(make, store, clock, caplog):
    caplog.set_level(logging.INFO, "transferkit")
    for _ in range(40):  # more than are removed at once
        call = new_call()
        await store.apply(call, fact(call), step)
    clock.advance(timedelta(days=31))
    store.fails["prune"] = 1
    async with make():
        await until(lambda: logged(caplog, "prune_failed"))
        assert not logged(caplog, "pruned")
        clock.advance(timedelta(hours=1))
        await until(lambda: logged(caplog, "pruned"))
    assert [entry.calls for entry in logged(caplog, "pruned")] == [40]
    assert await store.read(None) == ()


async def test_a_submission_that_closing_cut_off_is_resumed(make, store, clock, monkeypatch):
    class Hangs(FakeAdapter):
        async def submit(self, submission):
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    async with make(Hangs(clock=clock)) as client:
        transfer = await client.transfer(CALL, to=scenario("answers").number)
    clock.advance(LEASE)
    async with make() as client:
        assert isinstance(await client.outcome(transfer.id, timeout=10), TransferCompleted)
