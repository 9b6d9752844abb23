"""Consumer groups: members, deliveries and parked events. A part of `StoreContract`."""

# ruff: noqa: PLR2004 - expected values are literals on purpose

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import final

from attrs import evolve, frozen

from transferkit._lifecycle import CallKey, Lease, step
from transferkit.events import Event
from transferkit.stores import Position, Store
from transferkit.stores.consumer_groups import (
    Begun,
    GroupDelivery,
    GroupStart,
    GroupStatus,
    ParkedEvent,
    fair_share,
    partition_of,
)
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call

__all__ = ["MAX_ATTEMPTS", "Consumer", "GroupContract", "calls_apart", "calls_together", "join", "record"]

_LATE = AT + LEASE
MAX_ATTEMPTS = 3


@final
@frozen
class Consumer:
    """One member of a group."""

    store: Store
    owner: str = "one"
    group: str = "crm"

    async def hold(self, *, at: datetime = AT, busy: Collection[int] = ()) -> frozenset[int]:
        """Renew the lease."""
        lease = Lease(self.owner, at + LEASE)
        return await self.store.hold(self.group, lease, now=at, busy=busy)

    async def begin(self, done: GroupDelivery | None = None, *, at: datetime = AT, limit: int = 1) -> Begun:
        """Begin the next event, or the next events of one partition."""
        return await self.store.begin_next(
            self.group, self.owner, done=done, now=at, max_attempts=MAX_ATTEMPTS, limit=limit
        )

    async def batch(self, done: GroupDelivery | None = None, *, limit: int = 10) -> list[GroupDelivery]:
        """Begin the next events, of which there must be one."""
        begun = await self.begin(done, limit=limit)
        assert begun.delivery is not None
        return [begun.delivery, *begun.following]

    async def next(self, done: GroupDelivery | None = None) -> GroupDelivery:
        """The next event, which must exist."""
        delivery = (await self.begin(done)).delivery
        assert delivery is not None
        return delivery

    async def acknowledge(self, delivery: GroupDelivery, received: GroupDelivery | None = None) -> bool:
        """Acknowledge an event before asking for the next one."""
        return await self.store.acknowledge(delivery, self.owner, received=received)

    async def leave(self, unused: GroupDelivery | None = None) -> None:
        """Give up the lease and all partitions."""
        await self.store.leave(self.group, self.owner, unused=unused)

    async def read_all(self, done: GroupDelivery | None = None) -> list[Event]:
        """Read and acknowledge all events."""
        events: list[Event] = []
        begun = await self.begin(done)
        while begun.delivery is not None:
            events.append(begun.delivery.event)
            begun = await self.begin(begun.delivery)
        return events


async def join(store: Store, *, group: str = "crm", start: GroupStart = GroupStart.BEGINNING) -> Consumer:
    """Open a group and join it with one consumer, which owns all partitions."""
    await store.open_group(group, start=start)
    consumer = Consumer(store, group=group)
    await consumer.hold()
    return consumer


async def record(store: Store, *calls: CallKey, at: datetime = AT) -> list[Event]:
    """Record one fact of each call, in this order; returns the events."""
    applied = await store.apply_all([(call, fact(call, at=at)) for call in calls], step)
    return [event for one in applied for event in one.events]


def calls_apart(store: Store, number: int) -> list[CallKey]:
    """Calls of different partitions."""
    calls: dict[int, CallKey] = {}
    while len(calls) < number:
        call = new_call()
        calls.setdefault(partition_of(call, store.partitions), call)
    return list(calls.values())


def calls_together(store: Store, number: int) -> list[CallKey]:
    """Calls of the same partition."""
    calls: list[CallKey] = []
    while len(calls) < number:
        call = new_call()
        if not calls or partition_of(call, store.partitions) == partition_of(calls[0], store.partitions):
            calls.append(call)
    return calls


class GroupContract:
    """Groups, their members, deliveries and parked events."""

    async def _joined(
        self, store: Store, *owners: str, start: GroupStart = GroupStart.BEGINNING
    ) -> list[Consumer]:
        """Consumers that have shared the partitions."""
        await store.open_group("crm", start=start)
        consumers = [Consumer(store, owner) for owner in owners]
        for _ in range(2):
            for consumer in consumers:
                await consumer.hold()
        return consumers

    async def _parked(self, consumer: Consumer) -> ParkedEvent:
        """Park the next event, with a consumer that fails repeatedly."""
        for _ in range(MAX_ATTEMPTS):
            await consumer.next()
        begun = await consumer.begin()
        await consumer.leave(unused=begun.delivery)
        await consumer.hold()
        (parked,) = begun.parked
        return parked

    async def _status(self, store: Store) -> GroupStatus:
        (status,) = await store.groups()
        return status

    # --- where a group starts -----------------------------------------------------------------------

    async def test_a_group_may_start_at_the_beginning(self, store: Store, call: CallKey) -> None:
        recorded = await record(store, call, call)
        (one,) = await self._joined(store, "one", start=GroupStart.BEGINNING)
        assert await one.read_all() == recorded

    async def test_a_group_may_start_now(self, store: Store, call: CallKey) -> None:
        await record(store, call)
        (one,) = await self._joined(store, "one", start=GroupStart.NOW)
        assert (await one.begin()).delivery is None
        later = await record(store, call)
        assert await one.read_all() == later

    async def test_the_start_of_an_existing_group_is_ignored(self, store: Store, call: CallKey) -> None:
        recorded = await record(store, call)
        (one,) = await self._joined(store, "one", start=GroupStart.BEGINNING)
        await store.open_group("crm", start=GroupStart.NOW)
        assert await one.read_all() == recorded

    async def test_groups_read_independently(self, store: Store, call: CallKey) -> None:
        recorded = await record(store, call)
        for group in ("crm", "billing"):
            consumer = await join(store, group=group)
            assert await consumer.read_all() == recorded

    async def test_an_unknown_group_has_no_partitions_and_no_events(
        self, store: Store, call: CallKey
    ) -> None:
        await record(store, call)
        stranger = Consumer(store, group="unknown")
        assert await stranger.hold() == frozenset()
        assert await stranger.begin() == Begun()
        assert await store.parked("unknown") == ()
        await stranger.leave()
        assert await store.groups() == ()

    # --- members and partitions -----------------------------------------------------------------------------

    async def test_a_single_consumer_owns_every_partition(self, store: Store) -> None:
        await store.open_group("crm", start=GroupStart.BEGINNING)
        one = Consumer(store)
        assert await one.hold() == frozenset(range(store.partitions))
        assert await one.hold() == frozenset(range(store.partitions))

    async def test_consumers_share_partitions_fairly_and_no_partition_has_two_owners(
        self, store: Store
    ) -> None:
        consumers = await self._joined(store, "one", "two", "three", "four", "five")
        held = [await consumer.hold() for consumer in consumers]
        assert max(map(len, held)) - min(map(len, held)) <= 1
        assert sorted(partition for share in held for partition in share) == [*range(store.partitions)]

    async def test_consumers_that_join_at_once_share_no_partition(self, store: Store) -> None:
        await store.open_group("crm", start=GroupStart.BEGINNING)
        held = await asyncio.gather(*(Consumer(store, str(number)).hold() for number in range(5)))
        together = [partition for share in held for partition in share]
        assert len(together) == len(set(together)) > 0

    async def test_a_busy_partition_is_never_released(self, store: Store) -> None:
        (one,) = await self._joined(store, "one")
        busy = {0, store.partitions - 1}
        await Consumer(store, "two").hold()
        kept = await one.hold(busy=busy)
        assert busy <= kept
        assert len(kept) == fair_share(store.partitions, 2)
        everything = frozenset(range(store.partitions))
        assert await Consumer(store, "two").hold() == everything - kept

    async def test_busy_partitions_are_kept_above_the_fair_share(self, store: Store) -> None:
        (one,) = await self._joined(store, "one")
        everything = frozenset(range(store.partitions))
        await Consumer(store, "two").hold()
        assert await one.hold(busy=everything) == everything

    async def test_partitions_of_a_consumer_that_left_are_taken_by_the_others(self, store: Store) -> None:
        one, two = await self._joined(store, "one", "two")
        await one.leave()
        assert await two.hold() == frozenset(range(store.partitions))

    async def test_partitions_of_an_expired_lease_are_taken_by_the_others(self, store: Store) -> None:
        _, two = await self._joined(store, "one", "two")
        before = _LATE - timedelta(milliseconds=1)
        assert len(await two.hold(at=before)) == fair_share(store.partitions, 2)
        assert await two.hold(at=_LATE) == frozenset(range(store.partitions))

    async def test_a_late_renewal_keeps_partitions_that_no_other_consumer_took(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        delivery = await one.next()
        assert await one.hold(at=_LATE) == frozenset(range(store.partitions))
        assert await one.acknowledge(delivery)

    async def test_a_consumer_whose_lease_has_ended_owns_its_partitions(self, store: Store) -> None:
        await store.open_group("crm", start=GroupStart.BEGINNING)
        ended = Lease("one", AT - timedelta(seconds=1))
        assert await store.hold("crm", ended, now=AT) == frozenset(range(store.partitions))

    async def test_leaving_twice_has_no_further_effect(self, store: Store) -> None:
        one, two = await self._joined(store, "one", "two")
        await one.leave()
        await two.hold()
        await one.leave()
        assert await two.hold() == frozenset(range(store.partitions))

    # --- delivering ---------------------------------------------------------------------------------

    async def test_events_of_each_call_are_delivered_in_order(self, store: Store) -> None:
        (one,) = await self._joined(store, "one")
        calls = [new_call() for _ in range(4)]
        recorded = await record(store, *calls * 5)
        events = await one.read_all()
        assert events == recorded
        for call in calls:
            assert [event.sequence for event in events if event.call_id == call.id] == [1, 2, 3, 4, 5]

    async def test_a_delivery_contains_its_event_partition_and_attempt(
        self, store: Store, call: CallKey
    ) -> None:
        (event,) = await record(store, call)
        (one,) = await self._joined(store, "one")
        delivery = await one.next()
        assert delivery.event == event
        assert delivery.group == "crm"
        assert delivery.partition == partition_of(call, store.partitions)
        assert (delivery.attempt, delivery.released) == (1, False)

    async def test_a_consumer_receives_only_events_of_its_partitions(self, store: Store) -> None:
        consumers = await self._joined(store, "one", "two")
        recorded = await record(store, *calls_apart(store, store.partitions))
        seen: list[Event] = []
        for consumer in consumers:
            held = await consumer.hold()
            events = await consumer.read_all()
            assert {
                partition_of(CallKey("fake", event.call_id), store.partitions) for event in events
            } == held
            seen += events
        assert {event.id for event in seen} == {event.id for event in recorded}

    async def test_an_event_waits_for_those_before_it_in_its_partition(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        first, _ = await record(store, call, call)
        assert (await one.next()).event == first
        assert (await one.next()).event == first

    async def test_asking_for_the_next_event_acknowledges_the_previous_one(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        _, second = await record(store, call, call)
        delivery = await one.next(await one.next())
        assert (delivery.event, delivery.attempt) == (second, 1)
        assert await one.begin(delivery) == Begun()

    async def test_an_early_acknowledgement_moves_the_cursor(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        _, second = await record(store, call, call)
        assert await one.acknowledge(await one.next())
        assert (await one.next()).event == second

    async def test_a_second_acknowledgement_changes_nothing(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        _, second = await record(store, call, call)
        first = await one.next()
        assert await one.acknowledge(first)
        assert await one.acknowledge(first)
        begun = await one.begin(first)
        assert not begun.stale
        assert begun.delivery is not None
        assert begun.delivery.event == second

    # --- batches ------------------------------------------------------------------------------------

    async def test_a_batch_contains_the_next_events_of_one_partition_in_order(self, store: Store) -> None:
        (one,) = await self._joined(store, "one")
        here, there = calls_apart(store, 2)
        recorded = await record(store, here, there, here, here, here)
        batch = await one.batch(limit=3)
        assert [delivery.event for delivery in batch] == [recorded[0], *recorded[2:4]]
        assert {(delivery.partition, delivery.attempt) for delivery in batch} == {(batch[0].partition, 1)}

    async def test_an_acknowledgement_includes_the_events_before_it_in_its_batch(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *[call] * 5)
        batch = await one.batch()
        assert [delivery.event for delivery in batch] == recorded
        assert await one.acknowledge(batch[2])
        assert await one.acknowledge(batch[2])
        assert (await self._status(store)).lag == 2

    async def test_the_rest_of_a_batch_that_was_acknowledged_in_part_is_begun_again_as_a_batch(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *[call] * 5)
        batch = await one.batch()
        rest = await one.batch(batch[1])
        assert [(delivery.event, delivery.attempt) for delivery in rest] == [
            (event, 1) for event in recorded[2:]
        ]
        assert await one.begin(rest[-1]) == Begun()

    async def test_the_events_of_a_batch_that_failed_are_begun_alone(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *[call] * 3)
        await one.batch()
        (later,) = await record(store, call)
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        again = await two.batch()
        assert [(delivery.event, delivery.attempt) for delivery in again] == [(recorded[0], 2)]
        for event in recorded[1:]:
            again = await two.batch(again[0])
            assert [(delivery.event, delivery.attempt) for delivery in again] == [(event, 1)]
        third, fourth = await record(store, call, call)
        assert [delivery.event for delivery in await two.batch(again[0])] == [later, third, fourth]

    async def test_an_event_that_kills_its_consumers_is_parked_and_no_other_one(
        self, store: Store, call: CallKey
    ) -> None:
        recorded = await record(store, *[call] * 8)
        fatal = recorded[5]
        await store.open_group("crm", start=GroupStart.BEGINNING)
        handled: list[Event] = []
        deaths = 0
        while len(set(handled)) < len(recorded) - 1:
            consumer, done = Consumer(store, f"consumer {deaths}"), None
            await consumer.hold(at=AT + deaths * LEASE)
            alive = True
            while alive and (begun := await consumer.begin(done, limit=4)).delivery is not None:
                for delivery in (begun.delivery, *begun.following):
                    alive = delivery.event != fatal
                    if not alive:
                        break
                    handled.append(delivery.event)
                    done = delivery
            deaths += 1
        assert deaths <= MAX_ATTEMPTS + 2  # one more with the batch, and the last one lives
        assert [parked.event for parked in await store.parked("crm")] == [fatal]

    async def test_an_event_received_after_an_acknowledged_one_counts_as_begun(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        _, second, third = await record(store, call, call, call)
        batch = await one.batch()
        assert await one.acknowledge(batch[0], received=batch[1])
        await one.leave()
        await one.hold()
        again = await one.batch()
        assert [(delivery.event, delivery.attempt) for delivery in again] == [(second, 2)]
        assert [delivery.event for delivery in await one.batch(again[0])] == [third]

    async def test_an_acknowledged_event_received_in_the_same_batch_ends_it(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        _, _, third = await record(store, call, call, call)
        batch = await one.batch()
        assert await one.acknowledge(batch[0], received=batch[1])
        assert await one.acknowledge(batch[1])
        assert not await one.acknowledge(batch[2])
        assert [(delivery.event, delivery.attempt) for delivery in await one.batch()] == [(third, 1)]

    async def test_a_batch_given_back_unused_is_begun_again_as_a_batch(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *[call] * 3)
        batch = await one.batch()
        await one.leave(unused=batch[0])
        await one.hold()
        again = await one.batch()
        assert [(delivery.event, delivery.attempt) for delivery in again] == [
            (event, 1) for event in recorded
        ]

    async def test_a_stale_acknowledgement_of_a_batch_changes_nothing(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *[call] * 3)
        batch = await one.batch()
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        assert not await one.acknowledge(batch[1], received=batch[2])
        assert (await two.next()).event == recorded[0]

    async def test_an_event_with_one_attempt_is_begun_alone(self, store: Store, call: CallKey) -> None:
        await self._joined(store, "one")
        await record(store, call, call)
        begun = await store.begin_next("crm", "one", done=None, now=AT, max_attempts=1, limit=10)
        assert begun.delivery is not None
        assert begun.following == ()

    # --- changes of the owner -----------------------------------------------------------------------------

    async def test_an_event_of_an_expired_lease_is_delivered_to_another_consumer(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        first = await one.next()
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        again = await two.next()
        assert again.event == first.event
        assert again.epoch > first.epoch
        assert again.attempt == 2

    async def test_a_stale_acknowledgement_changes_nothing(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        _, second = await record(store, call, call)
        first = await one.next()
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        assert not await one.acknowledge(first)
        assert await one.begin(first) == Begun(stale=True)
        again = await two.next()
        assert again.event == first.event
        assert not await one.acknowledge(again)
        assert (await two.next(again)).event == second

    async def test_an_acknowledgement_of_an_earlier_epoch_is_stale(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        first = await one.next()
        await one.leave()
        await one.hold()
        assert not await one.acknowledge(first)
        assert (await one.next()).attempt == 2

    async def test_an_event_of_a_released_partition_cannot_be_acknowledged(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        delivery = await one.next()
        owners = [Consumer(store, str(number)) for number in range(store.partitions * 2)]
        for consumer in owners:
            await consumer.hold()
        kept = await one.hold()
        assert await one.acknowledge(delivery) == (delivery.partition in kept)

    async def test_the_attempt_at_an_unused_delivery_is_not_counted(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        for _ in range(MAX_ATTEMPTS * 2):
            delivery = await one.next()
            assert delivery.attempt == 1
            await one.leave(unused=delivery)
            await one.hold()
        await one.next()
        await one.leave()
        await one.hold()
        counted = await one.next()
        assert counted.attempt == 2
        await one.leave(unused=counted)
        await one.hold()
        assert (await one.next()).attempt == 2

    async def test_an_attempt_is_not_uncounted_by_a_former_owner_of_the_partition(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        first = await one.next()
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        assert (await two.next()).attempt == 2
        await one.leave(unused=first)
        assert (await two.next()).attempt == 3

    async def test_an_acknowledged_event_is_not_delivered_again_after_it_was_returned_unused(
        self, store: Store, call: CallKey
    ) -> None:
        consumer = await join(store)
        await record(store, call)
        delivery = await consumer.next()
        assert await consumer.acknowledge(delivery)
        await consumer.leave(unused=delivery)
        await consumer.hold()
        assert await consumer.read_all() == []

    async def test_a_released_and_acknowledged_event_is_not_parked_again_after_it_was_returned_unused(
        self, store: Store, call: CallKey
    ) -> None:
        consumer = await join(store)
        (event,) = await record(store, call)
        await self._parked(consumer)
        assert await store.release("crm", str(event.id))
        released = await consumer.next()
        assert await consumer.acknowledge(released)
        await consumer.leave(unused=released)
        assert await store.parked("crm") == ()

    # --- parking ------------------------------------------------------------------------------------

    async def test_an_event_is_parked_after_its_attempts_and_the_next_one_follows(
        self, store: Store, call: CallKey
    ) -> None:
        first, second = await record(store, call, call)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            consumer = Consumer(store, f"crashed {attempt}")
            await consumer.hold(at=AT + attempt * LEASE)
            assert (await consumer.next()).attempt == attempt
        last, late = Consumer(store, "last"), AT + 10 * LEASE
        await last.hold(at=late)
        begun = await last.begin(at=late)
        parked = ParkedEvent(
            group="crm", id=str(first.id), event=first, attempts=MAX_ATTEMPTS, parked_at=late
        )
        assert begun.parked == (parked,)
        assert await store.parked("crm") == (parked,)
        assert begun.delivery is not None
        assert (begun.delivery.event, begun.delivery.attempt) == (second, 1)

    async def test_an_acknowledged_event_leaves_no_attempts_behind(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call, call)
        await one.next()
        delivery = await one.next()
        assert delivery.attempt == 2
        assert (await one.next(delivery)).attempt == 1

    async def test_a_parked_event_stays_parked_until_it_is_released(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        await record(store, call)
        parked = await self._parked(one)
        assert await one.begin() == Begun()
        assert await store.parked("crm") == (parked,)
        assert await store.parked("another") == ()

    async def test_parked_events_are_listed_oldest_first(self, store: Store) -> None:
        (one,) = await self._joined(store, "one")
        recorded = await record(store, *calls_apart(store, 3))
        for _ in recorded:
            await self._parked(one)
        assert [parked.event for parked in await store.parked("crm")] == recorded

    async def test_a_released_event_comes_first_and_is_removed_when_acknowledged(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        first, second, third = await record(store, call, call, call)
        await self._parked(one)
        done = await one.next()
        assert done.event == second
        assert await store.release("crm", str(first.id))
        (parked,) = await store.parked("crm")
        assert (parked.event, parked.released) == (first, True)
        released = await one.next(done)
        assert (released.event, released.released, released.attempt) == (first, True, 1)
        assert (await one.next(released)).event == third
        assert await store.parked("crm") == ()

    async def test_a_released_event_can_be_acknowledged_early_and_twice(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        (event,) = await record(store, call)
        await self._parked(one)
        await store.release("crm", str(event.id))
        released = await one.next()
        assert await one.acknowledge(released)
        assert await one.acknowledge(released)
        assert await store.parked("crm") == ()
        assert await one.begin(released) == Begun()

    async def test_a_released_event_that_fails_again_is_parked_again(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        first, second = await record(store, call, call)
        await self._parked(one)
        await store.release("crm", str(first.id))
        assert (await one.next()).event == first
        await one.leave()
        await one.hold(at=_LATE)
        begun = await one.begin(at=_LATE)
        (parked,) = begun.parked
        assert parked == ParkedEvent(group="crm", id=str(first.id), event=first, attempts=1, parked_at=_LATE)
        assert await store.parked("crm") == (parked,)
        assert begun.delivery is not None
        assert begun.delivery.event == second
        assert await store.release("crm", str(first.id))
        assert (await one.next()).event == first

    async def test_a_released_event_given_back_unused_stays_released(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        (event,) = await record(store, call)
        await self._parked(one)
        await store.release("crm", str(event.id))
        await one.leave(unused=await one.next())
        await one.hold()
        assert (await one.next()).released

    async def test_a_stale_acknowledgement_of_a_released_event_removes_nothing(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        (event,) = await record(store, call)
        await self._parked(one)
        await store.release("crm", str(event.id))
        released = await one.next()
        two = Consumer(store, "two")
        await two.hold(at=_LATE)
        assert not await one.acknowledge(released)
        assert len(await store.parked("crm")) == 1

    async def test_only_a_parked_event_can_be_released(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        (event,) = await record(store, call)
        assert not await store.release("crm", str(event.id))
        await self._parked(one)
        assert not await store.release("crm", "unknown")
        assert not await store.release("unknown", str(event.id))
        assert await store.release("crm", str(event.id))

    # --- status ---------------------------------------------------------------------

    async def test_the_status_of_a_group_counts_lag_parked_events_and_members(self, store: Store) -> None:
        old, young = calls_apart(store, 2)
        await record(store, old, at=AT)
        await record(store, young, young, at=_LATE)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        fresh = GroupStatus(name="crm", lag=3, parked=0, members=0, oldest=AT, seen_at=None)
        assert await self._status(store) == fresh
        one, two = Consumer(store), Consumer(store, "two")
        await one.hold(at=_LATE)
        await two.hold(at=_LATE + LEASE / 2)
        seen = evolve(fresh, members=2, seen_at=_LATE + LEASE / 2)
        assert await self._status(store) == seen
        delivery = await one.next()
        assert await self._status(store) == seen
        await one.acknowledge(delivery)
        assert await self._status(store) == evolve(seen, lag=2, oldest=_LATE)
        await two.leave()
        await self._parked(one)
        await one.read_all()
        await one.leave()
        done = await self._status(store)
        assert (done.lag, done.oldest, done.parked, done.members) == (0, None, 1, 0)

    async def test_groups_are_listed_by_name(self, store: Store) -> None:
        for name in ("crm", "billing", "audit"):
            await store.open_group(name, start=GroupStart.NOW)
        assert [status.name for status in await store.groups()] == ["audit", "billing", "crm"]

    async def test_a_removed_group_starts_again_when_it_is_opened(self, store: Store, call: CallKey) -> None:
        (one,) = await self._joined(store, "one")
        first, second = await record(store, call, call)
        await self._parked(one)
        assert await store.remove_group("crm")
        assert not await store.remove_group("crm")
        assert await store.groups() == ()
        assert await store.parked("crm") == ()
        await self._joined(store, "one")
        assert await one.read_all() == [first, second]

    async def test_a_delivery_of_a_removed_group_acknowledges_nothing(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        first, second = await record(store, call, call)
        delivery = await one.next(await one.next())
        await store.remove_group("crm")
        assert not await one.acknowledge(delivery)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        await one.hold()
        assert not await one.acknowledge(delivery)
        assert await one.read_all() == [first, second]

    # --- the log ---------------------------------------------------------------------------

    async def test_a_wait_from_the_end_of_the_log_ends_before_a_group_delivers_the_next_event(
        self, store: Store, call: CallKey
    ) -> None:
        (one,) = await self._joined(store, "one")
        place: Position = await store.end_of_log()
        assert (await one.begin()).delivery is None
        await record(store, call)
        async with asyncio.timeout(10):
            await store.wait(place, timeout=30)
        assert (await one.begin()).delivery is not None
