"""`transferkit consult`."""

import pytest
from support.command_line import json_lines, run

from transferkit.testing import scenario

AGENT = scenario("answers").number.number


def consult(in_memory, *options, to=AGENT, stdin=None):
    return run("consult", "call-1", "--to", to, "--config", in_memory, *options, stdin=stdin)


def kinds(result):
    return [event["kind"].removeprefix("consultation.") for event in json_lines(result)]


@pytest.mark.parametrize("answer", [("--then", "complete"), "complete\n", "what?\nComplete\n"])
def test_the_caller_and_the_agent_are_connected(in_memory, answer):
    by_option = isinstance(answer, tuple)
    result = consult(in_memory, *(answer if by_option else ()), stdin=None if by_option else answer)
    assert result.exit_code == 0, result.stderr
    assert kinds(result) == ["requested", "ringing", "answered", "completing", "completed"]
    assert AGENT not in result.stderr


@pytest.mark.parametrize("stdin", ["cancel\n", ""])
def test_the_caller_is_back_if_the_consultation_is_cancelled_or_nothing_is_typed(in_memory, stdin):
    result = consult(in_memory, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert kinds(result)[-1] == "cancelled"
    assert 'type "complete" or "cancel"' in result.stderr


def test_an_agent_who_does_not_answer_ends_the_command_with_1(in_memory):
    result = consult(in_memory, "--no-hold", to=scenario("declined").number.number)
    assert result.exit_code == 1
    assert json_lines(result)[-1]["reason"] == "declined"


def test_a_wrong_option_is_refused_before_anything_is_sent(in_memory):
    result = consult(in_memory, "--ring-timeout", "0")
    assert result.exit_code == 2
    assert "ring_timeout" in result.stderr
