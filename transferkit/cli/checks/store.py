"""Checks that the store can be opened, read and written."""

from __future__ import annotations

from uuid import uuid4

from attrs import evolve

from transferkit.cli.checks.results import failed, passed, undecided
from transferkit.config import Config
from transferkit.errors import StoreError
from transferkit.provider.adapter import CheckResult
from transferkit.stores import Store
from transferkit.stores.address import store_at
from transferkit.stores.consumer_groups import GroupStart

__all__ = ["check_store"]


async def check_store(config: Config, *, offline: bool) -> CheckResult:
    """Open the store, write to it and read from it; a PostgreSQL server is skipped if `offline`."""
    if config.store == "memory:":
        message = "memory: its content is lost when the process ends"
        return undecided("store", message, advice="Configure a store that lasts.")
    remote = config.store.startswith("postgres")
    if remote and offline:
        return undecided("store", "skipped: offline")
    store = _store(config)
    if not remote and (file_system := _network_file_system(store)):
        return failed(
            "store",
            f"the SQLite file is on a network file system ({file_system}), whose locks lose data",
            advice="Put it on a local disk, or use PostgreSQL for more than one machine.",
        )
    try:
        await _use(store)
    except StoreError as error:
        advice = "Fix it: without the store nothing is sent and no callback is accepted."
        return failed("store", str(error), advice=advice)
    kind = "PostgreSQL" if remote else "SQLite"
    return passed("store", f"{kind}: opened, read and written")


def _store(config: Config) -> Store:
    """The store, not opened. A check does not change the tables of a PostgreSQL store."""
    if not config.store.startswith("postgres"):
        return store_at(config.store, base=config.base)
    from transferkit.stores.postgres import PostgresStore, read_address

    return PostgresStore(evolve(read_address(config.store), migrate=False))


def _network_file_system(store: Store) -> str | None:
    from transferkit.stores.sqlite import SqliteStore, on_network_file_system

    return on_network_file_system(store.path) if isinstance(store, SqliteStore) else None


async def _use(store: Store) -> None:
    """Write a consumer group that no consumer has, and remove it again. Raises `StoreError`."""
    group = f"transferkit-check-{uuid4().hex}"
    await store.open()
    try:
        await store.open_group(group, start=GroupStart.NOW)
        await store.remove_group(group)
    finally:
        await store.close()
