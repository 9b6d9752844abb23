"""`transferkit answer` and `transferkit hang-up`."""

import json

import pytest
from support.command_line import json_lines, run


def dry_run(*args):
    result = run(*args, "call-1", "-p", "fake", "--dry-run")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["body"]


def test_every_option_of_an_answer_reaches_the_request(tmp_path):
    (tmp_path / "context.txt").write_text("opaque\n")
    body = dry_run(
        "answer",
        *("--incoming-context", f"@{tmp_path / 'context.txt'}"),
        *("--operation-context", "case 42"),
        *("--callback-uri", "https://app.contoso.com/cb"),
        *("--deadline", "20"),
    )
    assert body == {
        "type": "answer",
        "call": {"provider": "fake", "id": "call-1"},
        "incoming_context": "opaque",
        "operation_context": "case 42",
        "callback_uri": "https://app.contoso.com/cb",
        "deadline": 20.0,
    }


@pytest.mark.parametrize(("options", "leaves"), [([], False), (["--leave"], True)])
def test_a_call_is_ended_for_everyone_or_only_left(options, leaves):
    body = dry_run("hang-up", *options)
    assert body["type"] == "hang_up"
    assert body.get("leave", False) is leaves


@pytest.mark.parametrize("command", ["answer", "hang-up"])
def test_a_step_is_sent_and_its_outcome_printed(in_memory, command):
    result = run(command, "call-1", "--config", in_memory, "--wait")
    assert result.exit_code == 0, result.stderr
    assert json_lines(result)[-1]["kind"] == "step.completed"


@pytest.mark.parametrize("command", ["answer", "hang-up"])
def test_a_step_has_no_options_for_what_it_does_not_carry(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--sip" not in result.stdout
    assert "--deadline" in result.stdout
