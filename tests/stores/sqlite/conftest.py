"""Stores on one SQLite file."""

from datetime import timedelta

import pytest

from transferkit.stores.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "odd name #1 %41 é.db"


@pytest.fixture
async def store(path):
    store = SqliteStore(path, busy_timeout=timedelta(seconds=20))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(path, store):
    """Another store on the same file, with connections of its own."""
    other = SqliteStore(path)
    await other.open()
    yield other
    await other.close()
