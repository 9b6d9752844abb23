"""`transferkit store`."""

import json

import pytest
from support.command_line import run

from transferkit import Client
from transferkit.testing import scenario


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Runs the command on a SQLite store that variables name."""
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_STORE", f"sqlite:///{tmp_path}/calls.db")
    return lambda *words: run("store", *words)


def test_migrate_creates_the_file_and_info_describes_it(store):
    assert store("migrate").stdout == "the store is up to date; its log has 16 partitions\n"
    assert json.loads(store("info", "--json").stdout) == {"partitions": 16, "next_due": None, "tables": []}
    assert "nothing" in store("info").stdout


def test_info_shows_when_work_is_due(store):
    with Client.from_config(None) as client:
        client.transfer("call-1", to=scenario("silent").number)
    assert json.loads(store("info", "--json").stdout)["next_due"]


def test_prune_prints_how_many_calls_it_removed(store, monkeypatch):
    with Client.from_config(None) as client:
        client.transfer("call-1", to=scenario("answers").number).outcome(timeout=10)
    assert store("prune").stdout == "0 calls removed\n"
    monkeypatch.setenv("TRANSFERKIT_RETENTION__AGE", "0.000001")
    assert store("prune").stdout == "1 calls removed\n"


def test_grants_of_a_sqlite_store_exit_with_2(store):
    result = store("grants", "app")
    assert result.exit_code == 2
    assert "grants are for a PostgreSQL store" in result.stderr


def test_grants_are_printed_without_connecting_to_the_server(store, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("TRANSFERKIT_STORE", "postgresql://owner@db.invalid/calls?schema=tk")
    assert 'GRANT USAGE ON SCHEMA tk TO "app";' in store("grants", "app").stdout
    assert store("grants", 'app"; DROP').exit_code == 2


def test_a_server_that_cannot_be_reached_exits_with_2_and_what_to_do(store, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("TRANSFERKIT_STORE", "postgresql://owner@127.0.0.1:1/calls")
    result = store("migrate")
    assert result.exit_code == 2
    assert "What to do" in result.stderr
