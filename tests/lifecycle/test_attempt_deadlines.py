"""An attempt is sent before its deadline and lease end, or not at all."""

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


class WaitsForToken(FakeAdapter):
    """The first attempt waits until the test sets `token`, then sends its request."""

    def __init__(self, **options):
        super().__init__(**options)
        self.token, self.stopped, self.sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.sent_to = []

    @property
    def capabilities(self):
        return attrs.evolve(super().capabilities, repeatable_for=None)

    async def submit(self, submission):
        if submission.request.to == AGENT:
            try:
                await self.token.wait()
            finally:
                self.stopped.set()
        submission.deadline.check()
        self.sent_to.append(submission.request.to)
        self.sent.set()
        return Submitted()


@pytest.fixture
def store():
    return MemoryStore()


def client_of(adapter, store, *, background=True, clock=None, **timing):
    config = Config(source="test", provider="fake", lifecycle=LifecycleConfig(**timing))
    return AsyncClient(config, store=store, adapters={"fake": adapter}, background=background, clock=clock)


async def until(condition):
    """Wait until the condition is true."""
    while not await condition():  # noqa: ASYNC110 - no event tells when it becomes true
        await asyncio.sleep(0.01)


async def test_no_request_is_sent_after_the_outcome_of_its_transfer(store):
    adapter = WaitsForToken()
    async with asyncio.timeout(20), client_of(adapter, store) as client:
        first = await client.transfer(CALL, to=AGENT, deadline=1)  # time for a busy machine to start it
        assert isinstance(await first.outcome(), TransferExpired)
        assert adapter.stopped.is_set()
        await client.transfer(CALL, to=COLLEAGUE)
        adapter.token.set()
        await adapter.sent.wait()
    assert adapter.sent_to == [COLLEAGUE]


async def test_no_request_is_sent_if_the_deadline_passed_before_the_attempt(store):
    adapter = FakeAdapter()
    async with asyncio.timeout(20), client_of(adapter, store, background=False) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=0.000001)
        outcome = await transfer.outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert adapter.submissions == []


class ChecksDeadline(WaitsForToken):
    """Uses `in_force`, which promises that nothing is written before the deadline is checked."""

    async def submit(self, submission):
        with submission.deadline.in_force():
            return await super().submit(submission)


async def test_a_token_that_does_not_arrive_by_the_deadline_is_a_local_failure(store):
    async with asyncio.timeout(20), client_of(ChecksDeadline(), store) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=0.2)
        outcome = await transfer.outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.reason, outcome.basis) == (FailureReason.TIMEOUT, Basis.LOCAL)
    assert "deadline" in outcome.advice


async def test_no_request_is_sent_after_the_outcome_if_the_clock_jumps_while_a_token_is_awaited(store):
    """The machine was suspended: no timeout expired, and another process published the outcome."""
    clock, adapter = ManualClock(), WaitsForToken()
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
        await adapter.stopped.wait()
        await client.transfer(CALL, to=COLLEAGUE)
        await adapter.sent.wait()
    assert adapter.sent_to == [COLLEAGUE]


async def test_an_attempt_whose_lease_ended_is_replaced_by_another_one(store):
    adapter = WaitsForToken()
    async with asyncio.timeout(20), client_of(adapter, store, lease=timedelta(seconds=0.1)) as client:
        transfer = await client.transfer(CALL, to=AGENT)

        async def taken_over():
            return (await store.state(CallKey("fake", CALL))).open.late_answer_decides

        await until(taken_over)
        assert adapter.sent_to == []
        adapter.token.set()
        await adapter.sent.wait()
        assert (await store.state(CallKey("fake", CALL))).open.attempts >= 2
    assert adapter.sent_to == [AGENT]
    assert transfer.request.to == AGENT


class AnswersLate(WaitsForToken):
    """Sends immediately. The answer arrives when the test sets `token`."""

    async def submit(self, submission):
        submission.deadline.check()
        self.sent_to.append(submission.request.to)
        await self.token.wait()
        return Submitted()


async def test_an_answer_counts_after_the_lease_ended(store):
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
    assert adapter.sent_to == [AGENT]


async def test_an_attempt_before_the_deadline_is_sent(store):
    adapter = FakeAdapter()
    async with asyncio.timeout(20), client_of(adapter, store) as client:
        transfer = await client.transfer(CALL, to=AGENT, deadline=10)
        assert isinstance(await transfer.outcome(), TransferCompleted)
