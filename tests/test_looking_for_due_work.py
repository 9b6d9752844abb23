"""The background task looks for due work when there may be some, not whenever something happened."""

import asyncio
from uuid import uuid4

from transferkit import AsyncClient, Call, TransferExpired
from transferkit.config import load_config
from transferkit.stores import MemoryStore
from transferkit.testing import scenario

NOBODY_SAYS = scenario("silent").number


class Counting(MemoryStore):
    looks = 0

    async def next_due(self, **which):
        self.looks += 1
        return await super().next_due(**which)


async def submitted(client, transfers):
    """That many transfers, when the provider took them all."""
    async with client.events() as events, asyncio.timeout(10):
        for _ in range(transfers):
            await client.transfer(Call("fake", str(uuid4())), to=NOBODY_SAYS)
        left = transfers
        async for event in events:
            left -= event.kind == "transfer.submitted"
            if not left:
                return


async def test_transfers_that_are_taken_ask_the_store_for_no_due_work():
    store = Counting()
    async with AsyncClient(load_config({"provider": "fake", "store": "memory:"}), store=store) as client:
        await submitted(client, 2)  # how often the first is looked for depends on who is first
        before = store.looks
        await submitted(client, 20)
        assert store.looks - before <= 2


async def test_a_deadline_before_the_next_look_is_seen():
    store = Counting()
    async with AsyncClient(load_config({"provider": "fake", "store": "memory:"}), store=store) as client:
        await submitted(client, 2)
        transfer = await client.transfer(Call("fake", str(uuid4())), to=NOBODY_SAYS, deadline=0.05)
        assert isinstance(await transfer.outcome(timeout=10), TransferExpired)
