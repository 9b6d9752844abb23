"""Retention: pruning of finished calls. A part of `StoreContract`."""

# ruff: noqa: PLR2004 - expected values are literals on purpose

from __future__ import annotations

from datetime import datetime, timedelta

from transferkit._lifecycle import CallKey, CallState, step
from transferkit.provider.facts import Signal
from transferkit.stores import Store
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing.contracts.store_groups import calls_together, join, record
from transferkit.testing.contracts.store_inputs import AT, fact, new_call, open_transfer, opened, requested

__all__ = ["RetentionContract"]

_DAY = timedelta(days=1)


class RetentionContract:
    """Which calls are pruned, and what remains of them."""

    async def _prune(
        self, store: Store, before: datetime = AT + _DAY, *, idle_since: datetime = AT, limit: int = 100
    ) -> int:
        return await store.prune(before=before, idle_since=idle_since, limit=limit)

    async def test_an_old_call_is_pruned_as_a_whole(self, store: Store, call: CallKey) -> None:
        transfer = await open_transfer(store, call, key="case-1")
        await store.apply(call, fact(call, Signal.SUCCEEDED, delivery="d1"), step)
        assert await self._prune(store) == 1
        assert await store.state(call) == CallState()
        assert await store.call_events(call) == ()
        assert await store.transfer(transfer.id) is None
        assert await self._prune(store) == 0

    async def test_the_key_and_deliveries_of_a_pruned_call_can_be_used_again(
        self, store: Store, call: CallKey
    ) -> None:
        await open_transfer(store, call, key="case-1")
        await store.apply(call, fact(call, Signal.FAILED, delivery="d1"), step)
        await self._prune(store)
        again = await store.apply(call, requested(opened(call, key="case-1")), step)
        assert [event.sequence for event in again.events] == [1]
        assert not (await store.apply(call, fact(call, delivery="d1"), step)).duplicate

    async def test_pruning_does_not_change_other_calls(self, store: Store, call: CallKey) -> None:
        young = new_call()
        transfer = opened(young, key="case-2")
        await record(store, call)
        await store.apply(young, requested(transfer), step)
        await store.apply(young, fact(young, Signal.FAILED, at=AT + _DAY), step)
        state, events = await store.state(young), await store.call_events(young)
        assert await self._prune(store) == 1
        assert await store.state(young) == state
        assert await store.call_events(young) == events
        assert await store.transfer(transfer.id) is not None

    async def test_a_call_is_pruned_by_the_time_of_its_last_event(self, store: Store, call: CallKey) -> None:
        await record(store, call, at=AT)
        await record(store, call, at=AT + _DAY)
        assert await self._prune(store, AT + _DAY) == 0
        assert await self._prune(store, AT + _DAY + timedelta(milliseconds=1)) == 1

    async def test_the_legs_of_an_open_transfer_are_not_pruned(self, store: Store, call: CallKey) -> None:
        consult = new_call()
        await record(store, consult)
        await open_transfer(store, call, legs=(consult,))
        assert await self._prune(store) == 0
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        assert await self._prune(store) == 2

    async def test_pruning_deletes_no_more_calls_than_its_limit(self, store: Store) -> None:
        await record(store, *(new_call() for _ in range(5)))
        assert [await self._prune(store, limit=2) for _ in range(4)] == [2, 2, 1, 0]

    async def test_calls_that_are_kept_do_not_stop_pruning_of_the_others(self, store: Store) -> None:
        for _ in range(3):
            kept = new_call()
            await open_transfer(store, kept)
        await record(store, new_call(), new_call())
        assert [await self._prune(store, limit=1) for _ in range(3)] == [1, 1, 0]

    async def test_a_reader_continues_after_pruned_events(self, store: Store, call: CallKey) -> None:
        start = await store.end_of_log()
        await record(store, call, call)
        end = await store.end_of_log()
        await self._prune(store)
        later = await record(store, new_call(), at=AT + _DAY)
        for place in (None, start, end):
            assert [event for _, event in await store.read(place)] == later

    # --- groups -------------------------------------------------------------------------------------

    async def test_a_call_stays_until_every_group_has_acknowledged_it(
        self, store: Store, call: CallKey
    ) -> None:
        await record(store, call, call)
        consumers = [await join(store, group=group) for group in ("crm", "billing")]
        for consumer in consumers:
            first = await consumer.next()
            assert await self._prune(store) == 0
            second = await consumer.next(first)
            assert await self._prune(store) == 0
            await consumer.acknowledge(second)
        assert await self._prune(store) == 1

    async def test_a_call_with_a_parked_event_is_not_pruned(self, store: Store, call: CallKey) -> None:
        (event,) = await record(store, call)
        consumer = await join(store)
        while not await store.parked("crm"):
            await consumer.begin()
        assert await self._prune(store) == 0
        await store.release("crm", str(event.id))
        assert await self._prune(store) == 0
        await consumer.read_all()
        assert await self._prune(store) == 1

    async def test_a_group_without_consumers_does_not_prevent_pruning(
        self, store: Store, call: CallKey
    ) -> None:
        await record(store, call, call, at=AT)
        consumer = await join(store)
        while not await store.parked("crm"):
            await consumer.begin()
        await store.open_group("never attended", start=GroupStart.BEGINNING)
        assert await self._prune(store, idle_since=AT) == 0
        assert await self._prune(store, idle_since=AT + timedelta(milliseconds=1)) == 1
        assert await store.parked("crm") == ()
        assert [status.lag for status in await store.groups()] == [0, 0]

    async def test_an_idle_group_continues_with_the_events_that_were_not_pruned(
        self, store: Store, call: CallKey
    ) -> None:
        await record(store, call, at=AT)
        consumer = await join(store)
        delivery = await consumer.next()
        later = await record(store, call, new_call(), at=AT + _DAY)
        gone = await record(store, new_call(), at=AT)
        assert await self._prune(store, idle_since=AT + _DAY) == len(gone)
        assert await consumer.read_all(delivery) == later

    async def test_attempts_at_a_pruned_event_do_not_count_for_the_next_event(self, store: Store) -> None:
        old, young = calls_together(store, 2)
        await record(store, old, at=AT)
        consumer = await join(store)
        await consumer.next()
        assert (await consumer.next()).attempt == 2
        (event,) = await record(store, young, at=AT + _DAY)
        assert await self._prune(store, idle_since=AT + _DAY) == 1
        delivery = await consumer.next()
        assert (delivery.event, delivery.attempt) == (event, 1)
