"""The command line, with the fake provider: what is printed, where, and the exit codes 0, 1 and 2."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("typer")
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from transferkit import __version__
from transferkit.cli.app import app
from transferkit.testing import scenario

HEARD = {
    "id": "1",
    "call_id": "call-1",
    "time": "2026-01-01T12:00:00+00:00",
    "signals": ["failed"],
    "reason": "busy",
}
ENDED = HEARD | {"id": "2", "signals": ["succeeded", "call_ended"], "reason": None}
RANG = {
    "id": "3",
    "call_id": "call-2",
    "time": "2026-01-01T12:00:00+00:00",
    "incoming": {"source": "4:+14255550107", "target": "8:orgid:a", "context": "opaque"},
}


@pytest.fixture
def run(monkeypatch):
    for name in list(os.environ):
        if name.startswith("TRANSFERKIT_") and not name.startswith("TRANSFERKIT_TEST_"):
            monkeypatch.delenv(name)
    return lambda *arguments, stdin=None: CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\n\n[providers.fake]\n')
    return str(file)


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- transfer --------------------------------------------------------------------------------------


def test_a_request_that_is_asked_for_again_under_its_key_is_told_to_its_end(run, tmp_path):
    (tmp_path / "durable.toml").write_text(
        'provider = "fake"\nstore = "sqlite:///calls.db"\n\n[providers.fake]\n'
    )
    said = ("transfer", "call-1", "--to", scenario("answers").number.raw_id, "--idempotency-key", "case-42")
    first, again = (run(*said, "--wait", "--config", str(tmp_path / "durable.toml")) for _ in range(2))
    assert first.exit_code == again.exit_code == 0
    assert [event["kind"] for event in lines(first)][-1] == "transfer.completed"
    assert lines(again) == lines(first)


def test_a_dry_run_prints_the_request_and_needs_no_configuration(run):
    result = run("transfer", "call-1", "--provider", "fake", "--to", "+14255550100", "--dry-run")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert set(shown) == {"method", "url", "headers", "body"}
    assert shown["body"]["to"] == "4:+14255550100"
    assert "no configuration: shown with fake's defaults; the host may be a placeholder" in result.stderr


def test_but_uses_the_one_that_the_environment_holds(run, monkeypatch):
    pytest.importorskip("transferkit_acs")
    said = ("transfer", "call-1", "-p", "fake", "--to", "+14255550100", "--language-id", "en", "--dry-run")
    assert run(*said).exit_code == 0
    monkeypatch.setenv("TRANSFERKIT_PROVIDERS__FAKE__LIKE", "acs")
    result = run(*said)
    assert result.exit_code == 2
    assert "language_id: cannot be carried" in result.stderr
    assert "placeholder" not in result.stderr


def test_and_the_one_that_a_variable_names(run, tmp_path, monkeypatch):
    pytest.importorskip("transferkit_acs")
    (tmp_path / "acs.toml").write_text('[providers.fake]\nlike = "acs"\n')
    monkeypatch.setenv("TRANSFERKIT_CONFIG", str(tmp_path / "acs.toml"))
    result = run("transfer", "call-1", "-p", "fake", "--to", "+14255550100", "--region", "a", "--dry-run")
    assert "region: cannot be carried" in result.stderr


def test_nothing_is_sent_without_a_configuration_and_it_is_said_how_to_name_one(run):
    result = run("transfer", "call-1", "-p", "fake", "--to", "+14255550100")
    assert result.exit_code == 2
    assert "--config FILE" in result.stderr
    assert "TRANSFERKIT_CONFIG=FILE" in result.stderr


def test_every_option_reaches_the_request(run):
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


def test_a_request_that_cannot_be_carried_exits_with_2_and_all_problems(run):
    result = run(
        "transfer", "call-1", "-p", "fake", "--to", "guest:a", "--transferee", "guest:b", "--dry-run"
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "- to: a guest cannot be used here" in result.stderr
    assert "- transferee: a guest cannot be used here" in result.stderr


@pytest.mark.parametrize("typed", ["tel:+14255550123", "0014255550123", "(425) 555-0123"])
@pytest.mark.parametrize("command", ["transfer", "redirect"])
def test_a_number_in_another_form_exits_with_2_and_is_told_the_form_with_a_plus(run, command, typed):
    result = run(command, "call-1", "-p", "fake", "--to", typed, "--dry-run")
    assert result.exit_code == 2
    assert "the phone number is not in E.164 form" in result.stderr
    assert "a plus sign, the country code and the number" in result.stderr
    assert "0123" not in result.stderr


def test_a_transferee_and_a_sip_address_in_the_wrong_form_are_refused_together(run):
    result = run(
        "transfer", "call-1", "-p", "fake", "--dry-run",
        "--to", "sip:agent@contoso.com", "--transferee", "tel:+14255550123",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "- to: a SIP address cannot be used here" in result.stderr
    assert "- transferee: the phone number is not in E.164 form" in result.stderr


def test_an_unknown_provider_exits_with_2_and_says_what_is_installed(run):
    result = run("transfer", "call-1", "-p", "nobody", "--to", "+14255550100", "--dry-run")
    assert result.exit_code == 2
    assert "no adapter named 'nobody' is installed" in result.stderr
    assert "fake" in result.stderr


@pytest.mark.parametrize(
    "wrong", [["--caller-id", "teams:a"], ["--sip", "no-value"], ["--endpoint", "sofa"], ["--to", ""]]
)
def test_an_unusable_option_exits_with_2(run, wrong):
    result = run("transfer", "call-1", "-p", "fake", "--to", "+14255550100", *wrong, "--dry-run")
    assert result.exit_code == 2


def test_sending_prints_events_until_the_provider_has_it(run, config):
    result = run("transfer", "call-1", "--config", config, "--to", "+14255550100")
    assert result.exit_code == 0
    assert [line["kind"] for line in lines(result)] == ["transfer.requested", "transfer.submitted"]
    assert "the store is memory" in result.stderr


@pytest.mark.parametrize(
    ("number", "kind", "exit_code"), [("+14255550100", "completed", 0), ("+14255550186", "failed", 1)]
)
def test_waiting_prints_the_outcome_and_exits_by_it(run, config, number, kind, exit_code):
    result = run("transfer", "call-1", "--config", config, "--to", number, "--wait")
    assert result.exit_code == exit_code
    assert lines(result)[-1]["kind"] == f"transfer.{kind}"


# --- redirect --------------------------------------------------------------------------------------


def test_every_option_of_a_redirect_reaches_the_request(run, tmp_path):
    (tmp_path / "context.txt").write_text("opaque\n")
    result = run(
        "redirect", "call-1", "-p", "fake", "--dry-run",
        "--to", "teams:agent",
        "--to", "+14255550100",
        "--tenant", "tenant-1",
        "--incoming-context", f"@{tmp_path / 'context.txt'}",
        "--source", "acs:res_user",
        "--ring-timeout", "30",
        "--disposition", "simultaneousRing",
        "--mask-caller",
        "--no-mask-callee",
        "--caller-id", "+14255550101",
        "--sip", "X-MS-Custom-Case=42",
        "--operation-context", "case 42",
        "--callback-uri", "https://app.contoso.com/cb",
        "--deadline", "20",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["body"] == {
        "type": "redirect",
        "call": {"provider": "fake", "id": "call-1", "tenant_id": "tenant-1"},
        "to": ["8:orgid:agent", "4:+14255550100"],
        "incoming_context": "opaque",
        "source": "8:acs:res_user",
        "ring_timeout": 30.0,
        "disposition": "simultaneousRing",
        "mask_caller": True,
        "mask_callee": False,
        "caller_id": "4:+14255550101",
        "context": {"sip": {"X-MS-Custom-Case": "42"}},
        "operation_context": "case 42",
        "callback_uri": "https://app.contoso.com/cb",
        "deadline": 20.0,
    }


def test_a_redirect_is_sent_and_waited_for(run, config):
    result = run("redirect", "call-1", "--config", config, "--to", "+14255550100", "--wait")
    assert result.exit_code == 0
    assert lines(result)[-1]["kind"] == "redirect.completed"


# --- what both take --------------------------------------------------------------------------------


def test_teams_details_and_extra_are_json_or_a_file(run, tmp_path):
    details = {"session_id": "s-1", "caller": {"caller": "4:+14255550107", "name": "A", "phone_number": "B"}}
    (tmp_path / "teams.json").write_text(json.dumps(details))
    arguments = ["transfer", "call-1", "-p", "fake", "--to", "+14255550100", "--dry-run"]
    extra = ["--extra", '{"a": {"b": null}}']
    for teams in (json.dumps(details), f"@{tmp_path / 'teams.json'}"):
        result = run(*arguments, "--teams", teams, *extra)
        assert result.exit_code == 0, result.stderr
        body = json.loads(result.stdout)["body"]
        assert body["context"]["teams"] == details
        assert body["extra"] == {"a": {"b": None}}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--teams", "{"],
        ["--teams", '{"nonsense": 1}'],
        ["--teams", "@nowhere"],
        ["--extra", "[]"],
        ["--extra", "no"],
    ],
)
def test_json_that_is_none_exits_with_2(run, wrong):
    result = run("transfer", "call-1", "-p", "fake", "--to", "+14255550100", *wrong, "--dry-run")
    assert result.exit_code == 2


# --- decode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [[], ["-"]])
def test_decode_reads_standard_input(run, named):
    result = run("decode", "--provider", "fake", *named, stdin=json.dumps(HEARD))
    assert result.exit_code == 0
    (event,) = lines(result)
    assert event["file"] == "-"
    assert (event["kind"], event["reason"], event["call_id"]) == ("transfer.failed", "busy", "call-1")
    assert event["raw"] == HEARD


def test_decode_names_the_file_of_each_line(run, tmp_path):
    for name, body in (("a.json", HEARD), ("b.json", ENDED), ("c.json", RANG)):
        (tmp_path / name).write_text(json.dumps(body))
    result = run("decode", "-p", "fake", *(str(tmp_path / f"{name}.json") for name in "abc"))
    assert result.exit_code == 0
    told = [(line["file"].rpartition("/")[2], line["kind"]) for line in lines(result)]
    assert told == [
        ("a.json", "transfer.failed"),
        ("b.json", "transfer.completed"),
        ("b.json", "call.ended"),
        ("c.json", "call.incoming"),
    ]


def test_a_bad_body_costs_no_good_one(run, tmp_path):
    (tmp_path / "bad.json").write_text("nonsense")
    (tmp_path / "good.json").write_text(json.dumps(HEARD))
    files = [str(tmp_path / name) for name in ("missing.json", "bad.json", "good.json")]
    result = run("decode", "-p", "fake", *files)
    assert result.exit_code == 1
    assert [line["kind"] for line in lines(result)] == ["transfer.failed"]
    assert "bad.json: fake callback, body" in result.stderr
    assert "missing.json: No such file" in result.stderr


# --- the command itself ----------------------------------------------------------------------------


def test_help_names_the_commands(run):
    result = run("--help")
    assert result.exit_code == 0
    for command in ("demo", "transfer", "redirect", "decode"):
        assert command in result.stdout


def test_the_version_is_told(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"transferkit {__version__}\n")


def helps(name, command):
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    if hasattr(command, "list_commands"):
        context = command.make_context(name, [], resilient_parsing=True)
        for word in command.list_commands(context):
            yield from helps(f"{name} {word}", command.get_command(context, word))


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in helps("transferkit", get_command(app))]
)
def test_help_loses_no_word_to_markup(text):
    assert Text.from_markup(text).plain == text


@pytest.mark.parametrize(
    ("variable", "told"),
    [("TRANSFERKIT_STORE", True), ("TRANSFERKIT_CONFIG", False), ("TRANSFERKIT_TEST_SEEDS", False)],
)
def test_variables_that_count_for_nothing_beside_a_named_file_are_said(
    run, config, monkeypatch, caplog, variable, told
):
    monkeypatch.setenv(variable, "s3cr3t")
    result = run("groups", "list", "--config", config)
    assert result.exit_code == 0
    assert (f"the whole configuration: {variable};" in caplog.text) is told
    assert "s3cr3t" not in caplog.text


def test_without_its_extra_the_command_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from transferkit.cli import main; main()"
    done = subprocess.run(  # noqa: S603 - the command is made of constants
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install 'transferkit[cli]'" in done.stderr
