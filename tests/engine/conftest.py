import pytest
from support.client import client, clock, fake, make, store
from support.takeover import dying_and_healthy, dying_and_healthy_postgres

__all__ = ["client", "clock", "fake", "make", "store"]


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request, tmp_path, monkeypatch):
    """Makes a store that dies, and one for the process that goes on."""
    monkeypatch.setattr("transferkit._engine.tasks._DRAIN_SECONDS", 0.05)  # a dead process finishes nothing
    if request.param == "sqlite":
        return lambda: dying_and_healthy(tmp_path / "kept.db")
    pytest.importorskip("psycopg")
    address = request.getfixturevalue("database")
    return lambda: dying_and_healthy_postgres(address)
