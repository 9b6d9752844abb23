"""How long one attempt may take: until the deadline, so that no request leaves after its own outcome."""

import asyncio
from datetime import timedelta

import attrs
import pytest

from transferkit import (
    AsyncClient,
    Basis,
    Config,
    FailureReason,
    LifecycleConfig,
    MemoryStore,
    PhoneNumber,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.results import Submitted
from transferkit.testing import FakeAdapter, ManualClock

CALL = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
AGENT, COLLEAGUE = PhoneNumber("+14255550100"), PhoneNumber("+14255550101")


class WaitsForItsToken(FakeAdapter):
    """Its first attempt waits for a token until the test gives it one; then its request leaves."""

    def __init__(self, **options):
        super().__init__(**options)
        self.token, self.given_up, self.sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.left = []

    @property
    def capabilities(self):
        return attrs.evolve(super().capabilities, repeatable_for=None)

    async def submit(self, submission):
        if submission.request.to == AGENT:
            try:
                await self.token.wait()
            finally:
                self.given_up.set()
        submission.deadline.check()
        self.left.append(submission.request.to)
        self.sent.set()
        return Submitted()


@pytest.fixture
def store():
    return MemoryStore()


def client_of(adapter, store, *, background=True, clock=None, **timing):
    config = Config(source="test", provider="fake", lifecycle=LifecycleConfig(**timing))
    return AsyncClient(config, store=store, adapters={"fake": adapter}, background=background, clock=clock)


async def until(condition):
    """Let the client work until something is so."""
    while not await condition():  # noqa: ASYNC110 - any step of the client may bring it about
        await asyncio.sleep(0.01)


async def test_nothing_leaves_after_the_transfers_own_outcome(store):
    adapter = WaitsForItsToken()
    async with asyncio.timeout(20), client_of(adapter, store) as client:
        first = await client.transfer(CALL, to=AGENT, deadline=0.2)
        assert isinstance(await first.outcome(), TransferExpired)
        assert adapter.given_up.is_set()
        await client.transfer(CALL, to=COLLEAGUE)
        adapter.token.set()
        await adapter.sent.wait()
    assert adapter.left == [COLLEAGUE]


async def test_a_process_that_was_held_up_until_the_deadline_sends_nothing(store):
    """As by a slow commit: the time was over before the request could be written."""
    adapter = FakeAdapter()
    async with asyncio.timeout(20), client_of(adapter, store, background=False) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=0.000001)
        outcome = await transfer.outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert adapter.submissions == []


class Checks(WaitsForItsToken):
    """Promises that nothing is written before its deadline is checked."""

    async def submit(self, submission):
        with submission.deadline.in_force():
            return await super().submit(submission)


async def test_a_token_that_does_not_come_by_the_deadline_is_a_failure_of_this_side(store):
    """Nothing was sent: that is certain, where the adapter checks the deadline right before it sends."""
    async with asyncio.timeout(20), client_of(Checks(), store) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=0.2)
        outcome = await transfer.outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert "deadline" in outcome.advice


async def test_a_clock_that_jumps_while_a_token_is_awaited_lets_nothing_leave_after_the_outcome(store):
    """As of a machine that slept: no time limit has expired, and another process gave the outcome."""
    clock, adapter = ManualClock(), WaitsForItsToken()
    async with (
        asyncio.timeout(20),
        client_of(adapter, store, clock=clock) as client,
        client_of(FakeAdapter(), store, clock=clock) as other,
    ):
        first = await client.transfer(CALL, to=AGENT)
        await until(store.next_due)
        clock.advance(first.request.deadline)
        assert isinstance(await other.outcome(first.id), TransferExpired)
        adapter.token.set()
        await adapter.given_up.wait()
        await client.transfer(CALL, to=COLLEAGUE)
        await adapter.sent.wait()
    assert adapter.left == [COLLEAGUE]


async def test_an_attempt_whose_lease_ended_is_not_sent_and_another_one_is(store):
    """Another process may be at it by then: on ACS it sends the same request again."""
    adapter = WaitsForItsToken()
    async with asyncio.timeout(20), client_of(adapter, store, lease=timedelta(seconds=0.1)) as client:
        transfer = await client.transfer(CALL, to=AGENT)

        async def taken_over():
            return (await store.state(CallKey("fake", CALL))).open.late_answer_decides

        await until(taken_over)
        assert adapter.left == []
        adapter.token.set()
        await adapter.sent.wait()
        assert (await store.state(CallKey("fake", CALL))).open.attempts >= 2
    assert adapter.left == [AGENT]
    assert transfer.request.to == AGENT


class AnswersLate(WaitsForItsToken):
    """Its requests leave at once; the answer waits for the test."""

    async def submit(self, submission):
        submission.deadline.check()
        self.left.append(submission.request.to)
        await self.token.wait()
        return Submitted()


async def test_an_answer_counts_although_the_lease_has_ended(store):
    """Another process may have queried the call meanwhile; it sent nothing, as that could be twice."""
    adapter = AnswersLate()
    async with asyncio.timeout(20), client_of(adapter, store, lease=timedelta(seconds=0.1)) as client:
        transfer = await client.transfer(CALL, to=AGENT)

        async def taken_over():
            return (await store.state(CallKey("fake", CALL))).open.late_answer_decides

        async def submitted():
            return "transfer.submitted" in [event.kind for event in await client.history(transfer.id)]

        await until(taken_over)
        adapter.token.set()
        await until(submitted)
    assert adapter.left == [AGENT]


async def test_an_attempt_in_time_is_not_given_up(store):
    adapter = FakeAdapter()
    async with asyncio.timeout(20), client_of(adapter, store) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=10)
        assert isinstance(await transfer.outcome(), TransferCompleted)
