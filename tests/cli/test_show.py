"""`transferkit show`."""

import asyncio
import re

from support.command_line import json_lines, run

from transferkit import AsyncClient
from transferkit.testing import scenario


def test_the_timeline_of_a_completed_transfer_is_drawn_without_the_number(config, transferred):
    result = run("show", transferred("answers"), "--config", config)
    assert result.exit_code == 0
    for word in ("requested", "submitted", "started", "accepted", "completed"):
        assert f"transfer.{word}" in result.stdout
    for word in ("✔", "operation context case 42", "fake:call-1", "0.000 s"):
        assert word in result.stdout
    assert scenario("answers").number.number not in result.stdout


def test_a_failed_transfer_exits_with_1_and_the_reason(config, transferred):
    result = run("show", transferred("busy"), "--config", config)
    assert result.exit_code == 1
    assert "✘ transfer.failed" in result.stdout
    assert "busy, stated" in result.stdout
    assert "the caller is still on the call" in result.stdout


def test_only_the_events_of_the_transfer_are_printed_as_json(config, transferred):
    transferred("answers")
    second = transferred("answers")
    result = run("show", second, "--json", "--config", config)
    assert result.exit_code == 0
    events = json_lines(result)
    assert {event["transfer_id"] for event in events if event["kind"].startswith("transfer.")} == {second}
    assert events[-1]["kind"] == "transfer.completed"


def test_a_transfer_without_an_outcome_is_shown_as_open(config):
    async def begin():
        async with AsyncClient.from_config(config) as client:
            return (await client.transfer("call-1", to=scenario("silent").number, idempotency_key="k")).id

    result = run("show", asyncio.run(begin()), "--config", config)
    assert result.exit_code == 0
    assert "idempotency key k" in result.stdout
    assert "still open" in result.stdout


def test_an_unknown_transfer_exits_with_2_and_what_to_do(config):
    result = run("show", "no-such-transfer", "--config", config)
    assert result.exit_code == 2
    assert "no-such-transfer" in result.stderr
    assert "transferkit events --call ID" in result.stderr


def test_a_consultation_is_drawn_with_its_steps_and_without_the_number(config):
    async def consult():
        async with AsyncClient.from_config(config) as client:
            consultation = await client.consult("call-1", to=scenario("answers").number)
            await consultation.answered(timeout=20)
            await consultation.complete(timeout=20)
            return consultation.id

    result = run("show", asyncio.run(consult()), "--config", config)
    assert result.exit_code == 0
    for word in ("requested", "ringing", "answered", "completing", "completed"):
        assert f"consultation.{word}" in result.stdout
    for step in ("hold", "place call", "join"):
        assert re.search(rf"✔ step\.completed +{step}", result.stdout)
    assert scenario("answers").number.number not in result.stdout


def test_a_failed_consultation_exits_with_1_and_says_where_the_caller_is(config):
    async def consult():
        async with AsyncClient.from_config(config) as client:
            consultation = await client.consult("call-1", to=scenario("declined").number)
            await consultation.outcome(timeout=20)
            return consultation.id

    result = run("show", asyncio.run(consult()), "--config", config)
    assert result.exit_code == 1
    assert "✘ consultation.failed" in result.stdout
    assert "declined, stated" in result.stdout
    assert "the caller is still on the call" in result.stdout
