"""Fixtures on a PostgreSQL database. Tests of other stores define a `store` of their own."""

import asyncio
from uuid import uuid4

import pytest
from support.postgres import opened_store, with_options

from transferkit.testing.contracts.store_inputs import new_call


@pytest.fixture
def sql(database):
    """Run a statement as the owner of everything."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(database, autocommit=True) as db:
        yield lambda statement, values=None: db.execute(statement, values)


@pytest.fixture(scope="session")
def tables(database):
    """The URL of the schema that most tests share."""

    async def make():
        async with opened_store(database):
            pass

    asyncio.run(make())
    return database


EMPTY = """
    DELETE FROM transferkit.calls; DELETE FROM transferkit.events; DELETE FROM transferkit.marks;
    DELETE FROM transferkit.requests; DELETE FROM transferkit.legs; DELETE FROM transferkit.due;
    DELETE FROM transferkit.leases;
    DELETE FROM transferkit.consumer_groups;
    UPDATE transferkit.partitions SET position = 0;
"""


@pytest.fixture
def address(tables, sql):
    """The shared schema, empty."""
    sql(EMPTY)
    return tables


@pytest.fixture
def fresh(database, sql):
    """The address of a schema that does not exist yet."""
    name = f"t{uuid4().hex[:12]}"
    yield with_options(database, schema=name)
    sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
async def store(address):
    async with opened_store(address) as store:
        yield store


@pytest.fixture
async def other(address):
    """The same tables, as another process has them."""
    async with opened_store(address) as store:
        yield store


@pytest.fixture
def call():
    return new_call()
