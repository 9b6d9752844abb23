"""The address of a PostgreSQL store, and the text of its columns, without a server."""

import pytest

from transferkit import StoreError

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")

from psycopg.conninfo import conninfo_to_dict  # noqa: E402 - needs the driver

from transferkit.stores.postgres import PostgresStore, read_address  # noqa: E402 - needs the driver
from transferkit.stores.postgres.columns import text, value  # noqa: E402 - needs the driver


def test_an_address_separates_the_stores_parameters_from_those_of_libpq():
    address = read_address("postgresql://app@db/calls?schema=tk_1&sslmode=require&listen=off&connections=3")
    assert (address.schema, address.listen, address.migrate, address.connections) == ("tk_1", False, True, 3)
    assert address.dsn == "postgresql://app@db/calls?sslmode=require"


def test_spaces_and_plus_signs_in_a_parameter_reach_libpq():
    address = read_address("postgresql://app@db/calls?options=-c%20a%3Db&password=x+y")
    assert conninfo_to_dict(address.dsn)["options"] == "-c a=b"
    assert conninfo_to_dict(address.dsn)["password"] == "x+y"


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql:app:{secret}@db/calls",
        "mysql://app:{secret}@db/calls",
        "postgresql://app:{secret}#1@db/calls",
        "postgresql://app:{secret}@db/calls?schema=Tk",
        "postgresql://app:{secret}@db/calls?listen=maybe",
        "postgresql://app:{secret}@db/calls?connections=1",
        "postgresql://app:{secret}@[db/calls",
    ],
)
def test_the_error_for_an_address_does_not_show_the_address(wrong, planted):
    with pytest.raises(ValueError, match=r"\w") as raised:
        read_address(wrong.format(secret=planted.client_secret))
    assert not planted.shown_in(raised.value)


async def test_an_address_that_libpq_does_not_accept_raises_store_error():
    with pytest.raises(StoreError, match="libpq does not accept the address"):
        await PostgresStore("postgresql://app@db.invalid/calls?nonsense=1").open()


async def test_the_error_for_an_unreachable_server_says_what_to_do():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/calls.*What to do: check that the server runs"):
        await PostgresStore("postgresql://app@127.0.0.1:1/calls").open()


ODD = ["plain", "", '"quoted"', "#", "nul \0 inside", "lone \udc80", "ünïcode", "\\0", "{,}", 'a"b\\c']


@pytest.mark.parametrize("odd", ODD)
def test_any_text_is_read_as_it_was_written(odd):
    assert text(value("mark", odd)) == odd


def test_different_texts_are_stored_differently():
    long = ["x" * 5000, "x" * 5001]
    odd = [*ODD, *long, value("key", long[0])]
    stored = [value("key", one) for one in odd]
    assert len(set(stored)) == len(odd)
    assert max(map(len, stored)) < 1100
