"""A process that dies after a number of commits, and another one on the same store that goes on."""

import asyncio
from datetime import timedelta

from transferkit import AsyncClient, Config, LifecycleConfig, StoreError
from transferkit.stores.sqlite import SqliteStore
from transferkit.testing import FakeAdapter

LEASE = timedelta(seconds=10)
"""Shorter than the deadline of a step, so that a step in progress is taken over in time."""


class Persistent(FakeAdapter):
    """A fake that delivers a callback again until it is accepted, as a provider does."""

    async def _send(self, body, *, placed_by=None):
        while True:
            try:
                return await super()._send(body, placed_by=placed_by)
            except StoreError:
                await asyncio.sleep(0.01)


class Dying:
    """Mixed into a store: after `commits_left` commits the process does nothing any more."""

    commits_left = None

    @property
    def dead(self):
        return self.commits_left == 0

    async def apply_all(self, inputs, step):
        if self.dead:
            raise StoreError("the process died")
        if self.commits_left is not None:
            self.commits_left -= 1
        return await super().apply_all(inputs, step)

    async def lease_due(self, **options):
        return () if self.dead else await super().lease_due(**options)


class DyingSqliteStore(Dying, SqliteStore):
    pass


def dying_and_healthy(path):
    """Makes a SQLite store that dies, and one for the process that goes on."""
    return DyingSqliteStore(path), SqliteStore(path)


def dying_and_healthy_postgres(address):
    """The same on PostgreSQL."""
    from transferkit.stores.postgres import PostgresStore

    class DyingPostgresStore(Dying, PostgresStore):
        pass

    return DyingPostgresStore(address), PostgresStore(address)


def client_on(store, fake, clock):
    config = Config(source="test", provider="fake", lifecycle=LifecycleConfig(lease=LEASE))
    return AsyncClient(config, store=store, adapters={"fake": fake}, clock=clock)


async def passing(clock, awaitable, *, steps=0.5):
    """The result of an awaitable; time passes quickly meanwhile."""
    task = asyncio.ensure_future(awaitable)
    async with asyncio.timeout(20):
        while not task.done():
            await asyncio.wait([task], timeout=0.02)
            clock.advance(steps)
    return task.result()
