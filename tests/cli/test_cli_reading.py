"""`transferkit events`, `show` and `groups`: what a durable store tells on the command line."""

import asyncio
import json
import sqlite3
from contextlib import closing, suppress

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from transferkit import AsyncClient, Basis, FailureReason, TransferFailed
from transferkit.cli.app import app
from transferkit.cli.commands import events as reading
from transferkit.cli.timeline import timeline
from transferkit.testing import scenario
from transferkit.testing.contracts.store_inputs import AT

COMPLETED = [f"transfer.{word}" for word in ("requested", "submitted", "started", "accepted", "completed")]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("TRANSFERKIT_CONFIG", raising=False)
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:///kept.db"\n\n[groups]\nmax_attempts = 1\n')
    return str(file)


@pytest.fixture
def run(config):
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", config])


@pytest.fixture
def transferred(config):
    """Transfers of a call to such a target, each to its end; gives their ids."""

    async def transfer(name, call="call-1"):
        async with AsyncClient.from_config(config) as client:
            handle = await client.transfer(call, to=scenario(name).number, operation_context="case 42")
            await handle.outcome()
            return handle.id

    return lambda *arguments: asyncio.run(transfer(*arguments))


@pytest.fixture
def poisoned(config, transferred):
    """An event at which the group billing failed as often as it may."""
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
    """An event that this version cannot read, and that the group billing parked."""
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


def of_transfers(events):
    """Their kinds; the call's own end may be heard before the client is closed, or not."""
    return [event["kind"] for event in events if event["kind"].startswith("transfer.")]


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- events ----------------------------------------------------------------------------------------


def test_the_stream_is_printed_for_programs(run, transferred):
    transferred("answers")
    assert of_transfers(lines(run("events", "--json"))) == COMPLETED


def test_the_stream_is_printed_for_people_without_the_number(run, transferred):
    known = transferred("busy")
    result = run("events")
    assert result.exit_code == 0
    last = result.stdout.splitlines()[-1]
    assert "transfer.failed" in last
    assert "busy" in last
    assert known in last
    assert scenario("busy").number.number not in result.stdout


def test_one_call_s_events_alone(run, transferred):
    transferred("answers", "call-1")
    transferred("busy", "call-2")
    assert {event["call_id"] for event in lines(run("events", "--json", "--call", "call-2"))} == {"call-2"}


def test_a_group_reads_each_event_once(run, transferred):
    transferred("answers")
    assert of_transfers(lines(run("events", "--json", "--group", "billing"))) == COMPLETED
    assert lines(run("events", "--json", "--group", "billing")) == []
    transferred("busy", "call-2")
    assert {event["call_id"] for event in lines(run("events", "--json", "--group", "billing"))} == {"call-2"}


def test_a_new_group_may_begin_now(run, transferred):
    transferred("answers")
    assert lines(run("events", "--json", "--group", "billing", "--start", "now")) == []


def test_a_group_of_one_call_is_refused(run):
    assert run("events", "--group", "billing", "--call", "call-1").exit_code == 2


# --- show ------------------------------------------------------------------------------------------


def test_a_timeline_is_drawn(run, transferred):
    result = run("show", transferred("answers"))
    assert result.exit_code == 0
    for word in (*COMPLETED, "✔", "case 42", "fake:call-1", "0.000 s"):
        assert word in result.stdout
    assert scenario("answers").number.number not in result.stdout


def test_a_failed_transfer_exits_with_1_and_says_why(run, transferred):
    result = run("show", transferred("busy"))
    assert result.exit_code == 1
    assert "✘ transfer.failed" in result.stdout
    assert "busy, stated" in result.stdout
    assert "the caller is still ours" in result.stdout


FAILED = TransferFailed(
    time=AT,
    provider="fake",
    call_id="call-1",
    basis=Basis.STATED,
    reason=FailureReason.TARGET_NOT_FOUND,
    message="no such\x1b[2J number:\n+14255550186",
    advice="Check the number.",
    request_id="11111111-2222-4333-8444-555555555555",
)
WHY = (
    "the provider says: no such [2J number: +*********86",
    "what to do: Check the number.",
    "request id: 11111111-2222-4333-8444-555555555555",
)


def test_why_it_failed_is_below_it_without_numbers_and_what_a_terminal_obeys():
    head, *why = (line.plain for line in timeline([FAILED]))
    assert "target_not_found, stated" in head
    assert [line.strip() for line in why] == list(WHY)


def test_and_on_the_same_line_where_each_event_has_one(capsys):
    reading._print(FAILED)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("; ".join(["target_not_found, stated, the caller may be gone", *WHY]))


def test_a_timeline_for_programs_is_that_transfer_s_alone(run, transferred):
    transferred("answers")
    again = transferred("answers")
    shown = lines(run("show", again, "--json"))
    assert {event["transfer_id"] for event in shown if event["kind"].startswith("transfer.")} == {again}
    assert shown[-1]["kind"] == "transfer.completed"


def test_an_open_transfer_is_said_to_be_open(run, config):
    async def begin():
        async with AsyncClient.from_config(config) as client:
            return (await client.transfer("call-1", to=scenario("silent").number)).id

    result = run("show", asyncio.run(begin()))
    assert result.exit_code == 0
    assert "still open" in result.stdout


def test_an_unknown_transfer_exits_with_2(run):
    result = run("show", "no-such-transfer")
    assert result.exit_code == 2
    assert "no-such-transfer" in result.stderr
    assert "transferkit events --call ID" in result.stderr


# --- groups ----------------------------------------------------------------------------------------


def test_groups_are_listed_with_their_lag(run, transferred):
    transferred("answers")
    run("events", "--group", "billing")
    transferred("answers", "call-2")
    waiting = [event for event in lines(run("events", "--json")) if event["call_id"] == "call-2"]
    (group,) = lines(run("groups", "list", "--json"))
    known = (group["group"], group["lag"], group["parked"], group["consumers"])
    assert known == ("billing", len(waiting), 0, 0)
    shown = run("groups", "list")
    assert "billing" in shown.stdout


def test_a_parked_event_is_listed_and_released(run, poisoned):
    (parked,) = lines(run("groups", "parked", "billing", "--json"))
    assert (parked["attempts"], parked["event"]["sequence"], parked["released"]) == (1, 1, False)
    assert parked["event"]["id"] in run("groups", "parked", "billing").stdout
    assert run("groups", "release", "billing", parked["event"]["id"]).exit_code == 0
    assert [event["sequence"] for event in lines(run("events", "--json", "--group", "billing"))] == [1]
    assert lines(run("groups", "parked", "billing", "--json")) == []


def test_a_parked_event_that_cannot_be_read_is_listed_with_the_reason_and_released(run, unreadable):
    (parked,) = lines(run("groups", "parked", "billing", "--json"))
    assert (parked["attempts"], parked["event"]["sequence"], parked["event"]["kind"]) == (1, 2, "call.held")
    (listed,) = run("groups", "parked", "billing").stdout.splitlines()
    assert listed.startswith(parked["id"])
    assert listed.endswith("call.held  fake:call-1  this version has no kind 'call.held'")
    assert run("groups", "release", "billing", parked["id"]).exit_code == 0
    (released,) = lines(run("groups", "parked", "billing", "--json"))
    assert released["released"]


def test_a_call_with_an_event_that_cannot_be_read_is_not_shown_but_others_are(run, unreadable, transferred):
    result = run("show", lines(run("events", "--json"))[0]["transfer_id"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "event 2 of call fake:call-1 cannot be read" in result.stderr
    assert run("show", transferred("answers", "call-2")).exit_code == 0


def test_releasing_what_is_not_parked_exits_with_1(run, poisoned):
    result = run("groups", "release", "billing", "no-such-event")
    assert result.exit_code == 1
    assert "no-such-event" in result.stderr


def test_a_group_is_removed(run, transferred):
    transferred("answers")
    run("events", "--group", "billing")
    assert run("groups", "remove", "billing").exit_code == 0
    assert lines(run("groups", "list", "--json")) == []
    assert run("groups", "remove", "billing").exit_code == 1


def test_what_a_group_that_there_is_none_of_parked_is_not_told_as_nothing(run, transferred):
    transferred("answers")
    run("events", "--group", "billing")
    assert lines(run("groups", "parked", "billing", "--json")) == []
    result = run("groups", "parked", "biling")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no group 'biling'" in result.stderr


# --- what all of them need --------------------------------------------------------------------------

COMMANDS = pytest.mark.parametrize(
    "command", [["events"], ["show", "x"], ["groups", "list"], ["groups", "parked", "g"]]
)


@COMMANDS
def test_a_store_that_nobody_else_writes_to_is_said(command, tmp_path):
    file = tmp_path / "forgetful.toml"
    file.write_text('provider = "fake"\n')
    result = CliRunner().invoke(app, [*command, "--config", str(file)])
    assert "the store is memory" in result.stderr


@COMMANDS
def test_a_wrong_configuration_exits_with_2(command, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:kept.db"\n')
    result = CliRunner().invoke(app, [*command, "--config", str(file)])
    assert result.exit_code == 2
    assert "store" in result.stderr
