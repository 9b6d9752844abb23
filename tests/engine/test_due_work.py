"""Due work: retries, repetitions, deadlines and the resumption of transfers."""

import asyncio
from datetime import timedelta

import attrs
import pytest
from support.client import ANSWERS, CALL, SILENT, OneShot, kinds, pass_time_until, until_kind, until_sent

from transferkit import (
    AsyncClient,
    Config,
    Evidence,
    FailureReason,
    LifecycleConfig,
    MemoryStore,
    PhoneNumber,
    TransferCompleted,
    TransferExpired,
)
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, Submitted
from transferkit.testing import FakeAdapter, ManualClock, Say, Script


@pytest.mark.parametrize(
    ("presence", "evidence"),
    [
        (Presence.CONNECTED, Evidence.CALL_CONNECTED),
        (Presence.TRANSFERRING, Evidence.CALL_CONNECTED),
        (Presence.GONE, Evidence.CALL_GONE),
        (Presence.UNKNOWN, Evidence.SILENCE),
    ],
)
async def test_an_expired_transfer_names_its_evidence(client, fake, clock, store, presence, evidence):
    fake.presence[CALL] = presence
    transfer = await client.transfer(CALL, to=SILENT, deadline=30)
    await until_kind(store, "transfer.submitted")
    clock.advance(30)
    waiting = asyncio.create_task(transfer.outcome())

    async def is_over():
        return waiting.done()

    await pass_time_until(is_over, clock)
    outcome = await waiting
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is evidence
    assert outcome.basis == "inferred"
    assert outcome.elapsed >= timedelta(seconds=30)


async def test_no_work_is_due_before_the_deadline(client, clock, store):
    await client.transfer(CALL, to=SILENT, deadline=30)
    await until_kind(store, "transfer.submitted")
    clock.advance(29.999)
    assert await client.run_due() == 0
    clock.advance(0.001)
    assert await client.run_due() >= 1


async def test_an_open_client_does_due_work_in_the_background(client, clock, store):
    transfer = await client.transfer(CALL, to=SILENT)
    await until_kind(store, "transfer.submitted")
    clock.advance(150)
    assert (await transfer.outcome(timeout=5)).evidence is Evidence.CALL_CONNECTED


BUSY_LINE = NotSent(result=Result(code=429, reason=FailureReason.THROTTLED, message="slow down"))
MAYBE_SENT = MaybeSent(result=Result(reason=FailureReason.PROVIDER_ERROR, message="reset"))


@pytest.mark.parametrize("adapter", [FakeAdapter, OneShot])
async def test_a_request_that_was_not_sent_is_retried(make, clock, store, adapter):
    fake = adapter(clock=clock)
    fake.will(Script(answer=BUSY_LINE), Script(answer=BUSY_LINE), Script(after=(Say(Signal.SUCCEEDED),)))
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        for count in (1, 2):
            await until_sent(fake, store, count)
            clock.advance(30)
        assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)
    assert [submission.id for submission in fake.submissions] == [transfer.id] * 3


async def test_a_retry_waits_as_long_as_the_provider_says(client, fake, clock, store):
    fake.will(Script(answer=attrs.evolve(BUSY_LINE, retry_after=timedelta(seconds=2.128))))
    await client.transfer(CALL, to=ANSWERS)
    await until_sent(fake, store, 1)
    clock.advance(2.127)
    assert await client.run_due() == 0
    clock.advance(0.001)
    await until_sent(fake, store, 2)


async def test_the_number_of_attempts_is_limited(make, fake, clock, store):
    fake.will(*[Script(answer=BUSY_LINE)] * 3)
    async with make(fake, lifecycle=LifecycleConfig(max_attempts=3)) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        for count in (1, 2):
            await until_sent(fake, store, count)
            clock.advance(30)
        outcome = await transfer.outcome(timeout=5)
    assert (outcome.kind, outcome.reason, outcome.call_alive) == (
        "transfer.failed",
        FailureReason.THROTTLED,
        True,
    )
    assert len(fake.submissions) == 3
    assert await kinds(store) == ["transfer.requested", "transfer.failed"]


async def test_a_request_that_may_have_been_sent_is_repeated_unchanged(client, fake, clock, store):
    fake.will(Script(answer=MAYBE_SENT), Script(answer=MAYBE_SENT), Script(after=(Say(Signal.SUCCEEDED),)))
    transfer = await client.transfer(CALL, to=SILENT)
    for count in (1, 2):
        await until_sent(fake, store, count)
        clock.advance(10)
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)
    assert {submission.id for submission in fake.submissions} == {transfer.id}
    assert len({submission.first_sent_at for submission in fake.submissions}) == 1
    assert len(fake.submissions) == 3


async def test_a_request_is_not_repeated_after_the_providers_window(client, fake, clock, store):
    fake.will(Script(answer=MAYBE_SENT))
    transfer = await client.transfer(CALL, to=SILENT, deadline=1000)
    await until_sent(fake, store, 1)
    clock.advance(timedelta(minutes=5))
    while await client.run_due():
        pass
    waiting = asyncio.create_task(transfer.outcome(timeout=5))
    while not waiting.done():
        clock.advance(5)
        await asyncio.sleep(0)  # let whoever waits for the clock run
    assert isinstance(await waiting, TransferExpired)
    assert len(fake.submissions) == 1


async def test_a_refused_repetition_does_not_decide_the_outcome(client, fake, clock, store):
    fake.will(Script(answer=MAYBE_SENT), Script(answer=Rejected(result=Result(code=409, subcode=8607))))
    transfer = await client.transfer(CALL, to=SILENT)
    await until_sent(fake, store, 1)
    clock.advance(10)
    await until_sent(fake, store, 2)
    assert await kinds(store) == ["transfer.requested"]
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_provider_without_repetition_gets_one_attempt(make, clock, store):
    fake = OneShot(clock=clock)
    fake.will(Script(answer=MAYBE_SENT))
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        await until_sent(fake, store, 1)
        for _ in range(20):
            clock.advance(5)
            await client.run_due()
        assert await kinds(store) == ["transfer.requested"]
        clock.advance(60)
        outcome = await transfer.outcome(timeout=5)
    assert isinstance(outcome, TransferExpired)
    assert outcome.evidence is Evidence.CALL_CONNECTED
    assert len(fake.submissions) == 1


async def test_a_request_whose_adapter_raised_may_have_been_sent(make, clock, store, planted, caplog):
    class Raises(OneShot):
        async def submit(self, submission):
            self.submissions.append(submission)
            raise ValueError(f"refused {submission.id}")

        async def inspect(self, call, *, tenant_id=None):
            raise ValueError("refused again")

    fake = Raises(clock=clock)
    async with make(fake) as client:
        transfer = await client.transfer(CALL, to=PhoneNumber(planted.number))
        await until_sent(fake, store, 1)
        waiting = asyncio.create_task(transfer.outcome())

        async def is_over():
            return waiting.done()

        await pass_time_until(is_over, clock)
        outcome = await waiting
    assert outcome.evidence is Evidence.SILENCE
    assert len(fake.submissions) == 1
    assert "the adapter failed while it sent the request" in caplog.text
    assert "the adapter failed while it queried the call" in caplog.text


@pytest.mark.parametrize(("adapter", "sent"), [(FakeAdapter, 1), (OneShot, 0)])
async def test_a_request_of_a_crashed_process_is_resumed_after_its_lease(make, clock, store, adapter, sent):
    """Only a provider that executes a repeated request once receives it again."""

    class Dies(adapter):
        async def submit(self, submission):
            raise asyncio.CancelledError

    async with make(Dies(clock=clock), lifecycle=LifecycleConfig(lease=timedelta(seconds=20))) as client:
        transfer = await client.transfer(CALL, to=ANSWERS)
    second = adapter(clock=clock)
    async with make(second) as client:
        assert second.submissions == []
        clock.advance(20)
        await client.run_due()
        if sent:
            assert isinstance(await client.outcome(transfer.id, timeout=5), TransferCompleted)
        else:
            clock.advance(130)
            assert isinstance(await client.outcome(transfer.id, timeout=5), TransferExpired)
    assert [submission.id for submission in second.submissions] == [transfer.id] * sent


async def test_two_clients_on_one_store_do_not_do_the_same_work_twice(make, clock, store):
    adapters = [FakeAdapter(clock=clock) for _ in range(2)]
    for fake in adapters:
        fake.will(Script(answer=BUSY_LINE))
    async with make(adapters[0]) as one, make(adapters[1]) as two:
        await one.transfer(CALL, to=SILENT)
        await until_sent(adapters[0], store, 1)
        adapters[0].will(Script())
        clock.advance(30)
        await asyncio.gather(one.run_due(), two.run_due(), one.run_due(), two.run_due())
        await until_kind(store, "transfer.submitted") if not adapters[1].submissions else None
    assert sum(len(fake.submissions) for fake in adapters) == 2


async def test_a_request_that_was_accepted_at_the_second_attempt_does_not_fail_for_the_first():
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
