"""Rows that this version cannot read. A part of `StoreContract`."""

# ruff: noqa: PLR2004 - expected values are literals on purpose

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod

import pytest

from transferkit._lifecycle import CallKey, Lease, Work, step
from transferkit.codec import encode
from transferkit.events import Event
from transferkit.provider.facts import Signal
from transferkit.stores import Applied, Store
from transferkit.stores.consumer_groups import Begun, GroupStart
from transferkit.stores.unreadable import UnreadableEvent, UnreadableRow
from transferkit.testing.contracts.store_groups import MAX_ATTEMPTS, Consumer, join, record
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)

__all__ = ["UnreadableContract"]

_GARBAGE = '{"kind": "provider.other", "ti'


def _of_a_newer_version(event: Event) -> str:
    """The event's JSON with a kind that this version does not have."""
    return json.dumps({**encode(event), "kind": "call.held"})


class UnreadableContract(ABC):
    """An unreadable row affects only its own reader. Implement the four hooks that damage a row."""

    @abstractmethod
    async def damage_event(self, store: Store, event: Event, stored: str) -> None:
        """Replace the JSON of an event in the store's log."""

    @abstractmethod
    async def damage_state(self, store: Store, call: CallKey) -> None:
        """Make a call's stored state unreadable."""

    @abstractmethod
    async def damage_request(self, store: Store, transfer_id: str) -> None:
        """Make a stored request unreadable."""

    @abstractmethod
    async def rename_work(self, store: Store, transfer_id: str, work: str) -> None:
        """Change the kind of a request's due work to one that this version does not know."""

    # --- the log ------------------------------------------------------------------------------------

    async def test_the_log_has_a_marker_in_place_of_an_unreadable_event(
        self, store: Store, call: CallKey
    ) -> None:
        first, second, third = await record(store, call, call, call)
        await self.damage_event(store, second, _of_a_newer_version(second))
        (_, one), (place, marker), (_, three) = await store.read(None)
        assert (one, three) == (first, third)
        assert isinstance(marker, UnreadableEvent)
        assert (marker.provider, marker.call_id, marker.sequence) == (call.provider, call.id, 2)
        assert (marker.id, marker.kind, marker.time) == (second.id, "call.held", second.time)
        assert "no kind 'call.held'" in marker.problem
        assert [event for _, event in await store.read(place)] == [third]
        assert await store.read(None, limit=2) == (await store.read(None))[:2]

    async def test_a_marker_shows_no_data_of_a_row_that_is_not_an_event(
        self, store: Store, call: CallKey
    ) -> None:
        for number, stored in enumerate([_GARBAGE, "[]", '{"kind": "+14255550123"}', '{"time": 1, "id": 2}']):
            (event,) = await record(store, call)
            await self.damage_event(store, event, stored)
            _, marker = (await store.read(None))[number]
            assert isinstance(marker, UnreadableEvent)
            assert (marker.call_id, marker.sequence) == (call.id, number + 1)
            assert (marker.id, marker.kind, marker.transfer_id, marker.time) == (None,) * 4
            assert "14255550123" not in f"{marker}{marker!r}"

    async def test_the_events_of_a_call_with_an_unreadable_one_are_an_error_that_names_it(
        self, store: Store, call: CallKey
    ) -> None:
        other = new_call()
        _, second, _ = await record(store, call, call, other)
        await self.damage_event(store, second, _GARBAGE)
        with pytest.raises(UnreadableRow, match=rf"event 2 of call fake:{call.id}.*position \d+") as raised:
            await store.call_events(call)
        assert raised.value.call == call
        assert len(await store.call_events(other)) == 1

    async def test_a_call_with_an_unreadable_event_can_still_be_written(
        self, store: Store, call: CallKey
    ) -> None:
        transfer = opened(call)
        (first,) = (await store.apply(call, requested(transfer), step)).events
        await self.damage_event(store, first, _GARBAGE)
        place = await store.end_of_log()
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        stored = await store.transfer(transfer.id)
        assert stored is not None
        assert stored.outcome is not None
        assert stored.outcome in [event for _, event in await store.read(place)]

    # --- groups -------------------------------------------------------------------------------------

    async def _parked_unreadable(self, store: Store, call: CallKey, stored: str | None = None) -> Consumer:
        """Damage the first of two events and park it."""
        first, _ = await record(store, call, call)
        await self.damage_event(store, first, stored or _of_a_newer_version(first))
        consumer = await join(store)
        for _ in range(MAX_ATTEMPTS):
            begun = await consumer.begin()
            assert begun.unreadable is not None
            assert begun == Begun(unreadable=begun.unreadable)
            assert (begun.unreadable.call_id, begun.unreadable.sequence) == (call.id, 1)
        return consumer

    async def test_an_unreadable_event_is_parked_after_its_attempts_and_the_next_one_follows(
        self, store: Store, call: CallKey
    ) -> None:
        consumer = await self._parked_unreadable(store, call)
        begun = await consumer.begin()
        (parked,) = begun.parked
        assert isinstance(parked.event, UnreadableEvent)
        assert (parked.event.kind, parked.attempts, parked.parked_at) == ("call.held", MAX_ATTEMPTS, AT)
        assert await store.parked("crm") == (parked,)
        assert begun.delivery is not None
        assert (begun.delivery.event.sequence, begun.delivery.attempt) == (2, 1)

    async def test_parked_events_that_show_the_same_id_have_ids_of_their_own(
        self, store: Store, call: CallKey
    ) -> None:
        first, second, third = await record(store, call, call, call)
        for event in (second, third):
            await self.damage_event(store, event, _of_a_newer_version(first))
        consumer = await join(store)
        while len(await store.parked("crm")) < 3:
            await consumer.begin()
        assert len({parked.id for parked in await store.parked("crm")}) == 3

    async def test_a_released_unreadable_event_is_tried_once_more_and_parked_again(
        self, store: Store, call: CallKey
    ) -> None:
        consumer = await self._parked_unreadable(store, call, _GARBAGE)
        second = (await consumer.begin()).delivery
        (parked,) = await store.parked("crm")
        assert await store.release("crm", parked.id)
        begun = await consumer.begin(second)
        assert begun == Begun(unreadable=begun.unreadable)
        assert begun.unreadable == parked.event
        again = await consumer.begin()
        assert again.delivery is None
        assert [(one.id, one.attempts) for one in again.parked] == [(parked.id, 1)]
        assert await store.parked("crm") == again.parked

    async def test_a_group_whose_next_event_is_unreadable_has_a_status(
        self, store: Store, call: CallKey
    ) -> None:
        first, second = await record(store, call, call)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        for stored, oldest in ((_of_a_newer_version(first), first.time), (_GARBAGE, None)):
            await self.damage_event(store, first, stored)
            (status,) = await store.groups()
            assert (status.lag, status.oldest) == (2, oldest)
        assert second.time == AT

    # --- states and requests --------------------------------------------------------------------------

    async def test_an_unreadable_state_stops_only_its_own_call(self, store: Store, call: CallKey) -> None:
        others = [new_call() for _ in range(3)]
        await record(store, call, *others)
        await self.damage_state(store, call)
        calls = (others[0], call, *others[1:], call)
        results = await asyncio.gather(
            *(store.apply(one, fact(one), step) for one in calls), return_exceptions=True
        )
        for one, result in zip(calls, results, strict=True):
            if one == call:
                assert isinstance(result, UnreadableRow)
                assert (result.call, call.id in str(result)) == (call, True)
            else:
                assert isinstance(result, Applied)
        assert [len(await store.call_events(one)) for one in (call, *others)] == [1, 2, 2, 2]
        with pytest.raises(UnreadableRow):
            await store.state(call)

    async def test_inputs_with_an_unreadable_state_among_them_write_nothing(
        self, store: Store, call: CallKey
    ) -> None:
        other = new_call()
        await record(store, call)
        await self.damage_state(store, call)
        with pytest.raises(UnreadableRow) as raised:
            await store.apply_all([(other, fact(other)), (call, fact(call))], step)
        assert raised.value.call == call
        assert await store.call_events(other) == ()

    async def test_an_unreadable_request_is_an_error_that_names_it(self, store: Store, call: CallKey) -> None:
        transfer, other = opened(call, key="case-1"), opened(new_call(), key="case-2")
        for one in (transfer, other):
            await store.apply(one.call, requested(one), step)
        await self.damage_request(store, transfer.id)
        with pytest.raises(UnreadableRow, match=f"request of transfer {transfer.id}") as raised:
            await store.transfer(transfer.id)
        assert raised.value.call == call
        stored = await store.transfer(other.id)
        assert stored is not None
        assert stored.opened == other

    async def test_the_key_of_an_unreadable_request_stays_used(self, store: Store, call: CallKey) -> None:
        transfer = await open_transfer(store, call, key="case-1")
        await self.damage_request(store, transfer.id)
        again = opened(new_call(), key="case-1")
        with pytest.raises(UnreadableRow, match=transfer.id):
            await store.apply(again.call, requested(again), step)
        assert await store.transfer(again.id) is None
        await open_transfer(store, new_call(), key="case-2")

    # --- due work -------------------------------------------------------------------------------------

    async def test_the_work_of_an_unreadable_request_is_leased_like_any_other(
        self, store: Store, call: CallKey
    ) -> None:
        transfers = [opened(call), opened(new_call())]
        for one in transfers:
            await store.apply(one.call, requested(one), step)
        await self.damage_request(store, transfers[0].id)
        now = AT + LEASE
        leased = await store.lease_due(now=now, lease=Lease("me", now + LEASE), limit=10)
        assert {due.transfer_id for due in leased} == {one.id for one in transfers}
        assert await store.lease_due(now=now, lease=Lease("me", now + LEASE), limit=10) == ()
        assert await store.next_due() == now + LEASE

    async def test_work_of_an_unknown_kind_is_left_to_newer_versions(
        self, store: Store, call: CallKey
    ) -> None:
        newer, transfer = opened(new_call()), opened(call)
        for one in (newer, transfer):
            await store.apply(one.call, requested(one), step)
        await self.rename_work(store, newer.id, "rehearse")
        now = AT + LEASE
        leased = await store.lease_due(now=now, lease=Lease("me", now + LEASE), limit=10)
        assert [(due.transfer_id, due.work) for due in leased] == [(transfer.id, Work.SUBMIT)]
        assert await store.next_due() == now + LEASE

    # --- retention ------------------------------------------------------------------------------------

    async def test_calls_with_unreadable_rows_are_pruned(self, store: Store, call: CallKey) -> None:
        transfer, other = opened(call), new_call()
        (first,) = (await store.apply(call, requested(transfer), step)).events
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        await record(store, other)
        await self.damage_event(store, first, _GARBAGE)
        await self.damage_request(store, transfer.id)
        await self.damage_state(store, call)
        assert await store.prune(before=AT + LEASE, idle_since=AT) == 2
        assert await store.read(None) == ()
