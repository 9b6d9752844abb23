"""Outcomes: what they say, and waiting for them."""

import asyncio

import pytest
from support.client import ANSWERS, CALL, SILENT, kinds, until_kind

from transferkit import (
    Call,
    CallingContext,
    CommunicationUser,
    FailureReason,
    MemoryStore,
    PhoneNumber,
    StoreError,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)
from transferkit._lifecycle import CallKey
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import Rejected
from transferkit.testing import FakeAdapter, Say, Script, scenario


async def test_a_transfer_publishes_every_step_in_order(client, store):
    transfer = await client.transfer(CALL, to=ANSWERS, operation_context="case 42")
    outcome = await transfer.outcome()
    assert isinstance(outcome, TransferCompleted)
    assert outcome.transfer_id == transfer.id
    assert outcome.operation_context == "case 42"
    assert outcome.target == ANSWERS
    assert outcome.basis == "stated"
    assert await kinds(store) == [
        "transfer.requested",
        "transfer.submitted",
        "transfer.started",
        "transfer.accepted",
        "transfer.completed",
        "call.ended",
    ]
    events = await store.call_events(CallKey("fake", CALL))
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert len({event.id for event in events}) == 6


@pytest.mark.parametrize("name", ["busy", "declined", "no_answer", "unreachable", "not_found"])
async def test_a_failure_has_a_reason_and_says_that_the_call_is_alive(client, name):
    outcome = await (await client.transfer(CALL, to=scenario(name).teams_user)).outcome()
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is scenario(name).reason
    assert outcome.call_alive is True
    assert outcome.basis == "stated"


async def test_a_caller_who_hangs_up_does_not_complete_the_transfer(client, clock, store):
    transfer = await client.transfer(CALL, to=scenario("caller_leaves").number)
    await until_kind(store, "call.ended")
    clock.advance(5)
    outcome = await transfer.outcome()
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CALLER_LEFT, False)


async def test_a_success_within_the_grace_period_completes_the_transfer(client, clock, store, fake):
    transfer = await client.transfer(CALL, to=SILENT)
    await fake.say(CALL, Say(Signal.CALL_ENDED))
    clock.advance(4)
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(), TransferCompleted)
    clock.advance(500)
    assert await client.run_due() == 0
    assert (await kinds(store))[-1] == "transfer.completed"


async def test_outcomes_can_be_matched_by_pattern(client):
    transfer = await client.transfer(CALL, to=scenario("busy").number)
    match await transfer.outcome():
        case TransferCompleted():
            said = "completed"
        case TransferFailed(reason=FailureReason.BUSY, call_alive=alive):
            said = f"busy, alive: {alive}"
        case TransferFailed() | TransferExpired():
            said = "something else"
    assert said == "busy, alive: True"


async def test_a_refusal_by_the_provider_is_an_outcome_and_not_an_exception(client, fake, store):
    refused = Result(
        code=403, subcode=7505, message="no", reason=FailureReason.FORBIDDEN, advice="ask", request_id="r"
    )
    fake.will(Script(answer=Rejected(result=refused)))
    outcome = await (await client.transfer(CALL, to=ANSWERS)).outcome()
    assert isinstance(outcome, TransferFailed)
    assert (outcome.code, outcome.subcode, outcome.message) == (403, 7505, "no")
    assert (outcome.reason, outcome.advice, outcome.request_id) == (FailureReason.FORBIDDEN, "ask", "r")
    assert await kinds(store) == ["transfer.requested", "transfer.failed"]


async def test_a_call_can_be_transferred_again_after_a_failure(client, store):
    first = await client.transfer(CALL, to=scenario("busy").number)
    await first.outcome()
    second = await client.transfer(CALL, to=ANSWERS)
    assert isinstance(await second.outcome(), TransferCompleted)
    assert first.id != second.id
    assert (await first.outcome()).kind == "transfer.failed"


async def test_a_handle_has_the_id_call_and_request(client, planted):
    transfer = await client.transfer(
        Call("fake", CALL), to=PhoneNumber(planted.number), operation_context=planted.digits
    )
    assert transfer.call == Call("fake", CALL)
    assert transfer.request == Transfer(
        call=Call("fake", CALL), to=PhoneNumber(planted.number), operation_context=planted.digits
    )
    assert transfer.id in repr(transfer)
    assert not planted.shown_in(repr(transfer))


async def test_all_waiters_get_the_same_outcome(client):
    transfer = await client.transfer(CALL, to=ANSWERS)
    outcomes = await asyncio.gather(*(transfer.outcome() for _ in range(10)), client.outcome(transfer.id))
    assert len(set(outcomes)) == 1


async def test_a_hundred_concurrent_transfers_complete(client):
    handles = await asyncio.gather(*(client.transfer(f"call-{n}", to=ANSWERS) for n in range(100)))
    outcomes = await asyncio.gather(*(handle.outcome() for handle in handles))
    assert {outcome.transfer_id for outcome in outcomes} == {handle.id for handle in handles}
    assert {type(outcome) for outcome in outcomes} == {TransferCompleted}


async def test_the_timeout_error_says_that_the_transfer_goes_on(client):
    transfer = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError, match=f"{transfer.id} has no outcome after .* It goes on"):
        await transfer.outcome(timeout=0.01)


@pytest.mark.parametrize("timeout", ["3", True, [3]])
async def test_a_timeout_that_is_not_a_number_is_refused_by_name(client, timeout):
    transfer = await client.transfer(CALL, to=SILENT)
    for wait in (transfer.outcome, lambda given: client.outcome(transfer.id, given)):
        with pytest.raises(
            TypeError, match=f"^timeout: expected seconds or None, got {type(timeout).__name__}$"
        ):
            await wait(timeout)


async def test_a_timeout_error_of_the_store_is_raised_unchanged(client, store, monkeypatch):
    async def slow(transfer_id):
        raise TimeoutError("the store's")

    transfer = await client.transfer(CALL, to=SILENT)
    monkeypatch.setattr(client._watch, "outcome", slow)
    with pytest.raises(TimeoutError, match=r"^the store's$"):
        await transfer.outcome(timeout=60)


async def test_a_failing_read_of_the_store_does_not_lose_an_outcome(make, fake):
    class Hiccups(MemoryStore):
        failing = False
        waited_for = asyncio.Event()

        async def wait(self, after, *, timeout):
            self.waited_for.set()
            await super().wait(after, timeout=timeout)

        async def read(self, after, *, limit=100):
            if self.failing:
                self.failing = False
                raise StoreError("hiccup")
            return await super().read(after, limit=limit)

    store = Hiccups()
    async with make(fake, store=store) as client:
        transfer = await client.transfer(CALL, to=SILENT)
        waiting = asyncio.create_task(transfer.outcome(timeout=5))
        await store.waited_for.wait()
        store.failing = True
        await fake.say(CALL, Say(Signal.STARTED))
        await fake.say(CALL, Say(Signal.SUCCEEDED))
        assert isinstance(await waiting, TransferCompleted)


async def test_a_timeout_leaves_the_transfer_open(client, fake, store):
    transfer = await client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError):
        await transfer.outcome(timeout=0.01)
    assert (await store.state(CallKey("fake", CALL))).open.id == transfer.id
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_cancelled_wait_leaves_the_transfer_open(client, fake):
    transfer = await client.transfer(CALL, to=SILENT)
    waiting = asyncio.create_task(transfer.outcome())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await fake.say(CALL, Say(Signal.SUCCEEDED))
    assert isinstance(await transfer.outcome(timeout=5), TransferCompleted)


async def test_a_known_outcome_is_returned_with_a_timeout_of_zero(client, make, clock):
    transfer = await client.transfer(CALL, to=ANSWERS)
    outcome = await transfer.outcome()
    async with make(FakeAdapter(clock=clock)) as other:
        assert await other.outcome(transfer.id, timeout=0) == outcome


async def test_every_event_is_logged_with_the_ids_that_support_needs(client, caplog, planted):
    transfer = await client.transfer(
        CALL,
        to=PhoneNumber(planted.number),
        caller_id=PhoneNumber(planted.digits),
        operation_context=f"call {planted.number}",
        context=CallingContext(sip={"X-MS-Custom-From": planted.number}),
        extra={"token": planted.token},
    )
    await transfer.outcome()
    records = [record for record in caplog.records if getattr(record, "transfer_id", None) == transfer.id]
    assert [record.event for record in records] == [
        "transfer.requested",
        "submission_answered",
        "transfer.submitted",
        "transfer.started",
        "transfer.accepted",
        "transfer.completed",
    ]
    assert {(record.provider, record.call_id) for record in records} == {("fake", CALL)}
    assert all(hasattr(record, "correlation_id") for record in records)


async def test_scenarios_can_be_chosen_with_acs_users(client, fake):
    target = CommunicationUser(f"8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_{scenario('declined').object_id}")
    assert (await (await client.transfer(CALL, to=target)).outcome()).reason is FailureReason.DECLINED
