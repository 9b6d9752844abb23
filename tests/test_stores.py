"""Every store of the core keeps the one contract."""

import asyncio

import pytest

from transferkit import MemoryStore
from transferkit.lifecycle import Answered, NotSent, step
from transferkit.signals import Result
from transferkit.stores import LegOccupied
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import StoreContract
from transferkit.testing.store_inputs import AT, fact, new_call, opened, requested


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.close()

    async def test_it_may_be_opened_again(self, store, call):
        await store.close()
        await store.open()
        assert await store.call_events(call) == ()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


async def test_of_inputs_that_fail_together_nothing_is_recognised_later(store):
    call, busy, other = new_call(), new_call(), new_call()
    heard, asked = fact(call, delivery="one"), requested(opened(other, key="key"))
    await store.apply_all([(busy, requested(opened(busy)))], step)
    with pytest.raises(LegOccupied):
        await store.apply_all([(call, heard), (other, asked), (busy, requested(opened(busy)))], step)
    (first,) = await store.apply_all([(call, heard)], step)
    (again,) = await store.apply_all([(call, heard)], step)
    assert (first.duplicate, again.duplicate) == (False, True)
    await store.apply_all([(other, asked)], step)
    assert await store.transfer(asked.opened.id)


async def test_who_waits_is_woken_by_work_that_is_due_without_an_event():
    store, call = MemoryStore(), new_call()
    asked = requested(opened(call))
    await store.apply_all([(call, asked)], step)
    waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=60))
    await asyncio.sleep(0)
    answer = NotSent(result=Result())
    answered = Answered(at=AT, transfer_id=asked.opened.id, attempt=1, answer=answer)
    (applied,) = await store.apply_all([(call, answered)], step)
    assert applied.events == ()
    await asyncio.wait_for(waiting, 5)
