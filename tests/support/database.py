"""A PostgreSQL database for the tests.

`TRANSFERKIT_TEST_POSTGRES` names a server by the URL of a role that may create databases. Without it, the
local default socket and port are tried. If no server is reachable, the tests that need one are skipped.
"""

import os
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

SERVERS = (
    [os.environ["TRANSFERKIT_TEST_POSTGRES"]]
    if "TRANSFERKIT_TEST_POSTGRES" in os.environ
    else [
        "postgresql://postgres@/postgres?host=/var/run/postgresql",
        "postgresql://postgres@127.0.0.1:5432/postgres",
    ]
)


@pytest.fixture(scope="session")
def database():
    """The URL of a PostgreSQL database that exists only for this run."""
    psycopg = pytest.importorskip("psycopg")
    server = next((address for address in SERVERS if _answers(psycopg, address)), None)
    if server is None:
        pytest.skip("no PostgreSQL server is reachable; name one with TRANSFERKIT_TEST_POSTGRES")
    name = f"transferkit_test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _answers(psycopg, address):
    try:
        psycopg.connect(address, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True
