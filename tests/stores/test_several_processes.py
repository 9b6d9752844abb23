"""What both SQL stores do with several processes on one file or database."""

import asyncio
import random
from datetime import timedelta
from threading import Thread
from uuid import uuid4

import pytest
from attrs import evolve

from transferkit._lifecycle import CallKey, DueReached, Lease, Peeked, Work, step
from transferkit.provider.facts import Signal
from transferkit.stores import KeyUsed, LegOccupied, MemoryStore
from transferkit.stores.consumer_groups import GroupStart
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)

TIME_LIMIT = 60


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])
def new_store(request, tmp_path):
    """Makes stores on the same file or tables, as several processes have them."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "calls.db")
    address = request.getfixturevalue("address")
    from transferkit.stores.postgres import PostgresStore

    return lambda: PostgresStore(address)


@pytest.fixture
async def store(new_store):
    store = new_store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(new_store):
    store = new_store()
    await store.open()
    yield store
    await store.close()


async def test_two_processes_number_the_events_of_a_call_without_a_gap(store, other, call):
    await asyncio.gather(
        *(process.apply(call, fact(call), step) for _ in range(30) for process in (store, other))
    )
    assert [event.sequence for event in await store.call_events(call)] == [*range(1, 61)]


async def test_a_delivery_that_reaches_two_processes_counts_once(store, other, call):
    both = (
        process.apply(call, fact(call, delivery="d1"), step) for process in (store, other) for _ in range(5)
    )
    assert [one.duplicate for one in await asyncio.gather(*both)].count(False) == 1
    assert len(await store.call_events(call)) == 1


async def test_each_process_sees_what_the_other_writes(store, other):
    call = new_call()
    await store.apply(call, fact(call, delivery="d1"), step)
    assert (await other.apply(call, fact(call, delivery="d1"), step)).duplicate
    await other.apply(call, fact(call), step)
    assert [event.sequence for event in await store.call_events(call)] == [1, 2]
    assert (await store.apply(call, fact(call), step)).state.sequence == 3


async def test_keys_legs_and_leases_apply_to_all_processes(store, other):
    first = await open_transfer(store, new_call(), key="case-1")
    with pytest.raises(KeyUsed):
        await other.apply(new_call(), requested(opened(new_call(), key="case-1")), step)
    with pytest.raises(LegOccupied):
        await other.apply(first.call, requested(opened(first.call)), step)
    late = AT + timedelta(days=1)
    leased = await asyncio.gather(
        *(
            one.lease_due(now=late, lease=Lease(str(uuid4()), late + LEASE), limit=1)
            for one in (store, other) * 4
        )
    )
    assert sorted(due.work for some in leased for due in some) == [Work.DEADLINE, Work.SUBMIT]


async def test_due_work_is_leased_once_across_the_fleet(store, other):
    transfers = [opened(new_call()) for _ in range(20)]
    for transfer in transfers:
        await store.apply(transfer.call, requested(transfer), step)
    late = AT + timedelta(days=1)
    rounds = await asyncio.gather(
        *(
            process.lease_due(now=late, lease=Lease(name, late + LEASE), limit=7)
            for name, process in (("one", store), ("two", other))
            for _ in range(6)
        )
    )
    leased = [(due.transfer_id, due.work) for found in rounds for due in found]
    assert len(leased) == len(set(leased)) == len(transfers) * 2


async def test_a_wait_ends_when_another_process_writes(store, other):
    place = await store.end_of_log()
    waiting = [asyncio.create_task(store.wait(place, timeout=60)) for _ in range(3)]
    await asyncio.sleep(0)
    call = new_call()
    await other.apply(call, fact(call), step)
    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.gather(*waiting)
    assert len(await store.read(place)) == 1


def without_position(begun):
    """Positions differ between stores: PostgreSQL counts them in each partition."""
    return evolve(
        begun,
        delivery=begun.delivery and evolve(begun.delivery, position=0),
        following=tuple(evolve(delivery, position=0) for delivery in begun.following),
    )


class RandomInputs:
    """Random uses of a store. Each method returns the result to compare."""

    def __init__(self, store, seed):
        self.store = store
        self.random = random.Random(seed)  # noqa: S311 - the same for both stores
        self.now = AT
        self.asked = 0

    async def one(self):
        self.now += timedelta(seconds=self.random.randrange(1, 30))
        kinds = [self.ask, self.say, self.due, self.hold, self.next, self.leave, self.keep_house]
        try:
            return await self.random.choices(kinds, weights=[3, 5, 2, 2, 4, 1, 1])[0]()
        except KeyUsed as error:
            return "key", error.stored
        except LegOccupied as error:
            return "leg", error.leg, error.transfer_id

    def call(self):
        return CallKey("fake", f"c{self.random.randrange(8)}")

    def group(self):
        return self.random.choice(("crm", "wallboard"))

    def lease(self):
        return Lease(self.random.choice("abc"), self.now + timedelta(seconds=self.random.choice((20, 90))))

    async def ask(self):
        self.asked += 1
        idempotency_key = self.random.choice((None, f"key-{self.random.randrange(6)}"))
        asked = opened(self.call(), key=idempotency_key, transfer_id=f"t{self.asked}")
        return await self.store.apply(asked.call, evolve(requested(asked), at=self.now), step)

    async def say(self):
        signals = self.random.choice(((), (Signal.STARTED,), (Signal.SUCCEEDED,), (Signal.FAILED,)))
        call, delivery = self.call(), f"d{self.random.randrange(40)}"
        return await self.store.apply(call, fact(call, *signals, delivery=delivery, at=self.now), step)

    async def due(self):
        providers = self.random.choice((None, None, ("fake", "other"), ("other",), ()))
        leased = await self.store.lease_due(now=self.now, lease=self.lease(), limit=100, providers=providers)
        in_order = sorted(leased, key=lambda due: (due.at, due.transfer_id, due.work))
        for due in in_order:
            call = (await self.store.transfer(due.transfer_id)).opened.call
            reached = DueReached(at=self.now, transfer_id=due.transfer_id, work=due.work)
            await self.store.apply(call, reached, step)
        return in_order, await self.store.next_due(), await self.store.next_due(providers=providers)

    async def hold(self):
        group = self.group()
        await self.store.open_group(group, start=self.random.choice(list(GroupStart)))
        return await self.store.hold(group, self.lease(), now=self.now, busy={self.random.randrange(16)})

    async def next(self):
        group, owner, done = self.group(), self.lease().owner, None
        results = []
        for _ in range(self.random.randrange(1, 4)):
            limit = self.random.choice((1, 1, 3, 16))
            begun = await self.store.begin_next(
                group, owner, done=done, now=self.now, max_attempts=2, limit=limit
            )
            batch = [begun.delivery, *begun.following]
            handled = self.random.randrange(len(batch))
            done, received = batch[handled], [*batch, None][handled + 1]
            results.append(without_position(begun))
        if done and self.random.random() < 0.5:
            received = self.random.choice((None, received))
            results.append(await self.store.acknowledge(done, owner, received=received))
        return results

    async def leave(self):
        group, owner = self.group(), self.lease().owner
        begun = await self.store.begin_next(group, owner, done=None, now=self.now, max_attempts=2)
        unused = self.random.choice((None, begun.delivery))
        await self.store.leave(group, owner, unused=unused)
        return without_position(begun)

    async def keep_house(self):
        group = self.group()
        aside = await self.store.parked(group)
        released = [await self.store.release(group, one.event.id) for one in aside[:1]]
        pruned = await self.store.prune(
            before=self.now - timedelta(minutes=5), idle_since=self.now - timedelta(minutes=10), limit=1000
        )
        removed = self.random.random() < 0.1 and await self.store.remove_group(group)
        return aside, released, pruned, removed, await self.store.groups()

    async def end(self):
        calls = [CallKey("fake", f"c{number}") for number in range(8)]
        return (
            [event for _, event in await self.store.read(None, limit=10_000)],
            [await self.store.call_events(call) for call in calls],
            [await self.store.state(call) for call in calls],
            [await self.store.transfer(f"t{number + 1}") for number in range(self.asked)],
        )


@pytest.mark.parametrize("seed", range(6))
async def test_random_inputs_have_the_same_results_as_in_the_memory_store(store, seed):
    memory, tested = RandomInputs(MemoryStore(), seed), RandomInputs(store, seed)
    for _ in range(150):
        assert await tested.one() == await memory.one()
    assert await tested.end() == await memory.end()


async def test_a_commit_is_decided_again_if_a_call_that_it_peeked_at_changed(store, new_store):
    """Without that, an outcome of a step could be missed by the request that waits for it."""
    peeked_at, changed = new_call(), new_call()
    await store.apply(peeked_at, fact(peeked_at), step)
    seen = []

    async def change():
        another = new_store()
        await another.open()
        await another.apply(peeked_at, fact(peeked_at), step)
        await another.close()

    def peek(call, state, happened, mark):
        if isinstance(happened, Peeked):
            seen.append(state.sequence)
            if len(seen) == 1:
                process = Thread(target=lambda: asyncio.run(change()))
                process.start()
                process.join()
        return step(call, state, happened, mark)

    await store.apply_all([(peeked_at, Peeked(at=AT)), (changed, fact(changed))], peek)
    assert seen[0] == 1
    assert seen[-1] == 2
    assert len(await store.call_events(changed)) == 1
