"""Ways through the command line that are seldom taken."""

import asyncio
import json
import shlex
import signal
import sys

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from transferkit import Basis, Call, Config, LateVerdict, ProviderOther, Transfer, TransferCompleted, cli
from transferkit.cli import sending
from transferkit.cli.app import app
from transferkit.cli.commands import events as reading
from transferkit.cli.commands import serve as serving
from transferkit.cli.sending import send
from transferkit.cli.timeline import detail
from transferkit.testing import scenario
from transferkit.testing.contracts.store_inputs import AT

HEARD = {"id": "1", "call_id": "call-1", "time": "2026-01-01T12:00:00+00:00"}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("TRANSFERKIT_CONFIG", raising=False)
    file = tmp_path / "transferkit.toml"
    file.write_text('provider = "fake"\nstore = "sqlite:///kept.db"\n')
    return file


@pytest.fixture
def run():
    return lambda *arguments, stdin=None: CliRunner().invoke(app, arguments, input=stdin)


def test_a_part_of_ours_that_is_missing_is_no_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transferkit.cli.app", None)
    with pytest.raises(ModuleNotFoundError, match="transferkit"):
        cli.main()


def test_a_command_that_there_is_none_of_exits_with_2(run):
    assert run("teleport").exit_code == 2


@pytest.mark.parametrize("command", ["transfer", "redirect"])
def test_a_value_that_the_request_refuses_exits_with_2(run, command):
    arguments = ("call-1", "-p", "fake", "--to", "+14255550100", "--deadline", "-1", "--dry-run")
    result = run(command, *arguments)
    assert result.exit_code == 2
    assert "deadline" in result.stderr


async def test_events_of_other_transfers_are_not_printed(config, capsys):
    answers = scenario("answers").number
    requests = [Transfer(call=Call("fake", name), to=answers) for name in ("call-1", "call-2")]
    sent = await asyncio.gather(*(send(request, config=config, wait=True) for request in requests))
    assert sent == [True, True]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["call_id"] for line in printed) == ["call-1"] * 5 + ["call-2"] * 5


def test_what_is_said_on_the_way_is_decoded(run):
    said = json.dumps({**HEARD, "signals": ["started", "accepted"]})
    result = run("decode", "--provider", "fake", stdin=said)
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert kinds == ["transfer.started", "transfer.accepted"]


def test_an_unknown_provider_decodes_nothing(run):
    result = run("decode", "--provider", "nobody", stdin="{}")
    assert result.exit_code == 2
    assert "no adapter named 'nobody'" in result.stderr


def test_ctrl_c_ends_the_stream_without_an_error(run, config, monkeypatch):
    async def read(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "_read", read)
    result = run("events", "--config", str(config))
    assert (result.exit_code, result.output) == (0, "")


# --- Ctrl-C while a transfer is waited for -----------------------------------------------------------


def interrupted(monkeypatch, *, before):
    """Have the sending task cancelled, as Ctrl-C does, before it asks or once the provider has it."""

    async def ask(*_):
        raise asyncio.CancelledError

    def tell(event):
        if event.kind == "transfer.submitted":
            asyncio.current_task().cancel()
        return event.kind

    if before:
        monkeypatch.setattr(sending.AsyncClient, "submit", ask)
    monkeypatch.setattr(sending, "to_json_line", tell)


TRANSFER = Transfer(call=Call("fake", "call-1"), to=scenario("silent").number)


async def test_whoever_stops_waiting_is_told_where_to_look(config, monkeypatch, capsys):
    interrupted(monkeypatch, before=False)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(send(TRANSFER, config=config, wait=True))
    (told,) = capsys.readouterr().err.splitlines()
    words = shlex.split(told.removeprefix("the transfer goes on: "))
    assert words[:2] == ["transferkit", "show"]
    assert words[3:] == ["--config", str(config)]
    shown = await asyncio.to_thread(CliRunner().invoke, app, words[1:])
    assert "still open" in shown.stdout


async def test_and_that_nobody_knows_where_it_was_not_asked_for_yet(config, monkeypatch, capsys):
    interrupted(monkeypatch, before=True)
    monkeypatch.setenv("TRANSFERKIT_CONFIG", str(config))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(send(TRANSFER, config=None, wait=True))
    told = capsys.readouterr().err
    assert told == "nobody knows yet whether the transfer was sent: transferkit events --call CALL\n"


async def test_and_that_there_is_nowhere_to_look_where_the_store_is_memory(config, monkeypatch, capsys):
    interrupted(monkeypatch, before=False)
    config.write_text('provider = "fake"\n')
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(send(TRANSFER, config=config, wait=True))
    assert "what is known of it ends with this process" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no process is sent a Ctrl-C there")
async def test_ctrl_c_while_waiting_exits_with_130_and_the_transfer_goes_on(config):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from transferkit.cli import main; main()", "transfer", "call-1", "--wait"),
        *("--to", scenario("silent").number.number, "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        while json.loads(await process.stdout.readline())["kind"] != "transfer.submitted":
            pass
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert "the transfer goes on: transferkit show " in errors.decode()


@pytest.mark.parametrize("command", ["transfer", "redirect"])
def test_ctrl_c_while_sending_exits_with_130(run, config, monkeypatch, command):
    async def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sending, "send", stop)
    result = run(command, "call-1", "--to", "+14255550100", "--config", str(config))
    assert result.exit_code == 130


# --- servers ----------------------------------------------------------------------------------------


def test_another_missing_module_is_not_told_as_a_missing_server(run, config, monkeypatch):
    async def serve(*_, **__):
        raise ModuleNotFoundError(name="elsewhere")

    monkeypatch.setattr(serving, "_serve", serve)
    result = run("serve", "--config", str(config))
    assert isinstance(result.exception, ModuleNotFoundError)


def test_a_store_that_forgets_is_said(capsys):
    class Listener:
        def getsockname(self):
            return "127.0.0.1", 8000

    serving._tell(Config(source="test", provider="fake"), Listener(), as_json=False)
    assert "the store is memory" in capsys.readouterr().err


def test_a_late_verdict_is_told_to_people():
    late = ProviderOther(time=AT, provider="fake", call_id="call-1", late_verdict=LateVerdict.SUCCEEDED)
    assert "after the outcome, which stands" in detail(late)


def test_an_outcome_that_nobody_timed_is_told_without_a_time():
    outcome = TransferCompleted(time=AT, provider="fake", call_id="call-1", basis=Basis.STATED)
    assert detail(outcome) == "stated"
