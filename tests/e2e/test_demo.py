"""The demonstration is what a newcomer runs first: it must tell the truth, also by its exit code."""

import json

import pytest
from typer.testing import CliRunner

from transferkit.cli import demonstration
from transferkit.cli.app import app
from transferkit.events import TransferCompleted


@pytest.fixture(scope="module")
def shown():
    return CliRunner().invoke(app, ["demo", "--json"])


def test_every_outcome_is_the_expected_one_on_both_providers(shown):
    assert shown.exit_code == 0
    summary = [line for line in map(json.loads, shown.stdout.splitlines()) if "summary" in line]
    assert {line["provider"] for line in summary} == {"acs", "graph"}
    assert len(summary) == 2 * len(demonstration.STEPS)
    assert all(line["as_expected"] for line in summary)


def test_the_same_steps_end_alike_on_both(shown):
    endings = {}
    for line in map(json.loads, shown.stdout.splitlines()):
        if "summary" in line:
            endings.setdefault(line["summary"], set()).add(line["outcome"])
    assert all(len(kinds) == 1 for kinds in endings.values())
    assert {kind for (kind,) in endings.values()} == {
        "transfer.completed",
        "transfer.failed",
        "transfer.expired",
    }


def test_people_see_timelines_and_a_table():
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0
    assert "transfer.completed" in result.stdout
    assert "8 of 8 outcomes as expected" in result.stdout


def test_an_unexpected_outcome_is_an_exit_code_of_1(monkeypatch):
    wrong = demonstration.STEPS[2]
    monkeypatch.setattr(
        demonstration,
        "STEPS",
        (demonstration.Step(title=wrong.title, to=wrong.to, expected=TransferCompleted),),
    )
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[-1])["as_expected"] is False
