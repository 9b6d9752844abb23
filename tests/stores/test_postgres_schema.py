"""PostgreSQL: connecting, creating the tables, and the rights that roles need."""

import asyncio
import json
import re
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from support.postgres import opened_store, with_options

from transferkit import StoreError
from transferkit._lifecycle import Lease, step
from transferkit.provider.facts import Signal
from transferkit.stores.consumer_groups import GroupStart
from transferkit.testing.contracts.store_groups import Consumer, record
from transferkit.testing.contracts.store_inputs import AT, LEASE, fact, new_call, open_transfer

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")


from transferkit.stores.postgres import PostgresStore, grants, read_address  # noqa: E402 - needs the driver
from transferkit.stores.postgres import database as database_module  # noqa: E402 - needs the driver
from transferkit.stores.postgres import schema as schema_module  # noqa: E402 - needs the driver

pytestmark = pytest.mark.heavy  # these tests need a server


async def test_a_password_is_in_no_text(planted, database):
    host = urlsplit(database).hostname or "127.0.0.1"
    for broken in (f"{host}:1/calls", "calls.invalid/calls", f"{host}/calls?connect_timeout=x"):
        store = PostgresStore(f"postgresql://nobody:{planted.client_secret}@{broken}")
        with pytest.raises(StoreError) as raised:
            await store.open()
        for shown in (repr(store), repr(store.address), str(store.address), raised.value, repr(raised.value)):
            assert not planted.shown_in(shown)


async def test_the_error_for_a_missing_database_says_what_to_do(database):
    with pytest.raises(StoreError, match="create the database first"):
        await PostgresStore(urlunsplit(urlsplit(database)._replace(path="/no_such_database"))).open()


async def test_many_processes_may_create_the_tables_at_once(fresh):
    stores = [PostgresStore(fresh, partitions=partitions) for partitions in (4, 5, 6, 7, 8)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({store.partitions for store in stores}) == 1
    call = new_call()
    await asyncio.gather(*(record(store, call) for store in stores))
    assert len(await stores[0].call_events(call)) == len(stores)
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize(
    ("version", "advice"), [(1, "give the store a new schema"), (99, "upgrade transferkit in this process")]
)
async def test_tables_of_another_version_of_transferkit_are_refused(fresh, sql, version, advice):
    async with opened_store(fresh):
        pass
    sql(f"UPDATE {read_address(fresh).schema}.meta SET version = {version}")  # noqa: S608 - our own words
    with pytest.raises(StoreError, match=rf"schema version {version}.*{advice}"):
        await PostgresStore(fresh).open()


async def test_a_schema_that_cannot_be_created_is_not_created_in_part(fresh, sql, monkeypatch):
    monkeypatch.setattr(
        schema_module, "schema_statements", lambda _: ["CREATE TABLE tk.meta ()", "SELECT 1 / 0"]
    )
    with pytest.raises(StoreError):
        await PostgresStore(fresh).open()
    monkeypatch.undo()
    async with opened_store(fresh) as store:
        assert len(await record(store, new_call())) == 1


async def test_an_address_can_forbid_creating_the_tables(fresh):
    with pytest.raises(StoreError, match=r"migrate=off.*transferkit store migrate"):
        await PostgresStore(with_options(fresh, migrate="off")).open()


@pytest.fixture
def role(database, sql):
    """A role that may do nothing yet."""
    name = f"transferkit_{uuid4().hex[:12]}"
    sql(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up'")
    yield name
    sql(f"DROP OWNED BY {name}")
    sql(f"DROP ROLE {name}")


def as_role(address, role):
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:made-up@{place}"))


async def test_the_error_for_a_role_without_rights_says_what_to_do(fresh, role):
    with pytest.raises(
        StoreError, match=rf"role {role} may not create them.*transferkit store grants {role}"
    ):
        await PostgresStore(as_role(fresh, role)).open()


async def test_a_role_needs_no_more_than_its_grants(fresh, role, sql, call):
    async with opened_store(fresh):
        pass
    with pytest.raises(StoreError, match="transferkit store grants"):
        await PostgresStore(as_role(fresh, role)).open()
    for statement in grants(read_address(fresh).schema, role):
        sql(statement)
    async with opened_store(as_role(fresh, role)) as store:
        await open_transfer(store, call, key="case-1")
        await store.lease_due(now=AT + LEASE, lease=Lease("one", AT + 2 * LEASE), limit=1)
        await store.apply(call, fact(call, Signal.SUCCEEDED), step)
        await store.open_group("crm", start=GroupStart.BEGINNING)
        consumer = Consumer(store)
        await consumer.hold()
        assert len(await consumer.read_all()) == 3
        await consumer.leave()
        assert await store.prune(before=AT + timedelta(days=1), idle_since=AT, limit=10) == 1
        assert await store.remove_group("crm")


async def test_a_clock_that_differs_from_the_servers_is_logged(address, monkeypatch, caplog):
    class Ahead(database_module.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(seconds=90)

    monkeypatch.setattr(database_module, "datetime", Ahead)
    async with opened_store(address):
        assert re.search(r"(89|90)\.\d s ahead of the server's", caplog.text)


async def test_a_server_that_is_too_old_is_refused(address, monkeypatch):
    monkeypatch.setattr(database_module, "_OLDEST_SERVER", 9_999_999)
    with pytest.raises(StoreError, match="too old"):
        await PostgresStore(address).open()


def test_the_info_command_prints_the_size_of_the_tables(address, monkeypatch):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from transferkit.cli.app import app

    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_STORE", address)
    assert CliRunner().invoke(app, ["store", "migrate"]).exit_code == 0
    found = json.loads(CliRunner().invoke(app, ["store", "info", "--json"]).stdout)
    assert {"calls", "events", "requests", "due"} <= {table["name"] for table in found["tables"]}
    assert "dead rows" in CliRunner().invoke(app, ["store", "info"]).stdout
