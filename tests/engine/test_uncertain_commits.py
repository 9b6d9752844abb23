"""Requests whose commit failed: they are looked up, and sent only if they are recorded."""

import asyncio

import pytest
from support import failing_store
from support.failing_store import CALL, LEASE, TARGET
from support.waiting import logged, until

from transferkit import (
    StoreError,
    TransferCompleted,
)
from transferkit.provider.facts import Signal
from transferkit.stores import CommitUnknown
from transferkit.testing import Say, Script

clock, fake, make, store = (failing_store.clock, failing_store.fake, failing_store.make, failing_store.store)


@pytest.fixture
def looks(monkeypatch):
    """However often it is looked whether a request is recorded, it takes no time."""
    monkeypatch.setattr("transferkit._engine.sender._LOOK_PAUSES", (0, 0, 0))


ERRORS = [StoreError("the disk is full"), CommitUnknown("the connection was lost")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("looks_in_vain", [0, 2])
async def test_a_request_that_was_recorded_despite_an_error_is_sent(
    make, store, fake, caplog, looks, error, looks_in_vain
):
    store.error = error
    store.fails.update({"after Requested": 1, "transfer": looks_in_vain})
    fake.will(Script(after=(Say(Signal.SUCCEEDED),)))
    async with make() as client:
        transfer = await client.transfer(CALL, to=TARGET)
        assert isinstance(await transfer.outcome(timeout=10), TransferCompleted)
    assert [submission.id for submission in fake.submissions] == [transfer.id]
    (record,) = [one for one in logged(caplog, "commit_retried") if one.transfer_id == transfer.id]
    assert str(error) in record.getMessage()


async def test_a_transfer_goes_on_when_its_caller_is_cancelled_after_a_failed_commit(make, store, fake):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make() as client:
        asking = asyncio.create_task(client.transfer(CALL, to=TARGET))
        await store.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.set()
        await until(lambda: fake.submissions)


async def test_a_request_that_was_not_recorded_raises_the_error_and_is_never_sent(make, store, fake):
    store.fails["Requested"] = 1
    async with make() as client:
        with pytest.raises(StoreError, match=r"^the disk is full$"):
            await client.transfer(CALL, to=TARGET)
        await client.transfer(CALL, to=TARGET)
        await until(lambda: fake.submissions)
    assert len(fake.submissions) == 1


async def test_an_unknown_commit_is_looked_up_several_times(make, store, fake, looks):
    store.error = CommitUnknown("the connection was lost")
    store.fails.update({"after Requested": 1, "forgotten": 2})
    async with make() as client:
        transfer = await client.transfer(CALL, to=TARGET)
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
async def test_commit_unknown_says_what_to_do(make, store, fake, looks, error, recorded, look):
    store.error = error
    store.fails.update({recorded: 1, look: 3})
    async with make(background=False) as client:
        with pytest.raises(StoreError, match=r"transfer .* may or may not have been recorded") as raised:
            await client.transfer(CALL, to=TARGET)
    words = str(raised.value)
    assert all(part in words for part in ("120 s", "idempotency key", "TransferNotFound", str(error)))
    assert fake.submissions == []


async def test_a_request_with_an_unknown_commit_is_resumed_after_its_lease(make, store, fake, clock, looks):
    store.fails.update({"after Requested": 1, "transfer": 3})
    async with make(background=False) as client:
        with pytest.raises(StoreError, match="sent when the store is back"):
            await client.transfer(CALL, to=TARGET)
        clock.advance(LEASE)
        assert await client.run_due() == 1
    assert len(fake.submissions) == 1


async def test_a_lookup_that_hangs_is_given_up(make, store, fake, monkeypatch):
    monkeypatch.setattr("transferkit._engine.sender._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.01)
    store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        with pytest.raises(StoreError, match="may or may not"):
            await client.transfer(CALL, to=TARGET)
    assert fake.submissions == []


async def test_a_request_that_another_process_resumed_is_not_sent_twice(make, store, fake, clock):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        asking = asyncio.create_task(client.transfer(CALL, to=TARGET))
        await store.reached.wait()
        store.gates.clear()
        clock.advance(LEASE)
        assert await client.run_due() == 1  # as another process would
        gate.set()
        transfer = await asking
    assert [submission.id for submission in fake.submissions] == [transfer.id]


async def test_a_request_is_not_sent_after_its_lease(make, store, fake, clock):
    gate = store.hold_up("transfer")
    store.fails["after Requested"] = 1
    async with make(background=False) as client:
        asking = asyncio.create_task(client.transfer(CALL, to=TARGET))
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
