"""The store in memory, beyond the contract that all stores share."""

from datetime import timedelta

from transferkit import MemoryStore
from transferkit._lifecycle import Lease
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing.contracts.store_groups import Consumer, record
from transferkit.testing.contracts.store_inputs import AT, new_call


async def test_an_acknowledged_event_is_not_delivered_again_after_it_was_returned_unused():
    store = MemoryStore()
    await store.open_group("crm", start=GroupStart.BEGINNING)
    recorded = await record(store, new_call())
    consumer = Consumer(store)
    await consumer.hold()
    delivery = await consumer.next()
    assert await consumer.acknowledge(delivery)
    await consumer.leave(unused=delivery)
    await consumer.hold()
    assert await consumer.read_all() == []
    assert len(recorded) == 1


async def test_a_released_and_acknowledged_event_is_not_parked_again_after_it_was_returned_unused():
    store = MemoryStore()
    await store.open_group("crm", start=GroupStart.BEGINNING)
    (event,) = await record(store, new_call())
    consumer = Consumer(store)
    await consumer.hold()
    while not await store.parked("crm"):
        await consumer.begin()
    assert await store.release("crm", event.id)
    delivery = await consumer.next()
    assert delivery.released
    assert await consumer.acknowledge(delivery)
    await consumer.leave(unused=delivery)
    assert await store.parked("crm") == ()


async def test_a_consumer_can_renew_its_own_lease_after_it_expired():
    store = MemoryStore()
    await store.open_group("all", start=GroupStart.BEGINNING)
    member = Lease("me", AT - timedelta(seconds=1))
    assert await store.hold("all", member, now=AT) == frozenset(range(store.partitions))
