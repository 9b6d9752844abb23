import json

import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

from transferkit import Client
from transferkit.cli.app import app
from transferkit.testing import scenario


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_PROVIDER", "fake")
    monkeypatch.setenv("TRANSFERKIT_STORE", f"sqlite:///{tmp_path}/calls.db")
    runner = CliRunner()
    return lambda *words: runner.invoke(app, ["store", *words])


def test_a_file_is_made_and_told_of(run):
    assert run("migrate").stdout == "the store is up to date; its log has 16 partitions\n"
    told = run("info", "--json")
    assert json.loads(told.stdout) == {"partitions": 16, "next_due": None, "tables": []}
    assert "nothing" in run("info").stdout


def test_info_tells_when_work_is_due(run):
    with Client.from_config(None) as client:
        client.transfer("call-1", to=scenario("silent").number)
    assert json.loads(run("info", "--json").stdout)["next_due"]


def test_prune_says_how_many_calls_went(run, monkeypatch):
    with Client.from_config(None) as client:
        client.transfer("call-1", to=scenario("answers").number).outcome(timeout=10)
    assert run("prune").stdout == "0 calls removed\n"
    monkeypatch.setenv("TRANSFERKIT_RETENTION__AGE", "0.000001")
    assert run("prune").stdout == "1 calls removed\n"


def test_grants_are_for_postgresql(run):
    told = run("grants", "app")
    assert told.exit_code == 2
    assert "only a PostgreSQL store has roles" in told.output


def test_grants_are_printed_without_a_server(run, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("TRANSFERKIT_STORE", "postgresql://owner@db.invalid/calls?schema=tk")
    assert 'GRANT USAGE ON SCHEMA tk TO "app";' in run("grants", "app").stdout
    assert run("grants", 'app"; DROP').exit_code == 2


def test_a_server_that_is_not_there_ends_with_2_and_says_what_to_do(run, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("TRANSFERKIT_STORE", "postgresql://owner@127.0.0.1:1/calls")
    told = run("migrate")
    assert told.exit_code == 2
    assert "What to do" in told.output
