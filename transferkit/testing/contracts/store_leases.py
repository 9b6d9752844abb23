"""Named leases, and the transfers that are open. A part of `StoreContract`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from transferkit._lifecycle import CallKey, Lease, step
from transferkit.provider.facts import Signal
from transferkit.stores import Store
from transferkit.testing.contracts.store_inputs import (
    AT,
    LEASE,
    fact,
    new_call,
    open_transfer,
    opened,
    requested,
)

__all__ = ["LeaseContract"]

_UNTIL = AT + LEASE
_NAME = "asterisk:https://pbx.example/ari transferkit"


class LeaseContract:
    """The tests of leases."""

    async def test_one_owner_at_a_time_has_a_lease(self, store: Store) -> None:
        owners = [str(number) for number in range(5)]
        taken = await asyncio.gather(
            *(store.take_lease(_NAME, Lease(owner, _UNTIL), now=AT) for owner in owners)
        )
        assert taken.count(True) == 1
        (owner,) = (owner for owner, took in zip(owners, taken, strict=True) if took)
        assert await store.take_lease(_NAME, Lease(owner, _UNTIL), now=AT)

    async def test_a_lease_is_refused_until_its_time_has_ended(self, store: Store) -> None:
        assert await store.take_lease(_NAME, Lease("one", _UNTIL), now=AT)
        later = _UNTIL + LEASE
        assert not await store.take_lease(_NAME, Lease("two", later), now=_UNTIL - timedelta(microseconds=1))
        assert await store.take_lease(_NAME, Lease("two", later), now=_UNTIL)
        assert not await store.take_lease(_NAME, Lease("one", later), now=_UNTIL)

    async def test_an_owner_renews_a_lease(self, store: Store) -> None:
        assert await store.take_lease(_NAME, Lease("one", _UNTIL), now=AT)
        assert await store.take_lease(_NAME, Lease("one", _UNTIL + LEASE), now=AT)
        assert not await store.take_lease(_NAME, Lease("two", _UNTIL + LEASE), now=_UNTIL)

    async def test_a_dropped_lease_is_free(self, store: Store) -> None:
        assert await store.take_lease(_NAME, Lease("one", _UNTIL), now=AT)
        await store.drop_lease(_NAME, "one")
        assert await store.take_lease(_NAME, Lease("two", _UNTIL), now=AT)

    async def test_only_its_owner_drops_a_lease(self, store: Store) -> None:
        await store.drop_lease(_NAME, "two")
        assert await store.take_lease(_NAME, Lease("one", _UNTIL), now=AT)
        await store.drop_lease(_NAME, "two")
        assert not await store.take_lease(_NAME, Lease("two", _UNTIL), now=AT)

    async def test_leases_of_different_names_are_independent(self, store: Store) -> None:
        for name in ("a", "b", "14255550123"):
            assert await store.take_lease(name, Lease(name, _UNTIL), now=AT)
        await store.drop_lease("a", "a")
        assert not await store.take_lease("b", Lease("a", _UNTIL), now=AT)

    async def test_the_open_transfers_of_a_provider_are_listed(self, store: Store, call: CallKey) -> None:
        first = await open_transfer(store, call)
        second = opened(new_call(), legs=(new_call(),))
        await store.apply(second.call, requested(second), step)
        other = opened(CallKey("elsewhere", call.id))
        await store.apply(other.call, requested(other), step)
        assert set(await store.open_transfers(call.provider)) == {first.id, second.id}
        assert await store.open_transfers("elsewhere") == (other.id,)
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        assert await store.open_transfers(call.provider) == (second.id,)
        assert await store.open_transfers("nowhere") == ()
