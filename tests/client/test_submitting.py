"""Submitting requests: refusals before anything is recorded, idempotency keys, cancelled callers."""

import asyncio

import attrs
import pytest
from support.client import AGENT, ANSWERS, CALL, SILENT, Narrow, Slow, kinds, nothing_happened, until_kind

from transferkit import (
    Call,
    CallingContext,
    IdempotencyConflict,
    InvalidRequest,
    MemoryStore,
    OnUnsupported,
    StoreError,
    Transfer,
    TransferCompleted,
    TransferInProgress,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.facts import Signal
from transferkit.testing import FakeAdapter, Say, scenario


async def test_an_unsupported_request_is_refused_with_every_problem(make, clock, store):
    narrow = Narrow(clock=clock)
    async with make(narrow) as client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(
                CALL, to=AGENT, replaces="consult", region="amer", context=CallingContext(sip={"a": "1"})
            )
        assert [problem.field for problem in raised.value.problems] == [
            "to",
            "replaces",
            "region",
            "context.sip",
        ]
        assert all(problem.accepts for problem in raised.value.problems)
        assert raised.value.provider == "fake"
        assert all(problem.field in str(raised.value) for problem in raised.value.problems)
        assert await nothing_happened(store, narrow)


@pytest.mark.parametrize("replaces", [CALL, CALL.upper()])
async def test_a_call_cannot_replace_itself(make, clock, store, replaces):
    class AnyCase(FakeAdapter):
        @classmethod
        def canonical_call_id(cls, call_id):
            return call_id.lower()

    fake = AnyCase(clock=clock)
    async with make(fake) as client:
        with pytest.raises(InvalidRequest) as raised:
            await client.transfer(CALL, to=AGENT, replaces=replaces)
        (problem,) = raised.value.problems
        assert (problem.field, problem.message) == ("replaces", "is the call that is to be transferred")
        assert await nothing_happened(store, fake)


async def test_dropped_fields_are_listed_in_the_requested_event(make, clock, store):
    async with make(Narrow(clock=clock)) as client:
        transfer = await client.transfer(CALL, to=ANSWERS, region="amer", on_unsupported=OnUnsupported.DROP)
        await transfer.outcome(timeout=5)
        (requested, *_) = await store.call_events(CallKey("fake", CALL))
    assert requested.dropped == ("region",)
    assert transfer.request.region is None


async def test_a_provider_that_is_not_configured_is_refused(client, store, fake):
    with pytest.raises(InvalidRequest, match="no provider 'acs' is configured") as raised:
        await client.transfer(Call("acs", CALL), to=AGENT)
    assert raised.value.problems[0].accepts == "fake"
    assert await nothing_happened(store, fake)


async def test_a_call_has_one_open_transfer_at_most(client, store, fake):
    first = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress) as raised:
        await client.transfer(CALL, to=AGENT)
    assert raised.value.transfer_id == first.id
    assert CALL in raised.value.call
    assert first.id in str(raised.value)
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1
    assert (await kinds(store)).count("transfer.requested") == 1


async def test_an_open_redirect_blocks_a_transfer_of_the_call(client):
    first = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TransferInProgress) as raised:
        await client.redirect(CALL, to=AGENT)
    assert raised.value.transfer_id == first.id


async def test_a_consultative_transfer_occupies_both_legs(client):
    first = await client.transfer(CALL, to=SILENT, replaces="consult")
    for request in (
        Transfer(call="consult", to=AGENT),
        Transfer(call="another", to=AGENT, replaces="consult"),
        Transfer(call="another", to=AGENT, replaces=CALL),
    ):
        with pytest.raises(TransferInProgress) as raised:
            await client.submit(request)
        assert raised.value.transfer_id == first.id


async def test_the_outcome_of_a_consultative_transfer_frees_both_legs(client, fake):
    first = await client.transfer(CALL, to=SILENT, replaces="consult")
    await fake.say(CALL, Say(Signal.FAILED))
    await first.outcome()
    await (await client.transfer("consult", to=ANSWERS)).outcome()
    await (await client.transfer(CALL, to=ANSWERS)).outcome()


async def test_one_of_many_concurrent_requests_for_a_call_is_recorded(client, fake, store):
    tries = await asyncio.gather(
        *(client.transfer(CALL, to=SILENT) for _ in range(20)), return_exceptions=True
    )
    taken = [one for one in tries if not isinstance(one, TransferInProgress)]
    assert len(taken) == 1
    assert {one.transfer_id for one in tries if isinstance(one, TransferInProgress)} == {taken[0].id}
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1


async def test_submit_raises_the_error_of_a_store_that_cannot_record(make, fake):
    class Broken(MemoryStore):
        async def apply_all(self, inputs, step):
            raise StoreError("disk full")

    async with make(fake, store=Broken()) as client:
        with pytest.raises(StoreError):
            await client.transfer(CALL, to=AGENT)
    assert fake.submissions == []


async def test_the_same_key_and_request_return_the_same_transfer(client, fake, store):
    first = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    again = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    assert again.id == first.id
    assert again.request == first.request
    await until_kind(store, "transfer.submitted")
    assert len(fake.submissions) == 1
    assert (await kinds(store)).count("transfer.requested") == 1


async def test_the_same_key_and_request_return_the_same_transfer_after_its_outcome(client, fake):
    first = await client.transfer(CALL, to=scenario("busy").number, idempotency_key="case-42")
    outcome = await first.outcome()
    again = await client.transfer(CALL, to=scenario("busy").number, idempotency_key="case-42")
    assert again.id == first.id
    assert await again.outcome() == outcome
    assert len(fake.submissions) == 1


async def test_another_client_on_the_store_returns_the_transfer_of_the_key(client, make, clock):
    first = await client.transfer(CALL, to=ANSWERS, idempotency_key="case-42")
    other_fake = FakeAdapter(clock=clock)
    async with make(other_fake) as other:
        assert (await other.transfer(CALL, to=ANSWERS, idempotency_key="case-42")).id == first.id
    assert other_fake.submissions == []


@pytest.mark.parametrize(
    "changes",
    [{"to": AGENT}, {"deadline": 10}, {"extra": {"a": 1}}, {"operation_context": "x"}, {"call": "another"}],
)
@pytest.mark.parametrize("finished", [False, True])
async def test_the_same_key_with_another_request_is_a_conflict(client, store, changes, finished):
    request = Transfer(call=CALL, to=ANSWERS if finished else SILENT, idempotency_key="case-42")
    first = await client.submit(request)
    if finished:
        await first.outcome()
    before = await store.end_of_log()
    with pytest.raises(IdempotencyConflict) as raised:
        await client.submit(attrs.evolve(request, **changes))
    assert (raised.value.key, raised.value.transfer_id) == ("case-42", first.id)
    later = [event.kind for _, event in await store.read(before)]
    assert "transfer.requested" not in later


async def test_naming_the_default_provider_does_not_make_another_request(client):
    first = await client.transfer(CALL, to=SILENT, idempotency_key="case-42")
    assert (await client.transfer(Call("fake", CALL), to=SILENT, idempotency_key="case-42")).id == first.id


async def test_a_transfer_goes_on_when_its_caller_is_cancelled(make, clock, store):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        caller = asyncio.create_task(client.transfer(CALL, to=ANSWERS))
        await slow.sending.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        slow.go_on.set()
        await until_kind(store, "transfer.completed")
    assert len(slow.submissions) == 1


class Deliberate(MemoryStore):
    """A store that takes several steps of the event loop, as one on a disk does."""

    async def apply_all(self, inputs, step):
        await asyncio.sleep(0)
        applied = await super().apply_all(inputs, step)
        await asyncio.sleep(0)
        return applied


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_transfer_goes_on_whenever_its_caller_is_cancelled(make, fake, steps):
    store = Deliberate()
    async with make(fake, store=store) as client:
        caller = asyncio.create_task(client.transfer(CALL, to=ANSWERS))
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await until_kind(store, "transfer.completed")
    assert len(fake.submissions) == 1


async def test_submit_does_not_wait_for_the_provider(make, clock):
    slow = Slow(clock=clock)
    async with make(slow) as client:
        async with asyncio.timeout(5):
            transfer = await client.transfer(CALL, to=ANSWERS)
        slow.go_on.set()
        assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)
