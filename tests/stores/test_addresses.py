"""Addresses of stores."""

import sqlite3
import time
from pathlib import Path

import pytest

from transferkit.errors import StoreError
from transferkit.stores import address
from transferkit.stores.consumer_groups import GroupStart


@pytest.mark.parametrize(
    ("text", "driver", "problem"),
    [
        ("postgresql://app@db/calls", False, "needs a driver"),
        ("postgresql://app@db/calls?connections=none", True, "connections"),
    ],
)
def test_a_postgresql_address_needs_a_driver_and_valid_parameters(monkeypatch, text, driver, problem):
    if driver:
        pytest.importorskip("psycopg_pool")
    else:
        monkeypatch.setattr(address, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=problem):
        address.store_at(text, base=Path())


def test_making_a_postgresql_store_opens_no_connection():
    pytest.importorskip("psycopg_pool")
    store = address.store_at("postgresql://app@db.invalid/calls", base=Path())
    assert type(store).__name__ == "PostgresStore"


async def test_the_address_of_a_file_can_set_how_long_a_writer_is_waited_for(tmp_path):
    store = address.store_at("sqlite:///a.db?busy_timeout=0.02", base=tmp_path)
    other = address.store_at("sqlite:///a.db", base=tmp_path)
    await store.open()
    with sqlite3.connect(tmp_path / "a.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        with pytest.raises(StoreError):
            await store.open_group("g", start=GroupStart.NOW)
        assert time.monotonic() - start < 2  # the default waits 5 s
        writer.execute("ROLLBACK")
    writer.close()
    assert store.path == other.path == tmp_path / "a.db"
    await store.close()
