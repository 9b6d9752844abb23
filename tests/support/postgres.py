"""Stores on the PostgreSQL database of a test run, and what happens to their connections."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from transferkit.stores.consumer_groups import partition_of
from transferkit.testing.contracts.store_inputs import new_call

SECONDS = 20


def with_options(address, **options):
    parts = urlsplit(address)
    asked = "&".join(filter(None, [parts.query, *(f"{name}={value}" for name, value in options.items())]))
    return urlunsplit(parts._replace(query=asked))


@asynccontextmanager
async def opened_store(address, **options):
    """A store that is closed when the block ends."""
    from transferkit.stores.postgres import PostgresStore

    store = PostgresStore(address, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)


async def until_listening(store):
    await until(lambda: store._watch._listening)


def cut(sql, which="true"):
    """Cut the stores' connections to this database."""
    sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608 - our own words
        f" WHERE datname = current_database() AND application_name = 'transferkit' AND {which}"
    )


async def calls_in_two_partitions(store):
    """Two calls whose inputs one process does not commit together."""
    one = two = new_call()
    while partition_of(one, store.partitions) == partition_of(two, store.partitions):
        two = new_call()
    return one, two


def calls_in_one_partition(store):
    one = two = new_call()
    while one == two or partition_of(one, store.partitions) != partition_of(two, store.partitions):
        two = new_call()
    return one, two
