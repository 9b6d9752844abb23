"""`transferkit route`."""

import json
from pathlib import Path

import pytest
from support.command_line import run

from transferkit.testing import scenario

BUSY = scenario("busy").number.number
ANSWERS = scenario("answers").number.number


def kinds(result):
    return [json.loads(line)["kind"] for line in result.stdout.splitlines()]


def test_the_events_of_the_route_and_of_its_attempts_are_printed(config):
    result = run("route", "call-1", "--to", BUSY, "--to", ANSWERS, "--wait", "--config", config)
    assert result.exit_code == 0, result.stderr
    printed = kinds(result)
    assert printed[0] == "route.requested"
    assert printed[-1] == "route.completed"
    assert printed.count("route.attempt") == 2
    assert [kind for kind in printed if kind in {"transfer.failed", "transfer.completed"}] == [
        "transfer.failed",
        "transfer.completed",
    ]


def test_a_route_that_nobody_takes_exits_with_1(config):
    result = run("route", "call-1", "--to", BUSY, "--wait", "--config", config)
    assert result.exit_code == 1
    assert kinds(result)[-1] == "route.returned"


def test_a_ring_timeout_makes_consultations(config):
    result = run("route", "call-1", "--to", ANSWERS, "--ring-timeout", "20", "--wait", "--config", config)
    assert result.exit_code == 0, result.stderr
    assert "consultation.completed" in kinds(result)


def test_a_configured_route_is_followed_by_its_name(config):
    file = Path(config)
    file.write_text(file.read_text() + f'\n[routes.support]\nattempts = ["{BUSY}", "{ANSWERS}"]\n')
    result = run("route", "call-1", "--name", "support", "--wait", "--config", config)
    assert result.exit_code == 0, result.stderr
    assert kinds(result)[-1] == "route.completed"


def test_a_route_that_is_not_configured_is_refused(config):
    result = run("route", "call-1", "--name", "support", "--wait", "--config", config)
    assert result.exit_code == 2
    assert "no route 'support' is configured" in result.stderr


@pytest.mark.parametrize(
    "options", [[], ["--to", ANSWERS, "--ring-timeout", "0"], ["--to", ANSWERS, "--on", "x"]]
)
def test_an_unusable_route_exits_with_2(config, options):
    assert run("route", "call-1", *options, "--config", config).exit_code == 2


def test_show_draws_a_route_with_its_attempts_as_one_story(config):
    sent = run("route", "call-1", "--to", BUSY, "--to", ANSWERS, "--wait", "--config", config)
    route_id = json.loads(sent.stdout.splitlines()[0])["transfer_id"]
    result = run("show", route_id, "--config", config)
    assert result.exit_code == 0, result.stderr
    shown = [line.split()[3] for line in result.stdout.splitlines() if " s " in line and "." in line]
    assert [kind for kind in shown if kind.startswith("route.")] == [
        "route.requested",
        "route.attempt",
        "route.attempt",
        "route.completed",
    ]
    assert "transfer.failed" in shown
    assert "by attempt 2" in result.stdout
