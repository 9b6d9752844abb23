"""`transferkit transfer`, and what `transferkit redirect` has in common with it."""

import asyncio
import json
import shlex
import signal
import sys

import pytest
from support.command_line import json_lines, run, started, stop

from transferkit import Call, Transfer
from transferkit.cli import request_options, sending
from transferkit.cli.sending import send
from transferkit.testing import scenario

both_commands = pytest.mark.parametrize("command", ["transfer", "redirect"])
PREVIEW = ("transfer", "call-1", "-p", "fake", "--to", "+14255550100", "--dry-run")


# --- a dry run --------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_request_without_any_configuration():
    result = run(*PREVIEW)
    assert result.exit_code == 0
    request = json.loads(result.stdout)
    assert set(request) == {"method", "url", "headers", "body"}
    assert request["body"]["to"] == "4:+14255550100"
    assert "no configuration: used the default settings of fake" in result.stderr


def test_a_dry_run_uses_the_configuration_of_the_environment(monkeypatch):
    pytest.importorskip("transferkit_acs")
    assert run(*PREVIEW, "--language-id", "en").exit_code == 0
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__FAKE__LIKE", "acs")
    result = run(*PREVIEW, "--language-id", "en")
    assert result.exit_code == 2
    assert "- language_id: " in result.stderr
    assert "no configuration" not in result.stderr


def test_a_dry_run_uses_the_configuration_file_that_a_variable_names(tmp_path, monkeypatch):
    pytest.importorskip("transferkit_acs")
    (tmp_path / "acs.toml").write_text('[providers.fake]\nlike = "acs"\n')
    monkeypatch.setenv("TRANSFERKIT_CONFIG", str(tmp_path / "acs.toml"))
    assert "- region: " in run(*PREVIEW, "--region", "a").stderr


# --- options ----------------------------------------------------------------------------------------


def test_every_option_of_a_transfer_reaches_the_request():
    result = run(
        "transfer", "call-1", "-p", "fake", "--dry-run",
        "--to", "teams:agent",
        "--tenant", "tenant-1",
        "--transferee", "acs:res_user",
        "--participant-id", "part-1",
        "--replaces", "call-2",
        "--caller-id", "+14255550101",
        "--sip", "X-MS-Custom-Case=4=2",
        "--sip", "User-To-User=a",
        "--voip", "case=42",
        "--operation-context", "case 42",
        "--callback-uri", "https://app.contoso.com/cb",
        "--deadline", "20",
        "--language-id", "en-us",
        "--region", "amer",
        "--endpoint", "voicemail",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["body"] == {
        "type": "transfer",
        "call": {"provider": "fake", "id": "call-1", "tenant_id": "tenant-1"},
        "to": "8:orgid:agent",
        "transferee": "8:acs:res_user",
        "participant_id": "part-1",
        "replaces": "call-2",
        "caller_id": "4:+14255550101",
        "context": {
            "sip": {"X-MS-Custom-Case": "4=2", "User-To-User": "a"},
            "voip": {"case": "42"},
        },
        "operation_context": "case 42",
        "callback_uri": "https://app.contoso.com/cb",
        "deadline": 20.0,
        "language_id": "en-us",
        "region": "amer",
        "endpoint": "voicemail",
    }


def test_call_details_and_extra_are_json_or_a_file(tmp_path):
    details = {"session_id": "s-1", "caller": {"caller": "4:+14255550107", "name": "A", "phone_number": "B"}}
    (tmp_path / "teams.json").write_text(json.dumps(details))
    for teams in (json.dumps(details), f"@{tmp_path / 'teams.json'}"):
        result = run(*PREVIEW, "--teams", teams, "--extra", '{"a": {"b": null}}')
        assert result.exit_code == 0, result.stderr
        body = json.loads(result.stdout)["body"]
        assert body["context"]["teams"] == details
        assert body["extra"] == {"a": {"b": None}}


def test_a_field_that_the_provider_does_not_support_can_be_dropped(monkeypatch):
    pytest.importorskip("transferkit_acs")
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__FAKE__LIKE", "acs")
    call = "411f0b00-dc73-4528-a9e6-968ba983d2a1"
    result = run("transfer", call, *PREVIEW[2:], "--language-id", "en", "--drop-unsupported")
    assert result.exit_code == 0, result.stderr
    assert "language_id" not in json.loads(result.stdout)["body"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--caller-id", "teams:a"], "expected a phone number"),
        (["--sip", "no-value"], "NAME=VALUE"),
        (["--endpoint", "sofa"], "sofa"),
        (["--to", ""], "--to"),
        (["--deadline", "-1"], "deadline"),
        (["--teams", "{"], "is not JSON"),
        (["--teams", '{"nonsense": 1}'], "TeamsPhoneCallDetails"),
        (["--teams", "@nowhere"], "cannot read nowhere"),
        (["--extra", "[]"], "expected a JSON object"),
        (["--extra", "no"], "is not JSON"),
    ],
)
def test_an_unusable_option_exits_with_2_and_the_reason(options, message):
    result = run(*PREVIEW, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@both_commands
@pytest.mark.parametrize("number", ["tel:+14255550123", "0014255550123", "(425) 555-0123"])
def test_a_number_in_another_form_is_refused_without_showing_it(command, number):
    result = run(command, "call-1", "-p", "fake", "--to", number, "--dry-run")
    assert result.exit_code == 2
    assert "the phone number is not in E.164 form" in result.stderr
    assert "a plus sign, the country code and the number" in result.stderr
    assert "0123" not in result.stderr


def test_an_unsupported_request_exits_with_2_and_every_problem():
    result = run(
        "transfer", "call-1", "-p", "fake", "--dry-run",
        "--to", "skype:agent", "--transferee", "tel:+14255550123",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (2, "")
    assert "- to: a skype cannot be used here" in result.stderr
    assert "- transferee: the phone number is not in E.164 form" in result.stderr


def test_an_unknown_provider_exits_with_2_and_names_the_installed_ones():
    result = run("transfer", "call-1", "-p", "nobody", "--to", "+14255550100", "--dry-run")
    assert result.exit_code == 2
    assert "no adapter named 'nobody' is installed" in result.stderr
    assert "fake" in result.stderr


# --- sending ----------------------------------------------------------------------------------------


def test_nothing_is_sent_without_a_configuration():
    result = run("transfer", "call-1", "-p", "fake", "--to", "+14255550100")
    assert result.exit_code == 2
    assert "--config FILE" in result.stderr
    assert "TRANSFERKIT_CONFIG=FILE" in result.stderr


def test_events_are_printed_until_the_request_is_submitted(in_memory):
    result = run("transfer", "call-1", "--config", in_memory, "--to", "+14255550100")
    assert result.exit_code == 0
    assert [line["kind"] for line in json_lines(result)] == ["transfer.requested", "transfer.submitted"]
    assert "the store is in memory" in result.stderr


@pytest.mark.parametrize(
    ("name", "kind", "exit_code"),
    [("answers", "transfer.completed", 0), ("busy", "transfer.failed", 1)],
)
def test_with_wait_the_outcome_is_printed_and_decides_the_exit_code(config, name, kind, exit_code):
    number = scenario(name).number.raw_id
    result = run("transfer", "call-1", "--config", config, "--to", number, "--wait")
    assert result.exit_code == exit_code
    assert json_lines(result)[-1]["kind"] == kind


def test_a_repeated_request_with_the_same_key_prints_the_first_ones_events(config):
    target = scenario("answers").number.raw_id
    words = ("transfer", "call-1", "--to", target, "--idempotency-key", "case-42", "--wait")
    first, repeated = (run(*words, "--config", config) for _ in range(2))
    assert first.exit_code == repeated.exit_code == 0
    assert json_lines(first)[-1]["kind"] == "transfer.completed"
    assert json_lines(repeated) == json_lines(first)


async def test_events_of_other_transfers_are_not_printed(config, capsys):
    answers = scenario("answers").number
    requests = [Transfer(call=Call("fake", name), to=answers) for name in ("call-1", "call-2")]
    sent = await asyncio.gather(*(send(request, config=config, wait=True) for request in requests))
    assert sent == [True, True]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["call_id"] for line in printed) == ["call-1"] * 5 + ["call-2"] * 5


# --- Ctrl-C while waiting ---------------------------------------------------------------------------

SILENT = Transfer(call=Call("fake", "call-1"), to=scenario("silent").number)


async def interrupted(monkeypatch, config, *, before):
    """Cancel the sending task, as Ctrl-C does: before the request is stored, or after it was submitted."""

    async def cancelled(*_):
        raise asyncio.CancelledError

    def cancel_when_submitted(event):
        if event.kind == "transfer.submitted":
            asyncio.current_task().cancel()
        return event.kind

    if before:
        monkeypatch.setattr(sending.AsyncClient, "submit", cancelled)
    monkeypatch.setattr(sending, "to_json_line", cancel_when_submitted)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(send(SILENT, config=config, wait=True))


async def test_after_ctrl_c_the_command_to_follow_the_transfer_is_printed(config, monkeypatch, capsys):
    await interrupted(monkeypatch, config, before=False)
    (line,) = capsys.readouterr().err.splitlines()
    words = shlex.split(line.removeprefix("the transfer continues; to follow it: "))
    assert words[:2] == ["transferkit", "show"]
    assert words[3:] == ["--config", config]
    shown = await asyncio.to_thread(run, *words[1:])
    assert "still open" in shown.stdout


async def test_after_ctrl_c_before_the_request_is_stored_it_may_have_been_sent(config, monkeypatch, capsys):
    monkeypatch.setenv("TRANSFERKIT_CONFIG", config)
    await interrupted(monkeypatch, None, before=True)
    line = capsys.readouterr().err
    assert line == "the transfer may or may not have been sent; to see: transferkit events --call CALL\n"


async def test_after_ctrl_c_with_a_store_in_memory_there_is_nothing_to_follow(in_memory, monkeypatch, capsys):
    await interrupted(monkeypatch, in_memory, before=False)
    assert "its events were in the memory of this process" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent a Ctrl-C there")
async def test_ctrl_c_while_waiting_exits_with_130_and_the_transfer_continues(config):
    words = ("transfer", "call-1", "--wait", "--to", scenario("silent").number.number, "--config", config)
    async with started(*words) as process, asyncio.timeout(60):
        while json.loads(await process.stdout.readline())["kind"] != "transfer.submitted":
            pass
        code, _, errors = await stop(process, signal.SIGINT)
    assert code == 130
    assert "the transfer continues; to follow it: transferkit show " in errors


@both_commands
def test_ctrl_c_while_sending_exits_with_130(config, monkeypatch, command):
    async def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(request_options, "send", interrupt)
    result = run(command, "call-1", "--to", "+14255550100", "--config", config)
    assert result.exit_code == 130
