"""The memory store: the contract, and inputs that fail together, which SQLite shares."""

import asyncio

import pytest
from attrs import asdict, evolve

from transferkit import MemoryStore
from transferkit._lifecycle import Answered, CallKey, CallState, Decision, Due, Lease, Work, step
from transferkit.provider.facts import Result, Signal
from transferkit.provider.results import NotSent
from transferkit.stores import LegOccupied
from transferkit.stores.consumer_groups import partition_of
from transferkit.stores.encoding import event_from_json
from transferkit.stores.sqlite import SqliteStore
from transferkit.stores.unreadable import UnreadableRow
from transferkit.testing import StoreContract
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)


class Damaged(dict):
    """A table of the memory store with one row that cannot be read."""

    def __init__(self, table, key, error):
        super().__init__(table)
        self.key, self.error = key, error

    def __getitem__(self, key):
        if key == self.key:
            raise self.error
        return super().__getitem__(key)

    def get(self, key, default=None):
        return super().get(key, default) if key != self.key else self[key]


class TestMemoryStore(StoreContract):
    """Values in memory cannot be damaged: the hooks replace them by what a damaged row leads to."""

    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.close()

    async def damage_event(self, store, event, stored):
        call = CallKey(event.provider, event.call_id)
        partition = partition_of(call, store.partitions)
        log = store._log
        entry = log._by_call[call][event.sequence - 1]
        marker = event_from_json(
            stored, call=call, sequence=event.sequence, partition=partition, position=entry.position
        )
        for entries in (log._all, log._by_call[call], log._by_partition[partition]):
            entries[entries.index(entry)] = evolve(entry, event=marker)

    async def damage_state(self, store, call):
        error = UnreadableRow(f"the state of call {call} cannot be read", call)
        store._tables.unreadable[call] = error
        store._tables = evolve(store._tables, calls=Damaged(store._tables.calls, call, error))

    async def damage_request(self, store, transfer_id):
        call, opened = store._tables.opened[transfer_id]
        error = UnreadableRow(f"the request of transfer {transfer_id} cannot be read", call)
        if opened.request.idempotency_key is not None:
            store._tables.unreadable[opened.request.idempotency_key] = error
        store._tables = evolve(store._tables, opened=Damaged(store._tables.opened, transfer_id, error))

    async def rename_work(self, store, transfer_id, work):
        pytest.skip("no other version writes to this process's memory")

    async def test_pruning_leaves_nothing_of_a_call(self, store, call):
        await open_transfer(store, call, key="case-1")
        await store.apply(call, fact(call, Signal.FAILED), step)
        assert await store.prune(before=AT + 2 * LEASE, idle_since=AT) == 1
        tables = asdict(store._tables, recurse=False)
        assert {name: table for name, table in tables.items() if table} == {}

    async def test_a_closed_store_can_be_opened_again(self, store, call):
        await store.close()
        await store.open()
        assert await store.call_events(call) == ()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


async def test_inputs_that_failed_together_are_not_duplicates_later(store):
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


async def test_a_waiter_is_woken_by_due_work_without_an_event():
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


async def test_work_that_is_set_again_for_the_same_time_is_leased_once(store):
    call = new_call()
    transfer = await open_transfer(store, call)
    due = Due(transfer_id=transfer.id, work=Work.INSPECT, at=AT)
    for _ in range(2):
        await store.apply(call, fact(call), lambda *_: Decision(state=CallState(), due=(due,)))
    leased = await store.lease_due(now=AT, lease=Lease("me", AT + LEASE), limit=10)
    assert [(row.transfer_id, row.work) for row in leased] == [(transfer.id, Work.INSPECT)]
