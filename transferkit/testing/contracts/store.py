"""The conformance tests that every store must pass, as a class to subclass.

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore(...)
            await store.open()
            yield store
            await store.close()

        async def damage_event(self, store, event, stored):
            ...  # and the other hooks of `UnreadableContract`

Run with pytest and pytest-asyncio (`asyncio_mode = "auto"`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta

import pytest
from attrs import evolve

from transferkit._lifecycle import (
    Answered,
    Attempted,
    CallKey,
    CallState,
    Decision,
    Due,
    DueReached,
    Input,
    Inspected,
    Lease,
    Observed,
    Peeked,
    Rules,
    Work,
    step,
)
from transferkit.events import CallConnected, Event, TransferCompleted
from transferkit.provider.facts import Fact, Result, Signal
from transferkit.provider.results import NotSent, Presence, Submitted
from transferkit.stores import KeyUsed, LegOccupied, Store
from transferkit.testing.contracts.store_groups import GroupContract
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)
from transferkit.testing.contracts.store_leases import LeaseContract
from transferkit.testing.contracts.store_retention import RetentionContract
from transferkit.testing.contracts.store_unreadable import UnreadableContract

__all__ = ["StoreContract"]


def _kinds(events: tuple[Event, ...]) -> list[str]:
    return [event.kind for event in events]


class _Broken(Exception):
    pass


def _breaks(call: CallKey, state: CallState, happened: Input, seen: str | None) -> Decision:  # noqa: ARG001
    raise _Broken


class StoreContract(GroupContract, LeaseContract, RetentionContract, UnreadableContract):
    """Subclass it, and provide the `store` fixture and the hooks that damage a row."""

    @pytest.fixture
    def call(self) -> CallKey:
        """A call that the store does not know."""
        return new_call()

    # --- one step, one transaction ------------------------------------------------------------------

    async def test_an_unknown_call_has_a_new_state(self, store: Store, call: CallKey) -> None:
        assert await store.state(call) == CallState()
        assert await store.call_events(call) == ()

    async def test_a_step_commits_state_events_and_the_request(self, store: Store, call: CallKey) -> None:
        transfer = opened(call)
        applied = await store.apply(call, requested(transfer), step)
        assert _kinds(applied.events) == ["transfer.requested"]
        assert await store.state(call) == applied.state
        assert await store.call_events(call) == applied.events
        stored = await store.transfer(transfer.id)
        assert stored is not None
        assert stored.opened == transfer
        assert stored.outcome is None

    async def test_events_are_read_as_they_were_written(self, store: Store, call: CallKey) -> None:
        await open_transfer(store, call)
        said = await store.apply(call, fact(call, Signal.ACCEPTED, Signal.SUCCEEDED), step)
        (*_, accepted, completed) = await store.call_events(call)
        assert (accepted, completed) == said.events[-2:]
        assert completed.raw == {"said": ("accepted", "succeeded")}

    async def test_an_outcome_is_stored_with_its_request(self, store: Store, call: CallKey) -> None:
        transfer = await open_transfer(store, call)
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        stored = await store.transfer(transfer.id)
        assert stored is not None
        assert isinstance(stored.outcome, TransferCompleted)
        assert stored.outcome.transfer_id == transfer.id

    async def test_an_unknown_transfer_is_none(self, store: Store) -> None:
        assert await store.transfer("no such transfer") is None

    async def test_a_step_that_raises_writes_nothing(self, store: Store, call: CallKey) -> None:
        other = new_call()
        transfer = opened(call)

        def second_breaks(key: CallKey, state: CallState, happened: Input, seen: str | None) -> Decision:
            return (_breaks if key == other else step)(key, state, happened, seen)

        with pytest.raises(_Broken):
            await store.apply_all([(call, requested(transfer)), (other, fact(other))], second_breaks)
        assert await store.state(call) == CallState()
        assert await store.call_events(call) == ()
        assert await store.transfer(transfer.id) is None
        assert await store.next_due() is None

    async def test_several_inputs_are_applied_in_order_in_one_transaction(
        self, store: Store, call: CallKey
    ) -> None:
        applied = await store.apply_all(
            [(call, requested(opened(call))), (call, fact(call, Signal.STARTED))], step
        )
        kinds = [kind for one in applied for kind in _kinds(one.events)]
        assert kinds == ["transfer.requested", "transfer.submitted", "transfer.started"]
        assert [event.sequence for event in await store.call_events(call)] == [1, 2, 3]

    async def test_concurrent_steps_on_one_call_leave_no_gap_in_the_sequence(
        self, store: Store, call: CallKey
    ) -> None:
        await asyncio.gather(*(store.apply(call, fact(call), step) for _ in range(50)))
        events = await store.call_events(call)
        assert [event.sequence for event in events] == list(range(1, 51))
        assert len({event.id for event in events}) == len(events)

    # --- deliveries ---------------------------------------------------------------------------------

    async def test_a_repeated_delivery_changes_nothing(self, store: Store, call: CallKey) -> None:
        first = await store.apply(call, fact(call, delivery="d1"), step)
        again = await store.apply(call, fact(call, delivery="d1"), step)
        assert not first.duplicate
        assert again.duplicate
        assert again.events == ()
        assert len(await store.call_events(call)) == 1

    async def test_deliveries_of_different_calls_with_the_same_key_are_not_duplicates(
        self, store: Store, call: CallKey
    ) -> None:
        other = new_call()
        await store.apply(call, fact(call, delivery="d1"), step)
        assert not (await store.apply(other, fact(other, delivery="d1"), step)).duplicate

    async def test_a_repeated_delivery_in_one_transaction_is_a_duplicate(
        self, store: Store, call: CallKey
    ) -> None:
        one, two = await store.apply_all(
            [(call, fact(call, delivery="d1")), (call, fact(call, delivery="d1"))], step
        )
        assert not one.duplicate
        assert two.duplicate

    async def test_a_delivery_whose_transaction_failed_is_not_a_duplicate_later(
        self, store: Store, call: CallKey
    ) -> None:
        with pytest.raises(_Broken):
            await store.apply(call, fact(call, delivery="d1"), _breaks)
        assert not (await store.apply(call, fact(call, delivery="d1"), step)).duplicate

    # --- legs and keys ------------------------------------------------------------------------------

    async def test_a_call_has_one_open_transfer(self, store: Store, call: CallKey) -> None:
        first = await open_transfer(store, call)
        with pytest.raises(LegOccupied) as raised:
            await open_transfer(store, call)
        assert (raised.value.leg, raised.value.transfer_id) == (call, first.id)
        assert len(await store.call_events(call)) == 1

    async def test_a_consultation_leg_is_occupied(self, store: Store, call: CallKey) -> None:
        consult = new_call()
        first = await open_transfer(store, call, legs=(consult,))
        with pytest.raises(LegOccupied) as raised:
            await open_transfer(store, consult)
        assert raised.value.transfer_id == first.id

    async def test_an_outcome_frees_both_legs(self, store: Store, call: CallKey) -> None:
        consult = new_call()
        await open_transfer(store, call, legs=(consult,))
        await store.apply(call, fact(call, Signal.FAILED), step)
        await open_transfer(store, consult)
        await open_transfer(store, call)

    async def test_an_outcome_in_the_transaction_of_its_request_frees_both_legs(
        self, store: Store, call: CallKey
    ) -> None:
        consult = new_call()
        asked, failed = requested(opened(call, legs=(consult,))), fact(call, Signal.FAILED)
        again, other = requested(opened(consult)), requested(opened(new_call()))
        inputs: list[tuple[CallKey, Input]] = [
            (other.opened.call, other),
            (call, asked),
            (call, failed),
            (consult, again),
        ]
        applied = await store.apply_all(inputs, step)
        assert [one.state.open is None for one in applied] == [False, False, True, False]
        with pytest.raises(LegOccupied) as raised:
            await open_transfer(store, consult)
        assert raised.value.transfer_id == again.opened.id
        await open_transfer(store, call)

    async def test_an_idempotency_key_is_used_once(self, store: Store, call: CallKey) -> None:
        first = await open_transfer(store, call, key="case-1")
        other = new_call()
        for again in (opened(call, key="case-1"), opened(other, key="case-1")):
            with pytest.raises(KeyUsed) as raised:
                await store.apply(again.call, requested(again), step)
            assert raised.value.stored.opened == first

    async def test_a_key_stays_used_after_the_outcome(self, store: Store, call: CallKey) -> None:
        await open_transfer(store, call, key="case-2")
        await store.apply(call, fact(call, Signal.FAILED), step)
        with pytest.raises(KeyUsed) as raised:
            await open_transfer(store, call, key="case-2")
        assert raised.value.stored.outcome is not None

    async def test_one_of_many_concurrent_requests_for_a_call_succeeds(
        self, store: Store, call: CallKey
    ) -> None:
        tries = [store.apply(call, requested(opened(call)), step) for _ in range(10)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(result, LegOccupied) for result in results) == len(tries) - 1

    # --- due work -----------------------------------------------------------------------------------

    async def _lease(
        self,
        store: Store,
        at: datetime,
        owner: str = "me",
        limit: int = 10,
        providers: Collection[str] | None = None,
    ) -> list[tuple[str, Work]]:
        lease = Lease(owner, at + LEASE)
        rows = await store.lease_due(now=at, lease=lease, limit=limit, providers=providers)
        return [(row.transfer_id, row.work) for row in rows]

    async def test_the_sender_of_a_request_has_the_lease_of_its_submission(
        self, store: Store, call: CallKey
    ) -> None:
        transfer = await open_transfer(store, call)
        assert await self._lease(store, AT) == []
        assert await store.next_due() == AT + LEASE
        assert await self._lease(store, AT + LEASE) == [(transfer.id, Work.SUBMIT)]

    async def test_leased_work_is_not_leased_again_until_the_lease_ends(
        self, store: Store, call: CallKey
    ) -> None:
        transfer = await open_transfer(store, call)
        deadline = AT + transfer.request.deadline
        assert (transfer.id, Work.DEADLINE) in await self._lease(store, deadline, "one")
        assert await self._lease(store, deadline, "two") == []
        assert (transfer.id, Work.DEADLINE) in await self._lease(store, deadline + LEASE, "two")

    async def test_due_work_is_deleted_only_if_its_request_is_not_stored(
        self, store: Store, call: CallKey
    ) -> None:
        def leave_work(_: CallKey, state: CallState, __: Input, ___: str | None) -> Decision:
            return Decision(state=state, due=(Due(transfer_id="removed", work=Work.ADVANCE, at=AT),))

        transfer = await open_transfer(store, call)
        before = await store.next_due()
        await store.apply(call, Peeked(at=AT), leave_work)
        assert await self._lease(store, AT) == [("removed", Work.ADVANCE)]
        await store.drop_due(transfer.id)
        await store.drop_due("removed")
        await store.drop_due("unknown")
        assert await store.next_due() == before
        rows = await self._lease(store, AT + transfer.request.deadline + LEASE)
        assert {id_ for id_, _ in rows} == {transfer.id}

    async def test_the_oldest_due_work_is_leased_first_up_to_the_limit(self, store: Store) -> None:
        ids: list[str] = []
        for seconds in (30, 10, 20):
            call = new_call()
            transfer = opened(call)
            ids.append(transfer.id)
            await store.apply(call, requested(transfer), step)
            result = NotSent(result=Result(), retry_after=timedelta(seconds=seconds))
            answered = Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=result)
            await store.apply(call, answered, step)
        late = AT + timedelta(seconds=60)
        assert await self._lease(store, late, limit=2) == [(ids[1], Work.SUBMIT), (ids[2], Work.SUBMIT)]
        assert await self._lease(store, late, limit=2) == [(ids[0], Work.SUBMIT)]

    async def test_leased_work_is_returned_in_the_order_of_its_times(self, store: Store) -> None:
        first, second = opened(new_call()), opened(new_call())
        for transfer in (first, second):
            await store.apply(transfer.call, requested(transfer), step)
        not_sent = NotSent(result=Result(), retry_after=timedelta(seconds=10))
        answered = Answered(at=AT, transfer_id=second.id, attempt=1, answer=not_sent)
        await store.apply(second.call, answered, step)
        # The first one was leased until now; the second one was due in between, and is free for longer.
        assert await self._lease(store, AT + LEASE) == [(first.id, Work.SUBMIT), (second.id, Work.SUBMIT)]

    @pytest.mark.parametrize("others", [(), ("other",)])
    async def test_a_submission_is_leased_only_for_its_provider(
        self, store: Store, call: CallKey, others: Collection[str]
    ) -> None:
        transfer = await open_transfer(store, call)
        deadline = AT + transfer.request.deadline
        assert await store.next_due(providers=others) == deadline
        assert await self._lease(store, AT + LEASE, providers=others) == []
        assert await store.next_due(providers=(*others, call.provider)) == AT + LEASE
        assert await self._lease(store, AT + LEASE, providers={*others, call.provider}) == [
            (transfer.id, Work.SUBMIT)
        ]

    @pytest.mark.parametrize("others", [(), ("other",)])
    async def test_an_inspection_is_leased_only_for_its_provider_and_a_deadline_for_every_process(
        self, store: Store, call: CallKey, others: Collection[str]
    ) -> None:
        transfer = await open_transfer(store, call)
        await store.apply(call, Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=Submitted()), step)
        deadline = AT + transfer.request.deadline
        assert await self._lease(store, deadline, providers=others) == [(transfer.id, Work.DEADLINE)]
        reached = DueReached(at=deadline, transfer_id=transfer.id, work=Work.DEADLINE)
        await store.apply(call, reached, step)
        assert await store.next_due(providers=others) is None
        due = await store.next_due(providers=[call.provider])
        assert due is not None
        assert await self._lease(store, due, providers=others) == []
        assert await self._lease(store, due, providers=[call.provider]) == [(transfer.id, Work.INSPECT)]

    async def test_a_rescheduled_submission_is_leased_only_for_its_provider(
        self, store: Store, call: CallKey
    ) -> None:
        transfer = await open_transfer(store, call)
        not_sent = NotSent(result=Result(), retry_after=timedelta(seconds=2))
        await store.apply(call, Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=not_sent), step)
        soon = AT + timedelta(seconds=2)
        assert await self._lease(store, soon, providers=["other"]) == []
        assert await self._lease(store, soon, providers=[call.provider]) == [(transfer.id, Work.SUBMIT)]
        assert await store.next_due(providers=[call.provider]) == soon + LEASE

    async def test_rescheduled_work_is_not_leased(self, store: Store, call: CallKey) -> None:
        transfer = await open_transfer(store, call)
        not_sent = NotSent(result=Result(), retry_after=timedelta(seconds=2))
        await store.apply(call, Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=not_sent), step)
        assert await store.next_due() == AT + timedelta(seconds=2)
        assert await self._lease(store, AT + timedelta(seconds=2)) == [(transfer.id, Work.SUBMIT)]

    async def test_an_outcome_clears_all_due_work(self, store: Store, call: CallKey) -> None:
        await open_transfer(store, call)
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        assert await store.next_due() is None
        assert await self._lease(store, AT + timedelta(days=1)) == []

    async def test_an_attempt_is_begun_once(self, store: Store, call: CallKey) -> None:
        transfer = opened(call)
        rules = evolve(Rules(), repeatable_for=timedelta(minutes=5))
        await store.apply(call, evolve(requested(transfer), rules=rules), step)
        attempted = Attempted(at=AT, transfer_id=transfer.id, attempt=2)
        tries = await asyncio.gather(*(store.apply(call, attempted, step) for _ in range(5)))
        assert [one.proceed for one in tries].count(True) == 1

    async def test_an_answered_submission_leaves_the_deadline(self, store: Store, call: CallKey) -> None:
        transfer = await open_transfer(store, call)
        await store.apply(call, Answered(at=AT, transfer_id=transfer.id, attempt=1, answer=Submitted()), step)
        assert await store.next_due() == AT + transfer.request.deadline
        inspected = Inspected(at=AT, transfer_id=transfer.id, presence=Presence.CONNECTED)
        await store.apply(call, inspected, step)
        assert await store.next_due() == AT + transfer.request.deadline

    # --- the log ------------------------------------------------------------------------------------

    async def test_the_log_is_read_from_a_position(self, store: Store, call: CallKey) -> None:
        await store.apply(call, fact(call), step)
        place = await store.end_of_log()
        assert await store.read(place) == ()
        await store.apply_all([(call, fact(call)), (call, fact(call)), (call, fact(call))], step)
        first = await store.read(place, limit=2)
        assert [event.sequence for _, event in first] == [2, 3]
        rest = await store.read(first[-1][0])
        assert [event.sequence for _, event in rest] == [4]
        assert await store.read(rest[-1][0]) == ()

    async def test_the_log_is_read_from_the_oldest_event(self, store: Store, call: CallKey) -> None:
        assert await store.read(None) == ()
        await store.apply_all([(call, fact(call)), (call, fact(call)), (call, fact(call))], step)
        first = await store.read(None, limit=2)
        assert [event.sequence for _, event in first] == [1, 2]
        assert [event.sequence for _, event in await store.read(first[-1][0])] == [3]

    async def test_the_log_keeps_each_calls_order(self, store: Store) -> None:
        place = await store.end_of_log()
        calls = [new_call() for _ in range(5)]
        await asyncio.gather(*(store.apply(call, fact(call), step) for _ in range(6) for call in calls))
        events = [event for _, event in await store.read(place, limit=100)]
        assert len(events) == len(calls) * 6
        for call in calls:
            assert [event.sequence for event in events if event.call_id == call.id] == [1, 2, 3, 4, 5, 6]

    async def test_a_wait_ends_when_an_event_is_recorded(self, store: Store, call: CallKey) -> None:
        place = await store.end_of_log()
        waiting = asyncio.create_task(store.wait(place, timeout=30))
        await asyncio.sleep(0)
        event = CallConnected(time=AT, provider=call.provider, call_id=call.id)
        await store.apply(call, Observed(at=AT, fact=Fact(event=event)), step)
        async with asyncio.timeout(10):
            await waiting
        assert len(await store.read(place)) == 1

    async def test_a_wait_ends_at_its_timeout(self, store: Store) -> None:
        async with asyncio.timeout(10):
            await store.wait(await store.end_of_log(), timeout=0.01)

    async def test_a_cancelled_wait_raises_cancelled_error(self, store: Store) -> None:
        waiting = asyncio.create_task(store.wait(await store.end_of_log(), timeout=30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
