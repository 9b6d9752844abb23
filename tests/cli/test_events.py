"""`transferkit events`."""

import pytest
from support.command_line import json_lines, run

from transferkit.cli.commands import events as events_command
from transferkit.testing import scenario

COMPLETED = [f"transfer.{word}" for word in ("requested", "submitted", "started", "accepted", "completed")]


@pytest.fixture
def events(config):
    """Runs the command on the store."""

    def events(*options):
        result = run("events", "--config", config, *options)
        assert result.exit_code == 0, result.output
        return result

    return events


def kinds_of_transfers(result):
    """Without the events of the call; whether its end is recorded before the client closes is open."""
    return [line["kind"] for line in json_lines(result) if line["kind"].startswith("transfer.")]


def calls(result):
    return {line["call_id"] for line in json_lines(result)}


def test_every_event_is_one_line_of_json(events, transferred):
    transferred("answers")
    assert kinds_of_transfers(events("--json")) == COMPLETED


def test_people_see_the_failure_but_not_the_number(events, transferred):
    transfer_id = transferred("busy")
    result = events()
    last = result.stdout.splitlines()[-1]
    for word in ("transfer.failed", "busy", transfer_id):
        assert word in last
    assert scenario("busy").number.number not in result.stdout


def test_the_events_of_one_call_can_be_selected(events, transferred):
    transferred("answers", "call-1")
    transferred("busy", "call-2")
    assert calls(events("--json", "--call", "call-2")) == {"call-2"}


def test_a_consumer_group_reads_each_event_once(events, transferred):
    transferred("answers")
    assert kinds_of_transfers(events("--json", "--group", "billing")) == COMPLETED
    assert json_lines(events("--json", "--group", "billing")) == []
    transferred("busy", "call-2")
    assert calls(events("--json", "--group", "billing")) == {"call-2"}


def test_a_new_consumer_group_can_start_now(events, transferred):
    transferred("answers")
    assert json_lines(events("--json", "--group", "billing", "--start", "now")) == []


def test_a_consumer_group_of_one_call_is_refused():
    assert run("events", "--group", "billing", "--call", "call-1").exit_code == 2


def test_ctrl_c_ends_the_stream_without_an_error(config, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(events_command, "run_with_client", interrupt)
    result = run("events", "--config", config)
    assert (result.exit_code, result.output) == (0, "")
