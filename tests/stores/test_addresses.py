"""Addresses of stores."""

from pathlib import Path

import pytest

from transferkit.stores import address


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
