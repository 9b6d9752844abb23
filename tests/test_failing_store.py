"""What the client does while its store fails: nothing is lost, and whoever operates it is told."""

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest

from transferkit import (
    AsyncClient,
    Config,
    LifecycleConfig,
    MemoryStore,
    PhoneNumber,
    StoreError,
    TransferCompleted,
    TransferExpired,
)
from transferkit.events import Basis
from transferkit.lifecycle import Taken, step
from transferkit.signals import Signal
from transferkit.stream.outcomes import OutcomeWatch
from transferkit.testing import FakeAdapter, ManualClock, Say, Script, scenario
from transferkit.testing.store_contract_groups import record
from transferkit.testing.store_inputs import AT, fact, new_call

CALL = "call-1"
SOMEBODY = PhoneNumber("+14255550100")
SILENT = scenario("silent").number
LEASE = LifecycleConfig().lease


class Failing(MemoryStore):
    """Fails as often as `fails` says at a verb or an input; `hold_up` keeps a verb from ending."""

    def __init__(self):
        super().__init__()
        self.fails = Counter()
        self.gates = {}
        self.reached = asyncio.Event()

    def hold_up(self, verb):
        gate = self.gates[verb] = asyncio.Event()
        self.reached.clear()
        return gate

    async def meet(self, what):
        if what in self.gates:
            self.reached.set()
            await self.gates[what].wait()
        if self.fails[what]:
            self.fails[what] -= 1
            raise StoreError("the disk is full")

    async def apply_all(self, inputs, step):
        for _, happened in inputs:
            await self.meet(type(happened).__name__)
        return await super().apply_all(inputs, step)

    async def transfer(self, transfer_id):
        await self.meet("transfer")
        if self.fails["forgotten"]:
            self.fails["forgotten"] -= 1
            return None
        return await super().transfer(transfer_id)

    async def next_due(self):
        await self.meet("next_due")
        return await super().next_due()

    async def prune(self, **which):
        await self.meet("prune")
        return await super().prune(**which)

    async def end_of_log(self):
        await self.meet("end_of_log")
        return await super().end_of_log()

    async def wait(self, after, *, timeout):
        await self.meet("wait")
        await super().wait(after, timeout=timeout)

    async def begin_next(self, *arguments, **options):
        await self.meet("begin_next")
        return await super().begin_next(*arguments, **options)

    async def leave(self, *arguments, **options):
        await self.meet("leave")
        await super().leave(*arguments, **options)


@pytest.fixture
def clock():
    return ManualClock(AT)


@pytest.fixture
def store():
    return Failing()


@pytest.fixture
def fake(clock):
    return FakeAdapter(clock=clock)


@pytest.fixture
def make(clock, store, fake):
    def make(adapter=fake, *, background=True):
        config = Config(source="test", provider="fake")
        return AsyncClient(
            config, store=store, adapters={"fake": adapter}, clock=clock, background=background
        )

    return make


async def until(condition):
    """Let others work until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any step of anybody may bring it about
            await asyncio.sleep(0)


def logged(caplog, name):
    return [entry for entry in caplog.records if getattr(entry, "event", None) == name]


# --- due work -----------------------------------------------------------------------------------------


async def test_an_answer_that_cannot_be_stored_leaves_the_transfer_to_its_lease(
    make, store, fake, clock, caplog
):
    store.fails["Answered"] = 3
    fake.will(Script(answer=Taken()), Script(after=(Say(Signal.SUCCEEDED),)))
    async with make(background=False) as client:
        transfer = await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: logged(caplog, "task_failed"))
        assert len(logged(caplog, "commit_retried")) == 2
        assert await client.run_due() == 0
        clock.advance(LEASE)
        assert await client.run_due() == 1
        assert isinstance(await transfer.outcome(timeout=10), TransferCompleted)
    assert [submission.id for submission in fake.submissions] == [transfer.id] * 2


async def test_due_work_that_cannot_be_read_is_looked_for_again(make, store, clock, caplog):
    store.fails["next_due"] = 1
    async with make() as client:
        await until(lambda: logged(caplog, "store_failed"))
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


@pytest.mark.parametrize("fails", ["transfer", "DueReached"])
async def test_due_work_at_which_the_store_fails_is_done_when_its_lease_is_over(
    make, store, clock, caplog, fails
):
    async with make(background=False) as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        store.fails[fails] = 1
        assert await client.run_due() == 1
        told = [(entry.transfer_id, entry.work) for entry in logged(caplog, "work_failed")]
        assert told == [(transfer.id, "deadline")]
        assert await client.run_due() == 0
        clock.advance(LEASE)
        assert await client.run_due() >= 1
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


async def test_work_whose_transfer_another_process_removed_is_no_work(make, store, clock, caplog):
    async with make(background=False) as client:
        await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        store.fails["forgotten"] = 1
        before = await store.end_of_log()
        assert await client.run_due() == 1
        assert await store.end_of_log() == before


async def test_old_calls_that_cannot_be_removed_are_removed_the_next_time(make, store, clock, caplog):
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


# --- closing ------------------------------------------------------------------------------------------


async def test_a_submission_that_is_cut_off_is_taken_over(make, store, clock, monkeypatch):
    class Hangs(FakeAdapter):
        async def submit(self, submission):
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("transferkit.client._DRAIN_SECONDS", 0.01)
    async with make(Hangs(clock=clock)) as client:
        transfer = await client.transfer(CALL, to=scenario("answers").number)
    clock.advance(LEASE)
    async with make() as client:
        assert isinstance(await client.outcome(transfer.id, timeout=10), TransferCompleted)


# --- streams ------------------------------------------------------------------------------------------


async def test_a_tail_whose_store_failed_goes_on_where_it_was(make, store):
    async with make() as client, client.events() as stream:
        store.fails["end_of_log"] = 1
        with pytest.raises(StoreError):
            await anext(stream)
        recorded = await record(store, new_call())
        assert [await anext(stream)] == recorded


async def test_a_tail_whose_store_closed_with_its_client_is_at_its_end(make, store):
    async with make() as client:
        stream = await client.events().__aenter__()
    store.fails["end_of_log"] = 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.__aexit__(None, None, None)


async def test_a_group_whose_store_fails_as_its_client_closes_is_at_its_end(make, store, caplog):
    gate = store.hold_up("wait")
    store.fails["wait"] = 1
    async with make() as client, client.events(group="crm") as stream:
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        await client.aclose()
        gate.set()
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert not logged(caplog, "store_failed")


async def test_a_group_that_ends_while_an_event_is_begun_gives_it_back(make, store):
    recorded = await record(store, new_call())
    gate = store.hold_up("begin_next")
    async with make() as client, client.events(group="crm") as stream:
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        closing = asyncio.create_task(client.aclose())
        await until(stream._ending.is_set)
        gate.set()
        await closing
        with pytest.raises(StopAsyncIteration):
            await waiting
    async with make() as client, client.events(group="crm") as stream:
        assert [await anext(stream)] == recorded


async def test_a_reader_who_is_cancelled_while_leaving_gives_everything_back(make, store):
    async with make() as client:
        gate = store.hold_up("leave")

        async def look():
            async with client.events(group="crm"):
                pass

        looking = asyncio.create_task(look())
        await store.reached.wait()
        looking.cancel()
        await asyncio.sleep(0.01)
        assert not looking.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert [group.members for group in await client.groups()] == [0]


async def test_a_loop_that_ends_cancels_a_group_s_store_calls_in_peace(make, store):
    async with make() as client, client.events(group="crm") as stream:
        gate = store.hold_up("begin_next")
        waiting = asyncio.create_task(anext(stream))
        await store.reached.wait()
        (begun,) = stream._calls
        begun.cancel()  # as `asyncio.run` does with all that is left
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        recorded = await record(store, new_call())
        assert [await anext(stream)] == recorded


# --- who gives up as the outcome comes ----------------------------------------------------------------

OUTCOME = TransferCompleted(
    time=AT, provider="fake", call_id=CALL, transfer_id="t-1", basis=Basis.STATED, target=SOMEBODY
)


async def test_who_gives_up_as_the_outcome_comes_is_in_nobodys_way(store):
    watch = OutcomeWatch(store)
    gives_up, waits = (asyncio.create_task(watch.outcome("t-1")) for _ in range(2))
    await until(lambda: watch._following.is_set())  # noqa: PLW0108 - it is another one soon
    await asyncio.sleep(0.01)
    gives_up.cancel()
    watch._tell("t-1", OUTCOME)
    assert await waits == OUTCOME
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    await watch.close()


async def test_nor_as_the_client_closes(store):
    watch = OutcomeWatch(store)
    waits = asyncio.create_task(watch.outcome("t-1"))
    loop = asyncio.get_running_loop()

    async def wait(after, *, timeout):
        try:
            await loop.create_future()
        finally:  # once `close` goes on, and before the waiter can
            loop.call_soon(loop.call_soon, waits.cancel)

    store.wait = wait
    await until(lambda: watch._following.is_set())  # noqa: PLW0108 - it is another one soon
    await asyncio.sleep(0.01)
    await watch.close()
    with pytest.raises(asyncio.CancelledError):
        await waits
