"""`transferkit groups`."""

import asyncio
import sqlite3
from contextlib import closing, suppress

import pytest
from support.command_line import json_lines, run

from transferkit import AsyncClient


@pytest.fixture
def groups(config):
    """Runs the command on the store."""
    return lambda *words: run("groups", *words, "--config", config)


@pytest.fixture
def events(config):
    """Prints the event stream as JSON."""
    return lambda *options: json_lines(run("events", "--json", *options, "--config", config))


@pytest.fixture
def parked(config, transferred):
    """The group billing has parked an event that it failed to process."""
    transferred("answers")

    async def fail():
        async with AsyncClient.from_config(config) as client:
            with suppress(ZeroDivisionError):
                async with client.events(group="billing") as stream:
                    await anext(stream)
                    raise ZeroDivisionError
            async with client.events(group="billing", follow=False) as stream:
                assert [event.sequence async for event in stream][:4] == [2, 3, 4, 5]

    asyncio.run(fail())


@pytest.fixture
def unreadable(config, transferred, tmp_path):
    """The group billing has parked an event that this version cannot read."""
    transferred("answers")
    with closing(sqlite3.connect(tmp_path / "kept.db", isolation_level=None)) as db:
        db.execute("UPDATE events SET event = json_set(event, '$.kind', 'call.held') WHERE position = 2")

    async def read():
        async with (
            AsyncClient.from_config(config) as client,
            client.events(group="billing", follow=False) as stream,
        ):
            assert [event.sequence async for event in stream][:4] == [1, 3, 4, 5]

    asyncio.run(read())


def test_groups_are_listed_with_their_lag(groups, events, transferred):
    transferred("answers")
    events("--group", "billing")
    transferred("answers", "call-2")
    waiting = [event for event in events() if event["call_id"] == "call-2"]
    (group,) = json_lines(groups("list", "--json"))
    found = (group["group"], group["lag"], group["parked"], group["consumers"])
    assert found == ("billing", len(waiting), 0, 0)
    assert "billing" in groups("list").stdout


def test_a_parked_event_is_listed_and_released(groups, events, parked):
    (event,) = json_lines(groups("parked", "billing", "--json"))
    assert (event["attempts"], event["event"]["sequence"], event["released"]) == (1, 1, False)
    assert event["event"]["id"] in groups("parked", "billing").stdout
    assert groups("release", "billing", event["event"]["id"]).exit_code == 0
    assert [released["sequence"] for released in events("--group", "billing")] == [1]
    assert json_lines(groups("parked", "billing", "--json")) == []


def test_a_parked_event_that_cannot_be_read_is_listed_with_the_reason_and_released(groups, unreadable):
    (event,) = json_lines(groups("parked", "billing", "--json"))
    assert (event["attempts"], event["event"]["sequence"], event["event"]["kind"]) == (1, 2, "call.held")
    (line,) = groups("parked", "billing").stdout.splitlines()
    assert line.startswith(event["id"])
    assert line.endswith("call.held  fake:call-1  this version has no kind 'call.held'")
    assert groups("release", "billing", event["id"]).exit_code == 0
    (released,) = json_lines(groups("parked", "billing", "--json"))
    assert released["released"]


def test_an_unreadable_event_prevents_showing_its_call_but_no_other(config, events, unreadable, transferred):
    result = run("show", events()[0]["transfer_id"], "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "event 2 of call fake:call-1 cannot be read" in result.stderr
    assert run("show", transferred("answers", "call-2"), "--config", config).exit_code == 0


def test_releasing_an_event_that_is_not_parked_exits_with_1(groups, parked):
    result = groups("release", "billing", "no-such-event")
    assert result.exit_code == 1
    assert "no-such-event" in result.stderr


def test_a_group_is_removed_once(groups, events, transferred):
    transferred("answers")
    events("--group", "billing")
    assert groups("remove", "billing").exit_code == 0
    assert json_lines(groups("list", "--json")) == []
    assert groups("remove", "billing").exit_code == 1


def test_the_parked_events_of_a_group_that_does_not_exist_are_an_error(groups, events, transferred):
    transferred("answers")
    events("--group", "billing")
    assert json_lines(groups("parked", "billing", "--json")) == []
    result = groups("parked", "biling")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no group 'biling'" in result.stderr
