"""A store that lost commits, and clients that read from it."""

import asyncio

from transferkit import AsyncClient, Config, MemoryStore
from transferkit.stores import Position


class LossyStore(MemoryStore):
    """A store whose log seems `ahead` events longer than it is, and that counts reads."""

    ahead = 0
    reads = 0
    lookups = 0

    async def end_of_log(self):
        return Position(str(int(await super().end_of_log()) + self.ahead))

    async def read(self, after, *, limit=100):
        self.reads += 1
        return await super().read(after, limit=limit)

    async def outcomes(self, transfer_ids):
        self.lookups += 1
        return await super().outcomes(transfer_ids)


async def until(condition):
    """Let other tasks run until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any task may make it true
            await asyncio.sleep(0.001)


def client_of(store, fake):
    """A client, not yet open, with the fake as its only provider."""
    return AsyncClient(Config(source="test", provider="fake"), store=store, adapters={"fake": fake})
