"""What the client does while its store fails: nothing is lost, and whoever operates it is told."""

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support.waiting import logged, until

from transferkit import (
    AsyncClient,
    ClientClosed,
    Config,
    LifecycleConfig,
    MemoryStore,
    PhoneNumber,
    StoreError,
    TransferCompleted,
    TransferExpired,
)
from transferkit._lifecycle import CallKey, step
from transferkit._telemetry import Telemetry
from transferkit.events import Basis
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import NotSent
from transferkit.stores import CommitUnknown
from transferkit.streams.outcomes import OutcomeWatch
from transferkit.testing import FakeAdapter, ManualClock, Say, Script, scenario
from transferkit.testing.contracts.store_groups import record
from transferkit.testing.contracts.store_inputs import AT, fact, new_call

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
        self.error = StoreError("the disk is full")

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
            raise self.error

    async def apply_all(self, inputs, step):
        for _, happened in inputs:
            await self.meet(type(happened).__name__)
        applied = await super().apply_all(inputs, step)
        for _, happened in inputs:
            await self.meet(f"after {type(happened).__name__}")
        return applied

    async def transfer(self, transfer_id):
        await self.meet("transfer")
        if self.fails["forgotten"]:
            self.fails["forgotten"] -= 1
            return None
        return await super().transfer(transfer_id)

    async def next_due(self, **which):
        await self.meet("next_due")
        return await super().next_due(**which)

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


async def in_time(work, clock):
    """Let time pass, a few seconds at a time, until it is done."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        while not task.done():
            clock.advance(5)
            for _ in range(20):
                await asyncio.sleep(0)
    return await task


# --- asking -------------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch):
    """However often it is looked whether a request is recorded, it takes no time."""
    monkeypatch.setattr("transferkit._engine.sender._LOOK_PAUSES", (0, 0, 0))


ERRORS = [StoreError("the disk is full"), CommitUnknown("the connection was lost")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("looks_in_vain", [0, 2])
async def test_a_request_that_is_recorded_though_the_store_failed_is_sent(
    make, store, fake, caplog, looks, error, looks_in_vain
):
    store.error = error
    store.fails.update({"after Requested": 1, "transfer": looks_in_vain})
    fake.will(Script(after=(Say(Signal.SUCCEEDED),)))
    async with make() as client:
        transfer = await client.transfer(CALL, to=SOMEBODY)
        assert isinstance(await transfer.outcome(timeout=10), TransferCompleted)
    assert [submission.id for submission in fake.submissions] == [transfer.id]
    (told,) = [one for one in logged(caplog, "commit_retried") if one.transfer_id == transfer.id]
    assert str(error) in told.getMessage()


async def test_a_caller_who_is_cancelled_meanwhile_detaches(make, store, fake):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make() as client:
        asking = asyncio.create_task(client.transfer(CALL, to=SOMEBODY))
        await store.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.set()
        await until(lambda: fake.submissions)


async def test_what_is_not_recorded_is_the_store_s_error_and_never_sent(make, store, fake):
    store.fails["Requested"] = 1
    async with make() as client:
        with pytest.raises(StoreError, match=r"^the disk is full$"):
            await client.transfer(CALL, to=SOMEBODY)
        await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: fake.submissions)
    assert len(fake.submissions) == 1


async def test_a_commit_that_may_be_under_way_is_looked_for_more_than_once(make, store, fake, looks):
    store.error = CommitUnknown("the connection was lost")
    store.fails.update({"after Requested": 1, "forgotten": 2})
    async with make() as client:
        transfer = await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: fake.submissions)
    assert [submission.id for submission in fake.submissions] == [transfer.id]


@pytest.mark.parametrize(
    ("error", "recorded", "look"),
    [
        (ERRORS[0], "after Requested", "transfer"),
        (ERRORS[0], "Requested", "transfer"),
        (ERRORS[1], "after Requested", "transfer"),
        (ERRORS[1], "Requested", "forgotten"),
    ],
)
async def test_where_it_stays_unknown_the_error_says_so_and_what_to_do(
    make, store, fake, looks, error, recorded, look
):
    store.error = error
    store.fails.update({recorded: 1, look: 3})
    async with make(background=False) as client:
        with pytest.raises(StoreError, match=r"transfer .* may or may not have been recorded") as raised:
            await client.transfer(CALL, to=SOMEBODY)
    words = str(raised.value)
    assert all(part in words for part in ("120 s", "idempotency key", "TransferNotFound", str(error)))
    assert fake.submissions == []


async def test_what_nobody_knew_to_be_recorded_goes_on_when_its_lease_is_over(
    make, store, fake, clock, looks
):
    store.fails.update({"after Requested": 1, "transfer": 3})
    async with make(background=False) as client:
        with pytest.raises(StoreError, match="sent when the store is back"):
            await client.transfer(CALL, to=SOMEBODY)
        clock.advance(LEASE)
        assert await client.run_due() == 1
    assert len(fake.submissions) == 1


async def test_a_look_that_hangs_is_given_up(make, store, fake, monkeypatch):
    monkeypatch.setattr("transferkit._engine.sender._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        with pytest.raises(StoreError, match="may or may not"):
            await client.transfer(CALL, to=SOMEBODY)
    assert fake.submissions == []


async def test_what_another_process_took_over_meanwhile_is_not_sent_twice(make, store, fake, clock):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        asking = asyncio.create_task(client.transfer(CALL, to=SOMEBODY))
        await store.reached.wait()
        store.gates.clear()
        clock.advance(LEASE)
        assert await client.run_due() == 1  # as another process would
        gate.set()
        transfer = await asking
    assert [submission.id for submission in fake.submissions] == [transfer.id]


async def test_nor_is_what_another_process_may_take_over_now(make, store, fake, clock):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        asking = asyncio.create_task(client.transfer(CALL, to=SOMEBODY))
        await store.reached.wait()
        store.gates.clear()
        clock.advance(LEASE)
        gate.set()
        transfer = await asking
        await until(lambda: not client._tasks)
        assert fake.submissions == []
        clock.advance(1)
        assert await client.run_due() == 1
    assert [submission.id for submission in fake.submissions] == [transfer.id]


# --- logs and figures that fail -----------------------------------------------------------------------


@pytest.fixture
def broken_filter():
    """An application's log filter that raises at every record."""

    class Broken(logging.Filter):
        def filter(self, record):
            raise KeyError("of the application's")

    broken, loggers = Broken(), [logging.getLogger(f"transferkit.{name}") for name in ("engine", "streams")]
    for logger in loggers:
        logger.addFilter(broken)
    yield
    for logger in loggers:
        logger.removeFilter(broken)


async def test_a_log_filter_that_raises_is_in_no_transfer_s_way(make, fake, broken_filter):
    async with make() as client:
        await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: fake.submissions)


async def test_nor_in_that_of_one_that_is_recorded_though_the_store_failed(make, store, fake, broken_filter):
    store.fails["after Requested"] = 1
    async with make() as client:
        await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: fake.submissions)


async def test_a_meter_that_raises_is_told_of_and_in_nobody_s_way(store, fake, clock, caplog, planted):
    class Meters(Telemetry):
        def committed(self, inputs, applied):
            raise ZeroDivisionError(planted.number)

    config, adapters = Config(source="test", provider="fake"), {"fake": fake}
    async with AsyncClient(config, store=store, adapters=adapters, clock=clock, telemetry=Meters()) as client:
        await client.transfer(CALL, to=SOMEBODY)
        await until(lambda: fake.submissions)
    told = logged(caplog, "telemetry_failed")
    assert {one.error for one in told} == {"ZeroDivisionError"}
    assert all(one.levelname == "WARNING" for one in told)


async def test_figures_are_told_though_the_log_fails(store, fake, clock, broken_filter):
    told = []

    class Meters(Telemetry):
        def committed(self, inputs, applied):
            told.extend(event.kind for one in applied for event in one.events)

    config, adapters = Config(source="test", provider="fake"), {"fake": fake}
    async with AsyncClient(config, store=store, adapters=adapters, clock=clock, telemetry=Meters()) as client:
        await client.transfer(CALL, to=SOMEBODY)
    assert told[0] == "transfer.requested"


# --- due work -----------------------------------------------------------------------------------------


async def test_due_work_that_cannot_be_read_is_looked_for_again(make, store, clock, caplog):
    store.fails["next_due"] = 1
    async with make() as client:
        await until(lambda: logged(caplog, "store_failed"))
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


@pytest.mark.parametrize("error", [MemoryError("once"), KeyError("a bug")])
async def test_whatever_is_raised_the_background_task_goes_on(make, store, clock, caplog, error):
    store.error = error
    store.fails["next_due"] = 2
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        assert isinstance(await in_time(transfer.outcome(), clock), TransferExpired)
    assert str(error) in logged(caplog, "store_failed")[0].getMessage()


async def test_not_even_a_log_filter_ends_it(make, store, clock, broken_filter):
    store.fails["next_due"] = 2
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT, deadline=30)
        assert isinstance(await in_time(transfer.outcome(), clock), TransferExpired)


@pytest.mark.parametrize("error", [StoreError("disk gone"), ZeroDivisionError()])
async def test_of_what_failed_no_cause_is_shown_as_it_is(make, store, clock, caplog, planted, error):
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
        (told,) = logged(caplog, name)
        assert "ConnectionError" in told.getMessage()
        assert told.exc_info is None


async def test_a_provider_that_cannot_be_asked_is_told_without_its_words(make, store, clock, caplog, planted):
    class Breaks(FakeAdapter):
        async def inspect(self, call, *, tenant_id=None):
            raise RuntimeError(f"no line to {planted.number}")

    async with make(Breaks(clock=clock), background=False) as client:
        await client.transfer(CALL, to=SILENT, deadline=30)
        await until(lambda: logged(caplog, "transfer.submitted"))
        clock.advance(30)
        await client.run_due()
    assert "RuntimeError" in logged(caplog, "adapter_failed")[0].getMessage()


class NotOurs(Failing):
    """Hands out work whatever adapters the asker has."""

    async def lease_due(self, *, providers=None, **which):
        return await super().lease_due(**which)


async def test_a_store_that_hands_out_what_nobody_here_can_do_starts_no_attempt(clock, fake, caplog):
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
        (told,) = logged(caplog, "work_failed")
        assert (told.transfer_id, told.levelname) == (transfer.id, "ERROR")
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


async def test_a_process_without_the_adapter_leaves_what_needs_it_to_others(store, clock, fake):
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

    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
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
        (begun,) = stream._store_calls
        begun.cancel()  # as `asyncio.run` does with all that is left
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        recorded = await record(store, new_call())
        assert [await anext(stream)] == recorded


# --- closing while an outcome is asked for ------------------------------------------------------------


@pytest.mark.parametrize("verb", ["transfer", "end_of_log"])
@pytest.mark.parametrize("fails", [False, True])
async def test_who_asks_as_the_client_closes_is_told_so(make, store, verb, fails):
    before = asyncio.all_tasks()
    client = make()
    async with client:
        transfer = await client.transfer(CALL, to=SILENT)
        gate = store.hold_up(verb)
        asking = asyncio.create_task(transfer.outcome())
        await store.reached.wait()
    store.fails[verb] = fails
    gate.set()
    with pytest.raises(ClientClosed):
        await asking
    assert asyncio.all_tasks() == before


async def test_an_outcome_that_cannot_be_read_is_the_store_s_error(make, store):
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        store.fails["transfer"] = 1
        with pytest.raises(StoreError, match="the disk is full"):
            await transfer.outcome()


async def test_who_waits_for_a_store_that_cannot_be_read_is_told_when_the_client_closes(make, store):
    store.fails["end_of_log"] = 10**6
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        asking = asyncio.create_task(transfer.outcome())
        await until(lambda: store.fails["end_of_log"] < 10**6)
    with pytest.raises(ClientClosed):
        await asking


async def test_an_outcome_that_was_asked_for_before_is_not_waited_for_in_the_next_opening(make, store):
    client = make()
    async with client:
        transfer = await client.transfer(CALL, to=SILENT)
        gate = store.hold_up("transfer")
        asking = asyncio.create_task(transfer.outcome())
        await store.reached.wait()
    store.gates.clear()
    async with client:
        gate.set()
        with pytest.raises(ClientClosed):
            await asking


@pytest.mark.parametrize("error", [StoreError("down"), ZeroDivisionError()])
async def test_an_outcome_comes_whatever_was_raised_before(make, store, fake, error, caplog):
    async with make() as client:
        transfer = await client.transfer(CALL, to=SILENT)
        store.error = error
        store.fails["wait"] = 2
        asking = asyncio.create_task(transfer.outcome(timeout=10))
        await until(lambda: logged(caplog, "store_failed"))
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await asking, TransferCompleted)


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
    watch._resolve("t-1", OUTCOME)
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
