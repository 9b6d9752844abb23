"""A schema that changes gets another version, so that no process uses tables of another form."""

from hashlib import sha256

import pytest

from transferkit.stores.sql.statements import schema_statements
from transferkit.stores.sqlite import schema as sqlite

REASON = "the schema has changed: raise VERSION, and put the new digest here"


def digest(*statements):
    words = " ".join(" ".join(statements).split())
    return sha256(words.encode()).hexdigest()[:16]


def test_the_version_of_the_sqlite_schema_changes_with_its_content():
    found = digest(*schema_statements("transferkit.stores.sqlite"))
    assert (sqlite.VERSION, found) == (2, "0a16efd6ca5c06f8"), REASON


def test_the_version_of_the_postgresql_schema_changes_with_its_content():
    pytest.importorskip("psycopg", reason="needs the driver", exc_type=ImportError)
    from transferkit.stores.postgres import schema as postgres

    found = digest(
        *schema_statements("transferkit.stores.postgres"),
        *(function.decode() for function in postgres.functions("tk")),
    )
    assert (postgres.VERSION, found) == (2, "3aac406f89420027"), REASON
