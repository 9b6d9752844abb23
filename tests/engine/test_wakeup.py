"""The scheduler reads due work only when there may be some, not after every commit."""

import asyncio
from uuid import uuid4

from transferkit import AsyncClient, Call, TransferExpired
from transferkit.config import load_config
from transferkit.stores import MemoryStore
from transferkit.testing import ManualClock, scenario

NOBODY_SAYS = scenario("silent").number


class Counting(MemoryStore):
    looks = 0

    async def next_due(self, **which):
        self.looks += 1
        return await super().next_due(**which)


async def submitted(client, transfers):
    """Request that many transfers, and wait until the provider has accepted all."""
    async with client.events() as events, asyncio.timeout(10):
        for _ in range(transfers):
            await client.transfer(Call("fake", str(uuid4())), to=NOBODY_SAYS)
        left = transfers
        async for event in events:
            left -= event.kind == "transfer.submitted"
            if not left:
                return


async def test_accepted_transfers_cause_no_reads_of_due_work():
    store = Counting()
    async with AsyncClient(load_config({"provider": "fake", "store": "memory:"}), store=store) as client:
        await submitted(client, 2)  # how often the first is looked for depends on who is first
        before = store.looks
        await submitted(client, 20)
        assert store.looks - before <= 2


async def test_a_deadline_before_the_next_read_wakes_the_scheduler():
    store = Counting()
    async with AsyncClient(load_config({"provider": "fake", "store": "memory:"}), store=store) as client:
        await submitted(client, 2)
        transfer = await client.transfer(Call("fake", str(uuid4())), to=NOBODY_SAYS, deadline=0.05)
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)


class Locked(Counting):
    """Another process holds the rows of what is due, for as long as the test says."""

    locked = True

    async def lease_due(self, **which):
        return () if self.locked else await super().lease_due(**which)


async def test_due_work_that_another_process_has_locked_is_read_at_intervals():
    store, clock = Locked(), ManualClock()
    config = load_config({"provider": "fake", "store": "memory:"})
    async with asyncio.timeout(10), AsyncClient(config, store=store, clock=clock) as client:
        transfer = await client.transfer(Call("fake", str(uuid4())), to=NOBODY_SAYS, deadline=5)
        waiting = asyncio.create_task(transfer.outcome())
        clock.advance(5)
        before = store.looks
        for _ in range(200):
            await asyncio.sleep(0)
        assert store.looks - before <= 2
        store.locked = False
        while not waiting.done():
            clock.advance(0.2)
            for _ in range(20):
                await asyncio.sleep(0)
        assert isinstance(await waiting, TransferExpired)
